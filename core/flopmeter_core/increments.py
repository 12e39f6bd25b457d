"""From two readings to one increment: the only place where a physical difference is taken.

Owns: the arithmetic of a period, in exact sub-units, and the classification of its time.
May touch: nothing; pure functions of two readings and the device record.
Called by the agent's accumulate module, once a reading; docs/estimation.md has the formulas.
A difference that is negative is never added: the period becomes unobserved and the newer
reading the next baseline. A difference the device itself says is impossible becomes suspect.
"""

from __future__ import annotations

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.kernels.replay import active_cycles, trapezoid
from flopmeter_core.readings import Reading
from flopmeter_core.registers import COMPONENT_COUNT, SM_CYCLE_COMPONENTS, Component, Evidence
from flopmeter_core.units import PPM

Increment = tuple[int, ...]
"""COMPONENT_COUNT non-negative integers in the sub-units of `registers.SUBUNITS`."""

LONGEST_SAMPLED_PERIODS = 2
"""A sampled spacing above this many sampling periods is unobserved in whole (design: a sample
says nothing of a hole it did not see)."""

# One reading may come late by this much against its counters: NVML stamps no counter, so the
# period of the counter and that of the clock differ by the call's duration.
JITTER_PPM = 50_000

_SUBUNITS_PER_CYCLE = 10**12

_CYCLES = slice(0, len(SM_CYCLE_COMPONENTS))
_ACTIVE_CYCLES = slice(Component.SM_ELAPSED_MEGACYCLES + 1, len(SM_CYCLE_COMPONENTS))


class NoDifferenceError(Exception):
    """Two readings have no difference: a counter went back, or one of them lacks the quantity."""


def unobserved_time(elapsed_ns: int) -> Increment:
    """An increment of time nobody measured, in ns of the device's clock."""
    return _time_only(Component.UNOBSERVED_NS, elapsed_ns)


def increment(
    before: Reading, after: Reading, record: DeviceRecord, *, period_ns: int, allocated: bool
) -> Increment:
    """Take the difference of two readings of one device.

    Args:
        before: the older reading.
        after: the newer reading; its evidence level decides the rule.
        record: what the device said of itself (SM count, maximum clock).
        period_ns: the sampling period the sensor is read at.
        allocated: whether a user of the device was confirmed over the period; where only
            energy or nothing was measured, such time is busy.

    Returns:
        The increment in sub-units; its time components add up to the boot time between the
        readings, suspend included.
    """
    boot_ns = max(0, after.boottime_ns - before.boottime_ns)
    # The two clocks are read one after the other. Boot time is what a period covers, so that
    # their jitter never adds up to more time than went by.
    elapsed_ns = max(0, min(after.monotonic_ns - before.monotonic_ns, boot_ns))
    suspended_ns = boot_ns - elapsed_ns
    if elapsed_ns == 0:
        return _time_only(Component.SUSPENDED_NS, suspended_ns)
    late = elapsed_ns > LONGEST_SAMPLED_PERIODS * period_ns
    if late and not after.evidence.integrates:
        subunits = list(unobserved_time(elapsed_ns))
    else:
        try:
            subunits = _observed(before, after, record, elapsed_ns, allocated=allocated)
        except NoDifferenceError:
            subunits = list(unobserved_time(elapsed_ns))
    subunits[Component.SUSPENDED_NS] += suspended_ns
    return tuple(subunits)


def _observed(
    before: Reading, after: Reading, record: DeviceRecord, elapsed_ns: int, *, allocated: bool
) -> list[int]:
    """The increment of a period both readings cover, by the rule of its evidence level."""
    subunits = [0] * COMPONENT_COUNT
    _add_energy(subunits, before, after, elapsed_ns)
    match after.evidence:
        case Evidence.CYCLES:
            busy_ns = _add_counted_cycles(subunits, before, after, elapsed_ns)
        case Evidence.GPM | Evidence.DCGM_SAMPLED:
            busy_ns = _add_interval_activity(subunits, after, record, elapsed_ns)
        case Evidence.BUSY_SAMPLED:
            if after.busy_ppm is None:
                raise NoDifferenceError
            busy_ns = elapsed_ns * min(PPM, max(0, after.busy_ppm)) // PPM
        case Evidence.ENERGY | Evidence.POWER_SAMPLED | Evidence.ALLOCATION:
            # None of these sees work itself: time is busy while a user is confirmed.
            busy_ns = elapsed_ns if allocated else 0
    clock_khz = _mean_clock_khz(before, after)
    subunits[Component.BUSY_MEGACYCLES] += active_cycles(PPM, 1, clock_khz, busy_ns)
    subunits[Component.BUSY_NS] = busy_ns
    subunits[Component.IDLE_NS] = elapsed_ns - busy_ns
    if _impossible(subunits, after.evidence, record, elapsed_ns):
        return _all_suspect(elapsed_ns)
    return subunits


