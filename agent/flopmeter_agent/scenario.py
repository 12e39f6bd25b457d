"""A scripted fleet: what every simulated device does at every instant, as exact integers.

Owns: the scenario's TOML, its clock, and the counters of a device as pure functions of time.
May touch: nothing; pure arithmetic on the scenario's own time.
Called by sensors.simulated (readings) and by tests and the demo (the known truth).
Since a counter is a function of time alone, an agent that was killed finds the work of its
absence when it comes back, as it does with the cumulative counters of real hardware.
"""

from __future__ import annotations

import hashlib
import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flopmeter_core.errors import DataError
from flopmeter_core.units import NS_PER_S, PPM
from flopmeter_core.values import value_class
from flopmeter_proto.daemon.clock import Clock

NOISE_STEP_S = 600
"""A device's activity is constant over this many seconds of scenario time."""

NOISE_PPM = 50_000
"""Greatest deviation of a step's activity from the run's mean: 5 %."""

IDLE_POWER_W = 70
"""An H100 that does nothing draws about this."""


@value_class(frozen=True, slots=True)
class ScenarioRun:
    """One training run of a scenario; times are seconds of scenario time, end excluded."""

    name: str
    model: str
    format: str
    workload: str
    start_s: int
    stop_s: int
    nodes: tuple[str, ...]
    tensor_activity_ppm: int
    clock_mhz: int
    power_w: int


@dataclass(frozen=True)
class Scenario:
    """A whole scripted fleet.

    Attributes:
        seed: decides the deviations of every device's activity.
        acceleration: seconds of scenario time in one second of the agent's clock.
        duration_s: end of the scenario in its own time; then every counter stands still.
        node_count: simulated nodes, named ``n0``, ``n1``, ...
        devices_per_node: devices of each.
        part: part id of every device.
        sm_count, max_sm_clock_mhz: of every device.
        runs: the runs; two runs never share a node at one time.
    """

    seed: int
    acceleration: int
    duration_s: int
    node_count: int
    devices_per_node: int
    part: str
    sm_count: int
    max_sm_clock_mhz: int
    runs: tuple[ScenarioRun, ...]

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(f"n{number}" for number in range(self.node_count))

    def run_at(self, node: str, scenario_ns: int) -> ScenarioRun | None:
        """The run that uses a node from this instant on."""
        for run in self.runs:
            if node in run.nodes and run.start_s * NS_PER_S <= scenario_ns < run.stop_s * NS_PER_S:
                return run
        return None

    def events_ns(self, node: str) -> list[int]:
        """Instants at which the user of a node changes, in order."""
        edges = {s for run in self.runs if node in run.nodes for s in (run.start_s, run.stop_s)}
        return sorted(edge * NS_PER_S for edge in edges if edge <= self.duration_s)

    def tensor_cycles(self, node: str, device: int, scenario_ns: int) -> int:
        """Tensor-active SM cycles of a device since the scenario began, rounded down."""
        # ppm x MHz x ns = 10^-6 x 10^6 x 10^-9 cycles = 10^-9 cycles an SM.
        return self._sum(node, device, scenario_ns, _tensor_rate) * self.sm_count // NS_PER_S

    def active_cycles(self, node: str, scenario_ns: int) -> int:
        """SM cycles of a device with work on them since the scenario began, rounded down."""
        total = 0
        for run in self.runs:
            if node in run.nodes:
                total += _overlap_ns(run, scenario_ns) * run.clock_mhz
        # MHz x ns = 10^-3 cycles an SM.
        return total * self.sm_count // 1_000

    def elapsed_cycles(self, node: str, scenario_ns: int) -> int:
        """SM cycles a device's clock has ticked since the scenario began, rounded down."""
        busy_ns = sum(_overlap_ns(run, scenario_ns) for run in self.runs if node in run.nodes)
        idle_cycles = (scenario_ns - busy_ns) * self.max_sm_clock_mhz * self.sm_count // 1_000
        return self.active_cycles(node, scenario_ns) + idle_cycles

    def energy_mj(self, node: str, scenario_ns: int) -> int:
        """Energy of a device since the scenario began in mJ, rounded down."""
        busy_ns = 0
        watt_ns = 0
        for run in self.runs:
            if node in run.nodes:
                overlap_ns = _overlap_ns(run, scenario_ns)
                busy_ns += overlap_ns
                watt_ns += overlap_ns * run.power_w
        watt_ns += (scenario_ns - busy_ns) * IDLE_POWER_W
        return watt_ns // 1_000_000

    def _sum(self, node: str, device: int, scenario_ns: int, rate: Any) -> int:
        """Integral of a rate that is constant over each noise step, in rate x ns."""
        step_ns = NOISE_STEP_S * NS_PER_S
        total = 0
        for run in self.runs:
            if node not in run.nodes:
                continue
            end_ns = min(scenario_ns, run.stop_s * NS_PER_S)
            at_ns = run.start_s * NS_PER_S
            while at_ns < end_ns:
                step = at_ns // step_ns
                until_ns = min(end_ns, (step + 1) * step_ns)
                total += (until_ns - at_ns) * rate(self, run, node, device, step)
                at_ns = until_ns
        return total


def _tensor_rate(scenario: Scenario, run: ScenarioRun, node: str, device: int, step: int) -> int:
    """Tensor activity of a step in ppm x MHz."""
    name = f"{scenario.seed}/{run.name}/{node}/{device}/{step}"
    digest = hashlib.sha256(name.encode()).digest()
    deviation_ppm = int.from_bytes(digest[:8], "little") % (2 * NOISE_PPM + 1) - NOISE_PPM
    activity_ppm = run.tensor_activity_ppm * (PPM + deviation_ppm) // PPM
    return min(PPM, activity_ppm) * run.clock_mhz


