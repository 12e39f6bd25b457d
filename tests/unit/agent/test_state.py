"""The state of an agent: what was written is read, by this version and of the one before."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter_agent import state
from flopmeter_agent.closed import open_closed
from flopmeter_agent.hours import open_hours
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.packing import join
from flopmeter_agent.scenario import ScenarioClock, parse_scenario
from flopmeter_agent.sensors.simulated import SimulatedSensor
from flopmeter_agent.state import AgentState, StateWriter, StoredRegister
from flopmeter_core.errors import DataError
from flopmeter_core.registers import COMPONENT_COUNT, Evidence, Key, Register, covered_ns
from flopmeter_core.reports import Report
from flopmeter_core.units import NS_PER_S
from support.manual_clock import StandingClock

FIRST_FORMAT = Path(__file__).parents[2] / "data" / "journals"
"""Written by the release whose journal was one JSON text; content.json is what it held."""

TIMELESS = FIRST_FORMAT / "before-boot-times"
"""Written by the version that did not note when a vector was read; content.json is what it held."""

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


def key_of(row: list[Any]) -> Key:
    """A key as the fixture tells it."""
    device, incarnation, allocation, phase, evidence, record = row
    return Key(device, incarnation, allocation, phase, Evidence(evidence), record)


def upgraded(
    folder: Path, *, boot_id: str = "boot", at_s: float = 3_650, of: Path = FIRST_FORMAT
) -> AgentLoop:
    """This version's agent on the folder of the earlier one."""
    for found in of.glob("*.gz"):
        (folder / found.stem).write_bytes(gzip.decompress(found.read_bytes()))
    base = StandingClock(boot_id)
    scenario = parse_scenario(SCENARIO)
    clock = ScenarioClock(base, scenario, epoch_wall_ns=0)
    base.at_ns = round(at_s * NS_PER_S / scenario.acceleration)
    return AgentLoop(
        SimulatedSensor("n0", clock, scenario),
        Journal(OsBlockFile(folder / "journal")),
        clock,
        Identity(node="n0"),
        closed=open_closed(OsBlockFile(folder / "closed")),
        hours=open_hours(OsBlockFile(folder / "hours")),
        incarnation="9" * 32,
        period_ns=10 * NS_PER_S,
    )


def vectors(report: Report | None) -> dict[Key, tuple[int, tuple[int, ...]]]:
    """What a report holds."""
    assert report is not None
    return {keyed.key: (keyed.sequence, keyed.vector) for keyed in report.vectors}


@pytest.mark.parametrize("boot_id", ["boot", "another boot"])
def test_an_upgrade_loses_nothing(tmp_path: Path, boot_id: str) -> None:
    """What the earlier version had not delivered is delivered, hours included, to the unit."""
    content = json.loads((FIRST_FORMAT / "content.json").read_text())
    report = upgraded(tmp_path, boot_id=boot_id).report()
    assert report is not None
    assert vectors(report) == {
        key_of(key): (sequence, tuple(vector))
        for key, sequence, vector in content["unacknowledged"]
    }
    told = {(r.key, r.sequence, r.vector, r.first_hour, r.boot_ns, r.wall_ns) for r in report.hours}
    assert told >= {
        (key_of(key), sequence, tuple(vector), first, boot_ns, wall_ns)
        for key, sequence, vector, first, boot_ns, wall_ns in content["hours"]
    }


def test_an_upgrade_goes_on_from_the_baseline(tmp_path: Path) -> None:
    """The counters' difference since the earlier version's last reading is not lost."""
    loop = upgraded(tmp_path, at_s=3_900)
    loop.sample()
    covered = sum(
        sum(keyed.vector[13:18])
        for keyed in (loop.report() or pytest.fail("nothing to report")).vectors
        if keyed.key.incarnation == "9" * 32
    )
    assert covered == 2 * 250 * NS_PER_S


