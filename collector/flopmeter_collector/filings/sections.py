"""The sections of a report: one per field of a form, each at its recipient's precision.

Owns: what each field says of the facts, as plain JSON values.
May touch: nothing; pure functions of the facts.
Called by filings.document; docs/filings.md describes every field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flopmeter_collector.documents import Json
from flopmeter_collector.filings.facts import ModelFacts, StandingFacts
from flopmeter_collector.filings.precision import (
    days,
    figures_text,
    flop_text,
    interval_json,
    time_range,
)
from flopmeter_collector.filings.requirements import modifications_json, requirement
from flopmeter_collector.presentation import utc_text
from flopmeter_collector.rounding import Rounding, exact_flop, percent_text
from flopmeter_collector.standing_words import (
    condition_state,
    conditions_json,
    state_words,
    used_json,
)
from flopmeter_core.counting import Verdict
from flopmeter_core.filings import FieldId, Form, Precision
from flopmeter_core.interval import COVERAGE
from flopmeter_core.units import MJ_PER_KWH

Section = Callable[[ModelFacts, Form, Precision, Precision], Json]
"""Facts, form, the field's precision, and that of compute: no field tells FLOP more exactly than
the field whose they are.
"""

MJ_PER_MWH = MJ_PER_KWH * 1_000


def compute(facts: ModelFacts, form: Form, precision: Precision, numbers: Precision) -> Json:
    """FLOP under each profile of the form: all, and with the permitted exclusions."""
    del numbers
    lines = threshold_values(facts)
    return {
        "profiles": [
            {
                "profile": name,
                "headline": name == form.headline_profile,
                "quantity": facts.profiles[name].quantity,
                "reported": interval_json(
                    facts.counted[name].decided.total, precision, thresholds=lines
                ),
                "decision": _decision(facts, name),
                "everything": interval_json(
                    facts.counted[name].everything.total, precision, thresholds=lines
                ),
                "with_permitted_exclusions": interval_json(
                    facts.counted[name].permitted.total, precision, thresholds=lines
                ),
                "by_verdict": {
                    verdict.value: flop_text(
                        facts.counted[name].by_verdict[verdict].total.best,
                        precision,
                        thresholds=lines,
                    )
                    for verdict in Verdict
                },
            }
            for name in form.profiles
        ],
        "unattributed_could_add": flop_text(
            facts.unattributed_upper_flop, precision, rounding=Rounding.UP
        ),
        "margin": margin(facts, form),
    }


def _decision(facts: ModelFacts, profile: str) -> int | None:
    """The declaration that decides what is reported under a profile; None where everything is."""
    used = facts.rulings.used(profile)
    return None if used is None else used.sequence


def margin(facts: ModelFacts, form: Form) -> Json | None:
    """Whether the estimate is shown to lie within the margin a law asks for.

    ``yes``: the whole likely range does. ``no``: the training scripts' own count of the same
    FLOP contradicts the figure and lies outside. ``not_shown``: neither.
    """
    if form.margin_percent is None:
        return None
    whole = facts.counted[form.headline_profile].decided.total
    within = _within(whole.lower, whole.best, form.margin_percent) and _within(
        whole.upper, whole.best, form.margin_percent
    )
    contradicted = any(
        other.agreement.alerts
        and not _within(other.claimed_flop, other.metered.best, form.margin_percent)
        for other in facts.other_methods
    )
    key = f"meets_{form.margin_percent}_percent"
    meets = "no" if contradicted else "yes" if within and whole.best else "not_shown"
    return {
        key: meets,
        "likely_range_of_best": None
        if not whole.best
        else [percent_text(whole.lower, whole.best), percent_text(whole.upper, whole.best)],
        "coverage": COVERAGE,
        "source": form.margin_source,
    }


def compute_method(facts: ModelFacts, form: Form, precision: Precision, numbers: Precision) -> Json:
    """How the figure came about, and what was taken for granted."""
    del precision
    return {
        "approach": "hardware-based: counters and power of each accelerator, read while it worked",
        "quantity": "executed operations: padding and recomputation included unless left out below",
        "number_formats": sorted({run.number_format for run in facts.runs}),
        "evidence": {
            run.run: {
                level: percent_text(amount, whole)
                for level, (amount, whole) in run.evidence.items()
                if whole
            }
            for run in facts.runs
        },
        "other_methods": [
            {
                "run": other.run,
                "quantity": other.quantity,
                "claimed": flop_text(other.claimed_flop, numbers),
                "metered": interval_json(other.metered, numbers),
                "agreement": other.agreement.value,
            }
            for other in facts.other_methods
            if numbers is not Precision.WITHHELD
        ],
        "counting_rules": [
            {
                "profile": facts.profiles[name].id,
                "version": facts.profiles[name].version,
                "source": facts.profiles[name].source,
                "checked_on": facts.profiles[name].checked_on.isoformat(),
                "verification": facts.profiles[name].verification.value,
            }
            for name in form.profiles
        ],
        "decisions": [used_json(each) for each in facts.rulings.decisions],
        "method_version": facts.basis.method_version,
        "device_table_version": facts.basis.device_table_version,
        "assumptions": sorted(
            {*facts.assumptions, *(a for n in form.profiles for a in facts.counted[n].assumptions)}
        ),
    }


def training_time(facts: ModelFacts, form: Form, precision: Precision, numbers: Precision) -> Json:
    """From the first to the last recorded hour of the model's runs."""
    del form, numbers
    if facts.first_ns is None or facts.last_ns is None:
        return {"range": None, "wall_clock_days": None, "note": "no whole hour is recorded yet"}
    span_ns = facts.last_ns - facts.first_ns
    told: Json = {"range": time_range(span_ns)}
    if precision is not Precision.RANGE:
        told |= {
            "wall_clock_days": figures_text(days(span_ns), 2),
            "from": utc_text(facts.first_ns),
            "until": utc_text(facts.last_ns),
        }
    return told


