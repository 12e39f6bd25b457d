"""Enrolled device time: every instant in one class, whatever agents, boots and networks do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.device_declarations import DeviceDeclaration, DeviceState
from flopmeter_collector.ledger.base import Coverage, StoredVector
from flopmeter_collector.placing import placed
from flopmeter_collector.presence import Charge
from flopmeter_collector.residual import ResidualAccounts
from flopmeter_collector.sightings import Sighting, Sightings
from flopmeter_collector.timeline import ENROLMENT_NS, Classes
from flopmeter_collector.totals import Totals
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.kernels.place_rows import SMALLEST_STEP_NS
from flopmeter_core.registers import Evidence, Key
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from support.totals import busy_vector, h100, table

DEVICE = "GPU-0"
CEILING = 2_000
SILENCE_NS = 300 * NS_PER_S
EPOCH_NS = 1_790_000_000 * NS_PER_S
"""Where the tests' hours are counted from, on the collector's clock."""


def at(hours: float) -> int:
    """Unix time in ns."""
    return EPOCH_NS + round(hours * NS_PER_HOUR)


def key(writer: int, allocation: str = "run:alpha") -> Key:
    """A key of one incarnation."""
    return Key(DEVICE, f"{writer:032x}", allocation, 0, Evidence.GPM, h100().record_id)


class House:
    """One device's accounts, spoken to as the collector does."""

    def __init__(self) -> None:
        """Begin without any report."""
        self.accounts = ResidualAccounts(SILENCE_NS)
        self.record: DeviceRecord = h100()
        self._covered: dict[Key, int] = {}

    def report(
        self,
        writer: int,
        covered_hours: float,
        *,
        now: float,
        boot: str = "b0",
        boot_hours: float | None = None,
        read_hours: float = 0,
        allocation: str = "run:alpha",
        node: str = "n0",
        lower_flop: int = 0,
    ) -> None:
        """Take the newest vector of a writer.

        Args:
            writer: which incarnation.
            covered_hours: how much it covered.
            now: when the report came.
            boot: the boot of the writer.
            boot_hours: time since boot when it reported; None: not live, a closed one.
            read_hours: time since boot when it last read its device; 0: it does not say.
            allocation: of the vector.
            node: where the device is.
            lower_flop: of the vector.
        """
        named = key(writer, allocation)
        covered_ns = round(covered_hours * NS_PER_HOUR)
        self.accounts.grow(
            named,
            replace(self.record, node=node),
            covered_ns=covered_ns - self._covered.get(named, 0),
            lower_flop=lower_flop,
            ceiling_flop_per_ns=CEILING,
        )
        if named not in self._covered:
            self.accounts.enrol_key(named)
        self._covered[named] = covered_ns
        read_ns = round(read_hours * NS_PER_HOUR)
        sightings = Sightings(reported={(named.incarnation, DEVICE): read_ns})
        if boot_hours is not None:
            boot_ns = round(boot_hours * NS_PER_HOUR)
            sightings.note_live(named.incarnation, Sighting(node, boot, boot_ns, at(now)))
        self.accounts.sighted(sightings, at(now), steady_ns=at(now))
        # As a round does: what follows goes on from the division made here.
        self.accounts.take_doubled()

    def declare(self, state: DeviceState, since: float, until: float = 0, on: str = DEVICE) -> None:
        """Declare something of the device or its node."""
        until_ns = at(until) if until else 0
        self.accounts.declare(DeviceDeclaration(on, state, at(since), until_ns))

    def classes(self, now: float) -> Classes:
        """The device's enrolled time."""
        self.accounts.take_doubled()
        (enrolled,) = self.accounts.enrolled(at(now))
        classes = enrolled.classes
        assert classes.enrolled_ns == (
            classes.classified_ns
            + classes.declared_down_ns
            + classes.in_flight_ns
            + sum(classes.residual_ns.values())
        )
        charged = self.accounts.at(at(now)).charges
        assert {run: charge.residual_ns for run, charge in charged.items()} == {
            run: ns for run, ns in classes.residual_ns.items() if run in charged
        }
        return classes

    def residual(self, now: float) -> dict[str | None, float]:
        """Residual hours by run."""
        return {run: ns / NS_PER_HOUR for run, ns in self.classes(now).residual_ns.items() if ns}

    def doubled(self) -> list[int]:
        """Time that two agents measured, by device."""
        self.accounts.take_doubled()
        return [each.doubled_ns for each in self.accounts.enrolled(at(1_000)) if each.doubled_ns]


