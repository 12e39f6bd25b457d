"""Packed readings of one device: what they add to a register, without being unpacked.

Owns: which readings the kernel may take, its limits, and the increment its sums make.
May touch: nothing; pure functions of cells and the device record.
Called by the lab's bulk metering; docs/adr/0036-bulk-telemetry.md.

It gives what `core.columns` gives, for the commonest shape of telemetry: activity and clock, with
power or without. Everything else is for `core.columns`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from flopmeter_core import suspicion
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.increments import JITTER_PPM, LONGEST_SAMPLED_PERIODS
from flopmeter_core.kernels import packed as kernel
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import PPM
from flopmeter_core.values import value_class

ACTIVITY_RUNGS = frozenset({Evidence.GPM, Evidence.DCGM_SAMPLED})


@value_class(frozen=True, slots=True)
class Shape:
    """Where what lies in a block, and what is usual of its device.

    Attributes:
        record: the device.
        activities: the components of the activity columns, in the order of their places.
        places: as `kernels.packed.usual` takes them.
        limits: the same, but for the last, which is the room that is left.
        units: SMs that cycles are summed over; 1 where an exporter does not say them.
    """

    record: DeviceRecord
    activities: tuple[Component, ...]
    places: array[int]
    limits: tuple[int, ...]
    units: int


def shape_of(
    record: DeviceRecord,
    evidence: Evidence,
    *,
    clock_place: int,
    power_place: int,
    activity_places: Sequence[tuple[Component, int]],
    period_ns: int,
    rated_power_w: int,
) -> Shape | None:
    """The shape of the blocks of a series; None where they are not of the commonest.

    Args:
        record: the device.
        evidence: the rung of all readings.
        clock_place: the column of the clock; 0 where there is none.
        power_place: that of the power.
        activity_places: component and column of each activity.
        period_ns: the sampling period.
        rated_power_w: of the device; 0 where it is not known.
    """
    if evidence not in ACTIVITY_RUNGS or not clock_place or not activity_places:
        return None
    components = tuple(component for component, _ in activity_places)
    if Component.SM_ELAPSED_MEGACYCLES in components:
        return None
    longest_ns = kernel.GREATEST_LIMITS[0] - 1
    if not evidence.integrates:
        longest_ns = min(longest_ns, LONGEST_SAMPLED_PERIODS * period_ns)
    most = kernel.GREATEST_LIMITS[4] - 1
    if record.sm_count and record.max_sm_clock_mhz:
        most = record.max_sm_clock_mhz * 1_000 * (PPM + JITTER_PPM)
    loud_mw = 0
    if record.energy_scope is EnergyScope.GPU:
        loud_mw = rated_power_w * suspicion.LOUD_POWER_PPM // 1_000
    fastest = min(suspicion.greatest_clock_khz(record), kernel.GREATEST_LIMITS[1] - 1)
    strongest = suspicion.GREATEST_POWER_W * 1_000 * record.device_count
    # Beside no other counter, tensor activity has to be 0 to be silent.
    silence = suspicion.SILENCE_PPM if len(components) > 1 else 0
    limits = (longest_ns, fastest, min(strongest, kernel.GREATEST_LIMITS[2] - 1),
              suspicion.GREATEST_SHARE_PPM, most, silence, loud_mw)  # fmt: skip
    unsaid = 1 if evidence is Evidence.DCGM_SAMPLED else 0
    places = array("q", [clock_place, power_place, *(place for _, place in activity_places)])
    return Shape(record, components, places, limits, record.sm_count or unsaid)


class Sums:
    """Adds up blocks of one shape; its buffers are used again and again."""

    def __init__(self, shape: Shape) -> None:
        """Reserve the buffers."""
        self._shape = shape
        self._sums = array("Q", bytes(16 * (kernel.ACTIVITY + len(shape.activities))))
        self._none = bytes(len(self._sums) * 8)
        self._scratch = array("Q", bytes(8 * kernel.CHUNK))

    def take(
        self, cells: memoryview, rows: int, first: int, room_ns: int, amount: list[int]
    ) -> tuple[int, int]:
        """Add the usual periods from a row on.

        Args:
            cells: the block, 32 bits each.
            rows: in the block.
            first: the row that ends the first period.
            room_ns: the time that may be taken; the row that passes it is not.
            amount: grown, in sub-units.

        Returns:
            The first row that was not taken, and the time of those that were, in ns.
        """
        shape, sums = self._shape, self._sums
        memoryview(sums).cast("B")[:] = self._none
        limits = array("q", (*shape.limits, max(0, room_ns)))
        row = kernel.usual(cells, rows, first, shape.places, limits, sums, self._scratch)

        def whole(place: int) -> int:
            return (sums[2 * place] << 32) + sums[2 * place + 1]

        active_ns, all_ns = sums[2 * kernel.TIME], sums[2 * kernel.TIME + 1]
        amount[Component.SM_ELAPSED_MEGACYCLES] += PPM * shape.units * whole(kernel.CYCLES)
        amount[Component.BUSY_MEGACYCLES] += PPM * whole(kernel.BUSY)
        amount[Component.ENERGY_MJ] += whole(kernel.ENERGY)
        amount[Component.BUSY_NS] += active_ns
        amount[Component.IDLE_NS] += all_ns - active_ns
        for number, component in enumerate(shape.activities):
            amount[component] += shape.units * whole(kernel.ACTIVITY + number)
        return row, all_ns
