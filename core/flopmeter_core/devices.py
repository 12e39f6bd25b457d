"""What a device is: the record an agent reads from it, and the table of known parts.

Owns: the device record with its identity, the part table's types, and recognition by PCI id.
May touch: nothing; the table's text is handed in (`flopmeter_core.data` holds it).
Called by sensors (records), the collector's totals and the methods (parts).
A record holds only what was read; every constant of a data sheet lives in data/devices.toml.
"""

from __future__ import annotations

import enum
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

from flopmeter_core.errors import DataError

PCI_VENDOR_NVIDIA = 0x10DE
"""The vendor of every PCI id in the table (the public PCI ID database)."""

RECORD_ID_DIGITS = 16
"""Hexadecimal digits of a record's identity: 64 bits are ample for the records of one ledger."""


class EnergyScope(enum.StrEnum):
    """What a device's energy reading covers."""

    NONE = "none"
    GPU = "gpu"
    MODULE = "module"
    NODE = "node"


@dataclass(frozen=True)
class DeviceRecord:
    """What an agent read from one device; a changed record starts new registers.

    Attributes:
        node: the node's name, for display and for counting nodes.
        device: GPU UUID, or ``node:<id>`` for a sensor that sees a whole node.
        vendor: ``nvidia``, or ``none`` for a device that is not an accelerator.
        product_name: as the driver spells it; for display, never for recognition.
        pci_device_id: PCI vendor and device, 0xDDDDVVVV as NVML gives it; 0 when not read.
        part: id of a part a recording states in place of a PCI id; empty when read live.
        sm_count: streaming multiprocessors enabled on the device (of one device).
        max_sm_clock_mhz: the highest SM clock the device says it can run at, in MHz.
        memory_mib: device memory in MiB.
        driver_version: the driver that produced the readings.
        device_count: accelerators behind this record; above 1 only for scope ``node``.
        energy_scope: what its energy covers.
        tensor_classes: whether HMMA, IMMA and FP64 tensor cycles are told apart.
        simulated: whether the readings are made up (sensors ``cpu`` and ``simulated``).
    """

    node: str
    device: str
    vendor: str
    product_name: str
    pci_device_id: int = 0
    part: str = ""
    sm_count: int = 0
    max_sm_clock_mhz: int = 0
    memory_mib: int = 0
    driver_version: str = ""
    device_count: int = 1
    energy_scope: EnergyScope = EnergyScope.NONE
    tensor_classes: bool = True
    simulated: bool = False

    @cached_property
    def record_id(self) -> str:
        """Identity by content: the first 64 bits of the SHA-256 of the record's JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:RECORD_ID_DIGITS]

    def to_json(self) -> dict[str, str | int | bool]:
        """The record as plain JSON values, for the ledger and for its identity."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> DeviceRecord:
        """Read a record back; fields a newer version added are ignored.

        Raises:
            DataError: a missing or wrongly typed field.
        """
        known = {e.name: stored[e.name] for e in fields(cls) if e.name in stored}
        try:
            for each in fields(cls):
                wanted = _STORED_TYPES.get(str(each.type))
                if each.name in known and wanted and type(known[each.name]) is not wanted:
                    raise TypeError(f"{each.name} = {known[each.name]!r} is no {each.type}")
            known["energy_scope"] = EnergyScope(str(known.get("energy_scope", "none")))
            return cls(**known)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise DataError(f"a stored device record cannot be read: {error}") from error


_STORED_TYPES: Mapping[str, type] = {"str": str, "int": int, "bool": bool}
"""Spelling of a field's type -> what JSON must give; a bool is no int here."""


class Standing(enum.StrEnum):
    """How well a constant is known."""

    VERIFIED = "verified"
    SAME_DIE = "same-die"
    EXTRAPOLATED = "extrapolated"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Architecture:
    """FLOP per SM and clock cycle of one architecture, dense, a fused multiply-add as 2.

    Attributes:
        tensor: by number format (``bf16``, ``fp8``, ...), of the tensor cores.
        vector: by number format, outside the tensor cores.
        issue_floor_ppm: the least share of the tensor rate that a tensor-active cycle issues
            (the slowest instruction family), in ppm.
    """

    name: str
    tensor: Mapping[str, int]
    vector: Mapping[str, int]
    issue_floor_ppm: int
    source: str
    standing: Standing

    @property
    def best_float_rate(self) -> int:
        """The highest floating-point tensor rate: what no cycle can exceed."""
        return max(rate for name, rate in self.tensor.items() if name != "int8")


