"""A simulated sensor says of a device what a real one could."""

from __future__ import annotations

from flopmeter.lab.simulation.clock import NodeClock, SimulatedLoop
from flopmeter.lab.simulation.hardware import FleetSensor, Hardware
from flopmeter.lab.simulation.randomness import Randomness
from flopmeter_agent.sensors.base import Readout
from flopmeter_core.registers import Component
from flopmeter_core.units import NS_PER_S


def test_a_mean_is_of_some_time() -> None:
    """Who samples is told nothing where a device has not run since its counters began anew.

    It was told of no activity at full power, which an agent doubts, and rightly.
    """
    now_ns = 0
    loop = SimulatedLoop(start_ns=0, thread_delay_ns=lambda: 0)
    hardware = Hardware("n1", 1, lambda: now_ns, Randomness(1, "hardware"), sampled=True)
    clock = NodeClock(loop, epoch_ns=0)
    sensor = FleetSensor(hardware, clock, seen=lambda _: None, listed=lambda _: None)
    hardware.use("run:alpha")

    def after(seconds: int) -> Readout:
        nonlocal now_ns
        now_ns += seconds * NS_PER_S
        return sensor.read()

    (reading,) = after(30).readings
    assert reading.activity_ppm[Component.SM_ACTIVE_MEGACYCLES] > 0
    hardware.stop()
    hardware.reset()
    now_ns += 30 * NS_PER_S
    hardware.go_on()
    silent = after(0)
    (failure,) = silent.failures
    assert not silent.readings and failure.device == reading.device
    (again,) = after(1).readings
    assert again.activity_ppm[Component.SM_ACTIVE_MEGACYCLES] > 0
    loop.close()
