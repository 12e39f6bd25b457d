"""What a device is: the record an agent reads from it, and the table of known parts.

Owns: the device record with its identity, the part table's types, and recognition by PCI id.
May touch: nothing but the table that is shipped (`flopmeter_core.data`); other text is handed in.
Called by sensors (records), the collector's totals and the methods (parts).
A record holds only what was read; every constant of a data sheet lives in data/devices/*.toml.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from flopmeter_core.data import builtin_table
from flopmeter_core.errors import DataError
from flopmeter_core.mig import MigRow, parse_mig, profile_of
from flopmeter_core.registers import INSTANCE_MARK
from flopmeter_core.standing import Standing
from flopmeter_core.units import PPM
from flopmeter_core.values import value_class

PCI_VENDOR_NVIDIA = 0x10DE
"""The vendor of every PCI id in the table (the public PCI ID database)."""

RECORD_ID_DIGITS = 16
"""Hexadecimal digits of a record's identity: 64 bits are ample for the records of one ledger."""


_spell = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class EnergyScope(enum.StrEnum):
    """What a device's energy reading covers."""

    NONE = "none"
    GPU = "gpu"
    MODULE = "module"
    NODE = "node"


PLACE_PREFIX = "PCI-"
"""Begins the name of a device that only its place on the PCI bus tells."""


def is_place(device: str) -> bool:
    """Whether a device's name is its place on the bus, because no driver named it."""
    return device.startswith(PLACE_PREFIX)


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
        sm_count: streaming multiprocessors enabled on the device (of one device); 0 when not
            read: cycles of rung DCGM_SAMPLED are then those of one SM, the mean of all.
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

    @property
    def is_place(self) -> bool:
        """Whether it is a place on the bus: what is there has no other name without a driver."""
        return is_place(self.device)

    @functools.cached_property
    def record_id(self) -> str:
        """Identity by content: the first 64 bits of the SHA-256 of the record's JSON.

        A field added after the first release enters only where it differs from its default, so
        that an older and a newer version give an unchanged device the same identity.
        """
        content = {
            name: said
            for name, default, _ in _fields(type(self))
            if (said := getattr(self, name)) != default or name in _FIRST_FIELDS
        }
        return hashlib.sha256(_spell(content).encode()).hexdigest()[:RECORD_ID_DIGITS]

    def to_json(self) -> dict[str, str | int | bool]:
        """The record as plain JSON values, for the ledger and for its identity."""
        return {name: getattr(self, name) for name, _, _ in _fields(type(self))}

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> DeviceRecord:
        """Read a record back; fields a newer version added are ignored.

        Raises:
            DataError: a missing or wrongly typed field.
        """
        known = {name: stored[name] for name, _, _ in _fields(cls) if name in stored}
        try:
            for name, _, wanted in _fields(cls):
                if wanted and name in known and type(known[name]) is not wanted:
                    raise TypeError(f"{name} = {known[name]!r} is no {wanted.__name__}")
            known["energy_scope"] = EnergyScope(str(known.get("energy_scope", "none")))
            return cls(**known)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise DataError(f"a stored device record cannot be read: {error}") from error


_FIRST_FIELDS = frozenset(
    {
        "node",
        "device",
        "vendor",
        "product_name",
        "pci_device_id",
        "part",
        "sm_count",
        "max_sm_clock_mhz",
        "memory_mib",
        "driver_version",
        "device_count",
        "energy_scope",
        "tensor_classes",
        "simulated",
    }
)
"""The fields of the first release: always part of a record's identity."""

_STORED_TYPES: Mapping[str, type] = {"str": str, "int": int, "bool": bool}
"""Spelling of a field's type -> what JSON must give; a bool is no int here."""


_Field = tuple[str, object, type | None]

_ASKED: dict[type, tuple[_Field, ...]] = {}


def _fields(kind: type[DeviceRecord]) -> tuple[_Field, ...]:
    """Name, default and stored type of each field, asked for once for all records of a fleet."""
    known = _ASKED.get(kind)
    if known is None:
        known = _ASKED[kind] = tuple(
            (entry.name, entry.default, _STORED_TYPES.get(str(entry.type)))
            for entry in fields(kind)
        )
    return known


