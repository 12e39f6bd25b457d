"""Which requirement of a law the figures reach: a number of its own, or a share of an original's.

Owns: the modifications of a report, and the sentence that names the compute tests that are met.
May touch: nothing; pure functions of the facts.
Called by filings.sections. A met compute test is no met law: what else it asks is said beside it.
"""

from __future__ import annotations

from collections.abc import Iterable

from flopmeter_collector.documents import Json
from flopmeter_collector.filings.facts import ModelFacts, ModificationFacts
from flopmeter_collector.filings.precision import interval_json
from flopmeter_collector.standing_words import condition_state, conditions_json
from flopmeter_core.catalogue import State
from flopmeter_core.filings import Precision
from flopmeter_core.ratio import Ratio

_MET = (State.ABOVE, State.CONDITIONS_NOT_MET)


def modifications_json(facts: ModelFacts, numbers: Precision) -> list[Json]:
    """The model's own work against each line that is drawn for modifications.

    Args:
        facts: of the model.
        numbers: how exactly the recipient is told FLOP.
    """
    return [
        {
            "original": each.original,
            "by": each.edge,
            "threshold": line.threshold.id,
            "instrument": line.threshold.instrument,
            "value": line.threshold.value_text,
            "unit": line.threshold.unit.value,
            "own": interval_json(line.own, numbers),
            "ratio": None if line.ratio is None else _shown(line.ratio),
            "ratio_str": _exact(line.ratio) if numbers is Precision.FULL else None,
            "number_met": line.met,
            "decided_by_likely_range": line.decided,
            "conditions_state": condition_state(
                line.threshold,
                line.threshold.conditions_met(facts.rulings.declared(line.threshold.id)),
            ),
            "declared_conditions": conditions_json(line.threshold, facts.rulings),
        }
        for each in facts.modifications
        for line in each.lines
    ]


def requirement(facts: ModelFacts) -> str:
    """Which compute tests are met, in one sentence."""
    own = [each.standing.threshold.id for each in facts.standings if each.standing.state in _MET]
    shares = _shares(facts.modifications)
    if not own and not shares:
        return "the compute test of none of these lines is met"
    return f"the compute test is met of {', '.join([*own, *shares])}"


def _shares(modifications: Iterable[ModificationFacts]) -> list[str]:
    return [
        f"{line.threshold.id} (over {each.original})"
        for each in modifications
        for line in each.lines
        if line.met
    ]


def _shown(ratio: Ratio) -> Json:
    """The likely range to three figures; whether it meets a line is said apart, exactly."""
    bounds = {"lower": ratio.lower, "best": ratio.best, "upper": ratio.upper}
    return {name: None if at is None else f"{float(at):.3g}" for name, at in bounds.items()}


def _exact(ratio: Ratio | None) -> Json | None:
    if ratio is None:
        return None
    bounds = {"lower": ratio.lower, "best": ratio.best, "upper": ratio.upper}
    return {name: None if at is None else str(at) for name, at in bounds.items()}
