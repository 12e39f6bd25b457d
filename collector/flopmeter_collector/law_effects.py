"""What another law does to states that were recorded: which change by it, and which end.

Owns: the cause `law` of a transition, and the rows that end states against lines held no more.
May touch: nothing; pure functions of totals, rows of the catalogue and recorded transitions.
Called by judge, where rows were replaced or another day began.
Explained in docs/thresholds.md and docs/adr/0033-rulings.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace

from flopmeter_collector.evaluate import (
    QUIET,
    Previous,
    Subject,
    counted_by,
    profiles_in,
    rules_of,
)
from flopmeter_collector.ledger.base import Transition
from flopmeter_collector.reviews import DUE, DUE_ON, EARLIEST
from flopmeter_collector.snapshot import ModelTotals, TotalsSnapshot
from flopmeter_core.activities import every_label
from flopmeter_core.catalogue import State, Threshold, stand
from flopmeter_core.counting import Profile
from flopmeter_core.forecast import Outlook
from flopmeter_core.profiles import builtin_profiles

CAUSE = "cause"
"""Field of a transition's figures; absent where the figures moved."""

LAW = "law"


def by_law(
    row: Transition, model: ModelTotals, replaced: Mapping[str, Threshold] | None
) -> Transition:
    """Mark a change that the law made: by the rows held before it the state would not have changed.

    Args:
        row: the change.
        model: the totals it is about.
        replaced: the rows that were held before, by id; None where none was replaced.
    """
    if replaced is None:
        return row
    before = replaced.get(row.threshold)
    if before is not None:
        figures = counted_by(model, rules_of(before)).decided
        declared = model.rulings.declared(before.id)
        if stand(figures, before, declared=declared).state == row.after:
            return row
    return replace(row, figures={**row.figures, CAUSE: LAW})


def lapses(
    snapshot: TotalsSnapshot,
    newest: Mapping[Subject, Transition],
    held: Set[str],
    states: Previous,
    outlooks: Mapping[Subject, Outlook],
) -> Iterator[Transition]:
    """The rows that end what is recorded of models that are there, against lines held no more.

    A line ceases to be held when it is repealed or its file is taken away. Without such a row its
    alerts would fire for good.

    Args:
        snapshot: the totals.
        newest: the newest transition of each of these models and a line; its figures are kept,
            because a row that has left the catalogue counts nothing any more.
        held: the ids of the lines that are held now.
        states: the states last recorded.
        outlooks: the outlooks last recorded.
    """
    for subject, row in newest.items():
        if subject[1] in held:
            continue
        state = states.get(subject, State.UNKNOWN)
        if state not in QUIET:
            yield _ended(row, snapshot, before=state, after=State.UNKNOWN)
    for subject, outlook in outlooks.items():
        if subject[1] not in held and outlook is Outlook.FORESEEN and subject in newest:
            yield _ended(
                newest[subject], snapshot, before=Outlook.FORESEEN, after=Outlook.NOT_FORESEEN
            )


def law_basis(thresholds: Iterable[Threshold]) -> str:
    """What tells counting by these rows' profiles from counting by the built-in ones, as text.

    Empty where they are the same; growth is never read out of two figures of different rules.
    """
    builtin = builtin_profiles()
    own = {
        name: profile
        for name, profile in profiles_in(thresholds).items()
        if profile is not builtin.get(name) and profile != builtin.get(name)
    }
    if not own:
        return ""
    digest = hashlib.sha256()
    for name, profile in sorted(own.items()):
        digest.update(f"{name} {verdicts_text(profile)}\n".encode())
    return f"/law {digest.hexdigest()[:8]}"


def verdicts_text(profile: Profile) -> str:
    """All that a profile decides, in one line of words."""
    verdicts = [profile.entry(label).verdict for label in every_label()]
    edges = [profile.inherited[edge].verdict for edge in sorted(profile.inherited)]
    rest = [profile.recomputation.verdict, profile.external.verdict]
    return " ".join([*verdicts, *edges, *rest])


def _ended(row: Transition, snapshot: TotalsSnapshot, *, before: str, after: str) -> Transition:
    dated = (EARLIEST, DUE, DUE_ON, "review_due_latest", "review_due_moved_by", "review_notice")
    kept = {name: text for name, text in row.figures.items() if name not in dated}
    return replace(
        row,
        sequence=0,
        before=before,
        after=after,
        occurred_at_ns=snapshot.as_of_ns,
        commit_number=snapshot.position.commit_number if snapshot.position else 0,
        figures={**kept, CAUSE: LAW},
        delivered=False,
    )
