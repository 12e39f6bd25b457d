"""Whether a reading can be believed: the named checks, their thresholds, and what a doubt costs.

Owns: the checks with their thresholds and sources, and moving a doubtful period's time to suspect.
May touch: nothing; pure functions of two readings and the device record.
Called by the agent's accumulate module for each period, and by sensors that drop a blank value.
docs/estimation.md has the table of checks.

A doubt widens and never hides: the period's time becomes suspect, so that the part's ceiling is
added to upper. Work is kept where only the silence of a counter is doubted, and left out of
lower and best where the numbers themselves cannot be true. The honest case that must stay
untouched is work outside the tensor cores (recommenders, data loading, memory-bound kernels): zero
tensor activity at full power is believed as soon as any other counter of the same reading saw the
device work.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence

from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.increments import JITTER_PPM, Increment
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S, PPM
from flopmeter_core.values import value_class


class Check(enum.StrEnum):
    """Why a reading is doubted."""

    SENTINEL = "sentinel"
    """A value is DCGM's or NVML's mark for "blank", in whatever unit (slurm-job-exporter 53)."""
    IMPOSSIBLE = "impossible"
    """Above what physics or the device's own limits allow: a jump, a share above 100 %."""
    BACKWARDS = "backwards"
    """A cumulative counter reads less than before; increments leave the period unobserved."""
    NO_CLOCK = "no_clock"
    """Activity while the clock stands still or is not given: it would count as zero cycles."""
    SILENT = "silent"
    """All activity counters read zero while power or utilisation says otherwise
    (dcgm-exporter 662, gpu-monitoring-tools 189)."""
    FROZEN = "frozen"
    """Nothing changes any more, not even what must (gpu-monitoring-tools 188)."""
    TABLE = "table"
    """A device says another SM count than the device table has for it; counted once a device."""


@value_class(frozen=True, slots=True)
class Suspicion:
    """One doubt about one reading of one device, with what was seen."""

    device: str
    check: Check
    detail: str


# Blank values: dcgm_structs.h of DCGM 4.6, DCGM_FP64_BLANK = 2^47 and DCGM_INT64_BLANK =
# 0x7ffffffffffffff0, each with three more (not found, not supported, not permissioned) above.
# The 32-bit ones (2147483632 ..) are honest values of an energy counter, so they are not here.
_FP64_BLANK = 1 << 47
_INT64_BLANK = 0x7FFFFFFFFFFFFFF0
_BLANKS = 4
_SCALE_DIGITS = 9
"""A blank may have been converted before it was noticed: ratio to percent made 1.4e16 of it, and
megahertz to hertz is the largest common step (10^6); kept wide."""

GREATEST_SHARE_PPM = 1_020_000
"""An activity above 100 % by more than 2 % is no activity: room for a counter's own rounding."""

GREATEST_CLOCK_KHZ = 10_000_000
"""No SM runs at 10 GHz."""

GREATEST_POWER_W = 5_000
"""Mean power of one device: several times the rated power of any board (accelerators: 1.4 kW)."""

_REFRESH_NS = NS_PER_S
"""An energy counter may stand for its refresh and then make up for it, so a jump is allowed this
much more time, and no mean power is taken over less than half of it (NVML refreshes in 100 ms)."""

_ROUNDING_CYCLES = 1_000_000
"""Cumulative counters are whole numbers of something: a megacycle of slack between two of them."""

SILENCE_PPM = 10_000
"""Activity up to 1 % counts as none: a stuck counter reads 0, an idle one a few ppm."""

LOUD_POWER_PPM = 500_000
"""Half of the rated power says that the device works: idle boards with a loaded model draw 10 to
25 % (113 W of 700 W on an H100, 16 W of 72 W on an L4: NVIDIA/aicr and kOps samples)."""

LOUD_BUSY_PPM = 500_000
"""Kernels for half of the driver's window contradict counters at zero (dcgm-exporter 662: 99 %)."""

FROZEN_PERIODS = 3
FROZEN_NS = 2 * NS_PER_S
"""So many periods in a row, and so long: energy counters are refreshed every 100 ms (NVML)."""


