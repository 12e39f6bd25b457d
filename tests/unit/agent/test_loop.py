"""The loop: what an agent remembers over restarts, and what it sends."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from flopmeter_agent import state
from flopmeter_agent.closed import open_closed
from flopmeter_agent.display import DisplayEstimate
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.scenario import Scenario, ScenarioClock, parse_scenario
from flopmeter_agent.sensors.base import Readout
from flopmeter_agent.sensors.simulated import SimulatedSensor
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import parse_device_table
from flopmeter_core.errors import NotPermittedError, SensorError, StorageError
from flopmeter_core.registers import Component, covered_ns
from flopmeter_core.reports import (
    Acknowledgement,
    Answer,
    Durability,
    HourlyAcknowledgement,
    LedgerPosition,
    Report,
)
from flopmeter_core.units import NS_PER_S
from support.manual_clock import StandingClock

SCENARIO = """
seed = 7
acceleration = 10
duration_s = 4000
[node]
count = 1
devices = 2
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980
[[run]]
name = "a"
start_s = 100
stop_s = 3000
nodes = ["n0"]
tensor_activity = 0.4
clock_mhz = 1700
power_w = 650
"""


class Host:
    """A simulated node whose agent can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        """Prepare; no agent runs yet."""
        self.path = folder / "journal"
        self.base = StandingClock()
        self.scenario: Scenario = parse_scenario(SCENARIO)
        self.clock = ScenarioClock(self.base, self.scenario, epoch_wall_ns=0)
        self.starts = 0

    def start(self) -> AgentLoop:
        """A new agent process; the one before was killed with SIGKILL."""
        self.starts += 1
        return AgentLoop(
            SimulatedSensor("n0", self.clock, self.scenario),
            Journal(OsBlockFile(self.path)),
            self.clock,
            Identity(node="n0"),
            closed=open_closed(OsBlockFile(self.path.parent / "closed")),
            incarnation=f"{self.starts:032x}",
            period_ns=10 * NS_PER_S,
            new_incarnation=lambda: f"{self.starts:031x}f",
            display=DisplayEstimate(parse_device_table(builtin_table("devices.toml"))),
        )

    def go_to(self, scenario_s: float) -> None:
        """Move scenario time."""
        self.base.at_ns = round(scenario_s * NS_PER_S / self.scenario.acceleration)


def totals(report: Report | None, allocation: str) -> list[int]:
    """Component sums of a report over all keys of an allocation."""
    assert report is not None
    sums = [0] * len(Component)
    for keyed in report.vectors:
        if keyed.key.allocation == allocation:
            for place, amount in enumerate(keyed.vector):
                sums[place] += amount
    return sums


def answer(
    report: Report | None,
    *,
    commit: int = 1,
    ledger: str = "L",
    durable: Durability = Durability.AT_ROOT,
) -> Answer:
    """The collector's answer when it committed everything."""
    assert report is not None
    return Answer(
        tuple(Acknowledgement(keyed.key, keyed.sequence, durable) for keyed in report.vectors),
        LedgerPosition(ledger, 1, commit),
    )


