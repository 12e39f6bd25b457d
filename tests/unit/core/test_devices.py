"""Devices: a part is recognised by its PCI id, and an unknown one counts at a stated ceiling."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from flopmeter_core.data import builtin_table
from flopmeter_core.devices import DeviceRecord, DeviceTable, EnergyScope, parse_device_table
from flopmeter_core.errors import DataError

TEXT = builtin_table("devices.toml")
TABLE = parse_device_table(TEXT)
RECORD = DeviceRecord(node="n", device="GPU-1", vendor="nvidia", product_name="NVIDIA H100")


def recognised(pci: int, product_name: str = "NVIDIA H100 80GB HBM3") -> str:
    """The part of a device with this PCI device of NVIDIA."""
    record = replace(RECORD, pci_device_id=pci << 16 | 0x10DE, product_name=product_name)
    return TABLE.recognise(record).id


@pytest.mark.parametrize("part", TABLE.parts, ids=lambda part: part.id)
def test_every_part(part: object) -> None:
    """Each row is found by each of its PCI ids and by its own id."""
    row = next(row for row in TABLE.parts if row is part)
    assert row.pci_device_ids or row.pci_note
    for pci in row.pci_device_ids:
        assert recognised(pci) == row.id
    assert TABLE.recognise(replace(RECORD, part=row.id)) is row
    assert row.known
    assert row.dense_clock_mhz <= row.max_sm_clock_mhz


def test_h200_is_not_h20() -> None:
    """The name is never looked at: an H200 called H20 is an H200, and the other way round."""
    assert recognised(0x2335, "NVIDIA H20") == "h200-sxm-141gb"
    assert recognised(0x2329, "NVIDIA H200") == "h20-96gb"
    assert recognised(0x9999, "NVIDIA H100 80GB HBM3") == "unknown"


def test_other_vendor() -> None:
    """The same device number of another vendor is another device."""
    record = replace(RECORD, pci_device_id=0x2330 << 16 | 0x1002)
    assert not TABLE.recognise(record).known


def test_unknown_part() -> None:
    """An unknown part has the highest rate known, at its own unit count and clock."""
    part = TABLE.recognise(replace(RECORD, sm_count=160, max_sm_clock_mhz=2_500))
    rows = [row for row in TABLE.parts if row.architecture.vendor == "nvidia"]
    assert not part.known
    assert part.architecture.best_float_rate == max(
        row.architecture.best_float_rate for row in rows
    )
    assert (part.sm_count, part.max_sm_clock_mhz) == (160, 2_500)
    silent = TABLE.recognise(RECORD)
    assert silent.sm_count == max(row.sm_count for row in rows)
    assert silent.max_sm_clock_mhz == max(row.max_sm_clock_mhz for row in rows)
    # Even then no part of the table can do more than its stand-in.
    for row in TABLE.parts:
        assert silent.peak_flop_per_s("fp4") >= max(
            row.peak_flop_per_s(name) for name in row.architecture.tensor if name != "int8"
        )


def test_doubled_pci_id() -> None:
    """Two rows with one PCI id would make recognition depend on their order."""
    with pytest.raises(DataError, match=r"0x2330 to both h100-sxm5-80gb and h100-pcie-80gb"):
        parse_device_table(TEXT.replace("[0x2331]", "[0x2330]"))


CHANGES = [
    ("[part.t4]", "[part.t4", "not valid TOML"),
    ("sm_count = 40", 'sm_count = "many"', "lacks or misstates a field"),
    ("sm_count = 40\n", "", "lacks or misstates a field: 'sm_count'"),
    ("sm_count = 40", "sm_count = 40.5", "lacks or misstates a field"),
    ('architecture = "turing"', 'architecture = "touring"', "lacks or misstates a field"),
    ('source = "NVIDIA T4 data sheet"', 'source = " "', "an empty source"),
    ('standing = "same-die"', 'standing = "sure"', "lacks or misstates a field"),
    ("tensor = { fp16 = 1024 }", "tensor = 1024", "lacks or misstates a field"),
    ("version =", "edition =", "lacks or misstates a field: 'version'"),
]


@pytest.mark.parametrize(("good", "bad", "sentence"), CHANGES)
def test_bad_table(good: str, bad: str, sentence: str) -> None:
    """Each thing a row may not say is refused."""
    assert good in TEXT
    with pytest.raises(DataError, match=sentence):
        parse_device_table(TEXT.replace(good, bad, 1))


def test_record_identity() -> None:
    """The identity is by content: the same through JSON, another for any changed field."""
    record = replace(RECORD, pci_device_id=0x233010DE, energy_scope=EnergyScope.MODULE)
    again = DeviceRecord.from_json(record.to_json())
    assert again == record
    assert again.record_id == record.record_id
    assert len(record.record_id) == 16
    changed = {
        replace(record, **{name: change}).record_id  # type: ignore[arg-type]
        for name, change in {
            "node": "m",
            "sm_count": 131,
            "driver_version": "595",
            "device_count": 2,
            "energy_scope": EnergyScope.NODE,
            "tensor_classes": False,
            "simulated": True,
        }.items()
    }
    assert len(changed | {record.record_id}) == 8


def test_record_of_a_newer_version() -> None:
    """Fields a newer writer added are ignored."""
    assert DeviceRecord.from_json(RECORD.to_json() | {"colour": "green"}) == RECORD


@pytest.mark.parametrize(
    "change",
    [{"sm_count": "132"}, {"simulated": 1}, {"node": 5}, {"energy_scope": "town"}],
)
def test_bad_stored_record(change: dict[str, object]) -> None:
    """A stored record with a wrongly typed field is refused, not carried into arithmetic."""
    with pytest.raises(DataError, match="cannot be read"):
        DeviceRecord.from_json(RECORD.to_json() | change)


def test_incomplete_stored_record() -> None:
    """A stored record without its device is refused."""
    fields = RECORD.to_json()
    del fields["device"]
    with pytest.raises(DataError, match="cannot be read"):
        DeviceRecord.from_json(fields)


def test_empty_table() -> None:
    """A table without parts parses; it only has nothing to recognise."""
    empty = DeviceTable(version="1", parts=())
    assert empty.by_id == {}


def test_an_identity_never_changes_with_the_version() -> None:
    """The same device has the same identity under every version that will ever read it."""
    record = DeviceRecord(node="n", device="GPU-1", vendor="nvidia", product_name="H100")
    assert record.record_id == "6da592ecf83caa27"

    @dataclass(frozen=True)
    class Newer(DeviceRecord):
        """A later version's record."""

        slot: int = 0

    assert Newer("n", "GPU-1", "nvidia", "H100").record_id == record.record_id
    assert Newer("n", "GPU-1", "nvidia", "H100", slot=3).record_id != record.record_id