def is_blank(stated: int) -> bool:
    """Whether an integer is a blank of DCGM or NVML, also after a change of unit by 10^n."""
    if stated < _FP64_BLANK:
        return False
    if stated >= _INT64_BLANK:
        return True
    for _ in range(_SCALE_DIGITS + 1):
        if _FP64_BLANK <= stated < _FP64_BLANK + _BLANKS:
            return True
        stated, rest = divmod(stated, 10)
        if rest or stated < _FP64_BLANK:
            return False
    return False


@value_class(frozen=True, slots=True)
class Stillness:
    """For how long a device has said the same: periods, and the stamp of the first such reading."""

    periods: int = 0
    since_ns: int = 0

    def after(self, before: Reading, after: Reading) -> Stillness:
        """The stillness once `after` was read."""
        # Nearly always the energy has moved, and nothing else need be held against each other.
        if (
            after.monotonic_ns == before.monotonic_ns
            or after.energy_mj != before.energy_mj
            or _said(before) != _said(after)
        ):
            return Stillness(0, after.monotonic_ns)
        since_ns = self.since_ns if self.periods else before.monotonic_ns
        return Stillness(self.periods + 1, since_ns)


def inspect(
    before: Reading,
    after: Reading,
    record: DeviceRecord,
    *,
    stillness: Stillness,
    rated_power_w: int = 0,
) -> tuple[Suspicion, ...]:
    """Judge one period.

    Args:
        before: the older reading.
        after: the newer reading.
        record: what the device said of itself.
        stillness: of the device, `after` included.
        rated_power_w: rated power of the part in W; 0 where it is not known, and then power
            alone makes no reading suspect.

    Returns:
        What is doubted; empty for a reading to be believed.
    """
    if blanks := _blanks(after):
        return (Suspicion(after.device, Check.SENTINEL, f"blank: {', '.join(blanks)}"),)
    # Numbers that cannot be true are no evidence for or against anything else.
    counted = _counted(before, after)
    impossible = _impossible(before, after, record, counted)
    if impossible:
        return (Suspicion(after.device, Check.IMPOSSIBLE, impossible),)
    backwards = _backwards(before, after, counted)
    if backwards:
        return (Suspicion(after.device, Check.BACKWARDS, backwards),)
    found = [
        (Check.NO_CLOCK, _no_clock(after, counted)),
        (Check.FROZEN, _frozen(after, stillness)),
        (Check.SILENT, _silent(before, after, record, rated_power_w, counted)),
    ]
    return tuple([Suspicion(after.device, check, detail) for check, detail in found if detail])


_KEEPS_WORK = frozenset({Check.SILENT, Check.NO_CLOCK})
"""Doubts about work that may be missing; the others doubt the work that is there."""


def widened(amount: Increment, suspicions: Sequence[Suspicion]) -> Increment:
    """Turn a doubtful period's time into suspect time; an increment without doubt is untouched.

    Upper can only grow by it: what the period's work could add to upper is at most the part's
    ceiling over its time, and that ceiling is what suspect time adds. A period over which a
    counter went back is unobserved already, and stays so: that adds the same.
    """
    if not suspicions:
        return amount
    checks = {suspicion.check for suspicion in suspicions} - {Check.BACKWARDS}
    if not checks:
        return amount
    times = (Component.BUSY_NS, Component.IDLE_NS, Component.UNOBSERVED_NS, Component.SUSPECT_NS)
    total_ns = sum(amount[component] for component in times)
    changed = list(amount) if checks <= _KEEPS_WORK else [0] * len(amount)
    for component in times:
        changed[component] = 0
    changed[Component.SUSPECT_NS] = total_ns
    changed[Component.SUSPENDED_NS] = amount[Component.SUSPENDED_NS]
    return tuple(changed)


def greatest_clock_khz(record: DeviceRecord) -> int:
    """The highest clock a device may be read at: its own if it says one, with room for jitter."""
    own_khz = record.max_sm_clock_mhz * 1_000 * (PPM + JITTER_PPM) // PPM
    return min(own_khz or GREATEST_CLOCK_KHZ, GREATEST_CLOCK_KHZ)


def as_baseline(reading: Reading, record: DeviceRecord) -> Reading:
    """A reading as the next period may begin with it: without a clock or power no device can have.

    The period that ended there is doubted, the next one only if it took such a number for its
    other end. Counters stay: what is told of them is a difference, and is judged as one.
    """
    clock_khz, power_mw = reading.clock_khz, reading.power_mw
    if clock_khz is not None and not 0 <= clock_khz <= greatest_clock_khz(record):
        reading = dataclasses.replace(reading, clock_khz=None)
    if power_mw is not None and not 0 <= power_mw <= _greatest_mw(record):
        reading = dataclasses.replace(reading, power_mw=None)
    return reading