def test_no_residual_while_reports_come() -> None:
    """A device whose agent reports misses nothing, and time on its way is not missing."""
    house = House()
    for hour in range(1, 5):
        house.report(1, hour, now=hour, boot_hours=hour)
    assert house.residual(4) == {}
    assert house.residual(4.05) == {}
    assert house.classes(4.05).in_flight_ns == round(0.05 * NS_PER_HOUR)
    assert house.residual(5) == {None: 1.0}


def test_down_over_a_reboot() -> None:
    """An agent that is down over a reboot leaves residual, and a late report takes it back."""
    house = House()
    house.report(1, 2, now=2, boot="b0", boot_hours=2)
    house.report(3, 1, now=11, boot="b2", boot_hours=1)
    assert house.residual(11) == {"run:alpha": 8.0}
    # Boot b1 was never heard live; its time comes as a closed incarnation.
    house.report(2, 6, now=11.1)
    assert house.residual(11) == {"run:alpha": 2.0}


@pytest.mark.parametrize(
    ("before", "after"),
    [("run:alpha", "run:beta"), ("none", "none"), ("run:alpha", "none"), ("none", "run:alpha")],
)
def test_a_gap_is_a_runs_only_where_both_ends_name_it(before: str, after: str) -> None:
    """Another user at one end, or none, leaves the gap to the remainder."""
    house = House()
    house.report(1, 2, now=2, boot="b0", boot_hours=2, allocation=before)
    house.report(2, 1, now=6, boot="b1", boot_hours=1, allocation=after)
    assert house.residual(6) == {None: 3.0}


def test_a_writer_of_two_users_confirms_none() -> None:
    """Nobody can tell which of an incarnation's users was there at its end."""
    house = House()
    house.report(1, 2, now=2, boot_hours=2)
    house.report(1, 1, now=3, boot_hours=3, allocation="run:beta")
    house.report(2, 1, now=6, boot="b1", boot_hours=1)
    assert house.residual(6) == {None: 2.0}


def test_what_ran_before_the_enrolment_pays_for_no_gap() -> None:
    """Closed incarnations that come with the first report never hide later silence."""
    house = House()
    house.report(1, 1_000, now=5)
    house.report(2, 1, now=5, boot="b1", boot_hours=1)
    assert house.residual(9) == {None: 4.0}
    house.report(3, 500, now=5 + ENROLMENT_NS / NS_PER_HOUR / 2)
    assert house.residual(9) == {None: 4.0}


def test_a_relayed_device_is_counted_by_sums() -> None:
    """Nobody heard a relayed agent live; what it classified since its first report counts."""
    house = House()
    for hour in range(1, 10):
        house.report(1, hour, now=hour)
    assert house.residual(9) == {}
    assert house.residual(12) == {None: 3.0}
    house.report(1, 12, now=12.01)
    assert house.residual(12.01) == {}


def test_delayed_reports_of_a_boot_place_it_at_the_least_delayed() -> None:
    """A report that was stuck for hours places its boot too late only until a prompt one came."""
    house = House()
    house.report(1, 1, now=4, boot_hours=1)
    house.report(1, 4, now=4.5, boot_hours=4)
    house.report(1, 5, now=5, boot_hours=5)
    assert house.residual(5) == {}
    assert house.residual(6) == {None: 1.0}


def test_retired_and_enrolled_again() -> None:
    """Retiring ends the charge at the stated time; enrolling begins another one."""
    house = House()
    house.report(1, 2, now=2, boot_hours=2)
    house.declare(DeviceState.RETIRED, 5)
    assert house.residual(100) == {None: 3.0}
    house.declare(DeviceState.ENROLLED, 50)
    assert house.residual(100) == {None: 53.0}
    house.declare(DeviceState.RETIRED, 60)
    assert house.residual(100) == {None: 13.0}


def test_retired_in_what_was_observed() -> None:
    """What agents classified after the device was retired is no part of its enrolled time."""
    house = House()
    house.report(1, 9, now=9, boot_hours=9)
    house.declare(DeviceState.ENROLLED, 1)
    house.declare(DeviceState.RETIRED, 5)
    classes = house.classes(20)
    assert (classes.classified_ns, classes.enrolled_ns) == (4 * NS_PER_HOUR, 4 * NS_PER_HOUR)


