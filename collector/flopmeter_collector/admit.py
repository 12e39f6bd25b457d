"""Whether a vector may be true: judged on the report's own content, never on when it came.

Owns: the bounds a vector must keep (boot time, maximum clock, power) and their sentences.
May touch: nothing; pure functions, so that a vector refused today is refused in a year.
Called by intake and held_rows before the merge, because a merge keeps the greatest value: one
flipped bit that came in would stay for ever.
Explained in docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import NotPermittedError
from flopmeter_core.increments import JITTER_PPM
from flopmeter_core.registers import SM_CYCLE_COMPONENTS, Component, Vector, covered_ns
from flopmeter_core.units import CYCLES_PER_MEGACYCLE, NS_PER_HOUR, NS_PER_S, PPM

BOOT_SLACK_NS = NS_PER_S
"""A vector may cover this much more than the boot time beside it: the clocks are read apart."""

GREATEST_SM_COUNT = 1_024
"""Stands in where a device did not say its SMs; several times the largest part's number."""

GREATEST_SM_CLOCK_MHZ = 5_000
"""Stands in where a device did not say its clock; twice the fastest part's."""

GREATEST_POWER_W = 20_000
"""Power of one accelerator with its share of the node: ten times what any part draws, so that
only a broken counter is refused."""

ROUNDING_MEGACYCLES = 1
"""A register holds whole megacycles."""


def check_kind(*, simulated: bool, ledger_simulated: bool, sender: str) -> None:
    """Refuse readings of the kind the ledger was not created for.

    Args:
        simulated: whether the sender's readings are made up.
        ledger_simulated: whether the ledger is for such readings.
        sender: the node's or relay's name, for the sentence.

    Raises:
        NotPermittedError: the kinds differ.
    """
    if simulated == ledger_simulated:
        return
    sent, kept = ("simulated", "real") if simulated else ("real", "simulated")
    hint = "with" if simulated else "without"
    raise NotPermittedError(
        f"{sender} sends {sent} readings, but this collector's ledger keeps {kept} ones and "
        f"never mixes them: send to a collector started {hint} --simulated"
    )


def greatest_rates(record: DeviceRecord) -> tuple[int, int, int]:
    """What a device can do at most: a vector within these is never refused by `refusal`.

    They are a little below its bounds, whose rounding they need not know: whoever is above them
    asks `refusal`. Not for devices that are said to have more than a million SMs, which get 0.

    Returns:
        Megacycles of all its SMs a second, megacycles of one clock a second, and power in W.
    """
    clock_mhz = record.max_sm_clock_mhz or GREATEST_SM_CLOCK_MHZ
    sm_count = record.sm_count or GREATEST_SM_COUNT
    if sm_count > PPM:
        return 0, 0, 0
    rate = max(1, record.device_count) * (PPM + JITTER_PPM)
    return (
        clock_mhz * sm_count * rate // PPM,
        max(clock_mhz, GREATEST_SM_CLOCK_MHZ) * rate // PPM,
        GREATEST_POWER_W * record.device_count,
    )


LONGEST_GAP_NS = 90 * 24 * NS_PER_HOUR
"""Longest silence whose work is taken in under a boundary: as long as agents keep closed keys."""


def refusal(
    vector: Vector, record: DeviceRecord, *, boot_ns: int | None, boundary: bool = False
) -> str:
    """Say why a vector cannot be true; empty when it can.

    Args:
        vector: cumulative values in the units of `Component`.
        record: what the device said of itself.
        boot_ns: time since boot when the vector was read; None when that is not known.
        boundary: whether two users share the key: the work of a silence is told apart from its
            time, which was registered while it lasted.
    """
    total_ns = covered_ns(vector)
    if boot_ns is not None and total_ns > boot_ns + BOOT_SLACK_NS:
        return (
            f"the vector covers {_seconds(total_ns)} s but its node booted only "
            f"{_seconds(boot_ns)} s ago; check the node's clock and restart its agent"
        )
    # A doubted period keeps its work where only the work's smallness is doubted (core.suspicion).
    # Time nobody measured can hold work too: a counter that runs on gives it when its device
    # comes back.
    observed_ns = total_ns - vector[Component.SUSPENDED_NS]
    if boundary:
        observed_ns += LONGEST_GAP_NS
        total_ns += LONGEST_GAP_NS
    return _cycle_refusal(vector, record, observed_ns) or _energy_refusal(vector, record, total_ns)


def _cycle_refusal(vector: Vector, record: DeviceRecord, observed_ns: int) -> str:
    """Cycles above SMs x maximum clock x observed time."""
    clock_mhz = record.max_sm_clock_mhz or GREATEST_SM_CLOCK_MHZ
    sm_count = record.sm_count or GREATEST_SM_COUNT
    # MHz x ns = 10^-3 cycles.
    devices = max(1, record.device_count)  # 0 of a MIG instance, which has SMs all the same
    cycles = clock_mhz * observed_ns * devices * (PPM + JITTER_PPM) // (PPM * 1_000)
    limit = cycles * sm_count // CYCLES_PER_MEGACYCLE + ROUNDING_MEGACYCLES
    if max(vector[: len(SM_CYCLE_COMPONENTS)]) > limit:
        component = next(each for each in SM_CYCLE_COMPONENTS if vector[each] > limit)
        return (
            f"{component.name.lower()} is {vector[component]}, above the {limit} that "
            f"{sm_count} SMs at {clock_mhz} MHz can make in the observed "
            f"{_seconds(observed_ns)} s; check the device with its vendor's tool"
        )
    # Busy megacycles come from the clock as it was read, which no agent holds against a maximum.
    greatest = max(clock_mhz, GREATEST_SM_CLOCK_MHZ) * cycles // clock_mhz
    busy_limit = greatest // CYCLES_PER_MEGACYCLE + ROUNDING_MEGACYCLES
    if vector[Component.BUSY_MEGACYCLES] > busy_limit:
        return (
            f"busy_megacycles is {vector[Component.BUSY_MEGACYCLES]}, above the {busy_limit} of "
            f"any clock in the observed {_seconds(observed_ns)} s; check the device's clock"
        )
    return ""


def _energy_refusal(vector: Vector, record: DeviceRecord, total_ns: int) -> str:
    """Energy above what any node could draw in the time covered."""
    # W x ns = 10^-6 mJ.
    limit_mj = GREATEST_POWER_W * record.device_count * (total_ns + BOOT_SLACK_NS) // 1_000_000
    if vector[Component.ENERGY_MJ] <= limit_mj:
        return ""
    return (
        f"energy_mj is {vector[Component.ENERGY_MJ]}, above the {limit_mj} of {GREATEST_POWER_W} W "
        f"an accelerator over {_seconds(total_ns)} s; check the energy counter of the device"
    )


def _seconds(span_ns: int) -> int:
    return span_ns // NS_PER_S