@value_class(frozen=True, slots=True)
class Architecture:
    """FLOP per unit and clock cycle of one architecture, dense, a fused multiply-add as 2.

    Attributes:
        vendor: whose it is, in lower case: ``nvidia``, ``amd``, ``intel``, ``google``, ``aws``.
        unit: what a part's `sm_count` counts: SM, CU, MME, TensorCore or NeuronCore.
        tensor: by number format (``bf16``, ``fp8``, ...), of the matrix engine.
        vector: by number format, outside the matrix engine; may be empty.
        issue_floor_ppm: the least share of the tensor rate that a tensor-active cycle issues
            (the slowest instruction family), in ppm.
        families: instruction family -> share of the tensor rate it reaches, in ppm; empty where
            no source tells them apart.
    """

    name: str
    vendor: str
    unit: str
    tensor: Mapping[str, int]
    vector: Mapping[str, int]
    issue_floor_ppm: int
    families: Mapping[str, int]
    source: str
    standing: Standing

    @property
    def issue_ceiling_ppm(self) -> int:
        """The greatest share of the tensor rate any instruction family reaches, in ppm.

        Above 10^6 where the rates are of accumulation in FP32 and FP16 accumulation is faster.
        """
        return max(PPM, *self.families.values()) if self.families else PPM

    @property
    def best_float_rate(self) -> int:
        """The highest floating-point tensor rate: what no cycle can exceed."""
        best = max(rate for name, rate in self.tensor.items() if name != "int8")
        return best * self.issue_ceiling_ppm // PPM


@value_class(frozen=True, slots=True)
class Part:
    """One accelerator model of the table.

    Attributes:
        id: stable name, also what a recording states in place of a PCI id.
        pci_device_ids: PCI devices of NVIDIA; where empty, `pci_note` says why.
        sm_count: units of the whole part; `architecture.unit` says which.
        max_sm_clock_mhz, dense_clock_mhz: highest clock, and the one the dense figure holds at.
        power_w: rated power in W; 0 where nobody publishes it.
        memory_gb, memory_bandwidth_gb_per_s: in 10^9 bytes (per second); 0 where not known.
        aliases, loose_aliases: names of this part alone, and names that leave its form factor
            open; for tables people write, never for recognising a device.
        standings: of the constants that are better or worse known than the row.
        known: false for the stand-in of a part the table lacks.
    """

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
    memory_gb: int = 0
    memory_bandwidth_gb_per_s: int = 0
    aliases: tuple[str, ...] = ()
    loose_aliases: tuple[str, ...] = ()
    pci_note: str = ""
    standings: Mapping[str, Standing] = field(default_factory=dict)

    def peak_flop_per_s(self, number_format: str) -> int:
        """Dense rate of the whole part at the clock its data sheet's figure holds at.

        The matrix engine's where it has the format, else the vector units'.

        Raises:
            DataError: the part has no such format.
        """
        formats = dict(self.architecture.vector) | dict(self.architecture.tensor)
        if number_format not in formats:
            raise DataError(
                f"{self.name} has no {number_format} format; it has {', '.join(sorted(formats))}"
            )
        return self.sm_count * self.dense_clock_mhz * 1_000_000 * formats[number_format]

    def standing_of(self, constant: str) -> Standing:
        """How well one constant of the row is known, for instance ``sm_count``."""
        return self.standings.get(constant, self.standing)


@dataclass(frozen=True)
class DeviceTable:
    """The known parts, found by PCI id (never by a piece of a name: "H200" is not "H20")."""

    version: str
    parts: tuple[Part, ...]
    mig: tuple[MigRow, ...] = ()
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

    @functools.cached_property
    def by_id(self) -> Mapping[str, Part]:
        """The parts by their id."""
        return {part.id: part for part in self.parts}

    def recognise(self, record: DeviceRecord) -> Part:
        """Find the part of a record.

        A device that is not in the table is counted at a stated ceiling: the highest rate of
        any known architecture with SMs, at the SM count and clock the device itself gives.
        An instance of a known MIG profile is its GPU's part with the profile's SM count.
        """
        part = self._whole(record)
        row = self._mig_row(part, record)
        if row is None:
            return part
        standings = {**part.standings, "sm_count": row.standing}
        sm_count = row.profiles[profile_of(record.product_name)]
        return replace(part, sm_count=sm_count, standings=standings)

    def has_profile(self, record: DeviceRecord) -> bool:
        """Whether an instance's SM count is known by its profile, where it does not say it."""
        return self._mig_row(self._whole(record), record) is not None

    def contradiction(self, record: DeviceRecord) -> str:
        """What a device says otherwise than the table; "" where they agree or one says nothing.

        The device's own count is what counts: this is for people to look at.
        """
        part = self.recognise(record)
        instance = INSTANCE_MARK in record.device
        if not record.sm_count or not part.known or record.sm_count == part.sm_count:
            return ""
        if instance and self._mig_row(part, record) is None:
            return ""  # an instance of a profile the table lacks
        what = f"profile {profile_of(record.product_name)} of {part.id}" if instance else part.id
        return (
            f"the device says {record.sm_count} SMs, the device table {part.sm_count} for {what}; "
            "the device's own count is used"
        )

    def _mig_row(self, part: Part, record: DeviceRecord) -> MigRow | None:
        """The row that has the profile of an instance."""
        if INSTANCE_MARK not in record.device:
            return None
        profile = profile_of(record.product_name)
        rows = (row for row in self.mig if part.id in row.parts and profile in row.profiles)
        return next(rows, None)

    def _whole(self, record: DeviceRecord) -> Part:
        if record.part in self.by_id:
            return self.by_id[record.part]
        # NVML gives (device << 16) | vendor; the table keeps the device half. Another vendor's
        # device may have the same number.
        device, vendor = divmod(record.pci_device_id, 1 << 16)
        known = self._by_pci.get(device) if vendor == PCI_VENDOR_NVIDIA else None
        return known if known is not None else self.unknown(record)

    def unknown(self, record: DeviceRecord) -> Part:
        """The stand-in for a part the table does not know."""
        # Another vendor's unit is no SM: its rate a cycle cannot be multiplied by an SM count.
        parts = [part for part in self.parts if part.architecture.vendor == "nvidia"]
        fastest = max((part.architecture for part in parts), key=lambda a: a.best_float_rate)
        clock_mhz = record.max_sm_clock_mhz or max(part.max_sm_clock_mhz for part in parts)
        return Part(
            id="unknown",
            name=record.product_name or "unknown accelerator",
            architecture=fastest,
            pci_device_ids=(),
            sm_count=record.sm_count or max(part.sm_count for part in parts),
            max_sm_clock_mhz=clock_mhz,
            dense_clock_mhz=clock_mhz,
            power_w=max(part.power_w for part in parts),
            source="no row of the table has this PCI id",
            standing=Standing.UNVERIFIED,
            known=False,
        )


