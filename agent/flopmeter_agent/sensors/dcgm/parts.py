"""The MIG instances an exporter shows of one device: their records, and when they count.

Owns: the records of the instances, and whether an answer is measured by them.
May touch: nothing; pure.
Called by sensor. docs/adr/0009-mig-instances.md has the rule: a period is measured by its instances
or by the GPU, never by both.

An exporter names an instance's profile and not how many SMs it has. So an instance is counted in
cycles of one SM, and only where the device table has the profile of the recognised part: its count
comes in at the estimate, as the part's does for a whole device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flopmeter_agent.sensors.dcgm.fields import CLOCK
from flopmeter_agent.sensors.dcgm.scrape import Part, Seen
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.registers import INSTANCE_MARK, Component

CLASSES = frozenset(
    {Component.TENSOR_MEGACYCLES, Component.HMMA_MEGACYCLES, Component.IMMA_MEGACYCLES}
)
"""With these three, matrix work is told apart by class."""

Known = Callable[[DeviceRecord], bool]
"""Whether the device table has the SM count of an instance's profile."""


def by_parts(seen: Seen) -> bool:
    """Whether an answer tells of instances and of nothing above them."""
    return bool(seen.parts) and Component.TENSOR_MEGACYCLES not in seen.offered


def records_of(parent: DeviceRecord, seen: Seen) -> dict[str, DeviceRecord]:
    """The instances of an answer by their number in it; 0 accelerators, the GPU is the one."""
    if not by_parts(seen):
        return {}
    return {
        number: replace(
            parent,
            device=f"{parent.device}{INSTANCE_MARK}{number}@{part.profile}",
            product_name=f"{parent.product_name} MIG {part.profile}",
            sm_count=0,
            memory_mib=0,
            device_count=0,
            energy_scope=EnergyScope.NONE,
            tensor_classes=part.offered >= CLASSES,
        )
        for number, part in seen.parts.items()
    }


def missing_of(parent: DeviceRecord, seen: Seen, known: Known) -> str:
    """Why an answer cannot be measured by its instances; "" where it can."""
    if seen.contradictions:
        return f"its lines contradict each other: {', '.join(seen.contradictions)}"
    if CLOCK not in seen.quantities:
        return "the exporter shows no SM clock; add DCGM_FI_DEV_SM_CLOCK to its fields"
    for number, record in records_of(parent, seen).items():
        part = seen.parts[number]
        if not known(record):
            return (
                f"MIG is on, and the device table has no SM count of the profile "
                f"{part.profile or 'that the exporter does not name'}"
            )
        if not _whole(part, record):
            return f"the tensor activity of MIG instance {number} is blank"
    return ""


def activity_of(seen: Seen) -> dict[Component, int]:
    """What stands in the GPU's own register: that it was active, which no method gives a weight."""
    most = max(max(part.quantities.values(), default=0) for part in seen.parts.values())
    return {Component.SM_ACTIVE_MEGACYCLES: most}


def _whole(part: Part, record: DeviceRecord) -> bool:
    needed = CLASSES if record.tensor_classes else {Component.TENSOR_MEGACYCLES}
    return part.quantities.keys() >= needed