def _add_energy(subunits: list[int], before: Reading, after: Reading, elapsed_ns: int) -> None:
    """Energy by the hardware's counter, else by the trapezoid between two power readings."""
    if after.energy_mj is not None and before.energy_mj is not None:
        if after.energy_mj < before.energy_mj:
            raise NoDifferenceError
        subunits[Component.ENERGY_MJ] = (after.energy_mj - before.energy_mj) * 2 * 10**9
    elif after.power_mw is not None and before.power_mw is not None:
        subunits[Component.ENERGY_MJ] = trapezoid(before.power_mw, after.power_mw, elapsed_ns)
    elif after.evidence in (Evidence.ENERGY, Evidence.POWER_SAMPLED):
        raise NoDifferenceError


def _add_counted_cycles(
    subunits: list[int], before: Reading, after: Reading, elapsed_ns: int
) -> int:
    """Differences of the hardware's cumulative cycle counters; returns the busy time."""
    if not after.cycles or after.cycles.keys() != before.cycles.keys():
        raise NoDifferenceError
    for component, count in after.cycles.items():
        delta = count - before.cycles[component]
        if delta < 0:
            raise NoDifferenceError
        subunits[component] = delta * _SUBUNITS_PER_CYCLE
    return elapsed_ns if any(subunits[_ACTIVE_CYCLES]) else 0


def _add_interval_activity(
    subunits: list[int], after: Reading, record: DeviceRecord, elapsed_ns: int
) -> int:
    """Mean activity of the period x SMs x clock x time; returns the busy time."""
    if after.clock_khz is None or not after.activity_ppm:
        raise NoDifferenceError
    sm_count = record.sm_count or _unsaid_sms(after.evidence)
    shares = {Component.SM_ELAPSED_MEGACYCLES: PPM, **after.activity_ppm}
    for component, share_ppm in shares.items():
        subunits[component] = active_cycles(
            max(0, share_ppm), sm_count, after.clock_khz, elapsed_ns
        )
    # An engine that worked makes the period busy, so that the ceiling holds work of pipes that
    # the reading does not tell of.
    active = bool(after.engine_ppm) or any(share > 0 for share in after.activity_ppm.values())
    return elapsed_ns if active else 0


def _unsaid_sms(evidence: Evidence) -> int:
    """How many SMs the cycles of a device are of that does not say how many it has.

    An exporter never says it: its cycles are those of one SM, and the table's count comes in at the
    estimate (methods.dcgm), so that no constant is stored.
    """
    return 1 if evidence is Evidence.DCGM_SAMPLED else 0


def _mean_clock_khz(before: Reading, after: Reading) -> int:
    """The clock of a period: the mean of its two ends where both were read."""
    clocks = [reading.clock_khz for reading in (before, after) if reading.clock_khz is not None]
    return sum(clocks) // len(clocks) if clocks else 0


def _impossible(
    subunits: list[int], evidence: Evidence, record: DeviceRecord, elapsed_ns: int
) -> bool:
    """Whether any cycle count is above what SMs x maximum clock x time allows."""
    limit = record.max_sm_clock_mhz * 1_000 * elapsed_ns * (PPM + JITTER_PPM)
    if limit == 0:
        return False
    if evidence is Evidence.BUSY_SAMPLED and subunits[Component.BUSY_MEGACYCLES] > limit:
        return True
    sm_count = record.sm_count or _unsaid_sms(evidence)
    return sm_count > 0 and max(subunits[_CYCLES]) > sm_count * limit


def _all_suspect(elapsed_ns: int) -> list[int]:
    """A period whose reading cannot be true: its time is kept, its work is not."""
    return list(_time_only(Component.SUSPECT_NS, elapsed_ns))


def _time_only(component: Component, elapsed_ns: int) -> Increment:
    subunits = [0] * COMPONENT_COUNT
    subunits[component] = elapsed_ns
    return tuple(subunits)
