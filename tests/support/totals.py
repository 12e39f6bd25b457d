"""Keys, records and vectors for tests of totals and of what shows them.

Owns: a simulated and a real H100 record, and short ways to write a key and a vector.
May touch: the built-in tables, reading.
Called by tests of the collector.
"""

from __future__ import annotations

from collections.abc import Mapping

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.metric_ids import ids_of
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.totals import Totals
from flopmeter_core.catalogue import Threshold
from flopmeter_core.data import builtin_table, builtin_thresholds
from flopmeter_core.devices import DeviceRecord, DeviceTable, EnergyScope, parse_device_table
from flopmeter_core.registers import COMPONENT_COUNT, Component, Evidence, Key, Vector
from flopmeter_core.reports import LedgerPosition
from flopmeter_core.threshold_files import parse_catalogue
from flopmeter_core.units import NS_PER_S

H100_PCI = 0x233010DE
AS_OF_NS = 1_790_000_000 * NS_PER_S
POSITION = LedgerPosition("5eed", 1, 42)
IDS = ids_of(POSITION)


def table() -> DeviceTable:
    """The built-in device table."""
    return parse_device_table(builtin_table("devices.toml"))


def thresholds() -> tuple[Threshold, ...]:
    """Three rows of the built-in catalogue: a line, a smaller law and a greater one."""
    rows = parse_catalogue(builtin_thresholds())
    return tuple(row for row in rows if row.id in ("demo-line", "eu-ai-act-51-2", "ca-sb53"))


def h100(device: str = "GPU-0", *, node: str = "n0", simulated: bool = False) -> DeviceRecord:
    """An H100 as its driver describes it."""
    return DeviceRecord(
        node=node,
        device=device,
        vendor="nvidia",
        product_name="NVIDIA H100 80GB HBM3",
        pci_device_id=H100_PCI,
        sm_count=132,
        max_sm_clock_mhz=1980,
        energy_scope=EnergyScope.GPU,
        simulated=simulated,
    )


def key_of(
    record: DeviceRecord,
    allocation: str = "run:alpha",
    *,
    evidence: Evidence = Evidence.GPM,
    phase: int = 0,
) -> Key:
    """A key of a record."""
    return Key(record.device, "0" * 32, allocation, phase, evidence, record.record_id)


def vector_of(components: Mapping[Component, int]) -> Vector:
    """A vector with these components and 0 elsewhere."""
    values = [0] * COMPONENT_COUNT
    for component, amount in components.items():
        values[component] = amount
    return tuple(values)


def busy_vector(seconds: int, *, tensor_percent: int = 40) -> Vector:
    """What an H100 at 1755 MHz registers in so many busy seconds at 600 W."""
    elapsed = 132 * 1755 * seconds
    tensor = elapsed * tensor_percent // 100
    return vector_of(
        {
            Component.SM_ELAPSED_MEGACYCLES: elapsed,
            Component.SM_ACTIVE_MEGACYCLES: elapsed * 8 // 10,
            Component.TENSOR_MEGACYCLES: tensor,
            Component.HMMA_MEGACYCLES: tensor,
            Component.BUSY_MEGACYCLES: 1755 * seconds,
            Component.ENERGY_MJ: 600_000 * seconds,
            Component.BUSY_NS: seconds * NS_PER_S,
        }
    )


def feed(totals: Totals, key: Key, record: DeviceRecord, *vectors: Vector) -> None:
    """Give the totals the branches of a key."""
    totals.update(
        key, record, [StoredVector(key, branch, 1, vector) for branch, vector in enumerate(vectors)]
    )


def scenario() -> TotalsSnapshot:
    """A fixed site: a declared run over two nodes, an undeclared one, a boundary, idle work.

    Simulated, so that the demonstration threshold applies; alpha is above it.
    """
    # The table's version is fixed: a new row of another part must not change what is recorded.
    parts = DeviceTable(version="of-the-test", parts=(table().by_id["h100-sxm5-80gb"],))
    totals = Totals(parts, simulated=True)
    totals.declare(parse_run_declaration("alpha", {"format": "bf16=1", "model": "atlas"}))
    for number in range(2):
        record = h100(f"GPU-{number}", node=f"n{number}", simulated=True)
        feed(totals, key_of(record, "run:alpha"), record, busy_vector(400_000))
    record = h100("GPU-2", node="n1", simulated=True)
    gap = vector_of({Component.UNOBSERVED_NS: 90 * NS_PER_S, Component.IDLE_NS: NS_PER_S // 2})
    feed(totals, key_of(record, 'run:be"ta\\<b>'), record, busy_vector(36_000))
    feed(totals, key_of(record, 'run:be"ta\\<b>', evidence=Evidence.BUSY_SAMPLED), record, gap)
    feed(totals, key_of(record, 'boundary(run:alpha,run:be"ta\\<b>)'), record, busy_vector(10))
    feed(totals, key_of(record, "none"), record, busy_vector(60, tensor_percent=1))
    return totals.snapshot(AS_OF_NS, POSITION)