@functools.cache
def builtin_parts() -> DeviceTable:
    """The table flopmeter ships, read once a process."""
    return parse_device_table(builtin_table("devices.toml"))


def parse_device_table(text: str) -> DeviceTable:
    """Read the device table.

    Args:
        text: the content of ``devices.toml``, as `flopmeter_core.data.builtin_table` joins it.

    Raises:
        DataError: not TOML, a missing field, a row without source, or a doubled PCI id.
    """
    try:
        table = tomllib.loads(text)
        architectures = {
            name: _architecture(name, row) for name, row in table["architecture"].items()
        }
        parts = tuple(
            _part(part_id, row, architectures[row["architecture"]])
            for part_id, row in table["part"].items()
        )
        mig = parse_mig(table.get("mig", {}), {part.id: part.sm_count for part in parts})
        return DeviceTable(version=str(table["version"]), parts=parts, mig=mig)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"the device table is not valid TOML: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"a row of the device table lacks or misstates a field: {error}") from error


def _architecture(name: str, row: Mapping[str, Any]) -> Architecture:
    families = {k: _integer(v) for k, v in row.get("families", {}).items()}
    issue_floor_ppm = _integer(row["issue_floor_ppm"])
    if families and issue_floor_ppm > min(families.values()):
        raise ValueError(f"issue_floor_ppm of {name} is above its slowest instruction family")
    return Architecture(
        name=name,
        vendor=str(row["vendor"]),
        unit=str(row["unit"]),
        tensor={k: _integer(v) for k, v in row["tensor"].items()},
        vector={k: _integer(v) for k, v in row["vector"].items()},
        issue_floor_ppm=issue_floor_ppm,
        families=families,
        source=_source(row),
        standing=Standing(row["standing"]),
    )


def _part(part_id: str, row: Mapping[str, Any], architecture: Architecture) -> Part:
    pci_note = str(row.get("pci_note", ""))
    if not row["pci_device_ids"] and not pci_note:
        raise ValueError(f"{part_id} has no PCI id and no pci_note saying why")
    for constant in row.get("standings", {}):
        if constant not in row:
            raise ValueError(f"standings of {part_id} names {constant}, which the row lacks")
    return Part(
        id=part_id,
        name=row["name"],
        architecture=architecture,
        pci_device_ids=tuple(_integer(pci) for pci in row["pci_device_ids"]),
        sm_count=_integer(row["sm_count"]),
        max_sm_clock_mhz=_integer(row["max_sm_clock_mhz"]),
        dense_clock_mhz=_integer(row["dense_clock_mhz"]),
        power_w=_integer(row["power_w"]) if "power_w" in row else 0,
        source=_source(row),
        standing=Standing(row["standing"]),
        memory_gb=_integer(row["memory_gb"]),
        memory_bandwidth_gb_per_s=_integer(row["memory_bandwidth_gb_per_s"]),
        aliases=tuple(map(str, row.get("aliases", ()))),
        loose_aliases=tuple(map(str, row.get("loose_aliases", ()))),
        pci_note=pci_note,
        standings={k: Standing(v) for k, v in row.get("standings", {}).items()},
    )


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
