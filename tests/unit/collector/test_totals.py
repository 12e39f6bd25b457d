"""Totals are exact integers that no order, repetition or partition of updates can change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.totals import Totals
from flopmeter_collector.weighing import merge_branches
from flopmeter_core.allocations import named_run
from flopmeter_core.devices import EnergyScope
from flopmeter_core.estimate import coefficients_for, estimate, figures_of, weigh
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.interval import Figures, Interval, sum_figures
from flopmeter_core.methods.base import Conditions
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence, Key, Vector
from flopmeter_core.units import NS_PER_S, REGISTER_LIMIT
from support.totals import (
    AS_OF_NS,
    POSITION,
    busy_vector,
    feed,
    h100,
    key_of,
    scenario,
    table,
    vector_of,
)

PARTS = table()
RECORDS = [h100(f"GPU-{n}", node=f"n{n % 3}") for n in range(5)]
ALLOCATIONS = [
    "none",
    "run:a",
    "run:b",
    "run:c",
    "boundary(run:a,run:b)",
    "boundary(none,run:c)",
    "boundary(run:a,run:a)",
    "overflow",
]
DECLARATIONS = [("a", {"format": "fp8", "model": "m"}), ("b", {"model": "m"})]

vectors = st.lists(
    st.integers(0, REGISTER_LIMIT - 1), min_size=COMPONENT_COUNT, max_size=COMPONENT_COUNT
).map(tuple)
keys = st.builds(
    lambda record, allocation, evidence: (key_of(record, allocation, evidence=evidence), record),
    st.sampled_from(RECORDS),
    st.sampled_from(ALLOCATIONS),
    st.sampled_from([Evidence.CYCLES, Evidence.GPM, Evidence.BUSY_SAMPLED, Evidence.ALLOCATION]),
)
sites = st.dictionaries(keys, st.lists(vectors, min_size=1, max_size=2), min_size=1, max_size=12)


def snapshot(totals: Totals) -> TotalsSnapshot:
    """The totals, at a fixed time and position."""
    return totals.snapshot(AS_OF_NS, POSITION)


def columns_by_hand(key: Key, branches: list[Vector], formats: str | None) -> tuple[int, ...]:
    """What one key adds, from the pure estimate alone."""
    record = next(r for r in RECORDS if r.device == key.device)
    mix = parse_format_mix(formats) if formats else None
    weights = coefficients_for(key.evidence, Conditions(PARTS.recognise(record), record, mix))
    floor, lower, best, upper, ceiling, unobserved = zip(
        *(weigh(vector, weights) for vector in branches), strict=True
    )
    return min(floor), min(lower), max(best), sum(upper), sum(ceiling), sum(unobserved)


def figures_by_hand(keys: list[tuple[Key, list[Vector], str | None]]) -> Figures:
    """Keys added by allocation and evidence level, each group clipped once."""
    groups: dict[tuple[str, str], list[tuple[int, ...]]] = {}
    for key, branches, formats in keys:
        group = groups.setdefault((key.allocation, key.evidence.level), [])
        group.append(columns_by_hand(key, branches, formats))
    return sum_figures(
        figures_of([sum(column) for column in zip(*group, strict=True)])
        for group in groups.values()
    )


@given(sites, st.randoms(use_true_random=False))
def test_order_and_repetition(site: dict[tuple[Key, object], list[Vector]], random: object) -> None:
    """Any order, repetition and partition of updates ends in the same snapshot, bit for bit."""
    straight = Totals(PARTS)
    for run, body in DECLARATIONS:
        straight.declare(parse_run_declaration(run, body))
    for (key, record), branches in site.items():
        feed(straight, key, record, *branches)  # type: ignore[arg-type]
    shuffled = Totals(PARTS)
    steps: list[tuple[Key, object, list[Vector]]] = []
    for (key, record), branches in site.items():
        halves = [tuple(v // 2 for v in vector) for vector in branches]
        steps += [(key, record, halves[:1]), (key, record, halves), (key, record, branches[:1])]
    random.shuffle(steps)  # type: ignore[attr-defined]
    last = [(key, record, branches) for (key, record), branches in site.items()]
    random.shuffle(last)  # type: ignore[attr-defined]
    declared = len(steps) // 2
    for number, (key, record, branches) in enumerate([*steps, *last, *last[::-1]]):
        if number == declared:
            for run, body in DECLARATIONS:
                shuffled.declare(parse_run_declaration(run, body))
        feed(shuffled, key, record, *branches)  # type: ignore[arg-type]
        snapshot(shuffled)  # what is kept of it must not outlive a change
    assert snapshot(shuffled) == snapshot(straight)


def test_only_what_changed_is_made_anew() -> None:
    """Between two snapshots untouched runs and models are the same objects; others are not."""
    totals = Totals(PARTS)
    record = RECORDS[0]
    for run in ("a", "b", "c"):
        feed(totals, key_of(record, f"run:{run}"), record, busy_vector(1))
    totals.declare(parse_run_declaration("c", {"model": "b"}))
    before = snapshot(totals)
    feed(totals, key_of(record, "run:c"), record, busy_vector(2))
    after = snapshot(totals)
    same = [one is other for one, other in zip(before.runs, after.runs, strict=True)]
    assert same == [True, True, False]
    assert [model.model for model in after.models] == ["a", "b"]
    assert after.models[0] is before.models[0]
    assert after.models[1].figures != before.models[1].figures


@given(sites)
def test_parts_make_the_whole(site: dict[tuple[Key, object], list[Vector]]) -> None:
    """Runs + remainder are the sum over all keys: floor, lower and best exactly, upper at least."""
    totals = Totals(PARTS)
    totals.declare(parse_run_declaration("a", {"format": "fp8"}))
    for (key, record), branches in site.items():
        feed(totals, key, record, *branches)  # type: ignore[arg-type]
    shot = snapshot(totals)
    parts = sum_figures([shot.unattributed.figures, *(r.account.figures for r in shot.runs)]).total
    whole = figures_by_hand(
        [
            (key, branches, "fp8" if key.allocation == "run:a" else None)
            if named_run(key.allocation)
            # The remainder is one account, boundary periods included.
            else (replace(key, allocation="none"), branches, None)
            for (key, _), branches in site.items()
        ]
    ).total
    assert (parts.floor, parts.lower, parts.best) == (whole.floor, whole.lower, whole.best)
    assert parts.upper >= whole.upper
    assert parts.ceiling >= whole.ceiling
    models = sum_figures(model.figures for model in shot.models).total
    runs = sum_figures(run.account.figures for run in shot.runs).total
    assert (models.floor, models.lower, models.best) == (runs.floor, runs.lower, runs.best)


def test_beyond_int64_and_double() -> None:
    """Sums above 10^30 FLOP keep their last digit."""
    totals = Totals(PARTS)
    record = h100()
    tensor = (Component.TENSOR_MEGACYCLES, Component.HMMA_MEGACYCLES)
    weights = coefficients_for(Evidence.CYCLES, Conditions(PARTS.recognise(record), record))
    by_hand = 0
    for phase in range(60):
        megacycles = 1 if phase == 7 else REGISTER_LIMIT - 1
        vector = vector_of(dict.fromkeys(tensor, megacycles))
        key = key_of(record, "run:a", evidence=Evidence.CYCLES, phase=phase)
        feed(totals, key, record, vector)
        by_hand += estimate(vector, weights).observed.best
    best = snapshot(totals).runs[0].account.figures.total.best
    assert best == by_hand
    assert best == (59 * (REGISTER_LIMIT - 1) + 1) * 4096 * 10**6 > 10**30


def test_a_restart_changes_no_figure() -> None:
    """An hour at rest and an hour at full load: the same in one incarnation as in two."""
    record = replace(h100(), energy_scope=EnergyScope.NODE, device_count=8)
    hour_ns, kwh_mj = 3600 * 10**9, 3_600_000_000
    rest = {Component.BUSY_NS: hour_ns, Component.ENERGY_MJ: kwh_mj}
    load = {Component.BUSY_NS: hour_ns, Component.ENERGY_MJ: 67 * kwh_mj // 10}
    both = {component: rest[component] + load[component] for component in rest}
    figures = []
    for vectors in ([both], [rest, load]):
        totals = Totals(PARTS)
        for number, amounts in enumerate(vectors):
            key = key_of(record, "run:a", evidence=Evidence.POWER_SAMPLED, phase=number)
            feed(totals, key, record, vector_of(amounts))
        figures.append(snapshot(totals).runs[0].account.figures)
    assert figures[0] == figures[1]
    assert figures[0].total.best > 0


def test_overflow_is_a_view_of_the_remainder() -> None:
    """What users share for want of room is told apart, and counted once: in the remainder."""
    totals = Totals(PARTS)
    record = h100()
    period = figures_by_hand([(key_of(RECORDS[0], "none"), [busy_vector(10)], None)])
    for allocation in ("run:a", "none", "overflow"):
        feed(totals, key_of(record, allocation), record, busy_vector(10))
    shot = snapshot(totals)
    both = sum_figures([period, period])
    assert shot.overflow.figures.total == period.total
    assert shot.overflow.covered_ns == shot.overflow.busy_ns == 10 * NS_PER_S
    assert shot.overflow.device_count == shot.overflow.node_count == 1
    assert shot.unattributed.figures.total.best == both.total.best
    assert shot.unattributed.busy_ns == 20 * NS_PER_S
    assert [run.account.figures.total for run in shot.runs] == [period.total]
    # It follows a newer vector, and a fork of it is one fork.
    feed(totals, key_of(record, "overflow"), record, busy_vector(30), busy_vector(20))
    later = snapshot(totals)
    assert later.overflow.busy_ns == 30 * NS_PER_S
    assert later.unattributed.busy_ns == 40 * NS_PER_S
    assert (later.overflow.fork_count, later.unattributed.fork_count) == (1, 1)


def test_boundary_widens_both_neighbours_once() -> None:
    """A boundary period is unattributed; both runs get it in upper and ceiling, a model once."""
    totals = Totals(PARTS)
    record = h100()
    period = figures_by_hand([(key_of(RECORDS[0], "none"), [busy_vector(10)], None)])
    feed(totals, key_of(record, "boundary(run:a,run:b)"), record, busy_vector(10))
    for run in "ab":
        totals.declare(parse_run_declaration(run, {"model": "m"}))
    shot = snapshot(totals)
    assert shot.unattributed.figures == period
    for neighbour in shot.runs:
        assert neighbour.account.figures.observed == Interval(0, 0, 0, 0, 0)
        assert neighbour.account.figures.boundary_upper == period.total.upper
        assert neighbour.account.figures.boundary_ceiling == period.total.ceiling
    assert shot.models[0].figures.total.upper == period.total.upper


def test_boundary_gap_stays_apart_as_unobserved() -> None:
    """An unobserved boundary widens the neighbour by the unobserved addend, not as measured."""
    totals = Totals(PARTS)
    record = h100()
    gap = vector_of({Component.UNOBSERVED_NS: NS_PER_S})
    feed(totals, key_of(record, "boundary(run:a,none)"), record, gap)
    shot = snapshot(totals)
    figures = shot.runs[0].account.figures
    assert figures.unobserved_ceiling == shot.unattributed.figures.unobserved_ceiling > 0
    assert figures.boundary_upper == 0
    assert shot.unattributed.unobserved_ns == NS_PER_S
    assert shot.runs[0].account.unobserved_ns == 0


def test_late_declaration_estimates_the_past_anew() -> None:
    """A format declared late gives the totals it would have given from the start."""
    early, late = Totals(PARTS), Totals(PARTS)
    declaration = parse_run_declaration("alpha", {"format": "fp8=1"})
    early.declare(declaration)
    for totals in (early, late):
        feed(totals, key_of(h100()), h100(), busy_vector(100))
    undeclared = snapshot(late).runs[0].account.figures.total
    late.declare(declaration)
    assert snapshot(late) == snapshot(early)
    assert snapshot(late).runs[0].account.figures.total.best == 2 * undeclared.best


def test_later_declaration_overrides_field_by_field() -> None:
    """A field that a later declaration leaves out keeps what was declared before."""
    totals = Totals(PARTS)
    totals.declare(parse_run_declaration("a", {"format": "fp8", "model": "old"}))
    totals.declare(parse_run_declaration("a", {"model": "new"}))
    run = snapshot(totals).runs[0]
    assert (run.model, run.declaration.formats) == ("new", parse_format_mix("fp8"))
    assert [model.model for model in snapshot(totals).models] == ["new"]


def test_format_the_part_lacks() -> None:
    """A declared format the part does not have counts as undeclared, with a warning, for good."""
    plain, wrong = Totals(PARTS), Totals(PARTS)
    wrong.declare(parse_run_declaration("alpha", {"format": "fp4"}))
    for totals in (plain, wrong):
        feed(totals, key_of(h100()), h100(), busy_vector(100))
    run = snapshot(wrong).runs[0]
    assert run.account == snapshot(plain).runs[0].account
    assert len(run.warnings) == 1
    assert "fp4" in run.warnings[0]
    wrong.declare(parse_run_declaration("alpha", {"format": "bf16=1"}))
    assert snapshot(wrong).runs[0].warnings == ()


def test_unknown_part_is_named() -> None:
    """A part without a row is counted at its ceiling and named, so that it can be alerted."""
    record = replace(h100(), pci_device_id=0xBEEF10DE, product_name="NVIDIA X1")
    totals = Totals(PARTS)
    feed(totals, key_of(record), record, busy_vector(100))
    account = snapshot(totals).runs[0].account
    assert account.unknown_parts == ("NVIDIA X1",)
    assert account.figures.total.best == account.figures.total.ceiling > 0


def test_fork_is_counted_while_it_lasts() -> None:
    """Two branches widen the figure and raise the fork count; one branch takes it back."""
    totals = Totals(PARTS)
    record = h100()
    feed(totals, key_of(record), record, busy_vector(10), busy_vector(20))
    account = snapshot(totals).runs[0].account
    assert account.fork_count == 1
    assert account.busy_ns == 20 * NS_PER_S
    single = Totals(PARTS)
    feed(single, key_of(record), record, busy_vector(20))
    assert account.figures.total.best == snapshot(single).runs[0].account.figures.total.best
    assert account.figures.total.upper > snapshot(single).runs[0].account.figures.total.upper
    feed(totals, key_of(record), record, busy_vector(20))
    assert snapshot(totals) == snapshot(single)


def test_merge_branches_keeps_the_order_of_bounds() -> None:
    """Smallest floor and lower, largest best, summed upper, ceiling and unobserved."""
    assert merge_branches([(1, 5, 6, 7, 8, 1), (2, 3, 9, 10, 11, 2)]) == (1, 3, 9, 17, 19, 3)


def test_node_scope_counts_its_devices() -> None:
    """A node-scope record counts its devices, in number and in device time, its energy once."""
    record = replace(
        h100(),
        device="node:n0",
        device_count=8,
        energy_scope=EnergyScope.NODE,
        pci_device_id=0,
        part="h100-sxm5-80gb",
    )
    totals = Totals(PARTS)
    vector = vector_of(
        {Component.ENERGY_MJ: 7_000, Component.BUSY_NS: NS_PER_S, Component.SUSPECT_NS: 3}
    )
    feed(totals, key_of(record, evidence=Evidence.POWER_SAMPLED), record, vector)
    account = snapshot(totals).runs[0].account
    assert (account.node_count, account.device_count) == (1, 8)
    assert account.busy_ns == 8 * NS_PER_S
    assert account.unmeasured_ns == 24
    assert account.energy_mj == {EnergyScope.NODE: 7_000}


def test_distinct_nodes_and_devices() -> None:
    """One device under two keys is one device."""
    totals = Totals(PARTS)
    for record in (h100("GPU-0"), h100("GPU-1")):
        for phase in range(2):
            feed(totals, key_of(record, phase=phase), record, busy_vector(1))
    account = snapshot(totals).runs[0].account
    assert (account.node_count, account.device_count) == (1, 2)


def test_evidence_shares_follow_best_flop_else_busy_time() -> None:
    """Shares are of best FLOP; where it is 0 everywhere, of busy time."""
    account = next(r for r in scenario().runs if r.run != "alpha").account
    assert account.evidence_shares == (
        ("gpm", account.figures.observed.best, account.figures.observed.best),
    )
    totals = Totals(PARTS)
    record = h100()
    busy_only = vector_of({Component.BUSY_NS: 3 * NS_PER_S})
    feed(totals, key_of(record), record, busy_only)
    feed(totals, key_of(record, evidence=Evidence.BUSY_SAMPLED), record, busy_only)
    shares = snapshot(totals).runs[0].account.evidence_shares
    assert shares == (
        ("gpm", 3 * NS_PER_S, 6 * NS_PER_S),
        ("busy", 3 * NS_PER_S, 6 * NS_PER_S),
    )


def test_snapshot_does_not_change() -> None:
    """A snapshot taken before an update is the same after it."""
    totals = Totals(PARTS)
    feed(totals, key_of(h100()), h100(), busy_vector(10))
    before = snapshot(totals)
    copy = (before.runs[0].account.figures, dict(before.runs[0].account.energy_mj))
    feed(totals, key_of(h100()), h100(), busy_vector(20))
    totals.declare(parse_run_declaration("zeta", {"model": "m"}))
    account = before.runs[0].account
    assert (account.figures, dict(account.energy_mj)) == copy
    assert len(before.runs) == 1
    with pytest.raises(TypeError):
        account.energy_mj[EnergyScope.GPU] = 0  # type: ignore[index]


def test_simulated_marks_everything() -> None:
    """One made-up reading marks its run and model; a simulated ledger marks everything."""
    totals = Totals(PARTS)
    feed(totals, key_of(h100("GPU-0"), "run:a"), h100("GPU-0"), busy_vector(1))
    made_up = h100("GPU-1", simulated=True)
    feed(totals, key_of(made_up, "run:b"), made_up, busy_vector(1))
    shot = snapshot(totals)
    assert [run.account.simulated for run in shot.runs] == [False, True]
    assert [model.simulated for model in shot.models] == [False, True]
    assert shot.simulated
    marked = scenario()
    assert marked.unattributed.simulated
    assert all(model.simulated for model in marked.models)


_STARTS = st.lists(
    st.tuples(
        st.sampled_from(["run:alpha", "slurm:7", "none", "overflow", "boundary(run:a,run:b)"]),
        st.sampled_from([Evidence.GPM, Evidence.ENERGY, Evidence.ALLOCATION]),
        st.integers(0, 1),
        st.lists(st.integers(0, 10**12), min_size=1, max_size=2, unique=True),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40)
@given(_STARTS, st.sampled_from(["", "bf16", "fp8", "fp4", "cut"]))
def test_a_new_key_adds_what_it_would_have_grown_by(
    keys: list[tuple[str, Evidence, int, list[int]]], declared: str
) -> None:
    """All of a new key at once, or weighed for itself and shared out: every total is the same."""
    shots = []
    for shared_out in (False, True):
        totals = Totals(PARTS)
        if declared == "cut":
            span = {"format": "fp8", "from": "2026-01-01T00:00:00Z"}
            totals.declare(parse_run_declaration("alpha", span))
        elif declared:
            totals.declare(parse_run_declaration("alpha", {"format": declared}))
        with pytest.MonkeyPatch.context() as patch:
            if shared_out:
                patch.setattr(totals._adds, "begin", lambda *_: False)
            for number, (allocation, evidence, phase, seconds) in enumerate(keys):
                record = h100(f"GPU-{number // 2}", node=f"n{number // 4}")
                key = key_of(record, allocation, evidence=evidence, phase=phase)
                feed(totals, key, record, *map(busy_vector, seconds))
        shots.append(snapshot(totals))
    assert shots[0] == shots[1]


def test_a_statement_holds_for_keys_that_come_after_it() -> None:
    """What was kept of an allocation is asked for anew after every statement, of keys to come."""
    at_first, later = Totals(PARTS), Totals(PARTS)
    keys = [(record, key_of(record)) for record in (h100("GPU-0"), h100("GPU-1"))]
    statement = parse_run_declaration("alpha", {"format": "fp8=1"})
    at_first.declare(statement)
    for number, (record, key) in enumerate(keys):
        feed(at_first, key, record, busy_vector(100))
        feed(later, key, record, busy_vector(100))
        if number == 0:
            later.declare(statement)
    assert snapshot(later) == snapshot(at_first)