def hardware_time(facts: ModelFacts, form: Form, precision: Precision, numbers: Precision) -> Json:
    """Device time with work, in days, by kind of accelerator."""
    del form, numbers
    digits = 1 if precision is Precision.ONE_FIGURE else 4
    return {
        "devices": [
            {
                "part": use.product,
                "device_count": use.device_count,
                "hardware_days": figures_text(days(use.busy_ns), digits),
                "observed_days": figures_text(days(use.observed_ns), digits),
            }
            for use in facts.hardware
        ]
    }


def energy(facts: ModelFacts, form: Form, precision: Precision, numbers: Precision) -> Json:
    """Measured energy in MWh, by what the measurement covers."""
    del form, numbers
    digits = 2 if precision is Precision.TWO_FIGURES else 6
    return {
        "measured": [
            {"scope": scope.value, "energy_mwh": figures_text(mj / MJ_PER_MWH, digits)}
            for scope, mj in sorted(facts.energy_mj.items())
        ],
        "method": "read from the devices' own energy counters, or from power over time; cooling, "
        "hosts and networks are in it only where the scope is the whole node",
    }


def dependencies(facts: ModelFacts, form: Form, precision: Precision, numbers: Precision) -> Json:
    """The models this one came from, what was entered by hand, and what is said to be missing."""
    del form, precision
    externals = () if numbers is Precision.WITHHELD else facts.externals
    return {
        "base_models": [{"model": model, "by": edge} for model, edge in facts.dependencies],
        "external": [
            {
                "name": each.name,
                "activity": each.activity,
                "period": each.period,
                "party": each.party,
                "source": each.source,
                "source_sha256": each.source_sha256,
                "evidence": "declared",
                **interval_json(each.interval, numbers),
            }
            for each in externals
        ],
        "completeness": facts.completeness or "nobody has stated what is complete and what is not",
    }


