"""Runs of a ledger that may be one: what is compared of each, and the joint totals.

Owns: how a run's traits are read from a ledger, and the document of the hints.
May touch: one ledger, through the collector's backends, reading; the clock it is given.
Called by `flopmeter run hints`; docs/hints.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from flopmeter.lab.report_reading import Reading, Times, opened, read
from flopmeter_collector.documents import Json
from flopmeter_collector.hints import RunTraits, hints
from flopmeter_collector.rounding import round_flop
from flopmeter_core.interval import sum_figures
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock

NOTE = "evidence for a person, never a verdict; no figure moves"


def hinted(url: str, *, clock: Clock) -> Json:
    """Runs that may be one run, with what speaks for it and what they add up to.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with opened(url) as ledger:
        reading = read(ledger, Times(), now_ns=clock.wall_ns())
    figures = {run.run: run.account.figures for run in reading.at_most.runs}
    found: list[Json] = []
    for hint in hints(_traits(reading)):
        joint = sum_figures(figures[run] for run in hint.runs).total
        found.append(
            {
                "runs": list(hint.runs),
                "likenesses": list(hint.likenesses),
                "joint": str(round_flop(joint.best)),
                "joint_flop_str": str(joint.best),
                "joint_lower_flop_str": str(joint.lower),
                "joint_upper_flop_str": str(joint.upper),
            }
        )
    return {"schema": 1, "simulated": reading.at_most.simulated, "note": NOTE, "hints": found}


def _traits(reading: Reading) -> Iterator[RunTraits]:
    parents = {
        model.model: frozenset(name for name, _ in model.parents)
        for model in reading.at_most.models
    }
    for run in reading.at_most.runs:
        account, period = run.account, reading.periods.get(run.run)
        observed_ns = account.busy_ns + account.idle_ns
        if period is None or not account.busy_ns:
            continue
        yield RunTraits(
            run=run.run,
            model=run.model,
            first_ns=period[0],
            last_ns=period[1],
            parts=frozenset(use.product for use in account.uses),
            device_count=account.device_count,
            busy_share=account.busy_ns / observed_ns,
            flop_per_busy_s=account.figures.observed.best / (account.busy_ns / NS_PER_S),
            parents=parents.get(run.model, frozenset()),
        )
