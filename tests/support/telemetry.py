"""Made-up telemetry of one device: as text, and as the readings that the text says."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flopmeter.lab.bulk.packing import Origin, Packed, pack
from flopmeter_agent.accumulate import Accumulator
from flopmeter_core.allocations import NONE, for_run
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, EnergyScope, parse_device_table
from flopmeter_core.readings import Reading
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S

HEADER = (
    "time_ns,device,node,run,clock_khz,power_mw,activity_ppm.sm_active_megacycles,"
    "activity_ppm.tensor_megacycles"
)
EPOCH_NS = 1_767_225_600 * NS_PER_S
"""2026-01-01."""


def record_of(device: str, *, node: str = "n1", simulated: bool = True) -> DeviceRecord:
    """An H100 as its driver describes it."""
    return DeviceRecord(
        node=node,
        device=device,
        vendor="nvidia",
        product_name="NVIDIA H100 80GB HBM3",
        part="h100-sxm5-80gb",
        sm_count=132,
        max_sm_clock_mhz=1_980,
        energy_scope=EnergyScope.GPU,
        simulated=simulated,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One line."""

    time_ns: int
    run: str
    clock_khz: int
    power_mw: int
    active_ppm: int
    tensor_ppm: int

    def at(self, time_ns: int) -> Row:
        """The same at another time."""
        return replace(self, time_ns=time_ns)

    def line(self, device: str, node: str) -> str:
        """The line as text."""
        return (
            f"{self.time_ns},{device},{node},{self.run},{self.clock_khz},{self.power_mw},"
            f"{self.active_ppm},{self.tensor_ppm}"
        )

    def reading(self, device: str) -> Reading:
        """The reading it says, on a clock that began with `EPOCH_NS`."""
        since_ns = self.time_ns - EPOCH_NS
        return Reading(
            device=device,
            evidence=Evidence.GPM,
            monotonic_ns=since_ns,
            boottime_ns=since_ns,
            activity_ppm={
                Component.SM_ACTIVE_MEGACYCLES: self.active_ppm,
                Component.TENSOR_MEGACYCLES: self.tensor_ppm,
            },
            clock_khz=self.clock_khz,
            power_mw=self.power_mw,
            allocation=for_run(self.run) if self.run else NONE,
        )


def rows_of(seed: int, count: int, *, odd: float = 0.02, hours_ahead: int = 0) -> list[Row]:
    """Rows about a second apart, with silences, changes of the run, and what no device says.

    Args:
        seed: decides all.
        count: how many.
        odd: the share of rows with something unusual.
        hours_ahead: the second half comes so much later.
    """
    rng = random.Random(seed)
    rows = []
    time_ns, run = EPOCH_NS, "one"
    for number in range(count):
        row = Row(
            time_ns,
            run,
            rng.choice((1_980_000, 1_755_000, 1_410_000)),
            rng.randint(80_000, 700_000),
            rng.randint(0, 1_000_000),
            rng.choice((0, rng.randint(0, 900_000))),
        )
        if rng.random() < odd:
            row = _odd(row, rng)
        rows.append(row)
        time_ns += NS_PER_S + rng.randint(-3_000_000, 3_000_000)
        if rng.random() < odd / 2:
            time_ns += rng.randint(1, 5_000) * NS_PER_S
        if number == count // 2:
            time_ns += hours_ahead * 3_600 * NS_PER_S
        if rng.random() < odd / 2:
            run = rng.choice(("one", "two", ""))
    return rows


def _odd(row: Row, rng: random.Random) -> Row:
    """The row with something a careful reader doubts."""
    clock_khz, power_mw = row.clock_khz, row.power_mw
    active_ppm, tensor_ppm = row.active_ppm, row.tensor_ppm
    match rng.randrange(6):
        case 0:
            clock_khz = 0
        case 1:
            clock_khz = rng.choice((2_500_000, 20_000_000))
        case 2:
            power_mw = 9_000_000
        case 3:
            active_ppm = 1_500_000
        case 4:
            active_ppm = tensor_ppm = 0
            power_mw = 650_000
        case _:
            active_ppm = tensor_ppm = 0
    return Row(row.time_ns, row.run, clock_khz, power_mw, active_ppm, tensor_ppm)


def text_of(devices: Mapping[str, Sequence[Row]], *, node: str = "n1") -> Iterator[str]:
    """Lines of several devices, in the order of time."""
    yield HEADER
    lines = [(row.time_ns, device, row) for device, rows in devices.items() for row in rows]
    for _, device, row in sorted(lines, key=lambda each: each[:2]):
        yield row.line(device, node)


DEVICE = "GPU-1"


def origin(rung: str = "GPM", *, simulated: bool = True) -> Origin:
    """What a text does not say."""
    record = record_of("", node="", simulated=simulated)
    return Origin(record, Evidence[rung], NS_PER_S, "test")


def pack_rows(
    folder: Path, devices: Mapping[str, Sequence[Row]], *, simulated: bool = True
) -> Packed:
    """Pack rows."""
    return pack(text_of(devices), folder, origin(simulated=simulated), name="rows.csv")


def by_readings(rows: Sequence[Row], incarnation: str) -> Accumulator:
    """What an agent grows of the same rows, one by one."""
    rated_w = parse_device_table(builtin_table("devices.toml")).recognise(record_of("")).power_w
    accumulator = Accumulator(incarnation, NS_PER_S, lambda record: rated_w)
    for row in rows:
        reading = row.reading(DEVICE)
        assert reading.allocation is not None
        accumulator.observe(record_of(DEVICE), reading, allocation=reading.allocation)
    return accumulator
