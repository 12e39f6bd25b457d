"""Sensor ``simulated``: the devices of one node of a scripted fleet.

Owns: turning a scenario's counters into readings.
May touch: the scenario and the clock it is given.
Called by the loop; chosen with ``--sensor simulated --scenario FILE``. Everything it says is
marked simulated. A new sensor is best begun as a copy of this file.
"""

from __future__ import annotations

from collections.abc import Sequence

from flopmeter_agent.scenario import Scenario
from flopmeter_agent.sensors.base import Readout
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import UsageError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_proto.daemon.clock import Clock


class SimulatedSensor:
    """Cumulative cycle counters of a scripted node."""

    name = "simulated"
    simulated = True

    def __init__(self, node: str, clock: Clock, scenario: Scenario) -> None:
        """Prepare one node of a scenario.

        Args:
            node: the node's name, one of the scenario's.
            clock: the scenario's clock.
            scenario: the script.

        Raises:
            UsageError: the scenario has no such node.
        """
        if node not in scenario.nodes:
            raise UsageError(
                f"the scenario has no node {node!r}; use --node with one of "
                f"{', '.join(scenario.nodes)}"
            )
        self._node = node
        self._clock = clock
        self._scenario = scenario
        self._read_until_ns: int | None = None

    def devices(self) -> Sequence[DeviceRecord]:
        """The node's devices."""
        return [
            DeviceRecord(
                node=self._node,
                device=self._device(number),
                vendor="nvidia",
                product_name="simulated accelerator",
                part=self._scenario.part,
                sm_count=self._scenario.sm_count,
                max_sm_clock_mhz=self._scenario.max_sm_clock_mhz,
                driver_version="simulated",
                energy_scope=EnergyScope.GPU,
                simulated=True,
            )
            for number in range(self._scenario.devices_per_node)
        ]

    def read(self) -> Readout:
        """One round of readings, with one more at each start or stop of a run since the last."""
        now_ns = self._clock.monotonic_ns()
        instants: list[tuple[int, str]] = []
        if self._read_until_ns is not None:
            for event_ns in self._scenario.events_ns(self._node):
                if self._read_until_ns < event_ns <= now_ns:
                    # A start or stop is read at once: as the last instant of the user before
                    # it and as the first of the user after it.
                    instants.append((event_ns, self._allocation(event_ns - 1)))
                    instants.append((event_ns, self._allocation(event_ns)))
        instants.append((now_ns, self._allocation(now_ns)))
        self._read_until_ns = now_ns
        return Readout(
            tuple(
                self._reading(number, at_ns, allocation)
                for number in range(self._scenario.devices_per_node)
                for at_ns, allocation in instants
            )
        )

    def close(self) -> None:
        """Nothing to release."""

    def _device(self, number: int) -> str:
        return f"SIM-{self._scenario.seed}-{self._node}-{number}"

    def _allocation(self, scenario_ns: int) -> str:
        run = self._scenario.run_at(self._node, scenario_ns)
        return for_run(run.name) if run else NONE

    def _reading(self, number: int, at_ns: int, allocation: str) -> Reading:
        tensor = self._scenario.tensor_cycles(self._node, number, at_ns)
        return Reading(
            device=self._device(number),
            evidence=Evidence.CYCLES,
            monotonic_ns=at_ns,
            boottime_ns=at_ns,
            cycles={
                Component.SM_ELAPSED_MEGACYCLES: self._scenario.elapsed_cycles(self._node, at_ns),
                Component.SM_ACTIVE_MEGACYCLES: self._scenario.active_cycles(self._node, at_ns),
                Component.TENSOR_MEGACYCLES: tensor,
                Component.HMMA_MEGACYCLES: tensor,
            },
            energy_mj=self._scenario.energy_mj(self._node, at_ns),
            allocation=allocation,
        )
