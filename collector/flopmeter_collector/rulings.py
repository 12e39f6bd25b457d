"""What people rule of a model beside its work: conditions of a law, and exclusions they use.

Owns: the kinds ``condition`` and ``decision``, what stands of them, and which of them lower what
applies.
May touch: nothing; pure functions of ledger rows.
Called by book, in the order of the ledger; read by model_assembly and the lab.
Explained in docs/rulings.md and docs/adr/0033-rulings.md.

A condition is what a law asks for beside a number and no meter sees. A decision says which of the
exclusions that a counting profile permits are used. Both are somebody's word, dated, with a reason.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from flopmeter_collector.approvals import RULING, Approvals, Lowering
from flopmeter_collector.law_days import day_not_ahead, day_of
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.statements import STANDS, UNDONE
from flopmeter_core.allocations import check_name
from flopmeter_core.counting import COUNT_EVERYTHING, Decision, Profile
from flopmeter_core.errors import DataError
from flopmeter_core.exclusions import leaves_out_more, read_spelled, still_permitted

CONDITION_KIND = "condition"
"""Subject: a model; body: ``threshold``, ``condition``, ``state``, ``reason``, ``evidence``."""

DECISION_KIND = "decision"
"""Subject: a model; body: ``profile``, ``leave_out``, ``exactly``, ``date``, ``state``, ``reason``,
``evidence``."""

RULING_KINDS = (CONDITION_KIND, DECISION_KIND)

MET = "met"
NOT_MET = "not_met"

MAXIMUM_TEXT = 2_000


@dataclass(frozen=True, slots=True)
class Condition:
    """That something else a law asks for holds of a model, or does not.

    Attributes:
        threshold: the row's id.
        condition: its id within the row.
        met: whether it holds; None where the word is taken back.
        author, reason, evidence: who, why, and the file it rests on with its SHA-256.
        on: the day of the declaration, in UTC.
        sequence: of the declaration.
        people: who stands behind it, with their reasons; nobody has to behind one that holds.
    """

    threshold: str
    condition: str
    met: bool | None
    author: str
    reason: str
    evidence: str
    on: datetime.date
    sequence: int
    people: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """What it is about; a later one of the same place takes its place."""
        return f"condition {self.threshold}/{self.condition}"


@dataclass(frozen=True, slots=True)
class Used:
    """Exclusions that a profile permits and somebody decided to use for a model.

    Attributes:
        profile: the counting profile's id.
        decision: what is left out, exactly; nothing where it is withdrawn.
        said: the same in the words it was decided in.
        on: the day of the decision.
        author, reason, evidence, sequence, people: as of a condition.
    """

    profile: str
    decision: Decision
    said: str
    on: datetime.date
    author: str
    reason: str
    evidence: str
    sequence: int
    people: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """What it is about; a later one of the same place takes its place."""
        return f"decision {self.profile}"


Ruling = Condition | Used


@dataclass(frozen=True, slots=True)
class Rulings:
    """What stands of one model, in the order of the ledger."""

    conditions: tuple[Condition, ...] = ()
    decisions: tuple[Used, ...] = ()

    def declared(self, threshold: str) -> Mapping[str, bool]:
        """The conditions of a row that somebody declared: id -> whether it is met."""
        return {
            each.condition: bool(each.met)
            for each in self.conditions
            if each.threshold == threshold
        }

    def used(self, profile: str) -> Used | None:
        """The decision about a profile; None where every exclusion is counted."""
        return next((each for each in self.decisions if each.profile == profile), None)

    def decision(self, profile: Profile) -> Decision:
        """What is left out under a profile, as far as it still permits it."""
        used = self.used(profile.id)
        return COUNT_EVERYTHING if used is None else still_permitted(used.decision, profile)


NO_RULINGS = Rulings()


@dataclass(slots=True)
class RulingBook:
    """What stands of all models. Every statement is checked before it changes anything."""

    _standing: dict[str, dict[str, Ruling]] = field(default_factory=dict)

    def lowers(self, model: str, ruling: Ruling) -> bool:
        """Whether a statement makes less apply to a model, or less count, than before it."""
        held = self._standing.get(model, {}).get(ruling.place)
        if isinstance(ruling, Condition):
            stood = held.met if isinstance(held, Condition) else None
            return ruling.met is False and stood is not False
        before = held.decision if isinstance(held, Used) else COUNT_EVERYTHING
        return leaves_out_more(ruling.decision, before)

    def apply(self, row: Declaration, approvals: Approvals) -> Callable[[], None] | None:
        """Take a statement, or let it wait for people where it lowers something.

        Args:
            row: the statement.
            approvals: where it waits.

        Returns:
            What takes it once enough people stand behind it; None where it holds at once.

        Raises:
            DataError: it cannot be read, or takes back what nobody said.
        """
        ruling = parse_ruling(row)
        subject = f"model {row.subject}"
        if withdrawn(ruling) and not (
            ruling.place in self._standing.get(row.subject, {})
            or approvals.waits(subject, ruling.place)
        ):
            raise DataError(f"{subject} has no {ruling.place}; nothing is left to take back")
        approvals.supersede(subject, ruling.place, frozenset({RULING}))
        if not self.lowers(row.subject, ruling):
            self.take(row.subject, ruling, approvals)
            return None
        approvals.wait(
            Lowering(
                sequence=row.sequence,
                declared_at_ns=row.declared_at_ns,
                kind=row.kind,
                subject=subject,
                label=words_of(ruling),
                place=ruling.place,
                author=row.author,
                reason=ruling.reason,
                profiles=(ruling.threshold if isinstance(ruling, Condition) else ruling.profile,),
                models=(row.subject,),
                about=frozenset({RULING}),
            )
        )
        return lambda: self.take(row.subject, ruling, approvals)

    def take(self, model: str, ruling: Ruling, approvals: Approvals) -> None:
        """Take a statement, whatever it lowers, in the place of what was said before."""
        approvals.overrule(f"model {model}", ruling.place)
        standing = self._standing.setdefault(model, {})
        standing.pop(ruling.place, None)
        if not withdrawn(ruling):
            standing[ruling.place] = ruling

    def of(self, model: str, approvals: Approvals) -> Rulings:
        """What stands of a model.

        Args:
            model: its name.
            approvals: knows who stands behind a statement that had to wait.
        """
        standing = self._standing.get(model)
        if not standing:
            return NO_RULINGS
        rows = sorted(standing.values(), key=lambda each: each.sequence)
        told = [replace(each, people=approvals.behind(each.sequence)) for each in rows]
        return Rulings(
            tuple(each for each in told if isinstance(each, Condition)),
            tuple(each for each in told if isinstance(each, Used)),
        )


def parse_ruling(row: Declaration) -> Ruling:
    """Read a declaration of kind ``condition`` or ``decision``.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    check_name(row.subject, what="model")
    return (_condition if row.kind == CONDITION_KIND else _decision)(row)


