"""Forecasts, alerts and reviews straight from a ledger, by the collector's own code.

Owns: nothing but the order of the calls: read what was recorded and declared, judge, show.
May touch: a ledger opened for reading, that the caller holds.
Called by ledger_totals and by the commands forecast, alert and review.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from flopmeter_collector.judge import Judge
from flopmeter_collector.ledger.base import Ledger
from flopmeter_collector.legal_view import LegalView
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_core.catalogue import Threshold
from flopmeter_core.errors import DataError
from flopmeter_core.units import NS_PER_HOUR

FORECAST_DAYS = 90
"""As a collector's setting `forecast_days` unless it says otherwise; it decides no date."""


def recorded(
    ledger: Ledger,
    thresholds: Sequence[Threshold],
    *,
    days: int = FORECAST_DAYS,
    up_to: int | None = None,
) -> Judge:
    """Read what a ledger has recorded and people declared, inside a `consistent` block.

    Args:
        ledger: opened for reading.
        thresholds: the catalogue.
        days: how far ahead a date counts as foreseen.
        up_to: sequence of the last declaration that counts; all of them when None.
    """
    judge = Judge(thresholds, horizon_ns=days * 24 * NS_PER_HOUR, paces_a_round=sys.maxsize)
    for row in ledger.declarations():
        if up_to is None or row.sequence <= up_to:
            # As in the collector: what cannot be understood stays in the ledger, moves nothing.
            with contextlib.suppress(DataError):
                judge.apply(row)
    judge.restore(ledger.transitions(), ledger.history())
    return judge


def ledger_legal(
    ledger: Ledger, snapshot: TotalsSnapshot, thresholds: Sequence[Threshold]
) -> LegalView:
    """What a collector on this ledger would show beside a snapshot of it."""
    judge = recorded(ledger, thresholds)
    found = judge.judge(snapshot, declared_to=0, corrected=False)
    return judge.view(found, snapshot.as_of_ns)
