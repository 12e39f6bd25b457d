"""Evaluation: how each model stands to each threshold, and what has changed since.

Owns: which thresholds a figure is held against, and the rule for what is a transition.
May touch: nothing; pure functions of a snapshot, the catalogue and the states recorded before.
Called by the collector's app after each snapshot, by presentation and by the lab's replay.
The tool compares figures; whether a law is met is a determination a named person records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flopmeter_collector.held import held_at
from flopmeter_collector.ledger.base import Transition
from flopmeter_collector.snapshot import ModelTotals, TotalsSnapshot
from flopmeter_core.catalogue import Standing, State, Threshold, stand
from flopmeter_core.interval import Figures

Previous = Mapping[tuple[str, str], State]
"""(model, threshold id) -> the state last recorded."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The standings of all models, and the transitions nobody recorded yet."""

    standings: Mapping[str, tuple[Standing, ...]]
    transitions: tuple[Transition, ...]


def applicable(thresholds: Iterable[Threshold], *, simulated: bool) -> tuple[Threshold, ...]:
    """Keep the thresholds a figure may be held against.

    A line drawn for a demonstration says nothing of a measured figure; a law is shown for a
    simulated one too, marked as simulated like everything about it.
    """
    return tuple(t for t in thresholds if simulated or not t.demonstration)


def standings_of(
    figures: Figures, thresholds: Iterable[Threshold], *, simulated: bool
) -> tuple[Standing, ...]:
    """Hold figures against every applicable threshold, in the catalogue's order."""
    return tuple(stand(figures, t) for t in applicable(thresholds, simulated=simulated))


def previous_states(transitions: Iterable[Transition]) -> dict[tuple[str, str], State]:
    """Read the states last recorded from a ledger's transitions, oldest first."""
    return {(row.model, row.threshold): State(row.after) for row in transitions}


def evaluate(
    snapshot: TotalsSnapshot,
    thresholds: Iterable[Threshold],
    previous: Previous,
    *,
    law_as_of_ns: int | None = None,
) -> Evaluation:
    """Compute all standings, and a new row for each state that differs from the recorded one.

    A model seen for the first time leaves `unknown`: its first state is recorded once, so that
    a restart repeats nothing. A model without any figure yet has nothing to record.

    Args:
        snapshot: the totals.
        thresholds: the catalogue.
        previous: the states last recorded, from `previous_states`.
        law_as_of_ns: Unix time in ns whose law applies; that of the snapshot when None.
    """
    rows = held_at(thresholds, snapshot.as_of_ns if law_as_of_ns is None else law_as_of_ns)
    standings: dict[str, tuple[Standing, ...]] = {}
    transitions: list[Transition] = []
    for model in snapshot.models:
        held = standings_of(model.figures, rows, simulated=model.simulated)
        standings[model.model] = held
        for standing in held:
            before = previous.get((model.model, standing.threshold.id), State.UNKNOWN)
            if standing.state != before:
                transitions.append(_transition(snapshot, model, standing, before))
    return Evaluation(standings, tuple(transitions))


def _transition(
    snapshot: TotalsSnapshot, model: ModelTotals, standing: Standing, before: State
) -> Transition:
    total = model.figures.total
    return Transition(
        sequence=0,
        model=model.model,
        threshold=standing.threshold.id,
        before=before,
        after=standing.state,
        decided=standing.decided,
        occurred_at_ns=snapshot.as_of_ns,
        commit_number=snapshot.position.commit_number if snapshot.position else 0,
        figures={
            "floor": str(total.floor),
            "lower": str(total.lower),
            "best": str(total.best),
            "upper": str(total.upper),
            "ceiling": str(total.ceiling),
            "unobserved_ceiling": str(model.figures.unobserved_ceiling),
            "threshold_value": str(standing.threshold.value_flop),
            "method_version": snapshot.method_version,
            "device_table_version": snapshot.table_version,
            "simulated": "true" if model.simulated else "false",
        },
    )