def test_enrolled_without_any_report() -> None:
    """A declared device without an agent is missing from the stated time on, at its ceiling."""
    house = House()
    house.accounts.declare_ceiling(DEVICE, 7)
    house.declare(DeviceState.ENROLLED, 10)
    assert house.residual(14) == {None: 4.0}
    residual = house.accounts.at(at(14))
    assert residual.charges[None].flop == 4 * NS_PER_HOUR * 7
    assert residual.silent_device_count == 1


def test_enrolled_from_an_earlier_time() -> None:
    """A declaration moves the beginning; what agents classified there is not missing."""
    house = House()
    house.report(1, 2, now=10, boot_hours=2)
    assert house.residual(10) == {}
    house.declare(DeviceState.ENROLLED, 5)
    assert house.residual(10) == {None: 3.0}


@pytest.mark.parametrize("subject", [DEVICE, "n0"])
def test_declared_down(subject: str) -> None:
    """What was declared down is no residual; what an agent saw meanwhile stays observed."""
    house = House()
    house.report(1, 2, now=2, boot="b0", boot_hours=2)
    house.report(2, 1, now=11, boot="b1", boot_hours=1)
    house.declare(DeviceState.DOWN, 1, 8, on=subject)
    house.declare(DeviceState.DOWN, 7, 9, on=subject)
    classes = house.classes(11)
    assert classes.declared_down_ns == 7 * NS_PER_HOUR
    assert house.residual(11) == {"run:alpha": 1.0}
    house.declare(DeviceState.DOWN, 12, 14, on=subject)
    assert house.residual(13) == {"run:alpha": 1.0, None: 1.0}
    assert house.residual(20) == {"run:alpha": 1.0, None: 7.0}
    house.report(2, 3, now=13, boot="b1", boot_hours=3)
    assert house.residual(20) == {"run:alpha": 1.0, None: 6.0}


def test_another_node_down_changes_nothing() -> None:
    """A declaration is about its own node only."""
    house = House()
    house.report(1, 2, now=2, boot_hours=2)
    house.declare(DeviceState.DOWN, 3, 8, on="n1")
    assert house.residual(9) == {None: 7.0}


def test_moved_device() -> None:
    """A device that goes on in a node that booted long before is seen there, and not doubled."""
    house = House()
    house.report(1, 5, now=5, boot="b0", boot_hours=5, node="n0")
    house.report(2, 3, now=9, boot="c0", boot_hours=500, node="n1")
    assert house.residual(9) == {"run:alpha": 1.0}
    assert house.doubled() == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_restart_finds_a_moved_device_where_it_was(order: int) -> None:
    """In whichever order its registers are read then, and whatever comes late of where it was."""
    house = House()
    house.report(1, 5, now=5, boot="b0", boot_hours=5, node="n0")
    house.report(2, 3, now=9, boot="c0", boot_hours=500, node="n1")
    house.report(1, 5, now=9, node="n0")

    again = House()
    again.accounts.restore(house.accounts.rows())
    for writer, hours, node in [(1, 5, "n0"), (2, 3, "n1")][::order]:
        again.report(writer, hours, now=9, node=node)
    stand = [each.accounts.enrolled(at(9)) for each in (house, again)]
    assert [[device.node for device in devices] for devices in stand] == [["n1"], ["n1"]]


def test_two_agents_on_one_device() -> None:
    """Two live agents of one boot are seen; the one with less proven work counts once."""
    house = House()
    house.report(1, 4, now=4, boot_hours=4, lower_flop=10)
    house.report(2, 1, now=4, boot_hours=4, lower_flop=20)
    residual = house.accounts.at(at(4))
    assert (residual.doubled_device_count, residual.doubled_ns) == (1, NS_PER_HOUR)
    assert house.residual(4) == {}


def test_state_folder_rolled_back() -> None:
    """An agent that goes on from an older state of the same boot counts that time twice."""
    house = House()
    house.report(1, 4, now=4, boot_hours=4)
    house.report(2, 3, now=5, boot_hours=5)
    assert house.doubled() == [2 * NS_PER_HOUR]


