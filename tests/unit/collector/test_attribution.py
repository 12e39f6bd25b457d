"""Attribution: work goes where it was declared to, none is lost or doubled, whatever came when."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flopmeter_collector.additions import Additions
from flopmeter_collector.book import Book
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.spans import time_text
from flopmeter_collector.totals import Totals
from flopmeter_core.errors import DataError
from flopmeter_core.interval import sum_figures
from flopmeter_core.registers import Key
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from support.agreeing import Agreed
from support.totals import AS_OF_NS, POSITION, busy_vector, feed, h100, key_of, table

PARTS = table()
EPOCH_NS = 1_790_000_000 * NS_PER_S
RECORD = h100()
HOURS = 6
SECONDS = 3_000
"""Busy seconds in each hour."""

ALLOCATIONS = (
    "slurm:c/1",
    "slurm:c/2",
    "slurm.pids:c/2",
    "pod:p/x",
    "run:a",
    "run:b",
    "none",
    "overflow",
    "boundary(slurm:c/1,run:a)",
    "shared:pod:p/x+slurm:c/2",
)


def row(kind: str, subject: str, **body: str) -> Declaration:
    """A declaration; a trailing underscore of a field is dropped."""
    fields = {name.rstrip("_"): text for name, text in body.items()}
    return Declaration(1, 0, "ada", "cli", kind, subject, fields)


def at(hour: float) -> str:
    """A time by hours since boot."""
    return time_text(EPOCH_NS + round(hour * NS_PER_HOUR))


@dataclass
class Site:
    """Totals, and the hours a ledger would hold for them."""

    totals: Totals = field(default_factory=lambda: Totals(PARTS))
    hours: dict[str, list[HourlyVector]] = field(default_factory=dict)
    take: Agreed = field(init=False)

    def __post_init__(self) -> None:
        """Have two people agree with everything: here it is about what holds then."""
        self.take = Agreed(self.totals.book, self.totals.apply)

    def work(self, allocation: str, hours: int, *, phase: int = 0) -> None:
        """So many hours of work, each with its hourly vector, as a collector hears of it."""
        self.totals.add_hours(self.store(allocation, hours, phase=phase))
        self.read()

    def store(self, allocation: str, hours: int, *, phase: int = 0) -> list[HourlyVector]:
        """The same as it is read from a ledger: registers now, hours when they are asked for."""
        key = key_of(RECORD, allocation, phase=phase)
        held = [each for each in self.hours.get(allocation, []) if each.key != key]
        rows = rows_of(key, hours)
        self.hours[allocation] = held + rows
        feed(self.totals, key, RECORD, busy_vector(hours * SECONDS))
        return rows

    def read(self) -> None:
        """Read what the totals ask for, as a collector does each round."""
        for allocation in self.totals.unread_allocations:
            self.totals.read_hours(allocation, self.hours.get(allocation, []))

    def declare(self, *rows: Declaration) -> None:
        """Take declarations; one that contradicts is set aside, as in a collector."""
        for each in rows:
            with contextlib.suppress(DataError):
                self.take(each)
            self.read()

    @property
    def snapshot(self) -> TotalsSnapshot:
        """The totals now."""
        return self.totals.snapshot(AS_OF_NS, POSITION)

    def best(self) -> Mapping[str | None, int]:
        """Best FLOP by run in hours of work of one device; None is the remainder."""
        hour = busy_vector(SECONDS)
        alone = Totals(PARTS)
        feed(alone, key_of(RECORD, "run:x"), RECORD, hour)
        one = alone.snapshot(AS_OF_NS, POSITION).runs[0].account.figures.observed.best
        shot = self.snapshot
        found: dict[str | None, int] = {None: shot.unattributed.figures.observed.best}
        found |= {run.run: run.account.figures.observed.best for run in shot.runs}
        assert not any(best % one for best in found.values())
        return {run: best // one for run, best in found.items() if best}


def rows_of(key: Key, hours: int) -> list[HourlyVector]:
    """The hourly vectors of so many even hours."""
    ends = [(hour + 1) * NS_PER_HOUR - 1 for hour in range(hours)]
    return [
        HourlyVector(key, n, busy_vector(n * SECONDS), n - 1, end, end + EPOCH_NS)
        for n, end in enumerate(ends, start=1)
    ]


times = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.5, 4.0, 9.0]))
runs = st.sampled_from(["a", "b", "c", "d"])
users = st.sampled_from(["slurm:c/1", "slurm:c/2", "pod:p/x"])
states = st.sampled_from(["stands", "stands", "undone"])


def _place(since: float | None, until: float | None) -> dict[str, str]:
    place = {} if since is None else {"from_": at(since)}
    return place if until is None else place | {"until": at(until)}


merges = st.builds(
    lambda run, into, state: row("merge", run, into=into, state=state), runs, runs, states
)
phases = st.builds(
    lambda run, since, until, state: row(
        "split", run, into="p1", phase="1", state=state, **_place(since, until)
    ),
    runs, times, times, states,
)  # fmt: skip
labels = st.builds(
    lambda run, phase, since, until, activity: row(
        "run", run, activity=activity, **phase, **_place(since, until)
    ),
    runs, st.sampled_from([{}, {"phase": "1"}]), times, times,
    st.sampled_from(["pretraining", "finetuning", "rl_update"]),
)  # fmt: skip
statements = st.one_of(
    labels,
    st.builds(
        lambda run, user, since, until, state: row(
            "attach", run, allocation=user, state=state, **_place(since, until)
        ),
        runs, users, times, times, states,
    ),
    st.builds(
        lambda run, match, since, state: row(
            "attach", run, match=match, state=state, **_place(since, None)
        ),
        runs, st.sampled_from(["slurm:*", "*/2", "pod:?/x", "*"]), times, states,
    ),
    merges,
    st.builds(
        lambda run, since, until, state: row(
            "split", run, into="part", state=state, **_place(since, until)
        ),
        runs, times, times, states,
    ),
    phases,
)  # fmt: skip
works = st.lists(
    st.tuples(st.sampled_from(ALLOCATIONS), st.integers(1, HOURS), st.integers(0, 1)), max_size=8
)


@settings(max_examples=150)
@given(works, st.lists(statements, max_size=6), st.randoms(use_true_random=False))
def test_when_it_was_declared_makes_no_difference(
    work: list[tuple[str, int, int]], declared: list[Declaration], random: object
) -> None:
    """The same rows in the same order: the same totals, whatever was metered before or after."""
    newest = {(allocation, phase): hours for allocation, hours, phase in work}
    late, early, mixed = Site(), Site(), Site()
    early.declare(*declared)
    steps: list[tuple[str, int, int] | Declaration] = list(declared)
    for (allocation, phase), hours in newest.items():
        late.work(allocation, hours, phase=phase)
        early.work(allocation, hours, phase=phase)
        for part in sorted({1, hours}):
            # Vectors of one key come in order; between them anything may be declared.
            after = max(
                (n for n, s in enumerate(steps, 1) if isinstance(s, tuple) and s[0] == allocation),
                default=0,
            )
            steps.insert(random.randint(after, len(steps)), (allocation, part, phase))  # type: ignore[attr-defined]
    late.declare(*declared)
    for step in steps:
        if isinstance(step, tuple):
            mixed.work(step[0], step[1], phase=step[2])
        else:
            mixed.declare(step)
    expected = late.snapshot
    assert early.snapshot == expected
    assert mixed.snapshot == expected
    for keys in (list(newest.items()), list(newest.items())[::-1]):
        assert _loaded(declared, keys).snapshot == expected, "offline, whichever key comes first"


cuts = st.builds(
    lambda kind, phase, since, until: row(
        "split" if kind == "split" else "run",
        "a",
        **({"into": "part"} if kind == "split" else {"format": kind}),
        **phase, **_place(since, until),
    ),
    st.sampled_from(["split", "split", "fp8=1", "bf16=1"]),
    st.sampled_from([{}, {"phase": "1"}, {"phase": "2"}]), times, times,
)  # fmt: skip
few_keys = st.dictionaries(
    st.tuples(st.sampled_from(["run:a", "slurm:c/1"]), st.integers(0, 2)),
    st.integers(1, HOURS),
    min_size=2,
)


@settings(max_examples=150)
@given(few_keys, st.lists(cuts, min_size=1, max_size=3))
def test_live_is_offline_in_any_order(
    newest: dict[tuple[str, int], int], cut: list[Declaration]
) -> None:
    """Phases that are cut by time beside whole ones: one figure, live, loaded, and backwards."""
    declared = [row("attach", "a", allocation="slurm:c/1"), *cut]
    live, late = Site(), Site()
    live.declare(*declared)
    keys = list(newest.items())
    for (allocation, phase), hours in keys:
        live.work(allocation, hours, phase=phase)
    for (allocation, phase), hours in keys[::-1]:
        late.work(allocation, hours, phase=phase)
    late.declare(*declared)
    expected = live.snapshot
    assert late.snapshot == expected
    assert _loaded(declared, keys).snapshot == expected
    assert _loaded(declared, keys[::-1]).snapshot == expected


def _loaded(declared: Iterable[Declaration], keys: Iterable[tuple[tuple[str, int], int]]) -> Site:
    """Totals as they are loaded from a ledger: declarations, registers, then what is asked for."""
    site = Site()
    site.declare(*declared)
    for (allocation, phase), hours in keys:
        site.store(allocation, hours, phase=phase)
    site.read()
    return site


@pytest.mark.parametrize("phases_in_order", [(0, 1), (1, 0)])
def test_a_phase_cut_by_time_is_read_after_a_whole_one(phases_in_order: tuple[int, ...]) -> None:
    """A later key that is cut has its hours read, though the first one of its run is whole."""
    split = row("split", "a", into="b", phase="1", from_=at(2))
    loaded = _loaded([split], [(("run:a", phase), 4) for phase in phases_in_order])
    assert loaded.best() == {"a": 6, "b": 2}


def test_a_new_name_is_shown_at_once() -> None:
    """A rename is in the next snapshot; the run need not grow first."""
    site = Site()
    site.work("run:a", 1)
    assert site.snapshot.runs[0].name == "a"
    site.declare(row("rename", "a", name="shiny"))
    assert site.snapshot.runs[0].name == "shiny"


@pytest.mark.parametrize("state", ["stands", "undone"])
def test_a_part_of_what_becomes_a_part_is_shown_anew(state: str) -> None:
    """A part leaves and comes to the model of the run it was split off, though it never grows."""
    site, late = Site(), Site()
    said = [
        row("split", "e", into="a", from_=at(1), until=at(2)),
        row("split", "d", into="e", from_=at(4)),
        row("split", "d", into="e", from_=at(4), state=state),
    ]
    site.work("run:a", 1)
    for each in said:
        assert site.snapshot.models
        site.declare(each)
    late.declare(*said)
    late.work("run:a", 1)
    assert site.snapshot == late.snapshot
    assert site.snapshot.runs[0].model == ("d" if state == "stands" else "e")


def test_parts_that_meet_again_are_followed_once() -> None:
    """A part of a day that is split off and merged again, level by level: no more work per level.

    Of every level both ways lead to the next one, so that counting the ways would take 2^40 steps.
    """
    book = Book()
    take = Agreed(book)
    for level in range(40):
        take(row("split", f"m{level}", into=f"p{level}", from_=at(1), until=at(2)))
        take(row("merge", f"p{level}", into=f"m{level + 1}"))
        take(row("merge", f"m{level}", into=f"m{level + 1}"))
    before, within, after = book.attribution.segments("run:m0", 0)
    assert {each.content.run for each in (before, within, after)} == {"m40"}
    assert (before.until_ns, within.until_ns) == (within.from_ns, after.from_ns)
    assert before.content == after.content
    assert "p39" in within.content.path
    assert "p39" not in before.content.path


@pytest.mark.parametrize("forwards", [True, False])
def test_a_route_of_too_many_runs_is_refused(*, forwards: bool) -> None:
    """However it is built up, the hundredth step is taken and the next one told off, for good."""
    book = Book()
    take = Agreed(book)
    steps = [row("merge", f"m{n}", into=f"m{n + 1}") for n in range(101)]
    *good, bad = steps if forwards else steps[::-1]
    for each in good:
        take(each)
    with pytest.raises(DataError, match="more than 100 merges and splits would follow"):
        take(bad)
    with pytest.raises(DataError, match="more than 100 merges and splits would follow"):
        take(row("split", "x", into="m0" if forwards else "m1", phase="1"))
    take(row("merge", "m50", into="m51", state="undone"))
    take(bad)
    assert len(book.attribution.segments("run:m51", 0)[0].content.path) == 51


@settings(max_examples=150)
@given(works, st.lists(statements, max_size=6))
def test_every_statement_keeps_the_sum(
    work: list[tuple[str, int, int]], declared: list[Declaration]
) -> None:
    """Runs and remainder add up to the node: floor, lower, best, time and energy exactly."""
    site = Site()
    for allocation, hours, phase in work:
        site.work(allocation, hours, phase=phase)
    before = _whole(site.snapshot)
    for each in declared:
        site.declare(each)
        assert _whole(site.snapshot) == before


def _whole(snapshot: TotalsSnapshot) -> tuple[int, ...]:
    accounts = [snapshot.unattributed, *(run.account for run in snapshot.runs)]
    total = sum_figures(account.figures for account in accounts).total
    energy_mj = sum(sum(account.energy_mj.values()) for account in accounts)
    busy_ns = sum(account.busy_ns for account in accounts)
    assert sum(account.unmeasured_ns for account in accounts) == 0
    return total.floor, total.lower, total.best, energy_mj, busy_ns


def test_by_hand_and_by_rule() -> None:
    """A rule takes what comes later too; a hand goes before it, and may take one out of it."""
    site = Site()
    site.work("slurm:c/1", 3)
    site.declare(row("attach", "a", match="slurm:c/*"))
    site.work("slurm:c/2", 2)
    assert site.best() == {"a": 5}
    site.declare(row("attach", "b", allocation="slurm:c/2"))
    assert site.best() == {"a": 3, "b": 2}
    site.declare(row("attach", "b", allocation="slurm:c/2", state="undone"))
    assert site.best() == {"a": 5}
    site.declare(row("attach", "a", allocation="slurm:c/2", state="undone"))
    assert site.best() == {"a": 3, None: 2}
    site.declare(row("attach", "a", allocation="slurm:c/2"))
    assert site.best() == {"a": 5}
    site.declare(row("attach", "a", match="slurm:c/*", state="undone"))
    assert site.best() == {None: 3, "a": 2}


def test_times_cut_at_hours() -> None:
    """Attached from an hour on: the hours before stay unattributed, the hour of a cut too."""
    site = Site()
    site.work("slurm:c/1", 6)
    site.declare(row("attach", "a", allocation="slurm:c/1", from_=at(2)))
    assert site.best() == {None: 2, "a": 4}
    site.declare(row("attach", "b", allocation="slurm:c/1", until=at(0.5)))
    assert site.best() == {None: 2, "a": 4}
    run = next(run for run in site.snapshot.runs if run.run == "b")
    assert run.account.figures.boundary_upper > 0
    assert run.account.figures.observed.upper == 0


def test_merge_and_split() -> None:
    """A merge is undone without a trace; a part split off by time or phase is its own run."""
    site = Site()
    site.work("run:a", 4)
    site.work("run:b", 2, phase=1)
    before = site.snapshot
    site.declare(row("merge", "b", into="a"))
    assert site.best() == {"a": 6}
    assert [run.run for run in site.snapshot.runs] == ["a"]
    site.declare(
        row("split", "a", into="late", from_=at(3)), row("split", "a", into="p", phase="1")
    )
    assert site.best() == {"a": 5, "late": 1}, "the second split overlaps the first"
    site.declare(row("split", "a", into="late", from_=at(3), state="undone"))
    site.declare(row("split", "a", into="p", phase="1"))
    assert site.best() == {"a": 4, "p": 2}
    site.declare(row("split", "a", into="p", phase="1", state="undone"))
    site.declare(row("merge", "b", into="a", state="undone"))
    assert site.snapshot.runs == before.runs


def test_labels_cut_at_hours() -> None:
    """A label from an hour on: each part has its own, and the hour of the cut is unlabelled."""
    site = Site()
    site.work("slurm:c/1", 6)
    site.declare(
        row("attach", "a", allocation="slurm:c/1"),
        row("run", "a", activity="pretraining"),
        row("run", "a", activity="finetuning", from_=at(2.5)),
    )
    (run,) = site.snapshot.runs
    hours = {part.label.activity: part.figures.observed.best for part in run.parts}
    one = sum(hours.values()) // 6
    assert hours == {"pretraining": 2 * one, "finetuning": 3 * one, "unlabelled": one}
    assert sum_figures(part.figures for part in run.parts) == run.account.figures
    site.declare(row("run", "a", activity="pretraining", from_=at(2.5)))
    (run,) = site.snapshot.runs
    assert {part.label.activity for part in run.parts} == {"pretraining"}, "the same is no cut"


def test_declared_formats_follow_the_work() -> None:
    """What was declared of a run holds for its work wherever it goes, until something else is."""
    alone, merged = Site(), Site()
    for site in (alone, merged):
        site.work("run:a", 2)
        site.work("run:b", 3)
        site.declare(row("run", "a", format="bf16=1"), row("run", "b", format="fp8=1"))
    merged.declare(row("merge", "a", into="b"))
    apart = sum_figures(run.account.figures for run in alone.snapshot.runs)
    assert merged.snapshot.runs[0].account.figures == apart
    merged.declare(row("split", "b", into="part", until=at(1)))
    part, rest = merged.snapshot.runs[1], merged.snapshot.runs[0]
    assert part.declaration.formats == rest.declaration.formats
    total = part.account.figures.observed.best + rest.account.figures.observed.best
    assert total == apart.observed.best
    merged.declare(row("run", "part", format="fp8=1"))
    merged.declare(row("run", "b", model="m"))
    assert {run.model for run in merged.snapshot.runs} == {"m"}


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([row("attach", "b", allocation="slurm:c/1")], "is attached by hand to run 'a'"),
        ([row("attach", "b", allocation="slurm:c/1", from_=at(1))], "by hand to run 'a'"),
        ([row("attach", "a", allocation="slurm:c/1")], "already; nothing is left"),
        ([row("attach", "b", allocation="run:a")], "names run 'a' itself"),
        ([row("attach", "b", allocation="none")], "no single user"),
        ([row("attach", "b", allocation="boundary(run:a,none)")], "no single user"),
        ([row("attach", "b", allocation="shared:run:a+run:b")], "no single user"),
        ([row("attach", "b", match="pod:*"), row("attach", "c", match="*x")], "can match the same"),
        ([row("attach", "b", match="run:*")], "matches nothing"),
        ([row("attach", "b")], "one allocation or one pattern"),
        ([row("attach", "b", allocation="x" * 65536)], "has 1 to 512"),
        ([row("attach", "b", allocation="slurm:c/1", state="undone")], "is not attached to run"),
        ([row("attach", "b", match="*", state="undone")], "has no rule"),
        ([row("merge", "a", into="a")], "cannot be its own part"),
        ([row("merge", "a", into="b"), row("merge", "b", into="a")], "in a circle"),
        ([row("merge", "a", into="b"), row("merge", "a", into="c")], "is merged into 'b' already"),
        ([row("merge", "a", into="b", state="undone")], "is not merged"),
        ([row("merge", "a", into="b"), row("run", "a", model="m")], "is a part of run 'b'"),
        ([row("run", "a", model="m"), row("run", "b", model="n"), row("merge", "a", into="b")],
         "declare one model"),
        ([row("run", "a", activity="pretraining"), row("merge", "a", into="b")],
         "label them alike"),
        ([row("split", "a", into="b")], "needs the part that goes"),
        ([row("split", "a", into="p", phase="1"), row("split", "a", into="q", phase="1")],
         "overlaps the part"),
        ([row("split", "a", into="p", phase="1"), row("split", "c", into="p", phase="1")],
         "was split off run 'a'"),
        ([row("split", "a", into="p", phase="1"), row("merge", "p", into="a")], "in a circle"),
        ([row("split", "a", into="p", phase="1", state="undone")], "was not split off"),
        ([row("rename", "a", name="x\ny")], "printable"),
        ([row("rename", "a", name="x" * 65536)], "has 1 to 200"),
        ([row("rename", "a", nom="x")], "takes a name"),
        ([row("attach", "a", allocation="slurm:c/3", reason="x" * 2001)], "at most 2000"),
        ([row("attach", "a", allocation="slurm:c/3", state="perhaps")], "stands or is undone"),
        ([row("retire", "a")], "has the unknown kind"),
    ],
)  # fmt: skip
def test_contradictions_change_nothing(rows: list[Declaration], sentence: str) -> None:
    """What contradicts is refused in one sentence, and the totals are what they were."""
    site = Site()
    site.work("slurm:c/1", 2)
    site.declare(row("attach", "a", allocation="slurm:c/1"))
    *good, bad = rows
    for each in good:
        site.totals.apply(each)
    before = site.snapshot
    with pytest.raises(DataError, match=sentence) as caught:
        site.totals.apply(bad)
    assert "\n" not in str(caught.value)
    assert site.snapshot == before


def test_a_gap_is_the_run_of_its_allocation() -> None:
    """Known as another name or not: only one run may be charged with what nobody measured."""
    book = Book()
    for each in (row("attach", "a", allocation="slurm:c/1"), row("merge", "a", into="b")):
        book.apply(each)
    assert book.attribution.visited("slurm.pids:c/1") == (frozenset("ab"), frozenset("b"))
    book.apply(row("split", "b", into="late", from_=at(1)))
    assert book.attribution.visited("slurm:c/1")[1] == {"b", "late"}


def test_only_what_is_touched_is_weighed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A declaration of one run weighs no other run's keys."""
    site = Site()
    for number in range(20):
        site.work(f"slurm:c/{number}", 1)
    site.declare(*(row("attach", f"r{n}", allocation=f"slurm:c/{n}") for n in range(20)))
    weighed: list[str] = []
    replaced = Additions.replace

    def seen(adds: Additions, key: Key, *rest: object) -> None:
        weighed.append(key.allocation)
        replaced(adds, key, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Additions, "replace", seen)
    site.declare(row("run", "r7", format="fp8=1"))
    site.declare(row("attach", "r3", allocation="slurm:c/4"))
    assert weighed == ["slurm:c/7"], "the second one is refused: r4 has it"
    site.declare(row("attach", "r4", allocation="slurm:c/4", state="undone"))
    assert weighed == ["slurm:c/7", "slurm:c/4"]
