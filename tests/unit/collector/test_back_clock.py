"""A collector's clock that goes back: no boot is moved over the one before it by that."""

from __future__ import annotations

import pytest

from flopmeter_collector.back_clock import BELIEVED_AFTER_NS, EARLY_NS, EPISODE_NS, BackClock
from flopmeter_collector.residual import ResidualAccounts
from flopmeter_collector.sightings import Sighting, Sightings
from flopmeter_core.registers import Evidence, Key
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from support.totals import h100

ONE, OTHER = ("n0", "b0"), ("n1", "b0")


def test_one_early_boot_had_its_reports_stuck() -> None:
    """It is moved at once, as often as it turns out early."""
    clock = BackClock()
    assert clock.doubted({}, 1) == set()
    for steady_ns in (1, 2, EPISODE_NS):
        assert clock.doubted({ONE: EARLY_NS + 1}, steady_ns) == set()


def test_several_early_boots_are_the_clock(caplog: pytest.LogCaptureFixture) -> None:
    """None is moved until each has said so for an hour, and that is said once."""
    clock = BackClock()
    assert clock.doubted({ONE: 7, OTHER: 9}, 5) == {ONE, OTHER}
    last_ns = 5 + BELIEVED_AFTER_NS
    for steady_ns in range(6, last_ns, EPISODE_NS):
        assert clock.doubted({OTHER: 9}, steady_ns) == {OTHER}
    assert clock.doubted({ONE: 7, OTHER: 9, ("n2", "b"): 9}, last_ns) == {("n2", "b")}
    assert caplog.text.count("clock went back") == 1


def test_an_episode_ends() -> None:
    """A boot that is early long after another one is alone again."""
    clock = BackClock()
    assert clock.doubted({ONE: 7}, 5) == set()
    assert clock.doubted({OTHER: 7}, 5 + EPISODE_NS) == {OTHER}, "within five minutes"
    assert clock.doubted({OTHER: 7}, 6 + 2 * EPISODE_NS) == set()


def test_it_is_behind_until_nothing_says_so_any_more() -> None:
    """For the five minutes of an episode after the last early boot, and for an hour at most."""
    clock = BackClock()
    clock.doubted({ONE: 7}, 5)
    assert not clock.stands_behind(5), "one alone had its reports stuck"
    clock.doubted({OTHER: 7}, 6)
    assert clock.stands_behind(6 + EPISODE_NS)
    assert not clock.stands_behind(7 + EPISODE_NS)
    for steady_ns in range(6, 5 + BELIEVED_AFTER_NS, EPISODE_NS):
        clock.doubted({OTHER: 7}, steady_ns)
    assert clock.stands_behind(4 + BELIEVED_AFTER_NS)
    assert not clock.stands_behind(5 + BELIEVED_AFTER_NS), "it was put right, and ahead before"


class Fleet:
    """Nodes of one device each, which report at the same time."""

    def __init__(self, count: int) -> None:
        """Begin without any report."""
        self.count = count
        self.accounts = ResidualAccounts()

    def report(self, boot: int, hours: float, *, now: float, behind: float = 0) -> None:
        """An hour and more of every node.

        Args:
            boot: which boot.
            hours: time since it began, all of it measured; each report says one hour more.
            now: true time in hours.
            behind: how far the collector's clock is behind it.
        """
        received_ns = round((now - behind) * NS_PER_HOUR)
        sightings = Sightings()
        for node in range(self.count):
            incarnation, device = f"{boot * 1000 + node:032x}", f"GPU-{node}"
            record = h100(node=f"n{node}", device=device)
            key = Key(device, incarnation, "run:a", 0, Evidence.GPM, record.record_id)
            self.accounts.grow(
                key, record, covered_ns=NS_PER_HOUR, lower_flop=7, ceiling_flop_per_ns=1
            )
            if hours == 1:
                self.accounts.enrol_key(key)
            boot_ns = round(hours * NS_PER_HOUR)
            sightings.reported[incarnation, device] = boot_ns
            sightings.note_live(incarnation, Sighting(f"n{node}", f"b{boot}", boot_ns, received_ns))
        steady_ns = round(now * NS_PER_HOUR)
        self.accounts.sighted(sightings, received_ns, steady_ns=steady_ns)
        self.accounts.take_doubled()

    def doubled(self, now: float) -> int:
        """Devices of which two boots are thought to have measured one time."""
        return self.accounts.at(round(now * NS_PER_HOUR)).doubled_device_count


@pytest.mark.parametrize("behind_hours", [0.5, 5, 90_000])
def test_a_clock_that_is_behind_for_a_moment_moves_no_boot(behind_hours: float) -> None:
    """Nothing that two boots measured one after the other counts once."""
    fleet = Fleet(3)
    for hour in range(1, 11):
        fleet.report(1, hour, now=1_000_000 + hour)
    for hour in range(1, 6):
        behind = behind_hours if hour == 4 else 0
        fleet.report(2, hour, now=1_000_010.5 + hour, behind=behind)
        assert fleet.doubled(1_000_016) == 0


def test_a_boot_that_is_met_by_a_clock_that_is_behind_is_placed_later() -> None:
    """Its first reports would put it over the one before it, and no later one moves it back."""
    fleet, newcomer = Fleet(3), "f" * 32
    for hour in range(1, 11):
        fleet.report(1, hour, now=1_000_000 + hour)

    def meet(boot_hours: float, now: float, behind: float = 0) -> int | None:
        record = h100(node="n9", device="GPU-9")
        key = Key("GPU-9", newcomer, "run:a", 0, Evidence.GPM, record.record_id)
        grown = {"covered_ns": NS_PER_HOUR // 10, "lower_flop": 7, "ceiling_flop_per_ns": 1}
        fleet.accounts.grow(key, record, **grown)
        boot_ns, received_ns = (round(hours * NS_PER_HOUR) for hours in (boot_hours, now - behind))
        sightings = Sightings(reported={(newcomer, "GPU-9"): boot_ns})
        sightings.note_live(newcomer, Sighting("n9", "b9", boot_ns, received_ns))
        fleet.accounts.sighted(sightings, received_ns, steady_ns=round(now * NS_PER_HOUR))
        fleet.accounts.take_doubled()
        (row,) = (row for row in fleet.accounts.rows() if row.device == "GPU-9")
        return row.anchor_ns

    fleet.report(1, 11, now=1_000_011, behind=5)
    assert meet(0.1, now=1_000_011.01, behind=5) is None
    assert meet(0.2, now=1_000_011.11) == round(1_000_010.91 * NS_PER_HOUR)


def test_a_clock_that_stays_where_it_is_was_put_right() -> None:
    """After an hour boots are where it says, those that ran on when it was put right too."""
    fleet = Fleet(3)
    fleet.report(1, 1, now=101, behind=-5)
    for minute in range(61, 125, 3):
        fleet.report(1, minute / 60, now=100 + minute / 60)
    (row, *_) = fleet.accounts.rows()
    assert row.anchor_ns == 100 * NS_PER_HOUR
    assert fleet.accounts.at(102 * NS_PER_HOUR + 299 * NS_PER_S).silent_device_count == 0