def test_an_upgrade_that_was_killed_upgrades_again(tmp_path: Path) -> None:
    """Nothing is counted twice when the first start of the new version got no further."""
    first = vectors(upgraded(tmp_path).report())
    assert vectors(upgraded(tmp_path).report()) == first


@pytest.mark.parametrize("boot_id", ["boot", "another boot"])
def test_an_upgrade_knows_no_boot_times(tmp_path: Path, boot_id: str) -> None:
    """Nothing is lost; what was open was read by the last sample, what was closed nobody knows."""
    content = json.loads((TIMELESS / "content.json").read_text())
    loop = upgraded(tmp_path, boot_id=boot_id, at_s=content["at_s"] + 10, of=TIMELESS)
    held = loop.held()
    assert {key: (each.sequence, each.units) for key, each in held.items()} == {
        key_of(key): (sequence, units) for key, sequence, units, _ in content["held"]
    }
    report = loop.report()
    assert report is not None
    last = {keyed.key.incarnation: keyed.boot_ns for keyed in report.vectors}
    assert last == {"1" * 32: None, "2" * 32: content["boot_ns"]}


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_vector_says_when_it_was_read(tmp_path: Path, restarts: int) -> None:
    """Its boot time is that of its last reading, open and closed, and it covers no more."""
    content = json.loads((TIMELESS / "content.json").read_text())
    loop = upgraded(tmp_path, at_s=content["at_s"] + 20, of=TIMELESS)
    loop.sample()
    read_at_ns = content["boot_ns"] + 20 * NS_PER_S
    if restarts:
        files = (OsBlockFile(tmp_path / name) for name in ("journal", "closed", "hours"))
        journal, closed, hours = files
        loop = AgentLoop(
            loop._sensor,
            Journal(journal),
            loop._clock,
            Identity(node="n0"),
            closed=open_closed(closed),
            hours=open_hours(hours),
            incarnation="8" * 32,
            period_ns=10 * NS_PER_S,
        )
    report = loop.report()
    assert report is not None
    fresh = [keyed for keyed in report.vectors if keyed.key.incarnation == "9" * 32]
    assert [keyed.boot_ns for keyed in fresh] == [read_at_ns] * 2
    assert all(covered_ns(keyed.vector) <= read_at_ns for keyed in fresh)


def stored(number: int, *, sent: bool = False) -> StoredRegister:
    """A register with numbers of its own."""
    key = Key("GPU-1", "0" * 32, f"run:{number}", number, Evidence.GPM, "record")
    units = [number * place for place in range(COMPONENT_COUNT)]
    carry = [10**17 + number] * COMPONENT_COUNT
    return StoredRegister(key, Register(units, carry, number + 1, 10**15), number, sent)


def test_what_is_written_is_read() -> None:
    """Registers, carries, acknowledgements and marks come back as they were, changed ones anew."""
    writer = StateWriter()
    state_now = AgentState("0" * 32, "boot", True, registers=[stored(1), stored(2, sent=True)])
    state_now.up_ns = 2**62
    assert state.decode(writer.encode(state_now)) == state_now
    state_now.registers[0].register.units[3] += 1
    state_now.registers[0].register.sequence += 1
    state_now.registers[1].acknowledged += 1
    assert state.decode(writer.encode(state_now)) == state_now


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x02FLOP",
        b"{}",
        b'{"registers":[[1]]}',
        join({"format": 2, "names": []}, []),
        join({"format": 3, "names": []}, []),
        join({"names": []}, [b"\0" * 13]),
        StateWriter().encode(AgentState("0" * 32, "b", True, registers=[stored(1)]))[:-1],
    ],
)
def test_a_state_that_is_none(payload: bytes) -> None:
    """One sentence, whatever is there."""
    with pytest.raises(DataError, match="state cannot be read") as caught:
        state.decode(payload)
    assert "\n" not in str(caught.value)


def test_a_later_format_is_named() -> None:
    """An agent that was put back to an older version says what to do."""
    with pytest.raises(DataError, match="format 4, this agent reads up to 3; upgrade the agent"):
        state.decode(join({"format": 4, "names": []}, []))
