"""Declarations about the ledger itself: what hours are held, and which runs are over.

Owns: the two kinds, their fields, and what stands after all of them.
May touch: nothing; pure functions of ledger rows, and of a ledger opened for reading.
Called by publish and retention (what stands), and by the lab's ledger commands (what is written).
Explained in docs/adr/0013-operating-a-ledger.md.

All name their author and their reason, and leave an audit row: an operator's act on what the
ledger keeps is never silent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from flopmeter_collector.attribution import Attribution
from flopmeter_collector.declarations import RUN_KIND
from flopmeter_collector.ledger.base import Declaration, Ledger
from flopmeter_core.allocations import NONE, check_name, named_run
from flopmeter_core.errors import DataError

HOLD_KIND = "hold"
"""Subject: ``all``, ``run:NAME`` or ``model:NAME``; body: ``state`` and ``reason``."""

SEAL_KIND = "seal"
"""Subject: a run; body: ``state`` and ``reason``. An ended run is closed to declarations."""

ENDED = "ended"
OPEN = "open"
ALL = "all"
HELD = "held"
RELEASED = "released"


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


def names_in(ledger: Ledger) -> frozenset[str]:
    """Every name that a run or a model ever had: by a device's report or by a declaration."""
    names = {named_run(allocation) for allocation in ledger.allocations()}
    for row in ledger.declarations():
        names |= {row.subject, row.body.get("model"), row.body.get("into")}
    return frozenset(name for name in names if name is not None)


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


def parse_seal(declaration: Declaration) -> bool:
    """Read a declaration of kind ``seal``; returns whether the run is ended from now on.

    Raises:
        DataError: a run nobody can have, a state nobody knows, or no reason.
    """
    check_name(declaration.subject, what="run")
    check_reason(declaration.body.get("reason", ""))
    state = declaration.body.get("state", "")
    if state not in (ENDED, OPEN):
        raise DataError(f"a run is {ENDED} or {OPEN}, not {state!r}")
    return state == ENDED


class Custody:
    """What stands after a ledger's declarations: holds, ended runs, and models of runs.

    Attributes:
        holds: those that stand, by subject.
        ended: runs that are closed to declarations.
    """

    def __init__(self, attribution: Attribution | None = None) -> None:
        """Start with nothing declared: nothing may be thinned but what is nobody's.

        Args:
            attribution: whose work is whose; where None, an allocation is of the run it names.
        """
        self._attribution = attribution or Attribution()
        self.holds: dict[str, Hold] = {}
        self.ended: dict[str, Declaration] = {}
        self._models: dict[str, set[str]] = {}

    def apply(self, declaration: Declaration) -> None:
        """Take the next declaration, of any kind.

        Raises:
            DataError: a hold or a seal that cannot be read; nothing is changed.
        """
        if declaration.kind == HOLD_KIND:
            hold, stands = parse_hold(declaration)
            self.holds.pop(hold.subject, None)
            if stands:
                self.holds[hold.subject] = hold
        elif declaration.kind == SEAL_KIND:
            self.ended.pop(declaration.subject, None)
            if parse_seal(declaration):
                self.ended[declaration.subject] = declaration
        elif declaration.kind == RUN_KIND and "model" in declaration.body:
            self._models.setdefault(declaration.subject, set()).add(declaration.body["model"])

    def may_thin(self, allocation: str) -> bool:
        """Whether old hours of an allocation may be told by the day.

        Those of ended runs may, and those of devices nobody used, unless they are held: by name,
        or through any model the run was ever declared for. Work that may go to several runs waits
        for all of them; what the others were may still be declared.
        """
        if ALL in self.holds:
            return False
        if allocation == NONE:
            return True
        visited, ends = self._attribution.visited(allocation)
        if not ends <= self.ended.keys():
            return False
        names = {f"run:{run}" for run in visited}
        for run in visited:
            names |= {f"model:{model}" for model in self._models.get(run) or {run}}
        return not self.holds.keys() & names


def custody_of(declarations: Iterable[Declaration]) -> Custody:
    """What stands after all declarations.

    One that cannot be read changes nothing, as in a serving collector.
    """
    custody = Custody()
    for declaration in declarations:
        with contextlib.suppress(DataError):
            custody.apply(declaration)
    return custody
