"""Declarations about the ledger itself: what is released from quarantine, and what is on hold.

Owns: the two kinds, their fields, and which holds stand after all of them.
May touch: nothing; pure functions of ledger rows.
Called by publish and retention (what stands), and by the lab's ledger commands (what is written).
Explained in docs/adr/0013-operating-a-ledger.md.

Both kinds name their author and their reason, and both leave an audit row: an operator's act on
what the ledger keeps is never silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flopmeter_collector.ledger.base import Declaration
from flopmeter_core.allocations import check_name
from flopmeter_core.errors import DataError

QUARANTINE_KIND = "quarantine"
"""Subject: the row's name; body: ``sequence`` and ``reason``."""

HOLD_KIND = "hold"
"""Subject: ``all``, ``run:NAME`` or ``model:NAME``; body: ``state`` and ``reason``."""

ALL = "all"
HELD = "held"
RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Release:
    """One vector that a person accepted out of quarantine."""

    name: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Hours that nothing may thin, whatever their age.

    Attributes:
        subject: ``all``, ``run:NAME`` or ``model:NAME``.
        declared_at_ns: Unix time in ns of the declaration: a label.
        author, reason: who asked for it, and why.
    """

    subject: str
    declared_at_ns: int
    author: str
    reason: str


def parse_release(declaration: Declaration) -> Release:
    """Read a declaration of kind ``quarantine``.

    Raises:
        DataError: no sequence, or no reason.
    """
    text = declaration.body.get("sequence", "")
    if not (text.isascii() and text.isdigit()):
        raise DataError(
            f"declaration {declaration.sequence} releases no sequence; write it with "
            "`flopmeter ledger quarantine release`"
        )
    check_reason(declaration.body.get("reason", ""))
    return Release(declaration.subject, int(text))


def check_reason(reason: str) -> None:
    """Refuse an act on the ledger that does not say why.

    Raises:
        DataError: an empty reason.
    """
    if not reason.strip():
        raise DataError("an act on the ledger needs a reason; give one with --reason")


def check_subject(subject: str) -> None:
    """Refuse a hold on something that is no run, no model, and not all.

    Raises:
        DataError: another subject.
    """
    kind, _, name = subject.partition(":")
    if subject != ALL and kind not in ("run", "model"):
        raise DataError(
            f"{subject!r} cannot be held; name run:NAME, model:NAME, or all for everything"
        )
    if subject != ALL:
        check_name(name, what=kind)


def parse_hold(declaration: Declaration) -> tuple[Hold, bool]:
    """Read a declaration of kind ``hold``; returns it, and whether it stands from now on.

    Raises:
        DataError: a subject or state nobody knows, or no reason.
    """
    check_subject(declaration.subject)
    reason = declaration.body.get("reason", "")
    check_reason(reason)
    state = declaration.body.get("state", "")
    if state not in (HELD, RELEASED):
        raise DataError(f"a hold is {HELD} or {RELEASED}, not {state!r}")
    hold = Hold(declaration.subject, declaration.declared_at_ns, declaration.author, reason)
    return hold, state == HELD


def with_hold(holds: Mapping[str, Hold], declaration: Declaration) -> dict[str, Hold]:
    """The holds that stand after one more declaration, by subject.

    Raises:
        DataError: as `parse_hold`.
    """
    hold, stands = parse_hold(declaration)
    kept = {subject: held for subject, held in holds.items() if subject != hold.subject}
    return {**kept, hold.subject: hold} if stands else kept


def holds_of(declarations: Iterable[Declaration]) -> dict[str, Hold]:
    """The holds that stand after all declarations, by subject.

    A declaration that cannot be read changes nothing, as in a serving collector.
    """
    holds: dict[str, Hold] = {}
    for declaration in declarations:
        if declaration.kind == HOLD_KIND:
            try:
                holds = with_hold(holds, declaration)
            except DataError:
                continue
    return holds