def test_clone() -> None:
    """A cloned machine has a boot of its own; its time beside the original's is seen."""
    house = House()
    house.report(1, 4, now=4, boot="b0", boot_hours=4)
    house.report(2, 2, now=4, boot="b1", boot_hours=2)
    assert house.doubled() == [2 * NS_PER_HOUR]
    # The clone is switched off: nothing of it grows any more, and the original goes on.
    house.report(1, 6, now=6, boot="b0", boot_hours=6)
    assert house.doubled() == [2 * NS_PER_HOUR]


def test_restarts_are_no_overlap() -> None:
    """Where one incarnation ends the next begins; a report period between is no doubt."""
    house = House()
    for writer in range(1, 50):
        house.report(writer, 0.25 + 20 / 3_600, now=writer / 4, boot_hours=writer / 4)
    assert house.doubled() == []
    assert house.residual(12.25) == {}


def test_what_is_read_long_before_its_report_is_no_overlap() -> None:
    """An agent that reads every half hour is placed by its readings, not by its reports."""
    house = House()
    house.report(1, 0.5, now=0.9, boot_hours=0.9, read_hours=0.5)
    house.report(1, 1, now=1.4, boot_hours=1.4, read_hours=1)
    house.report(2, 0.5, now=1.55, boot_hours=1.55, read_hours=1.5)
    assert house.doubled() == []
    assert house.residual(1.55) == {}


def test_an_older_reading_of_another_user_moves_no_place() -> None:
    """The newest reading of any of its registers is where an incarnation's time ends."""
    house = House()
    house.report(1, 9, now=9, boot_hours=9, read_hours=9)
    house.report(2, 1, now=12, boot_hours=12, read_hours=12, allocation="run:beta")
    house.report(2, 2, now=12.1, boot_hours=12.1, read_hours=10.5)
    assert house.doubled() == []


def test_restored_rows_say_the_same() -> None:
    """A collector that starts again derives the same residual from what it stored."""
    house, again = House(), House()
    for number, boot in enumerate(("b0", "b1", "b2"), start=1):
        house.report(number, 2, now=number * 5, boot=boot, boot_hours=3)
    again.accounts.restore(house.accounts.rows())
    for number in (1, 2, 3):
        again.accounts.grow(
            key(number),
            again.record,
            covered_ns=2 * NS_PER_HOUR,
            lower_flop=0,
            ceiling_flop_per_ns=CEILING,
        )
    assert again.residual(20) == house.residual(20)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["run", "restart", "lost_journal", "reboot", "outage"]),
            st.integers(1, 48),
        ),
        min_size=1,
        max_size=14,
    ),
    st.data(),
)
def test_every_minute_in_one_class(events: Sequence[tuple[str, int]], data: st.DataObject) -> None:
    """Restarts, reboots, outages, late reports: what is missing is what nobody classified.

    A quarter of an hour is the unit. The truth is kept beside: which quarters an agent
    classified. Wall clocks of nodes do not appear, because nothing depends on them.
    """
    house = House()
    boots = now = boot_at = since = 0
    writer = 1
    enrolled: int | None = None
    seen: set[int] = set()
    journals: list[tuple[int, int]] = []
    online = True
    for kind, length in events:
        if kind == "outage":
            online = not online
        elif kind == "run":
            for _ in range(length):
                seen.add(now)
                now += 1
                if online:
                    house.report(
                        writer,
                        (now - since) / 4,
                        now=now / 4,
                        boot=f"b{boots}",
                        boot_hours=(now - boot_at) / 4,
                    )
                    enrolled = now if enrolled is None else enrolled
        else:
            journals.append((writer, now - since))
            if kind != "restart":
                now += length
            if kind == "reboot":
                boots, boot_at = boots + 1, now
            since, writer = now, writer + 1
    journals.append((writer, now - since))
    if enrolled is None:
        return
    # Healed: what journals hold comes, in any order and more than once. What was closed before
    # the first contact comes with it, as an agent sends it.
    late = data.draw(st.permutations([*journals, *journals]))
    for number, quarters in late:
        if quarters and not _before_contact(journals, number, enrolled, seen):
            house.report(number, quarters / 4, now=now / 4 + 1)
    end = now + 8
    missing = [quarter for quarter in range(enrolled, end) if quarter not in seen]
    assert sum(house.residual(end / 4).values()) == len(missing) / 4
    assert house.doubled() == []


