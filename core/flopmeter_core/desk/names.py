"""Accelerators by the names that tables use.

Owns: finding a part by a whole name; never by a piece of one ("H200" is not "H20").
May touch: nothing; the table is handed in.
Called by desk.row. Live devices are recognised by PCI id in devices, never here.
"""

from __future__ import annotations

import re

from flopmeter_core.devices import DeviceTable, Part
from flopmeter_core.errors import DataError

_MAKERS = ("nvidia", "google", "amd", "intel", "aws", "tesla", "geforce", "cloud")


def name_key(name: str) -> str:
    """What two spellings of one name share: no case, spaces, hyphens or maker."""
    words = re.findall(r"[a-z0-9./]+", name.casefold())
    return "".join(word for word in words if word not in _MAKERS)


def find_part(table: DeviceTable, name: str, *, place: str) -> tuple[Part, bool]:
    """Find the part a table's cell means.

    Returns:
        The part, and whether the name leaves its form factor open.

    Raises:
        DataError: no part has this name.
    """
    key = name_key(name)
    for part in table.parts:
        if key and key in map(name_key, (part.id, part.name, *part.aliases)):
            return part, False
    for part in table.parts:
        if key and key in map(name_key, part.loose_aliases):
            return part, True
    raise DataError(
        f"{place} names {name.strip()!r}, which the device table does not know; use a name that "
        "`flopmeter device list --json` prints, or leave it empty"
    )
