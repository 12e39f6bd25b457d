"""Declarations of devices: enrolled, retired, declared down.

Owns: the fields a declaration of kind ``device`` may have, and their meaning.
May touch: nothing; pure functions of ledger rows.
Called by the collector's publisher and the lab (parsing what a ledger holds) and by the command
line (checking before it writes); residual applies the typed form.
Explained in docs/adr/0017-residual-time.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from flopmeter_collector.spans import parse_time
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import DataError

DEVICE_KIND = "device"
"""The kind of these declarations in the ledger."""

MAXIMUM_NAME_LENGTH = 256
"""As on the wire."""


class DeviceState(enum.StrEnum):
    """What is declared of a device, or of a node's devices."""

    ENROLLED = "enrolled"
    RETIRED = "retired"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class DeviceDeclaration:
    """One statement about a device's enrolled time.

    Attributes:
        subject: the device; for `DOWN` a node's name as well.
        state: what is declared.
        from_ns: Unix time in ns from which it holds.
        until_ns: Unix time in ns of the first instant after it; 0 except for `DOWN`.
        part: id of the device's part, for one that never reported; may be empty.
        node: the node it stands in, for one that never reported; may be empty.
    """

    subject: str
    state: DeviceState
    from_ns: int
    until_ns: int = 0
    part: str = ""
    node: str = ""

    @property
    def record(self) -> DeviceRecord:
        """As much of a record as is declared of a device that never reported."""
        return DeviceRecord(
            node=self.node, device=self.subject, vendor="", product_name="", part=self.part
        )


_FIELDS = {
    DeviceState.ENROLLED: ("from", "part", "node", "reason"),
    DeviceState.RETIRED: ("at", "reason"),
    DeviceState.DOWN: ("from", "to", "reason"),
}
_REQUIRED = {
    DeviceState.ENROLLED: ("from",),
    DeviceState.RETIRED: ("at", "reason"),
    DeviceState.DOWN: ("from", "to", "reason"),
}


def parse_device_declaration(subject: str, body: Mapping[str, str]) -> DeviceDeclaration:
    """Read what is declared of a device.

    Args:
        subject: the device, or a node.
        body: ``state``, and its fields: ``from`` (with ``part``, ``node``) for ``enrolled``,
            ``at`` and ``reason`` for ``retired``, ``from``, ``to`` and ``reason`` for ``down``.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    if not subject or len(subject) > MAXIMUM_NAME_LENGTH or not subject.isprintable():
        raise DataError(
            f"the name of a device or node has 1 to {MAXIMUM_NAME_LENGTH} printable characters"
        )
    try:
        state = DeviceState(body.get("state", ""))
    except ValueError as error:
        raise DataError(
            f"a declaration of device {subject!r} has no state; use one of {', '.join(DeviceState)}"
        ) from error
    unknown = sorted(body.keys() - {"state", *_FIELDS[state]})
    missing = [field for field in _REQUIRED[state] if not body.get(field, "").strip()]
    if unknown or missing:
        raise DataError(
            f"device {subject!r} declared {state} takes {', '.join(_FIELDS[state])}; "
            + (f"{', '.join(missing)} is missing" if missing else f"not {', '.join(unknown)}")
        )
    since = "at" if state is DeviceState.RETIRED else "from"
    from_ns = parse_time(body[since], what=since)
    until_ns = parse_time(body["to"], what="to") if "to" in body else 0
    if "to" in body and until_ns <= from_ns:
        raise DataError(f"to {body['to']} does not lie after from {body['from']}")
    return DeviceDeclaration(
        subject, state, from_ns, until_ns, body.get("part", ""), body.get("node", "")
    )