def _before_contact(
    journals: Sequence[tuple[int, int]], number: int, enrolled: int, seen: set[int]
) -> bool:
    """Whether an incarnation ended before the first contact."""
    ran = sorted(seen)
    ended = sum(quarters for writer, quarters in journals if writer <= number)
    return ended < len([quarter for quarter in ran if quarter < enrolled])


def metered(totals: Totals, writer: int, hours: int, *, boot: str, now: float) -> None:
    """A live report of an H100 that was busy all the time, for run alpha."""
    named = key(writer)
    busy = busy_vector(hours * 3_600)
    totals.update(named, h100(), [StoredVector(named, 0, 1, busy)])
    sightings = Sightings(reported={(named.incarnation, DEVICE): 0})
    boot_ns = hours * NS_PER_HOUR
    sightings.note_live(named.incarnation, Sighting("n0", boot, boot_ns, at(now)))
    totals.residuals.sighted(sightings, at(now), steady_ns=at(now))


def test_silence_of_a_node_is_that_of_its_devices() -> None:
    """A sensor of a whole node is silent for each device behind it; its ceiling is the node's."""
    house = House()
    house.record = replace(h100(), device_count=8)
    house.report(1, 2, now=2, boot_hours=2)
    residual = house.accounts.at(at(5))
    assert residual.charges[None].residual_ns == 8 * 3 * NS_PER_HOUR
    assert residual.charges[None].flop == 3 * NS_PER_HOUR * CEILING
    assert (residual.silent_device_count, residual.enrolled_device_count) == (8, 8)
    house.declare(DeviceState.DOWN, 3, 4)
    house.accounts.take_doubled()
    residual = house.accounts.at(at(5))
    assert residual.declared_down_ns == 8 * NS_PER_HOUR
    assert residual.charges[None].residual_ns == 8 * 2 * NS_PER_HOUR


def test_a_silent_device_that_reports_again_is_present() -> None:
    """However its report is taken, it misses nothing more; what it missed it has told by then."""
    house = House()
    house.report(1, 2, now=2, boot_hours=2)
    house.accounts.take_doubled()
    assert house.accounts.at(at(3)).silent_device_count == 1
    # Of the newest agent, and nothing else moves: nobody divides the device's time anew.
    house.report(1, 3, now=3)
    assert house.accounts.moved_count == 0
    assert house.accounts.at(at(3)).silent_device_count == 0
    assert house.accounts.at(at(4)).charges == {None: Charge(NS_PER_HOUR, NS_PER_HOUR * CEILING)}
    growing = house.accounts.growing(key(1), house.record)
    assert growing is not None
    house.accounts.go_on(growing, NS_PER_HOUR, 0, 0)
    assert house.accounts.at(at(4)).charges == {}


def test_a_device_is_silent_since_its_newest_reading() -> None:
    """What came while nobody looked is no silence, and shows where devices are told."""
    house = House()
    house.report(1, 2, now=2, boot_hours=2)
    assert house.accounts.at(at(2)).charges == {}
    house.report(1, 3, now=3)
    assert house.accounts.moved_count == 0
    assert house.accounts.at(at(5)).charges == {
        None: Charge(2 * NS_PER_HOUR, 2 * NS_PER_HOUR * CEILING)
    }
    (told,) = house.accounts.enrolled(at(5))
    assert told.classes.classified_ns == NS_PER_HOUR  # since it is enrolled


def test_residual_widens_only_the_upper_side() -> None:
    """A gap adds its ceiling to upper and ceiling of its run, apart from what was observed."""
    totals = Totals(table())
    metered(totals, 1, 2, boot="b0", now=2)
    before = totals.snapshot(at(2), None).runs[0].account
    metered(totals, 2, 1, boot="b1", now=8)
    (run,) = totals.snapshot(at(8), None).runs
    figures = run.account.figures
    assert before.residual_flop == 0
    assert run.account.residual_ns == 5 * NS_PER_HOUR
    assert figures.unobserved_ceiling == run.account.residual_flop > 0
    total, without = figures.total, figures.without_unobserved
    assert (total.floor, total.lower, total.best) == (without.floor, without.lower, without.best)
    assert total.upper == without.upper + run.account.residual_flop
    assert total.ceiling == without.ceiling + run.account.residual_flop
    # The model's states are of the same figures.
    (model,) = totals.snapshot(at(8), None).models
    assert model.figures.unobserved_ceiling == run.account.residual_flop