def impossible_counts(device: str, amount: Increment) -> tuple[Suspicion, ...]:
    """The doubt that `increments.increment` found by itself: more cycles than the device can make.

    Returns:
        One suspicion where the increment has suspect time, else nothing.
    """
    if not amount[Component.SUSPECT_NS]:
        return ()
    detail = "more cycles than its SMs make at its highest clock"
    return (Suspicion(device, Check.IMPOSSIBLE, detail),)


# --- the checks -----------------------------------------------------------------------------------


_STATED = ("energy_mj", "power_mw", "clock_khz", "busy_ppm", "engine_ppm")
"""Numbers of a reading that may be blank. Cumulative cycles are left out: those of a large device
pass 2^63 after a year of uptime, and a blank among them is an impossible jump."""


def _blanks(reading: Reading) -> list[str]:
    """The names of the numbers that a reading lacks and states all the same."""
    shares = reading.activity_ppm
    stated = (
        reading.energy_mj,
        reading.power_mw,
        reading.clock_khz,
        reading.busy_ppm,
        reading.engine_ppm,
    )
    # No number is nearly as large as a blank, mostly: then none need be looked at by itself.
    if max(filter(None, (*stated, *shares.values())), default=0) < _FP64_BLANK:
        return []
    blanks = [
        name
        for name, number in zip(_STATED, stated, strict=True)
        if number is not None and is_blank(number)
    ]
    return blanks + [each.name.lower() for each, ppm in shares.items() if is_blank(ppm)]


def _said(reading: Reading) -> object:
    return (
        reading.evidence,
        reading.energy_mj,
        reading.power_mw,
        reading.clock_khz,
        reading.busy_ppm,
        reading.engine_ppm,
        reading.activity_ppm,
        reading.cycles,
    )


Counted = dict[Component, int]
"""How far each cycle counter went in a period; those that one of its ends lacks are left out."""


def _counted(before: Reading, after: Reading) -> Counted:
    earlier = before.cycles
    return {
        component: count - earlier[component]
        for component, count in after.cycles.items()
        if component in earlier
    }


def _impossible(before: Reading, after: Reading, record: DeviceRecord, counted: Counted) -> str:
    """Numbers that no device can have."""
    for component, share_ppm in after.activity_ppm.items():
        if not 0 <= share_ppm <= GREATEST_SHARE_PPM:
            return f"{component.name.lower()} at {_percent(share_ppm)}"
    if after.clock_khz is not None and not 0 <= after.clock_khz <= GREATEST_CLOCK_KHZ:
        return f"a clock of {after.clock_khz} kHz"
    if after.power_mw is not None and not 0 <= after.power_mw <= _greatest_mw(record):
        return f"a power of {after.power_mw // 1_000} W"
    if before.energy_mj is not None and after.energy_mj is not None:
        allowed_ns = max(0, after.monotonic_ns - before.monotonic_ns) + _REFRESH_NS
        # mW x ns = 10^-9 mJ.
        if (after.energy_mj - before.energy_mj) * NS_PER_S > _greatest_mw(record) * allowed_ns:
            return f"{after.energy_mj - before.energy_mj} mJ in one period"
    elapsed = counted.get(Component.SM_ELAPSED_MEGACYCLES, 0)
    active = _most_active(after, counted)
    if elapsed > 0 and (active - _ROUNDING_CYCLES) * PPM > elapsed * GREATEST_SHARE_PPM:
        return f"{active} active of {elapsed} elapsed cycles"
    return ""


def _backwards(before: Reading, after: Reading, counted: Counted) -> str:
    """A counter since boot that reads less than before: it began anew, or it is broken."""
    earlier_mj, later_mj = before.energy_mj, after.energy_mj
    if earlier_mj is not None and later_mj is not None and later_mj < earlier_mj:
        return f"the energy counter went back from {earlier_mj} to {later_mj} mJ"
    if after.evidence is Evidence.CYCLES:
        for component, cycles in counted.items():
            if cycles < 0:
                return f"counter {component.name.lower()} went back"
    return ""


