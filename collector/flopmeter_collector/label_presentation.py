"""JSON of labels, models and what people declared of them.

Owns: the form of the parts of work, of a model's lineage and entries, and of lowering labels.
May touch: nothing; pure functions of a snapshot.
Called by presentation, which makes the documents; docs/api.md describes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from flopmeter_collector.approvals import Lowering
from flopmeter_collector.attribution import Rule
from flopmeter_collector.documents import Json
from flopmeter_collector.model_statements import External, Planned
from flopmeter_collector.modifications import lines_of
from flopmeter_collector.snapshot import ModelTotals, Modification
from flopmeter_collector.spans import time_text
from flopmeter_collector.standing_words import condition_state, conditions_json, used_json
from flopmeter_core.activities import WorkLabel
from flopmeter_core.catalogue import Threshold
from flopmeter_core.counting import WorkPart
from flopmeter_core.interval import Interval
from flopmeter_core.ratio import Ratio

BOUNDS = ("floor", "lower", "best", "upper", "ceiling")


def bounds_text(interval: Interval) -> dict[str, str]:
    """An interval as decimal strings by bound, in FLOP."""
    return {bound: str(getattr(interval, bound)) for bound in BOUNDS}


def parts_json(parts: Iterable[WorkPart]) -> list[Json]:
    """The parts of a run's or model's work."""
    return [
        {
            "run": None if part.origin.external else part.run or None,
            "external": part.run if part.origin.external else None,
            "from_model": part.origin.name if part.origin.inherited else None,
            "ways": sorted([edge.value for edge in way] for way in part.origin.ways if way),
            **_label(part.label),
            "compute_flop_str": bounds_text(part.figures.total),
        }
        for part in parts
    ]


def model_json(
    model: ModelTotals, by_name: Mapping[str, ModelTotals], lines: Sequence[Threshold]
) -> Json:
    """What a model's total is made of, and what stands beside it.

    Args:
        model: the model.
        by_name: all models.
        lines: rows of the day that modifications are held against.
    """
    return {
        "parents": [{"model": name, "edge": edge.value} for name, edge in model.parents],
        "inherited_runs": list(model.inherited),
        "own_flop_str": bounds_text(model.own.total),
        "external_flop_str": bounds_text(model.external.total),
        "externals": [_external(entry) for entry in model.externals],
        "parties": [{"party": party, "role": role.value} for party, role in model.parties],
        "completeness": None
        if model.completeness is None
        else {
            "complete": model.completeness.complete.value,
            "statement": model.completeness.statement,
            "author": model.completeness.author,
            "declaration": model.completeness.sequence,
        },
        "decisions": [used_json(each) for each in model.rulings.decisions],
        "planned": None if model.planned is None else _planned(model.planned),
        "modifications": [
            _modification(model, each, by_name.get(each.original), lines)
            for each in model.modifications
        ],
        # Of a model of its own runs alone their parts say it all: 100,000 of them are read at once.
        "parts": parts_json(model.parts)
        if any(part.origin.inherited or part.origin.external for part in model.parts)
        else None,
    }


def lowering_json(lowering: Lowering, rules: Iterable[Rule] = ()) -> Json:
    """A statement that lowers a legal total, and who stands behind it.

    Args:
        lowering: the statement.
        rules: those by which work to come is under it.
    """
    refused_by, why = lowering.refused_by
    return {
        "declaration": lowering.sequence,
        "declared_at": time_text(lowering.declared_at_ns),
        "kind": lowering.kind,
        "subject": lowering.subject,
        "label": lowering.label,
        "place": lowering.place or None,
        "author": lowering.author,
        "reason": lowering.reason,
        "counting_profiles": list(lowering.profiles),
        "models": list(lowering.models),
        "runs": sorted(lowering.runs),
        "state": lowering.state,
        "people": [{"person": person, "reason": reason} for person, reason in lowering.people],
        "refused_by": {"person": refused_by, "reason": why} if refused_by else None,
        "rules": [
            {
                "run": rule.run,
                "match": rule.pattern,
                "from": None if rule.from_ns is None else time_text(rule.from_ns),
                "until": None if rule.until_ns is None else time_text(rule.until_ns),
            }
            for rule in rules
        ],
    }


def _label(label: WorkLabel) -> Json:
    return {
        "activity": label.activity.value,
        "disposition": label.disposition.value,
        "data_visibility": label.visibility.value,
    }


def _external(entry: External) -> Json:
    return {
        "entry": entry.entry,
        "evidence": "declared",
        "compute_flop_str": bounds_text(entry.compute),
        "from": time_text(entry.from_ns),
        "until": time_text(entry.until_ns),
        "party": entry.party,
        "source": entry.source,
        "source_sha256": entry.sha256,
        "claimed_label": _label(entry.label.label),
        "author": entry.author,
        "declaration": entry.sequence,
    }


def _planned(plan: Planned) -> Json:
    return {
        "compute_flop_str": bounds_text(plan.compute),
        "from": time_text(plan.from_ns),
        "until": time_text(plan.until_ns),
        "declared_at": time_text(plan.declared_at_ns),
        "declaration": plan.sequence,
    }


def _modification(
    model: ModelTotals,
    modification: Modification,
    original: ModelTotals | None,
    lines: Sequence[Threshold],
) -> Json:
    """Own work over the original's: exact fractions, the same as numbers, and the lines for it."""
    return {
        "original": modification.original,
        "edge": modification.edge.value,
        "original_known": modification.ratio is not None,
        **_ratio(modification.ratio),
        "lines": [
            {
                "id": line.threshold.id,
                "value": line.threshold.value_text,
                "unit": line.threshold.unit.value,
                "counting_profile": line.threshold.counting_profile,
                "own_flop_str": bounds_text(line.own),
                **_ratio(line.ratio),
                "number_met": line.met,
                "decided": line.decided,
                "other_conditions": [each.text for each in line.threshold.required_conditions],
                "conditions_state": condition_state(
                    line.threshold,
                    line.threshold.conditions_met(model.rulings.declared(line.threshold.id)),
                ),
                "declared_conditions": conditions_json(line.threshold, model.rulings),
            }
            for line in lines_of(model, modification, original, lines)
        ],
    }


def _ratio(ratio: Ratio | None) -> Json:
    if ratio is None:
        return {"ratio": None, "ratio_str": None}
    bounds: dict[str, Fraction | None] = {bound: getattr(ratio, bound) for bound in BOUNDS}
    return {
        "ratio": {name: None if at is None else float(at) for name, at in bounds.items()},
        "ratio_str": {name: None if at is None else str(at) for name, at in bounds.items()},
    }
