"""A calibration without a GPU: scripted work on a scripted driver and a clock moved by hand.

Owns: the double of the workload runner, and the recorder that ticks with it.
May touch: what support.fake_nvml touches.
Called by tests of lab.calibrate, never by the product. What it "runs" is known exactly, because
it writes the driver's answers itself; all between them and the score is production code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flopmeter.lab.recorder import RecordedSensor, Recorder
from flopmeter.lab.runner import Ran
from flopmeter.lab.workloads.base import CannotRunError, Prepared, Spec
from flopmeter_agent.sensors.nvml.raw import RawNvmlSensor
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import FakeDriver, uuid_of
from support.manual_clock import ManualClock

SM_COUNT = 132
CLOCK_HZ = 1_700_000_000
TICK_S = 0.2

INTERVAL_IDS = (2, 4, 5, 6, 7, 8, 9, 11, 12, 13)
COUNTER_OF = {2: 249, 5: 250, 8: 251, 7: 252, 9: 253, 6: 254, 4: 257, 11: 258, 12: 259, 13: 260}
"""GPM metric -> the counter since boot of the same unit."""


class SimulatedRawSensor(RawNvmlSensor):
    """The recording sensor, marked as what it is here: a driver nobody made."""

    simulated = True


@dataclass(frozen=True)
class Script:
    """What a workload makes the driver say, and what it truly does in a second.

    Attributes:
        percent: GPM metric -> activity while it runs.
        power_w: while it runs.
        flop_per_s, operations_per_s: the truth.
        claimed: what the truth states over what was done: 1, unless a test plants a wrong truth.
    """

    percent: Mapping[int, int] = field(default_factory=dict)
    power_w: int = 100
    flop_per_s: int = 0
    operations_per_s: int = 0
    claimed: float = 1.0


def tensor_flop_per_s(percent: int, rate: int) -> int:
    """FLOP a second of all SMs at a tensor activity and a rate for each SM and cycle."""
    return percent * SM_COUNT * CLOCK_HZ * rate // 100


class ScriptedRunner:
    """Plays scripts: it changes the driver's answers, then lets time go by in ticks."""

    def __init__(
        self,
        folder: Path,
        scripts: Mapping[str, Script],
        *,
        counters: bool = False,
        counter_unit: int = SM_COUNT,
        slowed: float = 1.0,
        simulated: bool = False,
    ) -> None:
        self.driver = FakeDriver(folder)
        self.clock = ManualClock()
        self._scripts = scripts
        self._counters = dict.fromkeys((248, *COUNTER_OF.values()), 0) if counters else {}
        self._counter_unit = counter_unit
        self._slowed = slowed
        self._sensor_type = SimulatedRawSensor if simulated else RawNvmlSensor
        self._energy_mj = 1_000_000
        self._recorders: list[Recorder] = []
        self._play(Script())

    @property
    def description(self) -> dict[str, str]:
        """Of the double."""
        return {"device": "scripted", "uuid": uuid_of(0)}

    def prepare(self, spec: Spec) -> Prepared:
        """The script of that name; one without a script cannot run."""
        script = self._scripts.get(spec.name)
        if script is None:
            raise CannotRunError("there is no script of it")
        flop = round(script.flop_per_s * TICK_S * script.claimed)
        return Prepared(
            step=lambda: self._play(script),
            flop_model=flop,
            flop_issued=flop,
            integer_operations=round(script.operations_per_s * TICK_S),
            source="scripted",
        )

    def measure(self, prepared: Prepared, seconds: float) -> Ran:
        """Play the workload's script for so long: one step a tick."""
        assert prepared.step is not None
        start_ns = self.clock.monotonic_ns()
        prepared.step()
        for _ in range(round(seconds / TICK_S)):
            self._tick()
        steps = round(seconds / TICK_S)
        self._play(Script())
        beside = self._slowed if self._recorders else 1.0
        taken_ns = round((self.clock.monotonic_ns() - start_ns) / beside)
        return Ran(start_ns, start_ns + taken_ns, steps)

    def pause(self, seconds: float) -> None:
        """Let time go by without work."""
        for _ in range(round(seconds / TICK_S)):
            self._tick()

    def release(self) -> None:
        """Nothing is held."""

    @contextlib.contextmanager
    def record(self, path: Path, hz: float) -> Iterator[None]:
        """Record into a file, one round a tick."""
        sensor = self._sensor_type(
            "n1", self.clock, library_path=self.driver.library, pause=lambda _: None
        )
        period_ns = round(NS_PER_S / hz)
        with path.open("xb") as stream:
            recorded = RecordedSensor(
                sensor, self.clock, stream, node="n1", period_ns=period_ns, reason="a test"
            )
            recorder = Recorder(recorded, self.clock, period_ns=period_ns)
            self._recorders.append(recorder)
            for _ in range(5):
                self._tick()
            yield
            self._recorders.remove(recorder)
            recorded.close()

    def _play(self, script: Script) -> None:
        self._script = script
        lines: dict[str, object] = {
            f"gpu0.gpm.{metric}": script.percent.get(metric, 0) for metric in INTERVAL_IDS
        }
        lines["gpu0.busy_percent"] = 100 if script.percent else 0
        lines["gpu0.power_mw"] = script.power_w * 1_000
        self.driver.update(lines)

    def _tick(self) -> None:
        self.clock.advance(TICK_S)
        self._energy_mj += round(self._script.power_w * TICK_S * 1_000)
        lines: dict[str, object] = {"gpu0.energy_mj": self._energy_mj}
        if self._counters:
            cycles = round(CLOCK_HZ * TICK_S) * self._counter_unit
            self._counters[248] += cycles
            for metric, counter in COUNTER_OF.items():
                self._counters[counter] += cycles * self._script.percent.get(metric, 0) // 100
            lines |= {f"gpu0.gpm.{counter}": n for counter, n in self._counters.items()}
        self.driver.update(lines)
        for recorder in self._recorders:
            recorder.step()