def test_registers_equal_the_scenarios_truth(tmp_path: Path) -> None:
    """What is registered for a run is what the script says its devices did, to the unit."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 50, 170, 1000, 2999, 3500):
        host.go_to(scenario_s)
        loop.sample()
    end_ns = 3000 * NS_PER_S
    truth = sum(host.scenario.tensor_cycles("n0", device, end_ns) // 10**6 for device in range(2))
    assert totals(loop.report(), "run:a")[Component.HMMA_MEGACYCLES] == truth


def test_a_killed_agent_finds_the_work_of_its_absence(tmp_path: Path) -> None:
    """With cumulative counters a kill at any time changes no total, to the unit."""
    undisturbed, disturbed = Host(tmp_path / "one"), Host(tmp_path / "two")
    for host, kills in ((undisturbed, ()), (disturbed, (700, 2500))):
        host.path.parent.mkdir()
        loop = host.start()
        for scenario_s in (0, 150, 333, 700, 1717, 2500, 2600, 4000):
            host.go_to(scenario_s)
            loop.sample()
            if scenario_s in kills:
                loop = host.start()
        report = loop.report()
        if host is undisturbed:
            expected = totals(report, "run:a")
        else:
            assert totals(report, "run:a") == expected
            assert report is not None
            assert len({keyed.key.incarnation for keyed in report.vectors}) == 3


def test_the_agents_own_estimate_rides_along(tmp_path: Path) -> None:
    """Each allocation's best figure, undeclared: tensor cycles x 4096 on an H100."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 50, 500):
        host.go_to(scenario_s)
        loop.sample()
    report = loop.report()
    assert report is not None
    megacycles = totals(report, "run:a")[Component.HMMA_MEGACYCLES]
    assert report.display_flop == {"none": 0, "run:a": megacycles * 4096 * 10**6}


def test_a_relay_releases_nothing_before_the_root_has_it(tmp_path: Path) -> None:
    """What is durable at a relay only is not sent again, and is after the relay was lost."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 500):
        host.go_to(scenario_s)
        loop.sample()
    first = loop.report()
    loop.acknowledge(answer(first, durable=Durability.HERE))
    asked = loop.report()
    assert asked is not None and asked.vectors == (), "the relay is asked what reached the root"
    loop.sample()
    journaled = state.decode(Journal(OsBlockFile(host.path)).payload or b"")
    assert all(stored.acknowledged == 0 for stored in journaled.registers)

    loop.acknowledge(answer(asked, ledger="new disk", durable=Durability.HERE))
    again = loop.report()
    assert first is not None and again is not None
    assert {keyed.key for keyed in again.vectors} >= {keyed.key for keyed in first.vectors}
    loop.acknowledge(answer(again, ledger="new disk", durable=Durability.HERE))
    loop.acknowledge(answer(again, ledger="new disk"))
    assert loop.report() is None, "everything is at the root"


def test_only_what_changed_since_its_acknowledgement_is_sent(tmp_path: Path) -> None:
    """An acknowledged vector is not sent again until it changes."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 500):
        host.go_to(scenario_s)
        loop.sample()
    loop.acknowledge(answer(loop.report()))
    assert loop.report() is None
    host.go_to(600)
    loop.sample()
    report = loop.report()
    assert report is not None
    assert {keyed.key.allocation for keyed in report.vectors} == {"run:a"}


def test_a_late_acknowledgement_does_not_hide_newer_work(tmp_path: Path) -> None:
    """An acknowledgement covers exactly its sequence."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 500):
        host.go_to(scenario_s)
        loop.sample()
    earlier = loop.report()
    host.go_to(600)
    loop.sample()
    loop.acknowledge(answer(earlier))
    assert loop.report() is not None


def test_acknowledgements_survive_a_restart(tmp_path: Path) -> None:
    """A closed register that was acknowledged is not sent again by the next incarnation."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 3100):
        host.go_to(scenario_s)
        loop.sample()
    loop.acknowledge(answer(loop.report()))
    loop.sample()
    left = host.start().report()
    assert left is not None
    assert left.vectors == ()  # only the hour that the kill left open
    assert {row.hour for row in left.hours} == {0}


