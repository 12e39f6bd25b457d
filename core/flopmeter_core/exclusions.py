"""Exclusions that a law permits, as people name them when they decide to use some.

Owns: the words for what may be left out, their exact spelling in a ledger, and what of a decision a
profile still permits.
May touch: nothing; pure functions of a profile.
Called by the collector's rulings, reports and the command line; docs/counting.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from flopmeter_core.activities import Activity, DataVisibility, Disposition, Edge, WorkLabel
from flopmeter_core.counting import Decision, Profile, Verdict
from flopmeter_core.errors import DataError

RECOMPUTATION = "recomputation"
"""Activations computed again in a backward pass."""

PARENT = "parent:"
"""Stands before the edge over which a parent's work came."""

ANY = "*"
"""In the place of a word: whatever of it the profile permits to leave out."""

_KINDS = (Activity, Disposition, DataVisibility)


def choose(words: Iterable[str], profile: Profile) -> Decision:
    """Read what somebody decided to leave out.

    Args:
        words: each ``recomputation``, ``parent:EDGE``, or an activity, perhaps with ``/`` and a
            disposition, and another ``/`` and a data visibility; ``*`` in a place takes whatever
            the profile permits there.
        profile: the law's rules.

    Raises:
        DataError: a word nobody knows, or what the profile does not permit to leave out.
    """
    labels: set[WorkLabel] = set()
    edges: set[Edge] = set()
    recomputation = False
    for word in words:
        if word == RECOMPUTATION:
            recomputation = True
        elif word.startswith(PARENT):
            edges.add(_edge(word))
        else:
            labels |= _labels(word, profile)
    decision = Decision(frozenset(labels), frozenset(edges), recomputation)
    decision.check(profile)
    if not labels and not edges and not recomputation:
        raise DataError(
            f"the decision leaves nothing out; profile {profile.id} permits {permitted(profile)}"
        )
    return decision


def permitted(profile: Profile) -> str:
    """What a profile permits to leave out, in the words that `choose` reads."""
    words = []
    for activity in Activity:
        fitting = [label for label in profile.entries if label.activity is activity]
        may = [label for label in fitting if _may(profile, label)]
        if may and len(may) == len(fitting):
            words.append(activity.value)
        elif may:
            words += sorted({f"{activity.value}/{label.disposition.value}" for label in may})
    words += [f"{PARENT}{edge}" for edge in Edge if _excludable(profile.inherited[edge].verdict)]
    if _excludable(profile.recomputation.verdict):
        words.append(RECOMPUTATION)
    return ", ".join(words) or "nothing"


def spelled(decision: Decision) -> str:
    """A decision in full, as a ledger keeps it: what a profile says later cannot widen it."""
    labels = [f"{each.activity}/{each.disposition}/{each.visibility}" for each in decision.labels]
    edges = [f"{PARENT}{edge}" for edge in decision.edges]
    return " ".join([*sorted(labels), *sorted(edges), *[RECOMPUTATION] * decision.recomputation])


def read_spelled(text: str) -> Decision:
    """Read what `spelled` wrote.

    Raises:
        DataError: a word nobody knows.
    """
    labels: set[WorkLabel] = set()
    edges: set[Edge] = set()
    words = text.split()
    for word in words:
        if word.startswith(PARENT):
            edges.add(_edge(word))
        elif word != RECOMPUTATION:
            activity, disposition, visibility = _words(word)
            if activity is None or disposition is None or visibility is None:
                raise DataError(f"{word[:80]!r} names no single piece of work")
            labels.add(
                WorkLabel(Activity(activity), Disposition(disposition), DataVisibility(visibility))
            )
    return Decision(frozenset(labels), frozenset(edges), RECOMPUTATION in words)


def still_permitted(decision: Decision, profile: Profile) -> Decision:
    """What of a decision a profile permits: what it permits no more is counted again."""
    return Decision(
        frozenset(label for label in decision.labels if _excludable(profile.entry(label).verdict)),
        frozenset(e for e in decision.edges if _excludable(profile.inherited[e].verdict)),
        decision.recomputation and _excludable(profile.recomputation.verdict),
    )


def leaves_out_more(decision: Decision, than: Decision) -> bool:
    """Whether a decision leaves out anything that another one does not."""
    return bool(
        decision.labels - than.labels
        or decision.edges - than.edges
        or (decision.recomputation and not than.recomputation)
    )


def _labels(word: str, profile: Profile) -> set[WorkLabel]:
    """The labels that a word takes; where it has a `*`, those of them that may be left out."""
    words = _words(word)
    fitting = {
        label
        for label in profile.entries
        if all(
            chosen in (None, said)
            for chosen, said in zip(
                words, (label.activity, label.disposition, label.visibility), strict=True
            )
        )
    }
    if ANY not in word.split("/"):
        return fitting
    may = {label for label in fitting if _may(profile, label)}
    if not may:
        raise DataError(
            f"profile {profile.id} permits leaving out nothing of {word!r}; it permits "
            f"{permitted(profile)}"
        )
    return may


def _words(word: str) -> list[str | None]:
    """Activity, disposition and visibility that a word names; None where it takes all."""
    given = word.split("/")
    if len(given) > len(_KINDS) or not word:
        raise DataError(f"{word[:80]!r} names no work; write ACTIVITY/DISPOSITION/VISIBILITY")
    found: list[str | None] = []
    for place, kind in enumerate(_KINDS):
        text = given[place] if place < len(given) else ANY
        if text != ANY and text not in set(kind):
            raise DataError(
                f"{text[:80]!r} is no word for work to leave out; use {RECOMPUTATION}, "
                f"{PARENT}EDGE or one of {', '.join(kind)}"
            )
        found.append(None if text == ANY else text)
    return found


def _edge(word: str) -> Edge:
    try:
        return Edge(word.removeprefix(PARENT))
    except ValueError as error:
        raise DataError(f"{word[:80]!r} names no edge; use one of {', '.join(Edge)}") from error


def _may(profile: Profile, label: WorkLabel) -> bool:
    return _excludable(profile.entry(label).verdict)


def _excludable(verdict: Verdict) -> bool:
    return verdict is Verdict.MAY_EXCLUDE