def _overlap_ns(run: ScenarioRun, scenario_ns: int) -> int:
    """How long a run has been going, in ns."""
    return max(0, min(scenario_ns, run.stop_s * NS_PER_S) - run.start_s * NS_PER_S)


class ScenarioClock:
    """The clock of a scenario: it starts at an agreed Unix time and runs faster than life.

    Every agent of a scenario that is told the same epoch sees the same scenario time, also one
    that was restarted. After the scenario's end the clock stands still.
    """

    def __init__(self, base: Clock, scenario: Scenario, *, epoch_wall_ns: int) -> None:
        """Agree on time 0.

        Args:
            base: the clock to read.
            scenario: gives acceleration and end.
            epoch_wall_ns: Unix time in ns at which scenario time is 0.
        """
        self._base = base
        self._scenario = scenario
        self._epoch_wall_ns = epoch_wall_ns

    @property
    def boot_id(self) -> str:
        """One scenario is one boot."""
        return f"scenario-{self._scenario.seed}-{self._epoch_wall_ns}"

    @property
    def ended(self) -> bool:
        """Whether the scenario has come to its end."""
        return self.monotonic_ns() >= self._scenario.duration_s * NS_PER_S

    def monotonic_ns(self) -> int:
        """Scenario time in ns, from 0 to the scenario's end."""
        elapsed_ns = max(0, self._base.wall_ns() - self._epoch_wall_ns)
        return min(elapsed_ns * self._scenario.acceleration, self._scenario.duration_s * NS_PER_S)

    def boottime_ns(self) -> int:
        """Scenario time in ns; a scenario is never suspended."""
        return self.monotonic_ns()

    def wall_ns(self) -> int:
        """Unix time of the epoch plus scenario time, in ns."""
        return self._epoch_wall_ns + self.monotonic_ns()


_RUN_FIELDS = {
    "name",
    "model",
    "format",
    "workload",
    "start_s",
    "stop_s",
    "nodes",
    "tensor_activity",
    "clock_mhz",
    "power_w",
}
_NODE_FIELDS = {"count", "devices", "part", "sm_count", "max_sm_clock_mhz"}
_TOP_FIELDS = {"seed", "acceleration", "duration_s", "node", "run"}


def parse_scenario(text: str) -> Scenario:
    """Read a scenario.

    Args:
        text: TOML; docs/simulation.md lists the keys.

    Raises:
        DataError: not TOML, unknown or missing keys, impossible values, overlapping runs.
    """
    try:
        tree = tomllib.loads(text)
        _refuse_unknown(tree, _TOP_FIELDS, "the scenario")
        node = tree["node"]
        _refuse_unknown(node, _NODE_FIELDS, "[node]")
        scenario = Scenario(
            seed=int(tree["seed"]),
            acceleration=_positive(tree, "acceleration"),
            duration_s=_positive(tree, "duration_s"),
            node_count=_positive(node, "count"),
            devices_per_node=_positive(node, "devices"),
            part=str(node["part"]),
            sm_count=_positive(node, "sm_count"),
            max_sm_clock_mhz=_positive(node, "max_sm_clock_mhz"),
            runs=tuple(_parse_run(row) for row in tree["run"]),
        )
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"the scenario is not valid TOML: {error}") from error
    except (KeyError, TypeError) as error:
        raise DataError(f"the scenario lacks {error}; docs/simulation.md lists the keys") from error
    _check_runs(scenario)
    return scenario


def _parse_run(row: Mapping[str, Any]) -> ScenarioRun:
    _refuse_unknown(row, _RUN_FIELDS, "[[run]]")
    activity = row["tensor_activity"]
    if not 0 <= activity <= 1:
        raise DataError(f"tensor_activity of run {row['name']} must lie in 0..1, not {activity}")
    return ScenarioRun(
        name=str(row["name"]),
        model=str(row.get("model", "")),
        format=str(row.get("format", "")),
        workload=str(row.get("workload", "")),
        start_s=int(row["start_s"]),
        stop_s=int(row["stop_s"]),
        nodes=tuple(str(name) for name in row["nodes"]),
        tensor_activity_ppm=round(activity * PPM),
        clock_mhz=_positive(row, "clock_mhz"),
        power_w=_positive(row, "power_w"),
    )


def _check_runs(scenario: Scenario) -> None:
    for run in scenario.runs:
        if not 0 <= run.start_s < run.stop_s <= scenario.duration_s:
            raise DataError(f"run {run.name} must start, then stop, within the scenario")
        if run.clock_mhz > scenario.max_sm_clock_mhz:
            raise DataError(f"run {run.name} is clocked above max_sm_clock_mhz")
        strangers = set(run.nodes) - set(scenario.nodes)
        if strangers:
            raise DataError(
                f"run {run.name} names nodes the scenario lacks: {', '.join(sorted(strangers))}"
            )
    for node in scenario.nodes:
        spans = sorted((run.start_s, run.stop_s) for run in scenario.runs if node in run.nodes)
        if any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans)):
            raise DataError(f"two runs use node {node} at the same time; move one")


def _positive(row: Mapping[str, Any], name: str) -> int:
    number = row[name]
    if not isinstance(number, int) or number <= 0:
        raise DataError(f"{name} must be a whole number above 0, not {number!r}")
    return number


def _refuse_unknown(row: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = set(row) - known
    if unknown:
        raise DataError(
            f"{where} has unknown keys: {', '.join(sorted(unknown))}; "
            f"known are {', '.join(sorted(known))}"
        )