@pytest.mark.parametrize(("commit", "ledger"), [(3, "L"), (9, "M")])
def test_a_ledger_that_went_back_gets_everything_again(
    tmp_path: Path, commit: int, ledger: str
) -> None:
    """After a restored backup or a new ledger nothing counts as acknowledged."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 50, 500):
        host.go_to(scenario_s)
        loop.sample()
    first = loop.report()
    loop.acknowledge(answer(first, commit=7))
    assert loop.report() is None
    host.go_to(510)
    loop.sample()
    changed = loop.report()
    loop.acknowledge(answer(changed, commit=commit, ledger=ledger))
    again = loop.report()
    assert first is not None
    assert changed is not None
    assert again is not None
    assert {k.key for k in again.vectors} == {k.key for k in first.vectors} - {
        k.key for k in changed.vectors
    }


def test_simulated_and_real_readings_never_share_a_journal(tmp_path: Path) -> None:
    """A state folder of the other kind is refused with what to do."""
    host = Host(tmp_path)
    host.start().sample()

    class RealSensor(SimulatedSensor):
        simulated = False

    with pytest.raises(NotPermittedError, match="use another state folder"):
        AgentLoop(
            RealSensor("n0", host.clock, host.scenario),
            Journal(OsBlockFile(host.path)),
            host.clock,
            Identity(node="n0"),
            closed=open_closed(OsBlockFile(host.path.parent / "closed")),
            incarnation="f" * 32,
            period_ns=NS_PER_S,
        )


def test_a_sensor_that_fails_leaves_unobserved_time(tmp_path: Path) -> None:
    """No reading is no zero: the time is classified as unobserved, and the failure counted."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 200):
        host.go_to(scenario_s)
        loop.sample()
    before = totals(loop.report(), "run:a")

    def broken() -> Readout:
        raise SensorError("the driver is gone")

    loop._sensor.read = broken  # type: ignore[method-assign]
    host.go_to(500)
    loop.sample()
    assert loop.counters.read_failures == 1
    silent = [keyed for keyed in loop.report().vectors]  # type: ignore[union-attr]
    unobserved = sum(keyed.vector[Component.UNOBSERVED_NS] for keyed in silent)
    assert unobserved == 2 * 300 * NS_PER_S
    assert (
        totals(loop.report(), "run:a")[Component.HMMA_MEGACYCLES]
        == before[Component.HMMA_MEGACYCLES]
    )


def test_hours_ride_along_until_they_are_acknowledged(tmp_path: Path) -> None:
    """A closed hour is in every report until it is acknowledged; then in none."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 3_000, 3_590, 3_610):
        host.go_to(scenario_s)
        loop.sample()
    loop.report()
    report = loop.report()
    assert report is not None
    assert {row.hour for row in report.hours} == {0}
    newest = {keyed.key: keyed.vector for keyed in report.vectors}
    assert {row.key for row in report.hours} <= newest.keys()
    done = answer(report)
    loop.acknowledge(
        dataclasses.replace(
            done,
            hours=tuple(
                HourlyAcknowledgement(row.key, row.hour, row.sequence, Durability.AT_ROOT)
                for row in report.hours
            ),
        )
    )
    assert loop.report() is None
    loop.close_hour()
    last = loop.report()
    assert last is not None
    assert (last.vectors, {row.hour for row in last.hours}) == ((), {1})


def test_work_of_a_gap_is_told_of_all_its_hours(tmp_path: Path) -> None:
    """What the counters give after hours without an agent may have been done in any of them."""
    host = Host(tmp_path)
    host.start().sample()
    host.go_to(3_900)
    loop = host.start()
    loop.sample()
    loop.close_hour()
    report = loop.report()
    assert report is not None
    told = {(row.key.incarnation, row.first_hour, row.hour) for row in report.hours}
    assert told == {(loop.incarnation, 0, 1)}


def silence(loop: AgentLoop) -> None:
    """Let the sensor fail from now on."""

    def broken() -> Readout:
        raise SensorError("the driver is gone")

    loop._sensor.read = broken  # type: ignore[method-assign]


def test_work_of_a_silence_keeps_its_run_and_its_time(tmp_path: Path) -> None:
    """A device that was away gives its work to the run seen at both ends, and time stays single."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 200):
        host.go_to(scenario_s)
        loop.sample()
    working = loop._sensor.read
    silence(loop)
    for scenario_s in (300, 900):
        host.go_to(scenario_s)
        loop.sample()
    loop._sensor.read = working  # type: ignore[method-assign]
    host.go_to(1000)
    loop.sample()
    report = loop.report()
    truth = sum(
        host.scenario.tensor_cycles("n0", device, 1000 * NS_PER_S) // 10**6 for device in range(2)
    )
    assert totals(report, "run:a")[Component.HMMA_MEGACYCLES] == truth
    assert report is not None
    assert sum(covered_ns(keyed.vector) for keyed in report.vectors) == 2 * 1000 * NS_PER_S
    for keyed in report.vectors:
        record = report.records[keyed.key.record]
        assert keyed.vector[Component.SM_ELAPSED_MEGACYCLES] <= (
            record.sm_count * record.max_sm_clock_mhz * covered_ns(keyed.vector) // NS_PER_S
        )


