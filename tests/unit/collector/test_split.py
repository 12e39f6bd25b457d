"""Spans: no cut loses, doubles or misplaces work, and what straddles takes the outer side."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.declarations import FormatSpan, RunDeclaration, parse_run_declaration
from flopmeter_collector.snapshot import RunTotals
from flopmeter_collector.spans import Segment, parse_time, segments_of, time_text
from flopmeter_collector.split import Fold, first_record_ns, outer
from flopmeter_collector.totals import Totals
from flopmeter_collector.weighed import STRADDLE
from flopmeter_core.errors import DataError
from flopmeter_core.estimate import Columns, coefficients_for, weigh
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.interval import Interval
from flopmeter_core.methods.base import Coefficients, Conditions
from flopmeter_core.registers import Component, Evidence, Key, Vector
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from support.totals import AS_OF_NS, POSITION, busy_vector, feed, h100, key_of, table

PARTS = table()
RECORD = h100()
MINUTE_NS = 60 * NS_PER_S
EPOCH_NS = 1_790_000_000 * NS_PER_S
"""Unix time of boot in these tests."""

formats = st.sampled_from(["bf16=1", "fp8=1", "tf32=1", "fp8=0.9..0.97,bf16=rest"])
evidences = st.sampled_from([Evidence.CYCLES, Evidence.GPM, Evidence.BUSY_SAMPLED])
# Minutes of work: (minute since boot, seconds busy in it), and at which minutes formats change.
works = st.dictionaries(st.integers(0, 600), st.integers(1, 60), min_size=1, max_size=25)
cuts = st.lists(st.integers(-30, 700), max_size=3, unique=True).map(sorted)


def weights_of(mix: str | None, evidence: Evidence = Evidence.GPM) -> Coefficients:
    """The coefficients of an H100 under a format."""
    formats = parse_format_mix(mix) if mix else None
    return coefficients_for(evidence, Conditions(PARTS.recognise(RECORD), RECORD, formats))


def rows_of(key: Key, work: dict[int, int], *, offset_ns: int = EPOCH_NS) -> list[HourlyVector]:
    """The hourly vectors an agent would send of work by the minute, each minute read at its end."""
    rows: dict[int, HourlyVector] = {}
    busy = 0
    for sequence, minute in enumerate(sorted(work), start=1):
        busy += work[minute]
        boot_ns = (minute + 1) * MINUTE_NS - 1
        rows[boot_ns // NS_PER_HOUR] = HourlyVector(
            key,
            sequence,
            busy_vector(busy),
            boot_ns // NS_PER_HOUR,
            boot_ns,
            boot_ns + offset_ns,
        )
    return list(rows.values())


def declared(spans: Iterable[tuple[int | None, int | None, str]]) -> list[RunDeclaration]:
    """Declarations of spans by minutes since boot."""
    found = []
    for since, until, mix in spans:
        body = {"format": mix}
        if since is not None:
            body["from"] = time_text(EPOCH_NS + since * MINUTE_NS)
        if until is not None:
            body["until"] = time_text(EPOCH_NS + until * MINUTE_NS)
        found.append(parse_run_declaration("alpha", body))
    return found


def run_of(totals: Totals) -> RunTotals:
    """The one run."""
    (run,) = totals.snapshot(AS_OF_NS, POSITION).runs
    return run


def metered(
    declarations: Iterable[RunDeclaration],
    work: dict[int, int],
    evidence: Evidence = Evidence.GPM,
    *,
    late: bool = False,
    open_hour: bool = False,
) -> RunTotals:
    """The run after this work, declared early or late."""
    totals = Totals(PARTS)
    key = key_of(RECORD, evidence=evidence)
    rows = rows_of(key, work)
    if not late:
        for declaration in declarations:
            totals.declare(declaration)
    feed(totals, key, RECORD, busy_vector(sum(work.values())))
    sent = rows[:-1] if open_hour else rows
    if late:
        for declaration in declarations:
            totals.declare(declaration)
        for run in totals.unread_allocations:
            totals.read_hours(run, sent)
    else:
        for run in totals.unread_allocations:
            totals.read_hours(run, [])
        totals.add_hours(sent)
    return run_of(totals)


def bounds(columns: Iterable[Columns]) -> tuple[int, ...]:
    """Sum columns."""
    return tuple(sum(column) for column in zip(*columns, strict=True))


@given(work=works, at=cuts, mix=formats, evidence=evidences, late=st.booleans())
def test_one_format_in_every_span_is_no_split(
    work: dict[int, int], at: list[int], mix: str, evidence: Evidence, late: bool
) -> None:
    """However time is cut: the same format everywhere gives the undivided figure, bit for bit."""
    edges = [None, *at, None]
    spans = [(a, b, mix) for a, b in itertools.pairwise(edges)]
    whole = metered([parse_run_declaration("alpha", {"format": mix})], work, evidence)
    split = metered(declared(spans) if at else [], work, evidence, late=late)
    if at:
        assert split.account == whole.account


@given(
    work=works, at=cuts, mixes=st.lists(formats, min_size=4, max_size=4), open_hour=st.booleans()
)
def test_a_split_contains_the_truth(
    work: dict[int, int], at: list[int], mixes: list[str], open_hour: bool
) -> None:
    """The figure from the exact minutes lies inside the one from hours, bound by bound."""
    edges = [None, *at, None]
    spans = [(a, b, mix) for (a, b), mix in zip(itertools.pairwise(edges), mixes, strict=False)]
    if not at:
        return
    truth = bounds(
        weigh(
            busy_vector(seconds),
            weights_of(
                next(
                    mix
                    for a, b, mix in spans
                    if (a is None or a <= minute) and (b is None or minute < b)
                )
            ),
        )
        for minute, seconds in work.items()
    )
    run = metered(declared(spans), work, open_hour=open_hour)
    found = run.account.figures.observed
    assert found.floor <= truth[0]
    assert found.lower <= truth[1]
    assert found.upper >= truth[3]
    assert found.ceiling >= truth[4]
    assert run.split is not None
    if run.split.straddling_share[0] == 0:
        assert (found.lower, found.best, found.upper) == truth[1:4]


@given(work=works, at=cuts, mixes=st.lists(formats, min_size=4, max_size=4))
def test_parts_add_up(work: dict[int, int], at: list[int], mixes: list[str]) -> None:
    """Spans, rest and straddle make the run's figure, to the last FLOP; early and late alike."""
    edges = [*at, None]
    spans = [(a, b, mix) for (a, b), mix in zip(itertools.pairwise(edges), mixes, strict=False)]
    if not spans:
        return
    early, late = (metered(declared(spans), work, late=when) for when in (False, True))
    assert (early.account, early.split) == (late.account, late.split)
    assert early.split is not None
    total = Interval(0, 0, 0, 0, 0)
    for figures in early.split.parts.values():
        total = total + figures.observed
    assert total == early.account.figures.observed