@dataclass(frozen=True, slots=True)
class Part:
    """One accelerator model of the table."""

    id: str
    name: str
    architecture: Architecture
    pci_device_ids: tuple[int, ...]
    sm_count: int
    max_sm_clock_mhz: int
    dense_clock_mhz: int
    power_w: int
    source: str
    standing: Standing
    known: bool = True

    def peak_flop_per_s(self, number_format: str) -> int:
        """Dense tensor rate of the whole part at the clock its data sheet's figure holds at."""
        rate = self.architecture.tensor[number_format]
        return self.sm_count * self.dense_clock_mhz * 1_000_000 * rate


@dataclass(frozen=True)
class DeviceTable:
    """The known parts, found by PCI id (never by a piece of a name: "H200" is not "H20")."""

    version: str
    parts: tuple[Part, ...]
    _by_pci: dict[int, Part] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the parts; two parts may not claim one PCI id."""
        by_pci: dict[int, Part] = {}
        for part in self.parts:
            for pci in part.pci_device_ids:
                if pci in by_pci:
                    raise DataError(
                        f"the device table gives PCI device {pci:#06x} to both "
                        f"{by_pci[pci].id} and {part.id}; one row has to go"
                    )
                by_pci[pci] = part
        object.__setattr__(self, "_by_pci", by_pci)

    @cached_property
    def by_id(self) -> Mapping[str, Part]:
        """The parts by their id."""
        return {part.id: part for part in self.parts}

    def recognise(self, record: DeviceRecord) -> Part:
        """Find the part of a record.

        A device that is not in the table is counted at a stated ceiling: the highest rate of
        any known architecture, at the unit count and clock the device itself gives.
        """
        if record.part in self.by_id:
            return self.by_id[record.part]
        # NVML gives (device << 16) | vendor; the table keeps the device half. Another vendor's
        # device may have the same number.
        device, vendor = divmod(record.pci_device_id, 1 << 16)
        known = self._by_pci.get(device) if vendor == PCI_VENDOR_NVIDIA else None
        return known if known is not None else self.unknown(record)

    def unknown(self, record: DeviceRecord) -> Part:
        """The stand-in for a part the table does not know."""
        fastest = max((part.architecture for part in self.parts), key=lambda a: a.best_float_rate)
        return Part(
            id="unknown",
            name=record.product_name or "unknown accelerator",
            architecture=fastest,
            pci_device_ids=(),
            sm_count=record.sm_count or max(part.sm_count for part in self.parts),
            max_sm_clock_mhz=record.max_sm_clock_mhz
            or max(part.max_sm_clock_mhz for part in self.parts),
            dense_clock_mhz=record.max_sm_clock_mhz
            or max(part.max_sm_clock_mhz for part in self.parts),
            power_w=max(part.power_w for part in self.parts),
            source="no row of the table has this PCI id",
            standing=Standing.UNVERIFIED,
            known=False,
        )


def parse_device_table(text: str) -> DeviceTable:
    """Read the device table.

    Args:
        text: the content of ``devices.toml``.

    Raises:
        DataError: not TOML, a missing field, a row without source, or a doubled PCI id.
    """
    try:
        table = tomllib.loads(text)
        architectures = {
            name: Architecture(
                name=name,
                tensor={k: _integer(v) for k, v in row["tensor"].items()},
                vector={k: _integer(v) for k, v in row["vector"].items()},
                issue_floor_ppm=_integer(row["issue_floor_ppm"]),
                source=_source(row),
                standing=Standing(row["standing"]),
            )
            for name, row in table["architecture"].items()
        }
        parts = tuple(
            Part(
                id=part_id,
                name=row["name"],
                architecture=architectures[row["architecture"]],
                pci_device_ids=tuple(_integer(pci) for pci in row["pci_device_ids"]),
                sm_count=_integer(row["sm_count"]),
                max_sm_clock_mhz=_integer(row["max_sm_clock_mhz"]),
                dense_clock_mhz=_integer(row["dense_clock_mhz"]),
                power_w=_integer(row["power_w"]),
                source=_source(row),
                standing=Standing(row["standing"]),
            )
            for part_id, row in table["part"].items()
        )
        return DeviceTable(version=str(table["version"]), parts=parts)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"the device table is not valid TOML: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"a row of the device table lacks or misstates a field: {error}") from error


def _integer(stated: object) -> int:
    """A whole number above 0; 40.5 units would be cut to 40 in silence."""
    if type(stated) is not int or stated <= 0:
        raise ValueError(f"{stated!r} is no whole number above 0")
    return stated


def _source(row: Mapping[str, object]) -> str:
    """The source of a row; a row without one is not a fact."""
    source = str(row["source"])
    if not source.strip():
        raise DataError("a row of the device table has an empty source; say where it comes from")
    return source
