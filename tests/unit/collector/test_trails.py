"""Histories: one row an hour while a model grows, none while it stands, two at a correction."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.ledger.base import HistoryRow
from flopmeter_collector.trails import MAXIMUM_TRAILS, Trails, points_of
from flopmeter_core.pace import WINDOW_H, pace_of
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S

START_NS = 500_000 * NS_PER_HOUR
LINE = 10**25
HOUR_FLOP = 10**22


class Site:
    """A collector's look at one model, as often as told."""

    def __init__(self, model: str = "m") -> None:
        self.trails = Trails()
        self.model = model
        self.rows: list[HistoryRow] = []
        self.last: Mapping[str, int] = {}

    def look(
        self, hours: float, flop: int, *, corrected: bool = False, basis: str = "3/t", **more: int
    ) -> list[HistoryRow]:
        """One round at so many hours from the start; returns the rows it put down."""
        totals = {"": flop, **more}
        moved = {self.model: totals} if totals != self.last else {}
        self.last = totals
        found = self.trails.note(
            moved,
            now_ns=START_NS + round(hours * NS_PER_HOUR),
            lowest_flop=LINE,
            basis=basis,
            corrected=corrected,
        )
        self.trails.recorded(found)
        self.rows += found
        return list(found)


def test_small_models_leave_no_trace() -> None:
    """Below a thousandth of the lowest line nothing is put down, whatever the time."""
    site = Site()
    assert site.look(0, LINE // 1_000 - 1) == []
    assert len(site.look(1, LINE // 1_000)) == 1


def test_one_row_an_hour() -> None:
    """However often it is looked, a growing model has a row an hour."""
    site = Site()
    for second in range(0, 3 * 3_600, 60):
        site.look(second / 3_600, LINE // 100 + second * 10**18)
    assert [row.at_ns for row in site.rows] == [START_NS + n * NS_PER_HOUR for n in range(3)]


def test_a_standstill_has_its_two_ends() -> None:
    """Nothing is put down while it stands; when it goes on, the end of the standstill is."""
    site = Site()
    site.look(0, LINE // 100)
    site.look(1, LINE // 50)
    for hour in range(2, 40):
        assert site.look(hour, LINE // 50) == []
    found = site.look(40.5, LINE // 40)
    assert [(row.at_ns - START_NS) / NS_PER_HOUR for row in found] == [39, 40.5]
    assert [row.totals[""] for row in found] == [LINE // 50, LINE // 40]


def test_a_correction_is_marked() -> None:
    """A declaration that doubles the past puts down what was shown and what it became."""
    site = Site()
    site.look(0, LINE // 100)
    site.look(0.4, LINE // 90)
    found = site.look(0.5, LINE // 45, corrected=True)
    assert [(row.totals[""], row.revalued) for row in found] == [
        (LINE // 90, False),
        (LINE // 45, True),
    ]
    # A declaration of somebody else's run changes nothing here.
    assert site.look(0.6, LINE // 45 + 10, corrected=True) == []


def test_another_method_is_a_correction() -> None:
    """After an update the first look is marked: the step to it is no work."""
    site = Site()
    site.look(0, LINE // 100)
    restarted = Site()
    restarted.trails.restore(site.rows)
    (row,) = restarted.look(0.9, LINE // 80, basis="4/t")
    assert (row.revalued, row.basis) == (True, "4/t")


def test_a_restart_goes_on() -> None:
    """What was put down before a restart gives the same pace after it."""
    site = Site()
    for hour in range(60):
        site.look(hour, LINE // 100 + hour * HOUR_FLOP)
    again = Trails()
    again.restore(site.rows)
    for trails in (site.trails, again):
        trails.note({}, now_ns=0, lowest_flop=1, basis="", corrected=False)
    now_ns = START_NS + 60 * NS_PER_HOUR
    best = LINE // 100 + 60 * HOUR_FLOP
    first, second = (
        trails.pace("m", "", best_flop=best, now_ns=now_ns) for trails in (site.trails, again)
    )
    assert first == second
    assert first is not None
    assert first.level_flop_per_h == HOUR_FLOP


@given(st.lists(st.sampled_from([0, HOUR_FLOP, HOUR_FLOP // 2]), min_size=30, max_size=90))
def test_sparse_rows_give_the_pace_of_every_hour(hours: list[int]) -> None:
    """The pace of what is put down is that of a row at every single hour."""
    site, flop = Site(), LINE // 100
    site.look(0, flop)
    full = [HistoryRow("m", START_NS, {"": flop})]
    for number, work in enumerate([HOUR_FLOP, *hours], start=1):
        flop += work
        site.look(number, flop)
        full.append(HistoryRow("m", START_NS + number * NS_PER_HOUR, {"": flop}))
    now_ns = START_NS + (len(hours) + 1) * NS_PER_HOUR
    kept, whole = (
        pace_of(points_of(rows, "", best_flop=flop, now_ns=now_ns), now_ns=now_ns)
        for rows in (site.rows, full)
    )
    assert kept == whole
    assert len(site.rows) <= len(full)


def test_each_profile_has_its_own_history() -> None:
    """A profile that counts less has less of a pace; one without a figure of its own has all."""
    site = Site()
    for hour in range(40):
        site.look(hour, LINE // 10 + hour * HOUR_FLOP, eu=LINE // 20 + hour * HOUR_FLOP // 2)
    now_ns = START_NS + 40 * NS_PER_HOUR
    site.trails.note({}, now_ns=now_ns, lowest_flop=1, basis="3/t", corrected=False)
    paces = {
        profile: site.trails.pace("m", profile, best_flop=best, now_ns=now_ns)
        for profile, best in (
            ("", LINE // 10 + 40 * HOUR_FLOP),
            ("ca", LINE // 10 + 40 * HOUR_FLOP),
            ("eu", LINE // 20 + 20 * HOUR_FLOP),
        )
    }
    levels = [pace.level_flop_per_h if pace else 0 for pace in paces.values()]
    assert levels == [HOUR_FLOP, HOUR_FLOP, HOUR_FLOP // 2]


def test_first_reached_looks_back_through_a_correction() -> None:
    """A format declared late shows that the line was reached before anybody knew."""
    site = Site()
    for hour in range(30):
        site.look(hour, LINE // 100 * (hour + 1))
    site.look(29.5, LINE // 100 * 30)
    site.look(29.6, LINE // 100 * 60, corrected=True)
    at_ns = site.trails.first_reached_ns(
        "m", "", LINE // 100 * 20, best_flop=LINE // 100 * 60, now_ns=START_NS + 30 * NS_PER_HOUR
    )
    assert (at_ns - START_NS) / NS_PER_HOUR == 9


def test_memory_is_bounded() -> None:
    """Rows older than the window leave, and no more than so many models are followed."""
    site = Site()
    for hour in range(WINDOW_H + 200):
        site.look(hour, LINE // 100 + hour * HOUR_FLOP)
    assert len(site.trails._rows["m"]) <= WINDOW_H + 3
    trails = Trails()
    many = {f"m{n}": {"": LINE + n} for n in range(MAXIMUM_TRAILS + 50)}
    rows = trails.note(
        many, now_ns=START_NS + NS_PER_S, lowest_flop=LINE, basis="", corrected=False
    )
    assert len(rows) == MAXIMUM_TRAILS
    assert {row.model for row in rows} == {f"m{n}" for n in range(50, MAXIMUM_TRAILS + 50)}