def _no_clock(after: Reading, counted: Counted) -> str:
    """Activity that the missing clock would make zero cycles."""
    if after.evidence is Evidence.CYCLES:
        stands = counted.get(Component.SM_ELAPSED_MEGACYCLES) == 0
        if stands and _most_active(after, counted):
            return "active cycles went on while elapsed cycles stood still"
        return ""
    if after.evidence not in (Evidence.GPM, Evidence.DCGM_SAMPLED) or after.clock_khz:
        return ""
    active = any(share_ppm > SILENCE_PPM for share_ppm in after.activity_ppm.values())
    return "activity without a clock" if active else ""


def _frozen(after: Reading, stillness: Stillness) -> str:
    """Nothing moves, although energy or elapsed cycles of a device with power always do.

    A reading without either cannot be told from a device at rest, and is believed.
    """
    moves = after.energy_mj is not None or Component.SM_ELAPSED_MEGACYCLES in after.cycles
    still_ns = after.monotonic_ns - stillness.since_ns
    if not moves or stillness.periods < FROZEN_PERIODS or still_ns < FROZEN_NS:
        return ""
    return f"the same values for {still_ns // NS_PER_S} s"


def _silent(
    before: Reading,
    after: Reading,
    record: DeviceRecord,
    rated_power_w: int,
    counted: Counted,
) -> str:
    """Every activity counter at zero, against power or utilisation.

    Zero tensor activity alone is no reason: a memory-bound kernel has none at full power. So SMs,
    engines and vector pipes have to be silent too. Where the reading has no other counter than
    tensor activity, utilisation proves nothing and only power is held against it.
    """
    if after.evidence not in (Evidence.CYCLES, Evidence.GPM, Evidence.DCGM_SAMPLED):
        return ""
    shares = _shares_ppm(after, counted)
    if Component.TENSOR_MEGACYCLES not in shares:
        return ""
    others = [*shares.values(), *([] if after.engine_ppm is None else [after.engine_ppm])]
    alone = len(others) == 1
    if max(others) > (0 if alone else SILENCE_PPM):
        return ""
    power_w = _mean_power_w(before, after) if record.energy_scope is EnergyScope.GPU else None
    if rated_power_w and power_w is not None and power_w * PPM >= rated_power_w * LOUD_POWER_PPM:
        return f"no activity at {power_w} W"
    if alone or before.busy_ppm is None or after.busy_ppm is None:
        return ""
    # Utilisation is of the last second before a reading: work that began just then is no lie.
    busy_ppm = min(before.busy_ppm, after.busy_ppm)
    if busy_ppm >= LOUD_BUSY_PPM:
        return f"no activity although kernels ran {_percent(busy_ppm)} of the time"
    return ""


def _shares_ppm(after: Reading, counted: Counted) -> Mapping[Component, int]:
    """Activity of the period by component, whether it was given or counted."""
    if after.evidence is not Evidence.CYCLES:
        return after.activity_ppm
    elapsed = counted.get(Component.SM_ELAPSED_MEGACYCLES, 0)
    if elapsed <= 0:
        return {}
    return {
        component: cycles * PPM // elapsed
        for component, cycles in counted.items()
        if component != Component.SM_ELAPSED_MEGACYCLES
    }


def _most_active(after: Reading, counted: Counted) -> int:
    """The largest difference of a counter that can only count within elapsed cycles."""
    if after.evidence is not Evidence.CYCLES:
        return 0
    active = [
        cycles
        for component, cycles in counted.items()
        if component != Component.SM_ELAPSED_MEGACYCLES
    ]
    return max(active, default=0)


def _mean_power_w(before: Reading, after: Reading) -> int | None:
    """Mean power of the period by the energy counter, else the lower of the two powers read."""
    elapsed_ns = after.monotonic_ns - before.monotonic_ns
    if before.energy_mj is not None and after.energy_mj is not None:
        if elapsed_ns < _REFRESH_NS // 2:
            return None
        # mJ / ns = MW.
        return max(0, after.energy_mj - before.energy_mj) * 10**6 // elapsed_ns
    if before.power_mw is not None and after.power_mw is not None:
        return min(before.power_mw, after.power_mw) // 1_000
    return None


def _greatest_mw(record: DeviceRecord) -> int:
    return GREATEST_POWER_W * 1_000 * record.device_count


def _percent(share_ppm: int) -> str:
    return f"{share_ppm / (PPM // 100):.4g} %"