def standing(facts: ModelFacts, form: Form, precision: Precision, numbers: Precision) -> Json:
    """How the model stands to each line of the form, and to those for modifications."""
    del precision
    return {
        "lines": [_standing(each) for each in facts.standings],
        "modifications": modifications_json(facts, numbers),
        "requirement": requirement(facts),
        "determination": "the tool compares figures; a named person decides what follows",
    }


def evidence(facts: ModelFacts, form: Form, precision: Precision, numbers: Precision) -> Json:
    """What the figures rest on: each leads back to rows of the ledger."""
    del form, precision
    basis, lines = facts.basis, threshold_values(facts)
    return {
        "observed_share": percent_text(
            facts.observed_share.numerator, facts.observed_share.denominator
        ),
        "runs": [
            {
                "run": run.run,
                "origin": run.origin,
                "activity": run.activity,
                "number_format": run.number_format,
                "register_count": run.register_count,
                "executed": interval_json(run.figures.total, numbers, thresholds=lines),
                "unobserved_could_add": flop_text(
                    run.figures.unobserved_ceiling, numbers, rounding=Rounding.UP
                ),
            }
            for run in facts.runs
        ],
        "executed": interval_json(facts.executed.total, numbers, thresholds=lines),
        "lowering_declarations": list(facts.lowering),
        "ledger": {
            "id": basis.position.ledger_id,
            "generation": basis.position.generation,
            "commit_number": basis.position.commit_number,
            "registers_sha256": basis.registers_sha256,
            "last_declaration": basis.known_at,
        },
        "outside_the_meter": [
            "work on accelerators that no agent reads, unless it was entered as external",
            "what a law may count beyond operations: cost, revenue, capability, modality",
        ],
    }


SECTIONS: Mapping[FieldId, Section] = {
    FieldId.COMPUTE: compute,
    FieldId.COMPUTE_METHOD: compute_method,
    FieldId.TRAINING_TIME: training_time,
    FieldId.HARDWARE_TIME: hardware_time,
    FieldId.ENERGY: energy,
    FieldId.DEPENDENCIES: dependencies,
    FieldId.STANDING: standing,
    FieldId.EVIDENCE: evidence,
}


def threshold_values(facts: ModelFacts) -> tuple[int, ...]:
    """The lines that no rounding may land on or cross, in FLOP."""
    return tuple(each.standing.threshold.value_flop for each in facts.standings)


def _within(flop: int, of: int, percent: int) -> bool:
    """Whether one count lies within so many percent of another, exactly."""
    return (100 - percent) * of <= 100 * flop <= (100 + percent) * of


def _standing(facts: StandingFacts) -> Json:
    held = facts.standing
    threshold = held.threshold
    return {
        "threshold": threshold.id,
        "instrument": threshold.instrument,
        "status": facts.status,
        "value": str(exact_flop(threshold.value_flop)),
        "value_flop_str": str(threshold.value_flop),
        "state": held.state.value,
        **conditions_of(facts),
        "decided_by_likely_range": held.decided,
        **review_json(facts),
        "verification": threshold.verification,
    }


def conditions_of(facts: StandingFacts) -> Json:
    """The state in words, with what was declared of the other conditions and what was not."""
    held, rulings = facts.standing, facts.rulings
    return {
        "state_words": state_words(held, rulings),
        "conditions_state": condition_state(held.threshold, held.conditions),
        "declared_conditions": conditions_json(held.threshold, rulings),
        "other_conditions_unknown": list(facts.undecided_conditions),
    }


def review_json(facts: StandingFacts) -> Json:
    """The review of a line: its number, both dates, and what was determined."""
    review = facts.review
    return {
        "review": None if review is None else review.number,
        "earliest": None if review is None else review.earliest,
        "due": None if review is None else review.due_on or None,
        "determination": None if review is None else review.determination or None,
    }