def test_restarts_beside_a_silent_device_register_its_time_once(tmp_path: Path) -> None:
    """However often the agent starts while a device is away, no second is counted twice."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 200):
        host.go_to(scenario_s)
        loop.sample()
    for scenario_s in range(300, 1300, 100):
        loop = host.start()
        silence(loop)
        host.go_to(scenario_s)
        loop.sample()
    report = loop.report()
    assert report is not None
    assert sum(covered_ns(keyed.vector) for keyed in report.vectors) == 2 * 1200 * NS_PER_S


def test_work_after_silence_and_restart_is_kept_under_a_boundary(tmp_path: Path) -> None:
    """Its time lies in closed keys and nobody saw the user through: the work is kept, doubtful."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 200):
        host.go_to(scenario_s)
        loop.sample()
    for scenario_s in (300, 400, 500):
        loop = host.start()
        silence(loop)
        host.go_to(scenario_s)
        loop.sample()
    loop = host.start()
    host.go_to(600)
    loop.sample()
    host.go_to(700)
    loop.sample()
    report = loop.report()
    kept = totals(report, "run:a")[Component.HMMA_MEGACYCLES]
    doubtful = totals(report, "boundary(run:a,run:a)")[Component.HMMA_MEGACYCLES]
    truth = sum(
        host.scenario.tensor_cycles("n0", device, 700 * NS_PER_S) // 10**6 for device in range(2)
    )
    assert kept > 0
    assert doubtful > 0
    # Each of the two keys of each device keeps what is below one unit to itself.
    assert truth - 4 <= kept + doubtful <= truth


def test_what_the_journal_does_not_hold_is_never_sent(tmp_path: Path) -> None:
    """After a failed write nothing leaves: the next start would count the period again."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 200):
        host.go_to(scenario_s)
        loop.sample()

    def full(payload: bytes) -> None:
        raise StorageError("the journal cannot be written")

    write = loop._journal.write
    loop._journal.write = full  # type: ignore[method-assign]
    host.go_to(300)
    with pytest.raises(StorageError):
        loop.sample()
    with pytest.raises(StorageError, match="nothing is sent"):
        loop.report()
    loop._journal.write = write  # type: ignore[method-assign]
    loop.sample()
    assert loop.report() is not None


def test_nothing_leaves_before_its_mark_is_kept(tmp_path: Path) -> None:
    """A register whose mark could not be written is not sent by the next report either."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 200):
        host.go_to(scenario_s)
        loop.sample()

    def full(payload: bytes) -> None:
        raise StorageError("the journal cannot be written")

    write = loop._journal.write
    loop._journal.write = full  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        loop.report()
    loop._journal.write = write  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="nothing is sent"):
        loop.report()
    loop.sample()
    assert loop.report() is not None
    kept = state.decode(loop._journal.payload or b"").registers
    assert kept
    assert all(stored.sent for stored in kept)


