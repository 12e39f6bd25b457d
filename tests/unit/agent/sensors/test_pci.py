"""Accelerators are found on the bus by vendor and class, whatever driver they have."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.sensors.pci import accelerators
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import parse_device_table
from flopmeter_core.errors import SensorError
from support import pci_tree


def test_found_in_order(tmp_path: Path) -> None:
    """Each kind of accelerator is found, by place; nothing else on the bus is."""
    plugged = {
        "0000:9b:00.0": pci_tree.GAUDI2,
        "0000:1b:00.0": pci_tree.H100,
        "0000:00:1f.6": pci_tree.ETHERNET,
        "0000:07:00.0": pci_tree.NVSWITCH,
        "0000:0c:00.0": pci_tree.RADEON_DISPLAY,
        "0000:43:00.0": pci_tree.MI300X,
    }
    for address, device in plugged.items():
        pci_tree.plug(tmp_path, address, device)
    found = accelerators("n1", tmp_path)
    assert {address: record.vendor for address, record in found.items()} == {
        "0000:1b:00.0": "nvidia",
        "0000:43:00.0": "amd",
        "0000:9b:00.0": "habana",
    }
    assert list(found) == sorted(found)


def test_record(tmp_path: Path) -> None:
    """The record names the place, and its PCI id finds the part in the device table."""
    pci_tree.plug(tmp_path, "0000:1b:00.0", pci_tree.H100)
    record = accelerators("n1", tmp_path)["0000:1b:00.0"]
    assert record.device == "PCI-n1-0000:1b:00.0"
    assert record.pci_device_id == 0x233010DE
    assert not record.simulated
    table = parse_device_table(builtin_table("devices.toml"))
    assert table.recognise(record).id == "h100-sxm5-80gb"


def test_no_bus(tmp_path: Path) -> None:
    """A machine without a PCI bus has no accelerator on it."""
    assert accelerators("n1", tmp_path / "none") == {}


@pytest.mark.parametrize("content", ["", "0x", "words\n"])
def test_damaged_files(tmp_path: Path, content: str) -> None:
    """A device that is being pulled reads as no accelerator, and hides no other one."""
    pci_tree.plug(tmp_path, "0000:1b:00.0", pci_tree.H100)
    pci_tree.plug(tmp_path, "0000:1c:00.0", pci_tree.H100)
    (tmp_path / "0000:1b:00.0" / "class").write_text(content)
    (tmp_path / "0000:1d:00.0").mkdir()
    assert list(accelerators("n1", tmp_path)) == ["0000:1c:00.0"]


def test_unreadable_bus(tmp_path: Path) -> None:
    """A bus that cannot be looked at is an error, not an empty bus."""
    file = tmp_path / "devices"
    file.write_text("")
    with pytest.raises(SensorError, match="cannot be read"):
        accelerators("n1", file)
