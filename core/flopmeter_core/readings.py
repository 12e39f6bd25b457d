"""A reading: what a sensor said of one device at one instant, in integers.

Owns: the shape every sensor and every recording is converted to at once.
May touch: nothing; pure data.
Called by sensors and importers (which make readings) and by increments (which compares two).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from flopmeter_core.registers import Component, Evidence
from flopmeter_core.values import value_class

_EMPTY: Mapping[Component, int] = MappingProxyType({})


@value_class(frozen=True, slots=True)
class DeviceProcess:
    """A process that the driver lists on a device at one instant.

    Attributes:
        pid: as the driver numbers it, which is the host's number.
        instance: number of the GPU instance it runs in; None outside MIG mode.
        mps: whether it is a client of the Multi-Process Service, not the owner of a context.
        busy_percent: the largest share of a sampling window in which its kernels ran, since the
            reading before; None where the driver did not say.
    """

    pid: int
    instance: int | None = None
    mps: bool = False
    busy_percent: int | None = None


@value_class(frozen=True, slots=True)
class Reading:
    """What one device said at one instant. What a device did not say is absent, never 0.

    Attributes:
        device: the device instance (GPU UUID or ``node:<id>``).
        evidence: the rung this reading can support together with the one before it.
        monotonic_ns: the agent's monotonic clock at the reading (stops in suspend).
        boottime_ns: the agent's boot-time clock at the reading (counts suspend).
        cycles: cumulative hardware counters in SM cycles since boot, by component.
        counter_unit: how many steps the driver's own counters make in one clock cycle of the
            device (1, its SM count or four times it); `cycles` was made with it. None without
            `cycles`, and where the source counts SM cycles itself.
        energy_mj: the hardware's cumulative energy counter in mJ; None where there is none.
        activity_ppm: mean activity since the reading before, in ppm of elapsed SM cycles,
            by component (GPM interval metrics).
        clock_khz: SM clock in kHz, mean of the period where the device gives one, else at the
            instant.
        power_mw: power in mW at the instant.
        busy_ppm: share of the last sampling window in which a kernel ran, in ppm.
        engine_ppm: mean share of the period in which any engine of the device worked, in ppm; no
            cycles are made of it, it is held against the other values (`suspicion`).
        allocation: the user of the device, when the sensor itself knows it (a scenario or a
            recording); None when an allocation source has to say.
    """

    device: str
    evidence: Evidence
    monotonic_ns: int
    boottime_ns: int
    cycles: Mapping[Component, int] = field(default_factory=lambda: _EMPTY)
    counter_unit: int | None = None
    energy_mj: int | None = None
    activity_ppm: Mapping[Component, int] = field(default_factory=lambda: _EMPTY)
    clock_khz: int | None = None
    power_mw: int | None = None
    busy_ppm: int | None = None
    engine_ppm: int | None = None
    allocation: str | None = None
