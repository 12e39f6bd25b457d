"""A node whose devices count every component, for agents that run for virtual months.

Owns: the sensor, the clock and the state folder of one made-up node, and its agents' starts.
May touch: one folder.
Called by tests of an agent's memory, and by tests/bench/journal_days.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flopmeter_agent.accumulate import carry_owner
from flopmeter_agent.closed import open_closed
from flopmeter_agent.hours import open_hours
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.base import Readout
from flopmeter_agent.witness import MemoryWitness
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.readings import Reading
from flopmeter_core.registers import COMPONENT_COUNT, SM_CYCLE_COMPONENTS, SUBUNITS, Evidence
from flopmeter_core.units import NS_PER_S
from support.manual_clock import StandingClock

SM_COUNT = 132
CLOCK_MHZ = 1980
NAMES = ("journal", "closed", "hours")


class CountingSensor:
    """Devices that were busy on every pipe since boot."""

    name = "counting"
    simulated = False

    def __init__(self, clock: StandingClock, devices: int) -> None:
        """Begin at boot; nobody uses the devices."""
        self.clock = clock
        self.allocation = "none"
        self._records = [
            DeviceRecord(
                "node", f"GPU-{number:032x}", "nvidia", "NVIDIA H100 80GB HBM3", 0x233010DE,
                sm_count=SM_COUNT, max_sm_clock_mhz=CLOCK_MHZ, driver_version="595.1",
            )
            for number in range(devices)
        ]  # fmt: skip

    def devices(self) -> Sequence[DeviceRecord]:
        """All of them."""
        return self._records

    def read(self) -> Readout:
        """What each has counted; no two components and no two devices the same."""
        at_ns = self.clock.monotonic_ns()
        return Readout(
            tuple(
                Reading(
                    record.device,
                    Evidence.CYCLES,
                    at_ns,
                    self.clock.boottime_ns(),
                    cycles={
                        place: at_ns * SM_COUNT * CLOCK_MHZ // (1_001 + place + number)
                        for place in SM_CYCLE_COMPONENTS
                    },
                    energy_mj=at_ns * 7 // 10_000_000,
                    clock_khz=CLOCK_MHZ * 1_000,
                    allocation=self.allocation,
                )
                for number, record in enumerate(self._records)
            )
        )

    def close(self) -> None:
        """Nothing to release."""


class CountingNode:
    """The node with its state folder, over any number of agents."""

    def __init__(self, folder: Path, *, devices: int = 8, period_ns: int = NS_PER_S) -> None:
        """Boot; no agent runs yet."""
        self.folder = folder
        self.clock = StandingClock()
        self.sensor = CountingSensor(self.clock, devices)
        self.period_ns = period_ns
        self.starts = 0
        self.witness = MemoryWitness()
        self.loop: AgentLoop | None = None
        self._files: list[OsBlockFile] = []

    def start(self) -> AgentLoop:
        """A new agent; the one before was killed."""
        for file in self._files:
            file.close()
        self._files = [OsBlockFile(self.folder / name) for name in NAMES]
        journal, closed, hours = self._files
        self.starts += 1
        self.loop = AgentLoop(
            self.sensor,
            Journal(journal),
            self.clock,
            Identity("node"),
            closed=open_closed(closed),
            hours=open_hours(hours),
            incarnation=f"{self.starts:032x}",
            period_ns=self.period_ns,
            witness=self.witness,
        )
        return self.loop

    def step(self, elapsed_ns: int | None = None) -> None:
        """Let time go by and sample."""
        assert self.loop is not None
        self.clock.at_ns += self.period_ns if elapsed_ns is None else elapsed_ns
        self.loop.sample()

    def disk_bytes(self) -> int:
        """What the journals take on the disk; all of it is reserved."""
        return sum((self.folder / name).stat().st_size for name in NAMES)

    def subunits(self) -> list[int]:
        """Everything held, in sub-units: nothing may be rounded away."""
        assert self.loop is not None
        sums = [0] * COMPONENT_COUNT
        registers = self.loop.accumulator.registers
        # A fraction that a successor has taken over is there, not where it came from.
        taken_over = {carry_owner(key) for key in registers}
        for key, register in self.loop.held().items():
            own = key in registers or carry_owner(key) not in taken_over
            for place, (units, carry) in enumerate(
                zip(register.units, register.carry, strict=True)
            ):
                sums[place] += units * SUBUNITS[place] + carry * own
        return sums

    def truth(self, from_ns: int) -> list[int]:
        """What the devices did since a first reading at `from_ns`, in sub-units."""
        now_ns = self.clock.at_ns
        began = CountingSensor.read(_at(self.sensor, from_ns)).readings
        ended = self.sensor.read().readings
        self.clock.at_ns = now_ns
        sums = [0] * COMPONENT_COUNT
        for before, after in zip(began, ended, strict=True):
            for place in SM_CYCLE_COMPONENTS:
                sums[place] += (after.cycles[place] - before.cycles[place]) * 10**12
        return sums


def _at(sensor: CountingSensor, at_ns: int) -> CountingSensor:
    clock = StandingClock()
    clock.at_ns = at_ns
    return CountingSensor(clock, len(sensor.devices()))
