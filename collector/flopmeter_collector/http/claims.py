"""The collector's Prometheus families of claims.

Owns: the metric names of claims.
May touch: nothing; pure functions of an immutable snapshot.
Called by http.metrics. docs/metrics.md lists the families.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flopmeter_core.claims import Reconciliation
from flopmeter_core.kernels.render import Family

ClaimRow = tuple[str, Sequence[Reconciliation]]
"""The rendered labels of a run (or of the rest) and the claims of it, none to several."""


def claim_families(rows: Sequence[ClaimRow], *, unmatched_count: int) -> Iterator[Family]:
    """What training processes claim, beside the metered families.

    Args:
        rows: the runs shown one by one, and the rest.
        unmatched_count: runs that are claimed and were never metered.
    """
    claimed = [(labels, found) for labels, found in rows if found]
    yield Family(
        "flopmeter_run_claimed_executed_flop",
        "gauge",
        "Model FLOP that training processes claim, replayed steps included.",
        [(labels, str(sum(c.totals.executed_flop for c in found))) for labels, found in claimed],
    )
    yield Family(
        "flopmeter_run_claimed_unique_flop",
        "gauge",
        "Model FLOP that training processes claim, each step once.",
        [(labels, str(sum(c.totals.unique_flop for c in found))) for labels, found in claimed],
    )
    yield Family(
        "flopmeter_run_claim_ratio",
        "gauge",
        "Claimed executed model FLOP over the most likely metered FLOP.",
        [
            (labels, repr(float(found[0].ratio)))
            for labels, found in claimed
            if len(found) == 1 and found[0].ratio is not None
        ],
    )
    yield Family(
        "flopmeter_run_claim_discrepancy",
        "gauge",
        "1 where claims and meter contradict each other beyond the set bound.",
        [(labels, str(int(any(c.agreement.alerts for c in found)))) for labels, found in claimed],
    )
    yield Family(
        "flopmeter_unmatched_claims",
        "gauge",
        "Runs that training processes claim and no meter ever attributed work to.",
        [("", str(unmatched_count))],
    )
