"""The accelerators of one node as they physically are: counters that only work and resets move.

Owns: the counters, the users of the devices over time, and what a sensor reads of them.
May touch: nothing; integers, and the clocks it is given.
Called by the node: its agent reads `FleetSensor`, the oracle looks at the counters themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import sub

from flopmeter.lab.simulation.randomness import Randomness
from flopmeter_agent.sensors.base import Failure, Readout
from flopmeter_core.allocations import NONE
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import SensorError
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S, PPM
from flopmeter_proto.daemon.clock import Clock

SM_COUNT = 132
MAX_SM_CLOCK_MHZ = 1_980
PART = "h100-sxm5-80gb"

_COUNTED = (
    Component.SM_ELAPSED_MEGACYCLES,
    Component.SM_ACTIVE_MEGACYCLES,
    Component.TENSOR_MEGACYCLES,
    Component.HMMA_MEGACYCLES,
)


@dataclass(slots=True)
class Device:
    """One accelerator.

    Attributes:
        record: what it says of itself.
        lifetime: cumulative SM cycles of the four components counted, since the beginning of the
            world; nothing resets it.
        reset_at: `lifetime` as it was at the last reset: a counter shows what came since.
        energy_mj: cumulative energy since the last reset.
        rates: cycles a second of each, and mW.
        advanced_ns: simulated time the counters hold at.
        readable: whether a sensor reaches it.
        sampled: whether its sensor tells activity of the time since its last reading, and keeps
            no counter of its own: what no reading covers is then gone.
        window_ns: running time since that reading.
        window_lifetime: `lifetime` as it was then.
    """

    record: DeviceRecord
    energy_mj: int
    rates: tuple[int, int, int, int, int]
    advanced_ns: int
    lifetime: tuple[int, ...]
    reset_at: tuple[int, ...]
    readable: bool = True
    sampled: bool = False
    window_ns: int = 0
    window_lifetime: tuple[int, ...] = (0,) * len(_COUNTED)

    def advance(self, now_ns: int) -> None:
        """Count up to now. What is below one cycle is lost."""
        elapsed_ns = now_ns - self.advanced_ns
        if elapsed_ns <= 0:
            return
        # One by one: a world counts every device on at each sample and at each look.
        cycles, active, tensor, hmma = self.lifetime
        of_cycles, of_active, of_tensor, of_hmma, power_mw = self.rates
        self.lifetime = (
            cycles + of_cycles * elapsed_ns // NS_PER_S,
            active + of_active * elapsed_ns // NS_PER_S,
            tensor + of_tensor * elapsed_ns // NS_PER_S,
            hmma + of_hmma * elapsed_ns // NS_PER_S,
        )
        self.energy_mj += power_mw * elapsed_ns // NS_PER_S
        self.window_ns += elapsed_ns
        self.advanced_ns = now_ns

    def begin_window(self) -> None:
        """Let the next reading cover the time from now on."""
        self.window_ns = 0
        self.window_lifetime = self.lifetime

    def reset(self) -> None:
        """Begin counters at 0 again."""
        self.energy_mj = 0
        self.reset_at = self.lifetime
        self.begin_window()


class Hardware:
    """The accelerators of one node and who uses them."""

    def __init__(
        self,
        node: str,
        count: int,
        now_ns: Callable[[], int],
        randomness: Randomness,
        *,
        sampled: bool = False,
    ) -> None:
        """Be idle since now.

        Args:
            node: the node's name.
            count: accelerators in it.
            now_ns: simulated time.
            randomness: decides how hard a user works.
            sampled: whether its sensor samples activity instead of reading counters.
        """
        self.sampled = sampled
        self._now_ns = now_ns
        self._random = randomness
        self.running = True
        self.allocation = NONE
        self.devices = {
            f"GPU-{node}-{number}": Device(
                _record(node, number), 0, (0,) * 5, now_ns(), (0,) * 4, (0,) * 4, sampled=sampled
            )
            for number in range(count)
        }
        self.use(NONE)

    def use(self, allocation: str) -> None:
        """Hand all devices to another user, who works in a way of his own on each."""
        self.advance()
        self.allocation = allocation
        for device in self.devices.values():
            clock_mhz = self._random.between(900, MAX_SM_CLOCK_MHZ)
            elapsed = SM_COUNT * clock_mhz * 1_000_000 + self._random.below(1_000_000)
            active = 0 if allocation == NONE else elapsed * self._random.between(300, 990) // 1_000
            tensor = active * self._random.between(100, 900) // 1_000
            power_mw = 90_000 + (600_000 * tensor // elapsed) + self._random.below(1_000)
            device.rates = (elapsed, active, tensor, tensor, power_mw)

    def advance(self) -> None:
        """Count up to now, or let the time go by without work while the node is not running."""
        now_ns = self._now_ns()
        if self.running:
            for device in self.devices.values():
                device.advance(now_ns)
        else:
            for device in self.devices.values():
                device.advanced_ns = now_ns

    def tensor_cycles(self) -> dict[str, int]:
        """Tensor cycles each device has ever done, by its name."""
        self.advance()
        place = _COUNTED.index(Component.TENSOR_MEGACYCLES)
        return {name: device.lifetime[place] for name, device in self.devices.items()}

    def stop(self) -> None:
        """The node sleeps or is off from now on."""
        self.advance()
        self.running = False

    def go_on(self) -> None:
        """The node runs again."""
        self.advance()
        self.running = True

    def reset(self, device: Device | None = None) -> None:
        """Begin counters at 0 again: after a boot all, after a driver's reload one device's."""
        self.advance()
        for each in self.devices.values() if device is None else (device,):
            each.reset()

    def answers(self, device: Device) -> bool:
        """Whether a sensor is told something of a device now.

        An exporter has no mean of no time: nothing comes of a device that has not run since its
        last sample, or since a reset.
        """
        device.advance(self._now_ns())
        return device.readable and not (device.sampled and device.window_ns == 0)

    def read(self, clock: Clock, name: str) -> Reading:
        """Read one device now."""
        device = self.devices[name]
        device.advance(self._now_ns())
        if device.sampled:
            return self._sample(device, clock, name)
        return Reading(
            device=name,
            evidence=Evidence.CYCLES,
            monotonic_ns=clock.monotonic_ns(),
            boottime_ns=clock.boottime_ns(),
            cycles=dict(zip(_COUNTED, map(sub, device.lifetime, device.reset_at), strict=True)),
            energy_mj=device.energy_mj,
            allocation=self.allocation,
        )

    def _sample(self, device: Device, clock: Clock, name: str) -> Reading:
        """The mean activity since the last reading, as an exporter of profiling fields gives it."""
        done = [
            now - before
            for now, before in zip(device.lifetime, device.window_lifetime, strict=True)
        ]
        elapsed = max(1, done[0])
        clock_khz = done[0] * 1_000_000 // (SM_COUNT * device.window_ns)
        device.begin_window()
        return Reading(
            device=name,
            evidence=Evidence.DCGM_SAMPLED,
            monotonic_ns=clock.monotonic_ns(),
            boottime_ns=clock.boottime_ns(),
            activity_ppm={
                component: cycles * PPM // elapsed
                for component, cycles in zip(_COUNTED[1:], done[1:], strict=True)
            },
            clock_khz=clock_khz or MAX_SM_CLOCK_MHZ * 1_000,
            power_mw=device.rates[-1],
            allocation=self.allocation,
        )

    def exchange(self, device: Device, driver_version: str) -> None:
        """The device says something else of itself from now on: a new driver."""
        device.record = replace(device.record, driver_version=driver_version)


class FleetSensor:
    """Reads the devices of one node: an implementation of `sensors.base.Sensor`."""

    name = "simulated"
    simulated = True

    def __init__(
        self,
        hardware: Hardware,
        clock: Clock,
        *,
        seen: Callable[[Sequence[Reading]], None],
        listed: Callable[[Sequence[DeviceRecord]], None],
    ) -> None:
        """Prepare.

        Args:
            hardware: the devices.
            clock: stamps readings.
            seen: is told every reading that is handed out.
            listed: is told every list of devices that is handed out.
        """
        self._hardware = hardware
        self._clock = clock
        self._seen = seen
        self._listed = listed
        self.fails = False

    def devices(self) -> Sequence[DeviceRecord]:
        """The devices as they are now.

        Raises:
            SensorError: the driver is away.
        """
        if self.fails:
            raise SensorError("the driver does not answer")
        records = [device.record for device in self._hardware.devices.values()]
        self._listed(records)
        return records

    def read(self) -> Readout:
        """One round over all devices that can be reached.

        Raises:
            SensorError: the driver is away.
        """
        if self.fails:
            raise SensorError("the driver does not answer")
        readings = []
        failures = []
        for name, device in self._hardware.devices.items():
            if self._hardware.answers(device):
                readings.append(self._hardware.read(self._clock, name))
            else:
                failures.append(Failure(name, "the device says nothing"))
        self._seen(readings)
        return Readout(tuple(readings), tuple(failures))

    def close(self) -> None:
        """Nothing to release."""


def _record(node: str, number: int) -> DeviceRecord:
    return DeviceRecord(
        node=node,
        device=f"GPU-{node}-{number}",
        vendor="nvidia",
        product_name="simulated accelerator",
        part=PART,
        sm_count=SM_COUNT,
        max_sm_clock_mhz=MAX_SM_CLOCK_MHZ,
        driver_version="simulated",
        energy_scope=EnergyScope.GPU,
        simulated=True,
    )
