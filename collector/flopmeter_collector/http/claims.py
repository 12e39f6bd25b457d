"""The collector's Prometheus families of claims.

Owns: the metric names of claims.
May touch: nothing; pure functions of an immutable snapshot.
Called by http.metrics. docs/metrics.md lists the families.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flopmeter_collector.snapshot import RunTotals
from flopmeter_core.claims import ClaimQuantity
from flopmeter_core.kernels.render import Family

ClaimRow = tuple[str, Sequence[RunTotals]]
"""The rendered labels of a run (or of the rest) and the runs behind them."""


def claim_families(rows: Sequence[ClaimRow]) -> Iterator[Family]:
    """What training processes claim, beside the metered families.

    Args:
        rows: the runs shown one by one, and the rest; those of which nothing is claimed or
            declared may be left out.
    """
    yield from _model_families(rows)
    rows = [row for row in rows if any([run.claims for run in row[1]])]
    yield from _claimed_families(rows)
    claimed = [(labels, [claim for run in runs for claim in run.claims]) for labels, runs in rows]
    yield Family(
        "flopmeter_run_claim_ratio",
        "gauge",
        "Claimed over most likely metered FLOP of the same quantity, replayed steps included.",
        [
            (labels, repr(float(runs[0].claims[0].ratio)))
            for labels, runs in rows
            if len(runs) == 1 and runs[0].claims and runs[0].claims[0].ratio is not None
        ],
    )
    yield Family(
        "flopmeter_run_claim_discrepancy",
        "gauge",
        "1 where claims and meter contradict each other beyond the set bound.",
        [(labels, str(int(any(c.agreement.alerts for c in found)))) for labels, found in claimed],
    )


def unmatched_families(unmatched_count: int) -> Iterator[Family]:
    """How many runs are claimed and were never metered."""
    yield Family(
        "flopmeter_unmatched_claims",
        "gauge",
        "Runs that training processes claim and no meter ever attributed work to.",
        [("", str(unmatched_count))],
    )


def _model_families(rows: Sequence[ClaimRow]) -> Iterator[Family]:
    """The metered figure without recomputation, where it was declared or is compared."""
    shown = [
        (labels, [run.model_flop for run in runs])
        for labels, runs in rows
        if runs and all([run.claims or run.declaration.recompute is not None for run in runs])
    ]
    texts = {
        "": "Most likely metered FLOP of the model: executed less recomputed.",
        "lower_": "Lower end of the likely range of the metered FLOP of the model.",
        "upper_": "Upper end of the likely range of the metered FLOP of the model.",
    }
    for bound, text in texts.items():
        attribute = bound.rstrip("_") or "best"
        yield Family(
            f"flopmeter_run_model_compute_{bound}flop",
            "gauge",
            text,
            [
                (labels, str(sum(getattr(interval, attribute) for interval in intervals)))
                for labels, intervals in shown
            ],
        )


def _claimed_families(rows: Sequence[ClaimRow]) -> Iterator[Family]:
    """One family a quantity: a sum over two quantities would mean nothing."""
    families = (
        (
            "flopmeter_run_claimed_executed_flop",
            "Model FLOP that training processes claim, replayed steps included.",
            ClaimQuantity.MODEL,
            "executed_flop",
        ),
        (
            "flopmeter_run_claimed_unique_flop",
            "Model FLOP that training processes claim, each step once.",
            ClaimQuantity.MODEL,
            "unique_flop",
        ),
        (
            "flopmeter_run_claimed_operations_flop",
            "FLOP that training processes counted as they ran, recomputation and replays included.",
            ClaimQuantity.EXECUTED,
            "executed_flop",
        ),
    )
    for name, text, quantity, attribute in families:
        samples = []
        for labels, runs in rows:
            amounts = [
                getattr(claim.totals, attribute)
                for run in runs
                for claim in run.claims
                if claim.totals.quantity is quantity
            ]
            if amounts:
                samples.append((labels, str(sum(amounts))))
        yield Family(name, "gauge", text, samples)