def test_a_refused_register_is_offered_again_by_the_next_agent(tmp_path: Path) -> None:
    """A refusal is no acknowledgement: a collector that learns better gets the register."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 200):
        host.go_to(scenario_s)
        loop.sample()
    report = loop.report()
    assert report is not None
    refused = Answer(
        tuple(
            Acknowledgement(keyed.key, keyed.sequence, Durability.REFUSED, "too much")
            for keyed in report.vectors
        ),
        LedgerPosition("L", 1, 1),
    )
    loop.acknowledge(refused)
    assert loop.report() is None
    loop.sample()
    again = host.start().report()
    assert again is not None
    assert {k.key for k in again.vectors} == {k.key for k in report.vectors}


def quarantine(loop: AgentLoop) -> Report:
    """Report, and be told that every vector of it is quarantined."""
    report = loop.report()
    assert report is not None
    acks = tuple(
        Acknowledgement(keyed.key, keyed.sequence, Durability.QUARANTINED, "cannot be true")
        for keyed in report.vectors
    )
    loop.acknowledge(Answer(acks, LedgerPosition("L", 1, 1)))
    return report


def test_quarantine_opens_a_new_incarnation(tmp_path: Path) -> None:
    """After a quarantine the work goes on in other keys; nothing of it is lost or sent twice."""
    host, plain = Host(tmp_path), Host(tmp_path / "plain")
    plain.path.parent.mkdir()
    loop, other = host.start(), plain.start()
    reports: list[Report] = []
    for scenario_s in range(0, 600, 100):
        for each in (host, plain):
            each.go_to(scenario_s)
        loop.sample()
        other.sample()
        if scenario_s == 200:
            reports.append(quarantine(loop))
            assert loop.report() is None
    last = loop.report()
    assert last is not None
    assert {keyed.key.incarnation for keyed in last.vectors} == {f"{1:031x}f"}
    newest = {keyed.key: keyed for report in (*reports, last) for keyed in report.vectors}
    sums = [sum(column) for column in zip(*(k.vector for k in newest.values()), strict=True)]
    whole = other.report()
    assert whole is not None
    expected = [sum(column) for column in zip(*(k.vector for k in whole.vectors), strict=True)]
    assert sums == expected
    # A restart knows the closed keys of the ended incarnation too.
    again = host.start()
    assert again.report() is not None


def test_one_quarantine_an_hour_opens_one_incarnation(tmp_path: Path) -> None:
    """A device whose every vector is quarantined does not fill the journal with closed keys."""
    host = Host(tmp_path)
    loop = host.start()
    names = iter(f"{number:032x}" for number in range(100, 200))
    loop._past._new_incarnation = lambda: next(names)
    seen = []
    for scenario_s in range(0, 50_000, 500):
        host.go_to(scenario_s)
        loop.sample()
        seen.append(loop.incarnation)
        if loop.report() is not None:
            quarantine(loop)
    assert 2 <= len(dict.fromkeys(seen)) <= 3


def test_a_restored_ledger_gets_what_it_refused(tmp_path: Path) -> None:
    """Another generation of the ledger may know better: refused registers are offered again."""
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 200):
        host.go_to(scenario_s)
        loop.sample()
    report = loop.report()
    assert report is not None
    acks = tuple(
        Acknowledgement(keyed.key, keyed.sequence, Durability.REFUSED, "too new")
        for keyed in report.vectors
    )
    loop.acknowledge(Answer(acks, LedgerPosition("L", 1, 1)))
    assert loop.report() is None
    loop.acknowledge(Answer((), LedgerPosition("L", 2, 1)))
    assert loop.report() is not None


def test_a_backlog_goes_in_reports_of_a_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More registers than fit in one message are sent in several."""
    monkeypatch.setattr("flopmeter_agent.delivery.MAXIMUM_VECTORS_PER_REPORT", 2)
    host = Host(tmp_path)
    loop = host.start()
    for scenario_s in (0, 200):
        host.go_to(scenario_s)
        loop.sample()
    sizes = []
    while (report := loop.report()) is not None:
        sizes.append(len(report.vectors))
        loop.acknowledge(answer(report))
    assert sizes == [2, 2]