def test_only_the_hour_of_the_cut_straddles() -> None:
    """Ten even hours cut inside the fifth: 4 under one, 5 under the other, 1 under both."""
    work = dict.fromkeys(range(600), 60)
    run = metered(declared([(None, 270, "bf16=1"), (270, None, "fp8=1")]), work)
    assert run.split is not None
    one, other = run.declaration.spans
    hour = busy_vector(3_600)
    bf16, fp8 = weigh(hour, weights_of("bf16=1")), weigh(hour, weights_of("fp8=1"))
    assert run.split.parts[one].observed.best == 4 * bf16[2]
    assert run.split.parts[other].observed.best == 5 * fp8[2]
    straddle = run.split.parts[STRADDLE].observed
    assert (straddle.lower, straddle.upper) == (min(bf16[1], fp8[1]), max(bf16[3], fp8[3]))
    assert straddle.best == (bf16[2] + fp8[2]) // 2
    assert run.split.straddling_share == (straddle.best, run.account.figures.observed.best)


def test_a_cut_between_hours_leaves_nothing_open() -> None:
    """At the end of an hour nothing straddles."""
    work = dict.fromkeys(range(600), 60)
    run = metered(declared([(None, 300, "bf16=1"), (300, None, "fp8=1")]), work)
    assert run.split is not None
    assert run.split.straddling_share[0] == 0


