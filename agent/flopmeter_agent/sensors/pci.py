"""Which accelerators are on the PCI bus, whether or not a driver works for them.

Owns: the table of vendors and classes that count as accelerators, and the scan of sysfs.
May touch: files under the PCI device folder it is given (reading three of each device).
Called by table, which decides by it that a node is no place for a made-up device.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flopmeter_core.devices import PLACE_PREFIX, DeviceRecord
from flopmeter_core.errors import SensorError

PCI_FOLDER = Path("/sys/bus/pci/devices")

# (vendor, class and subclass) -> our vendor name. Classes: PCI Code and ID Assignment
# Specification 1.15 (0x0300 VGA controller, 0x0302 3D controller, 0x1200 processing accelerator);
# vendors: pci.ids of 2026-10 (10de NVIDIA, 1002 AMD, 1da3 Habana Labs, which is Intel's Gaudi).
_ACCELERATORS: Mapping[tuple[int, int], str] = {
    (0x10DE, 0x0302): "nvidia",
    (0x10DE, 0x0300): "nvidia",
    (0x1002, 0x1200): "amd",
    (0x1DA3, 0x1200): "habana",
}


def accelerators(node: str, folder: Path = PCI_FOLDER) -> dict[str, DeviceRecord]:
    """Look for accelerators.

    Args:
        node: the node's name, for the records.
        folder: the PCI devices, one folder each; a machine may have none.

    Returns:
        A record by PCI address, in order of address. The device's name is its place, because
        only a driver knows its UUID.

    Raises:
        SensorError: the bus is there but cannot be read, so that nobody knows what is on it.
    """
    try:
        places = sorted(folder.iterdir()) if folder.exists() else []
        found = {place.name: _accelerator(node, place) for place in places}
    except OSError as error:
        raise SensorError(
            f"the PCI bus cannot be read at {folder} ({error.strerror}); let the agent read it, "
            "or name a sensor with --sensor"
        ) from error
    return {address: record for address, record in found.items() if record is not None}


def bus_is_visible(folder: Path = PCI_FOLDER) -> bool:
    """Whether it can be told what is on the bus: a machine without one has other buses in sysfs."""
    return folder.exists() or folder.parents[1].exists()


def _accelerator(node: str, place: Path) -> DeviceRecord | None:
    """The record of one PCI device, where it is an accelerator."""
    vendor = _number(place / "vendor")
    # sysfs gives class, subclass and programming interface as 0xccsspp.
    kind = (vendor, _number(place / "class") >> 8)
    if kind not in _ACCELERATORS:
        return None
    product = _number(place / "device")
    return DeviceRecord(
        node=node,
        device=f"{PLACE_PREFIX}{node}-{place.name}",
        vendor=_ACCELERATORS[kind],
        product_name=f"PCI device {vendor:04x}:{product:04x}",
        pci_device_id=product << 16 | vendor,
    )


def _number(file: Path) -> int:
    """A hexadecimal sysfs file; 0 where a device was pulled while the bus was read."""
    try:
        return int(file.read_text().strip(), 16)
    except (FileNotFoundError, ValueError):
        return 0
