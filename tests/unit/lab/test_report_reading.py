"""When a run was at work, as a report says it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from flopmeter.lab import report_reading
from flopmeter_collector.ledger.base import Ledger, StoredVector
from flopmeter_collector.totals import Totals
from flopmeter_core.reports import HourlyVector
from flopmeter_core.units import NS_PER_HOUR
from support.totals import busy_vector, feed, h100, key_of, table

BOOT_NS = 1_790_000_000 * 10**9
RECORD = h100()
KEY = key_of(RECORD, "run:a")


def test_a_period_begins_with_the_first_hour_of_the_work() -> None:
    """Each start of a collector makes hours reach back to the boot, and moves no run to it."""
    rows = [
        HourlyVector(KEY, number, busy_vector(number), first_hour, boot_ns, BOOT_NS + boot_ns)
        for number, (hour, first_hour) in enumerate([(700, 700), (701, 0), (702, 0)], start=1)
        for boot_ns in [(hour + 1) * NS_PER_HOUR - 10**9]
    ]
    totals = Totals(table())
    feed(totals, KEY, RECORD, busy_vector(3))
    ledger = SimpleNamespace(
        records=lambda: {RECORD.record_id: RECORD},
        vectors=lambda: [StoredVector(KEY, 0, 3, busy_vector(3))],
        hours=lambda allocation: rows,
    )
    found = report_reading._rows(cast(Ledger, ledger), totals)
    assert found.periods == {"a": (BOOT_NS + 700 * NS_PER_HOUR, rows[-1].wall_ns)}
