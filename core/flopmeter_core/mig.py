"""MIG profiles: how many units an instance has by the table, and whether its device says otherwise.

Owns: the profile rows and how a driver spells a profile in a MIG device's name.
May touch: nothing; pure.
Called by devices, which reads the rows with the table and recognises an instance by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flopmeter_core.standing import Standing
from flopmeter_core.values import value_class

_NAME_MARK = " MIG "
_MEDIA = "+"


@value_class(frozen=True, slots=True)
class MigRow:
    """The profiles of parts that are divided alike.

    Attributes:
        parts: ids of the parts.
        profiles: the profile's name (``1g.10gb``) -> SMs of an instance of it.
    """

    name: str
    parts: tuple[str, ...]
    profiles: Mapping[str, int]
    source: str
    standing: Standing


def parse_mig(rows: Mapping[str, Any], known_parts: Mapping[str, int]) -> tuple[MigRow, ...]:
    """Read the rows.

    Args:
        rows: the tables under ``mig``.
        known_parts: the parts there are, with their SM count.

    Raises:
        ValueError: an unknown part, a part in two rows, more SMs than the part has, or no source.
        KeyError: a missing field.
    """
    found: list[MigRow] = []
    for name, row in rows.items():
        profiles = dict(row["profiles"])
        for part in row["parts"]:
            if part not in known_parts or any(part in each.parts for each in found):
                raise ValueError(f"mig.{name} names {part}, which is no part or in two rows")
            for profile, count in profiles.items():
                if type(count) is not int or not 0 < count <= known_parts[part]:
                    raise ValueError(f"mig.{name} gives {profile} {count!r} SMs")
        if not str(row["source"]).strip():
            raise ValueError(f"mig.{name} has no source")
        standing = Standing(row["standing"])
        found.append(MigRow(name, tuple(row["parts"]), profiles, str(row["source"]), standing))
    return tuple(found)


def profile_of(product_name: str) -> str:
    """The profile in the name of a MIG device, such as ``NVIDIA H200 MIG 1g.18gb``; "" if none.

    The driver appends it to the GPU's name. Media engines (``+me``) change no unit count.
    """
    _, mark, profile = product_name.rpartition(_NAME_MARK)
    return profile.partition(_MEDIA)[0] if mark else ""
