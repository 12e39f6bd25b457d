"""A made-up PCI bus in the form of sysfs.

Owns: the files of /sys/bus/pci/devices that are read to find accelerators.
May touch: the folder it is given.
Called by tests of the sensors and of what chooses them.
"""

from __future__ import annotations

from pathlib import Path

H100 = (0x10DE, 0x2330, 0x030200)
MI300X = (0x1002, 0x74A1, 0x120000)
GAUDI2 = (0x1DA3, 0x1020, 0x120000)
ETHERNET = (0x8086, 0x1521, 0x020000)
NVSWITCH = (0x10DE, 0x22A3, 0x068000)
RADEON_DISPLAY = (0x1002, 0x744C, 0x030000)


def plug(folder: Path, address: str, device: tuple[int, int, int]) -> None:
    """Put a device (vendor, device, class) in a place."""
    place = folder / address
    place.mkdir(parents=True)
    for name, number in zip(("vendor", "device", "class"), device, strict=True):
        digits = 6 if name == "class" else 4
        (place / name).write_text(f"0x{number:0{digits}x}\n")


def unplug(folder: Path, address: str) -> None:
    """Take the device out of a place."""
    for file in (folder / address).iterdir():
        file.unlink()
    (folder / address).rmdir()