def test_phases_are_whole_keys() -> None:
    """A format for one phase counts for that phase's keys, exactly, and needs no hours."""
    totals = Totals(PARTS)
    totals.declare(parse_run_declaration("alpha", {"format": "bf16=1"}))
    totals.declare(parse_run_declaration("alpha", {"format": "fp8=1", "phase": "2"}))
    for phase in (0, 2):
        feed(totals, key_of(RECORD, phase=phase), RECORD, busy_vector(100))
    assert totals.unread_allocations == frozenset()
    expected = bounds(weigh(busy_vector(100), weights_of(mix)) for mix in ("bf16=1", "fp8=1"))
    found = run_of(totals).account.figures.observed
    assert (found.lower, found.best, found.upper) == expected[1:4]


def test_a_key_without_hours_straddles() -> None:
    """Nothing tells when its work was done: all of it takes the outer side."""
    totals = Totals(PARTS)
    for declaration in declared([(60, None, "fp8=1")]):
        totals.declare(declaration)
    feed(totals, key_of(RECORD), RECORD, busy_vector(100))
    run = run_of(totals)
    both = [weigh(busy_vector(100), weights_of(mix)) for mix in (None, "fp8=1")]
    assert run.account.figures.observed.lower == min(columns[1] for columns in both)
    assert run.account.figures.observed.upper == max(columns[3] for columns in both)
    assert run.split is not None
    assert run.split.straddling_share[0] == run.split.straddling_share[1]


def test_a_fork_straddles() -> None:
    """Of two histories nobody can tell when what was done; one again is cut again."""
    work = dict.fromkeys(range(120), 60)
    totals = Totals(PARTS)
    key = key_of(RECORD)
    for declaration in declared([(None, 60, "bf16=1"), (60, None, "fp8=1")]):
        totals.declare(declaration)
    feed(totals, key, RECORD, busy_vector(7_200))
    totals.read_hours("run:alpha", rows_of(key, work))
    before = run_of(totals)
    feed(totals, key, RECORD, busy_vector(7_200), busy_vector(7_300))
    forked = run_of(totals).split
    assert forked is not None
    assert forked.straddling_share[0] == forked.straddling_share[1]
    feed(totals, key, RECORD, busy_vector(7_200))
    assert run_of(totals) == before


def test_a_vector_that_does_not_follow_its_hours_straddles() -> None:
    """Where a key's newest vector lacks work its hours tell of, all of it may lie anywhere."""
    spans = [FormatSpan(None, EPOCH_NS, None, parse_format_mix("bf16=1"))]
    key = key_of(RECORD)
    fold = Fold(segments_of(spans, 0))
    for row in rows_of(key, dict.fromkeys(range(120), 60)):
        assert fold.add(row)
    newest = busy_vector(7_199)
    assert fold.split(newest) == {tuple(range(len(fold.segments))): newest}
    assert len(fold.segments) == 2


def test_late_hours_are_read_again() -> None:
    """An hour that comes after a later one makes the run be read from the first."""
    work = dict.fromkeys(range(300), 60)
    totals = Totals(PARTS)
    key = key_of(RECORD)
    rows = rows_of(key, work)
    for declaration in declared([(None, 90, "bf16=1"), (90, None, "fp8=1")]):
        totals.declare(declaration)
    feed(totals, key, RECORD, busy_vector(18_000))
    totals.read_hours("run:alpha", [rows[0], rows[2]])
    totals.add_hours([rows[2], rows[4]])
    assert totals.unread_allocations == frozenset()
    totals.add_hours([rows[1]])
    assert totals.unread_allocations == {"run:alpha"}
    totals.read_hours("run:alpha", rows)
    assert totals.unread_allocations == frozenset()
    assert run_of(totals) == metered(declared([(None, 90, "bf16=1"), (90, None, "fp8=1")]), work)
    totals.add_hours([], left_out=True)
    assert totals.unread_allocations == {"run:alpha"}