def words_of(ruling: Ruling) -> str:
    """What it says, in a few words."""
    if isinstance(ruling, Condition):
        state = "not declared" if ruling.met is None else "met" if ruling.met else "not met"
        return f"condition {ruling.condition} of {ruling.threshold} {state}"
    return f"leave out {ruling.said} under {ruling.profile}" if ruling.said else "leave out nothing"


def _condition(row: Declaration) -> Condition:
    body = _checked(row, ("threshold", "condition", "state"))
    state = body.get("state", "")
    if state not in (MET, NOT_MET, UNDONE):
        raise DataError(f"a condition is {MET}, {NOT_MET} or {UNDONE}, not {state[:40]!r}")
    return Condition(
        _id(body, "threshold"),
        _id(body, "condition"),
        None if state == UNDONE else state == MET,
        row.author,
        body["reason"],
        body.get("evidence", ""),
        day_of(row.declared_at_ns),
        row.sequence,
    )


def _decision(row: Declaration) -> Used:
    body = _checked(row, ("profile", "leave_out", "exactly", "date", "state"))
    state = body.get("state", "")
    if state not in (STANDS, UNDONE):
        raise DataError(f"a decision is {STANDS} or {UNDONE}, not {state[:40]!r}")
    decision, said = COUNT_EVERYTHING, ""
    if state == STANDS:
        decision, said = read_spelled(body.get("exactly", "")), body.get("leave_out", "")
        if decision == COUNT_EVERYTHING or not said.strip():
            raise DataError(f"a decision of model {row.subject!r} says nothing to leave out")
    return Used(
        _id(body, "profile"),
        decision,
        said,
        day_not_ahead(body.get("date", ""), row.declared_at_ns, what="date"),
        row.author,
        body["reason"],
        body.get("evidence", ""),
        row.sequence,
    )


def withdrawn(ruling: Ruling) -> bool:
    """Whether it takes back what was said."""
    if isinstance(ruling, Condition):
        return ruling.met is None
    return ruling.decision == COUNT_EVERYTHING


def _checked(row: Declaration, fields: tuple[str, ...]) -> Mapping[str, str]:
    """The body, with a reason and no field that nobody knows."""
    body = row.body
    if unknown := sorted(body.keys() - {*fields, "reason", "evidence"}):
        raise DataError(
            f"a {row.kind} of model {row.subject!r} has the unknown field "
            f"{', '.join(unknown)[:80]}; it may have {', '.join(fields)}, reason, evidence"
        )
    for name in ("reason", "evidence"):
        text = body.get(name, "")
        wanted = name == "reason" or name in body
        if wanted and (not text.strip() or len(text) > MAXIMUM_TEXT or not text.isprintable()):
            raise DataError(
                f"the {name} has 1 to {MAXIMUM_TEXT} printable characters in one line; give it "
                f"with --{name}"
            )
    return body


def _id(body: Mapping[str, str], name: str) -> str:
    text = body.get(name, "")
    check_name(text, what=name)
    return text