def test_doubled_work_counts_once_in_lower_and_twice_in_upper() -> None:
    """Two agents that saw the same hours: lower and best of one, upper of both."""
    alone, both = Totals(table()), Totals(table())
    metered(alone, 1, 4, boot="b0", now=4)
    metered(both, 1, 4, boot="b0", now=4)
    metered(both, 2, 4, boot="b1", now=4)
    one, two = (each.snapshot(at(4), None) for each in (alone, both))
    of_one, of_two = one.runs[0].account, two.runs[0].account
    observed_one, observed_two = of_one.figures.observed, of_two.figures.observed
    assert (observed_two.floor, observed_two.lower, observed_two.best) == (
        observed_one.floor,
        observed_one.lower,
        observed_one.best,
    )
    assert observed_two.upper == 2 * observed_one.upper
    assert observed_two.ceiling == 2 * observed_one.ceiling
    assert (of_two.busy_ns, of_two.energy_mj) == (of_one.busy_ns, of_one.energy_mj)
    assert (two.residual.doubled_device_count, one.residual.doubled_device_count) == (1, 0)


def test_who_was_met_before_the_round_is_enrolled_from_then_on() -> None:
    """The row that a commit put down counts, and the round makes no later one."""
    house = House()
    met = Coverage(key(1).incarnation, DEVICE, "n0", "", None, None, at(1), NS_PER_HOUR)
    house.accounts.grow(
        key(1), house.record, covered_ns=NS_PER_HOUR, lower_flop=0, ceiling_flop_per_ns=CEILING
    )
    sightings = Sightings(reported={(key(1).incarnation, DEVICE): 0}, enrolled=(met,))
    assert house.accounts.sighted(sightings, at(3), steady_ns=at(3)) == []
    assert house.accounts.rows() == [met]
    assert house.residual(3) == {None: 2}


def test_a_report_that_tells_nothing_new_is_told_apart_at_once() -> None:
    """Of usual reports nothing is divided anew, and what is divided once is counted beforehand."""
    house = House()
    house.report(1, 1, now=1, boot_hours=1)
    house.accounts.grow(
        key(1), house.record, covered_ns=NS_PER_HOUR, lower_flop=0, ceiling_flop_per_ns=CEILING
    )
    later = Sightings(reported={(key(1).incarnation, DEVICE): 0})
    later.note_live(key(1).incarnation, Sighting("n0", "b0", 2 * NS_PER_HOUR, at(2)))
    assert house.accounts.sighted(later, at(2), steady_ns=at(2)) == []
    assert house.accounts.moved_count == 0
    earlier = Sightings()
    earlier.note_live(key(1).incarnation, Sighting("n0", "b0", 2 * NS_PER_HOUR, at(1.5)))
    (better,) = house.accounts.sighted(earlier, at(2), steady_ns=at(2))
    assert better.anchor_ns == at(1.5) - 2 * NS_PER_HOUR
    assert house.accounts.moved_count == 1


HALF_HOURS_NS = [number * NS_PER_HOUR // 2 for number in range(12)]


@given(
    covered_ns=st.sampled_from(HALF_HOURS_NS[:4]),
    read_ns=st.sampled_from(HALF_HOURS_NS),
    boot_ns=st.sampled_from(HALF_HOURS_NS),
    late_ns=st.sampled_from([-NS_PER_HOUR, -SMALLEST_STEP_NS, 1 - SMALLEST_STEP_NS, 0, NS_PER_S]),
)
def test_what_is_passed_over_would_be_placed_no_better(
    covered_ns: int, read_ns: int, boot_ns: int, late_ns: int
) -> None:
    """Whatever a report says, its device is placed as the rule says, and else not at all."""
    house = House()
    house.report(1, 1, now=3, boot_hours=3)
    accounts, incarnation = house.accounts, key(1).incarnation
    accounts.grow(
        key(1), house.record, covered_ns=covered_ns, lower_flop=0, ceiling_flop_per_ns=CEILING
    )
    accounts.note(Sightings(reported={(incarnation, DEVICE): read_ns}), at(5))
    sighting = Sighting("n0", "b0", boot_ns, at(0) + boot_ns + late_ns)
    (writer,) = accounts.agents.parts(incarnation)
    better = placed(writer, incarnation, sighting)
    news = accounts.agents.news({incarnation: sighting})
    assert accounts.place(news, frozenset()) == ([] if better is None else [better])
