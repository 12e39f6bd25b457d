"""How a model stands to a line, in words: the number, and what else the law asks for.

Owns: the one wording of states and conditions, and their JSON.
May touch: nothing; pure functions.
Called by presentation, http.page, filings and alerts, so that all of them say the same.
Explained in docs/rulings.md.

Where a law asks for more than a number, meeting the number is never called "above" alone.
"""

from __future__ import annotations

from flopmeter_collector.documents import Json
from flopmeter_collector.rulings import Condition, Rulings, Used
from flopmeter_core.catalogue import Standing, State, Threshold

NONE = "none"
MET = "met"
UNKNOWN = "unknown"
NOT_MET = "not_met"

UNKNOWN_WORDS = "other conditions unknown"


def condition_state(threshold: Threshold, conditions: bool | None) -> str:
    """What is known of the conditions beside a number, in a word.

    Args:
        threshold: the row.
        conditions: as in a `Standing`.
    """
    if not threshold.required_conditions:
        return NONE
    return UNKNOWN if conditions is None else MET if conditions else NOT_MET


def state_words(standing: Standing, rulings: Rulings) -> str:
    """How the best figure stands, what the likely range leaves open, and the other conditions."""
    if standing.state is State.ABOVE_BY_UNOBSERVED_ONLY:
        return "below, unless unobserved time"
    if standing.state is State.UNKNOWN:
        return "nothing measured yet"
    if standing.state is State.BELOW:
        return "below" if standing.decided else "below, range reaches above"
    doubt = "" if standing.decided else ", range reaches below"
    if not standing.threshold.required_conditions:
        return f"above{doubt}"
    return f"compute test met{doubt}, {conditions_words(standing, rulings)}"


def conditions_words(standing: Standing, rulings: Rulings) -> str:
    """The other conditions of a row that has some."""
    if standing.conditions is None:
        return UNKNOWN_WORDS
    if standing.conditions:
        return "other conditions declared met"
    return ", ".join(
        f"declared not met by {each.author} on {each.on.isoformat()}"
        for each in rulings.conditions
        if each.threshold == standing.threshold.id and not each.met
    )


def conditions_json(threshold: Threshold, rulings: Rulings) -> list[Json]:
    """Each other condition of a row, and what somebody declared of it."""
    declared = {
        each.condition: each for each in rulings.conditions if each.threshold == threshold.id
    }
    return [
        {
            "id": condition.id,
            "text": condition.text,
            "state": UNKNOWN,
            **_declared(declared.get(condition.id)),
        }
        for condition in threshold.required_conditions
    ]


def used_json(used: Used) -> Json:
    """A decision to use exclusions, and who stands behind it."""
    return {
        "profile": used.profile,
        "leaves_out": used.said,
        "date": used.on.isoformat(),
        **_said(used),
    }


def used_sentence(used: Used) -> str:
    """A decision, for a list."""
    evidence = f" (evidence: {used.evidence})" if used.evidence else ""
    names = ", ".join(name for name, _ in used.people)
    return (
        f"{used.profile}: {used.said} left out, decided by {used.author} on "
        f"{used.on.isoformat()} (declaration {used.sequence}): "
        f"{used.reason}{evidence}{f'; behind it: {names}' if names else ''}"
    )


def _declared(condition: Condition | None) -> Json:
    if condition is None:
        return {}
    state = MET if condition.met else NOT_MET
    return {"state": state, "date": condition.on.isoformat(), **_said(condition)}


def _said(ruling: Condition | Used) -> Json:
    return {
        "author": ruling.author,
        "reason": ruling.reason,
        "evidence": ruling.evidence or None,
        "declaration": ruling.sequence,
        "approved_by": [{"person": name, "reason": reason} for name, reason in ruling.people],
    }
