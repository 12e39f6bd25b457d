"""What is declared of devices in a ledger, and which of them are enrolled.

Owns: the check before the write, the audit row beside it, and the document of enrolled devices.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by `flopmeter device`. Explained in docs/adr/0017-residual-time.md.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from flopmeter.lab.ledger_totals import load_totals
from flopmeter_collector import backends
from flopmeter_collector.device_declarations import (
    DEVICE_KIND,
    DeviceState,
    parse_device_declaration,
)
from flopmeter_collector.documents import Json
from flopmeter_collector.ledger.base import AuditRow, Declaration
from flopmeter_collector.residual import Enrolled
from flopmeter_collector.spans import time_text
from flopmeter_core.devices import builtin_parts
from flopmeter_core.errors import DataError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock


def declare_device(
    url: str, subject: str, body: Mapping[str, str], *, author: str, clock: Clock
) -> Declaration:
    """Declare a device enrolled, retired, or a node's devices down.

    Args:
        url: the ledger, a path or URL.
        subject: the device; for ``down`` a node's name as well.
        body: fields as `parse_device_declaration` reads them.
        author: who states it.
        clock: dates it.

    Returns:
        The declaration with its place in the ledger.

    Raises:
        DataError: a field that cannot be understood, or a device or node that the ledger does
            not know (an unknown device can be enrolled with its part); nothing is written.
        UsageError, StorageError: the ledger does not exist or cannot be written.
    """
    declared = parse_device_declaration(subject, body)
    if declared.part:
        _check_part(declared.part)
    else:
        _check_known(url, subject, node=declared.state is DeviceState.DOWN)
    now_ns = clock.wall_ns()
    return backends.declare(
        url,
        Declaration(
            sequence=0,
            declared_at_ns=now_ns,
            author=author,
            source="cli",
            kind=DEVICE_KIND,
            subject=subject,
            body=dict(body),
        ),
        audit=AuditRow(
            sequence=0,
            recorded_at_ns=now_ns,
            author=author,
            reason=body.get("reason", ""),
            action=f"device {declared.state}",
            content=json.dumps({"subject": subject, **body}, sort_keys=True),
        ),
    )


def enrolled_devices(url: str, clock: Clock) -> Json:
    """Every device of a ledger that is or was enrolled, with its time by class.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        totals = load_totals(ledger)
        now_ns = clock.wall_ns()
        totals.snapshot(now_ns, None)
        enrolled = totals.residuals.enrolled(now_ns)
    return {
        "schema": 1,
        "as_of": time_text(now_ns),
        "devices": [_device(each) for each in enrolled],
    }


def _device(each: Enrolled) -> Json:
    classes = each.classes
    last = each.periods[-1]
    return {
        "device": each.device,
        "node": each.node,
        "devices": each.device_count,
        "enrolled": [
            {
                "from": time_text(period.from_ns),
                "until": None if period.until_ns is None else time_text(period.until_ns),
            }
            for period in each.periods
        ],
        "retired": last.until_ns is not None and not each.named,
        "named": each.named,
        "enrolled_seconds": classes.enrolled_ns / NS_PER_S,
        "classified_seconds": classes.classified_ns / NS_PER_S,
        "declared_down_seconds": classes.declared_down_ns / NS_PER_S,
        "in_flight_seconds": classes.in_flight_ns / NS_PER_S,
        "residual_seconds": sum(classes.residual_ns.values()) / NS_PER_S,
        "doubled_seconds": each.doubled_ns / NS_PER_S,
    }


def _check_part(part: str) -> None:
    table = builtin_parts()
    if part not in {known.id for known in table.parts}:
        raise DataError(f"{part!r} is no part of the device table; see flopmeter device list")


def _check_known(url: str, subject: str, *, node: bool) -> None:
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        records = ledger.records().values()
        known = {record.device for record in records}
        declared = [row for row in ledger.declarations() if row.kind == DEVICE_KIND]
        known |= {row.subject for row in declared}
        if node:
            known |= {row.body["node"] for row in declared if "node" in row.body}
            known |= {record.node for record in records}
    if subject not in known:
        what = "device or node" if node else "device"
        raise DataError(
            f"no {what} {subject!r} ever reported to this ledger; check the name with "
            "`flopmeter device enrolled`, or enroll it with its --part"
        )