def folded(
    cut: int, rows: Iterable[HourlyVector], *, newest: Vector | None = None
) -> dict[tuple[int, ...], Vector]:
    """How rows and what comes after them are cut at a minute."""
    spans = [span for each in declared([(None, cut, "fp8=1")]) for span in each.spans]
    fold = Fold(segments_of(spans, 0))
    kept = [row for row in rows if fold.add(row)]
    return fold.split(kept[-1].vector if newest is None else newest)


def test_a_stepped_wall_clock_widens() -> None:
    """Where the wall clock stepped, the hour of the step takes both readings of it."""
    hour = busy_vector(3_600)
    rows = rows_of(key_of(RECORD), dict.fromkeys(range(300), 60))
    moved = [
        replace(row, wall_ns=row.wall_ns + (2 * NS_PER_HOUR if row.hour >= 1 else 0))
        for row in rows
    ]
    assert folded(90, rows)[0, 1] == hour
    # By the new time the second hour lies after the cut, by the old one around it.
    assert folded(90, moved)[0, 1] == hour
    assert folded(90, moved)[0,] == hour


def test_merged_hours_straddle_together() -> None:
    """A row that stands for several hours straddles a cut in any of them, and no other cut."""
    rows = rows_of(key_of(RECORD), dict.fromkeys(range(300), 60))
    merged = [rows[0], replace(rows[4], first_hour=1)]
    four = busy_vector(4 * 3_600)
    assert folded(90, merged)[0, 1] == four
    assert folded(60, merged) == {(0,): busy_vector(3_600), (1,): four}
    assert folded(30, merged) == {(0, 1): busy_vector(3_600), (1,): four}


def test_what_a_silent_device_did_may_lie_in_hours_that_are_closed() -> None:
    """A counter read after hours of silence straddles a cut in any of them, as its row says."""
    key, unobserved = key_of(RECORD), Component.UNOBSERVED_NS
    rows, busy_s, silent_ns = [], [1_800, 1_800, 1_800, 12_000], [0, 1_800, 5_400, 5_400]
    for hour, (busy, silent) in enumerate(zip(busy_s, silent_ns, strict=True)):
        vector = list(busy_vector(busy))
        vector[unobserved] += silent * NS_PER_S
        boot_ns = (hour + 1) * NS_PER_HOUR - 1
        rows.append(HourlyVector(key, hour + 1, tuple(vector), hour, boot_ns, boot_ns + EPOCH_NS))
    rows[3] = replace(rows[3], first_hour=1)
    work = Component.HMMA_MEGACYCLES
    done = busy_vector(10_200)[work]
    for cut in (90, 150, 200):
        assert folded(cut, rows)[0, 1][work] == done
    assert folded(50, rows).get((0,)) is None
    assert folded(50, rows)[(1,)][work] == done
    # Where the time of the silence is another key's, no row of it is there.
    alone = [rows[0], rows[1], rows[3]]
    busy_s = [1_800, 1_900, 12_000]
    alone = [
        replace(row, vector=busy_vector(busy)) for row, busy in zip(alone, busy_s, strict=True)
    ]
    assert folded(90, alone)[0, 1][work] == busy_vector(10_200)[work]
    # The same before the hour in which it is read again is closed.
    assert folded(90, rows[:3], newest=rows[3].vector)[0, 1][work] == done


def test_work_after_a_row_begins_with_the_row() -> None:
    """An hour that was closed early, by an agent that ended in it, holds what was done after it."""
    rows = rows_of(key_of(RECORD), dict.fromkeys(range(80), 60))
    more = busy_vector(7_200)
    assert folded(100, rows, newest=more)[0, 1] == busy_vector(2_400)
    assert folded(70, rows, newest=more)[(1,)] == busy_vector(2_400)


@pytest.mark.parametrize(
    ("spans", "phase", "expected"),
    [
        ([], 0, [(None, None, None)]),
        ([(None, None, 1)], 0, [(None, None, None)]),
        ([(None, None, 1)], 1, [(None, None, 0)]),
        ([(5, 9, None)], 3, [(None, 5, None), (5, 9, 0), (9, None, None)]),
        ([(9, None, None), (None, 5, None)], 0, [(None, 5, 1), (5, 9, None), (9, None, 0)]),
        ([(5, 9, None), (9, 12, 0)], 0, [(None, 5, None), (5, 9, 0), (9, 12, 1), (12, None, None)]),
    ],
)
def test_segments(
    spans: list[tuple[int | None, int | None, int | None]],
    phase: int,
    expected: list[tuple[int | None, int | None, int | None]],
) -> None:
    """Segments lie side by side and cover all time; another phase's spans cut nothing."""
    made = [FormatSpan(a, b, p, parse_format_mix("fp8=1")) for a, b, p in spans]
    assert segments_of(made, phase) == tuple(
        Segment(a, b, None if number is None else made[number]) for a, b, number in expected
    )


def test_outer_is_outside_of_each() -> None:
    """No bound of the outer coefficients lies inside one of those it stands for."""
    several = [weights_of(mix) for mix in (None, "bf16=1", "fp8=1")]
    found = outer(several)
    vector = busy_vector(1_000)
    for weights in several:
        floor, lower, _, upper, ceiling, unobserved = weigh(vector, weights)
        wide = weigh(vector, found)
        assert wide[0] <= floor and wide[1] <= lower and wide[3] >= upper
        assert wide[4] >= ceiling and wide[5] >= unobserved


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"from": "yesterday"}, "from 'yesterday' is no time"),
        ({"until": "2026-11-22T10:00:00"}, "does not say its time zone"),
        ({"from": "2026-11-22T10:00:00Z", "until": "2026-11-22T09:00:00Z"}, "does not lie after"),
        ({"from": "2026-11-22T10:00:00Z", "until": "2026-11-22T10:00:00Z"}, "does not lie after"),
        ({"phase": "-1"}, "phase '-1' is no number from 0"),
        ({"phase": "2147483648"}, "phase '2147483648' is no number from 0"),
        ({"phase": "x"}, "phase 'x' is no number"),
        ({"phase": "1", "format": "fp9"}, "unknown number format 'fp9'"),
        ({"phase": "1", "model": "m"}, "declare model for the whole run"),
    ],
)
def test_refused_span(body: dict[str, str], sentence: str) -> None:
    """A span that cannot be is refused in one sentence."""
    with pytest.raises(DataError, match=sentence) as caught:
        parse_run_declaration("alpha", {"format": "fp8"} | body)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="needs the format"):
        parse_run_declaration("alpha", {"phase": "1"})


def test_overlap_changes_nothing() -> None:
    """A span over another one is refused whole; exactly the same span corrects it."""
    totals = Totals(PARTS)
    first, over, same = declared([(0, 60, "fp8=1"), (30, None, "bf16=1"), (0, 60, "bf16=1")])
    totals.declare(first)
    before = totals.snapshot(AS_OF_NS, POSITION)
    with pytest.raises(
        DataError, match=r"overlaps the declared span \(from 2026-\S+Z until 2026-\S+Z\);"
    ):
        totals.declare(over)
    assert totals.snapshot(AS_OF_NS, POSITION) == before
    totals.declare(same)
    assert run_of(totals).declaration.spans == same.spans
    other = parse_run_declaration("other", {"format": "fp8", "phase": "1"})
    beside = parse_run_declaration("other", {"format": "bf16", "phase": "2"})
    assert len(other.overridden_by(beside).spans) == 2


def test_times() -> None:
    """Times are read with any offset and written in UTC; the first record is the earliest hour."""
    assert parse_time("2026-11-22T12:00:00+02:00", what="x") == parse_time(
        "2026-11-22T10:00:00Z", what="x"
    )
    assert (
        time_text(parse_time("2026-11-22T10:00:00.5Z", what="x")) == "2026-11-22T10:00:00.500000Z"
    )
    # What could not be written again would end every page that shows it.
    for beyond in ("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-12:00"):
        with pytest.raises(DataError, match="outside the years 1 to 9999 in UTC; leave it out"):
            parse_time(beyond, what="from")
    for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        assert time_text(parse_time(text, what="from")) == text
    rows = rows_of(key_of(RECORD), {130: 5, 200: 5})
    assert first_record_ns(rows) == EPOCH_NS + 2 * NS_PER_HOUR
    assert first_record_ns([]) is None
