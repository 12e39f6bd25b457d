"""Statements that lower a legal total: who stands behind them, and from when on they hold.

Owns: roles, the statements that wait for people, and the rule for when one of them holds.
May touch: nothing; pure functions of ledger rows.
Called by hearing, which finds out whether a statement lowers anything, and by book.
Explained in docs/runs-and-models.md and docs/security.md (what a role proves, and what not).

A label is a claim, and so is whose work something is. One that lowers no legal total holds at
once. Any other one waits until two people with the role `compliance` stand behind it, each with a
reason; whoever declared it is one of them where they have the role and gave a reason. Until then
it moves no total.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from flopmeter_collector.ledger.base import Declaration
from flopmeter_core.allocations import check_name
from flopmeter_core.errors import DataError
from flopmeter_core.names import skeleton

ROLE_KIND = "role"
"""Subject: a person; body: ``role``, ``state`` and ``reason``."""

APPROVAL_KIND = "approval"
"""Subject: the sequence of the declaration it is about; body: ``state`` and ``reason``."""

OWNER = "owner"
"""Gives and takes roles."""

COMPLIANCE = "compliance"
"""May stand behind a statement that lowers a legal total."""

ROLES = (OWNER, COMPLIANCE)

GRANTED = "granted"
REVOKED = "revoked"
GIVEN = "given"
REFUSED = "refused"

PENDING = "pending"
APPROVED = "approved"
SUPERSEDED = "superseded"
"""Something else was declared in its place before enough people stood behind it, or another ruling
of the same place holds."""

RULING = "ruling"
"""What a ruling is about, among the fields of `Lowering.about`."""

PEOPLE = 2
"""So many people have to stand behind a lowering statement."""


@dataclass(frozen=True, slots=True)
class Lowering:
    """A statement that lowers a legal total, and who stands behind it.

    Attributes:
        sequence: of the declaration.
        declared_at_ns: Unix time in ns of it: a label.
        kind: of the declaration.
        subject: what it is about: ``run NAME``, ``external NAME of model NAME`` and the like.
        label: what would hold, as people read it.
        place: which part of the time, or what was said of whose work; empty for all of it.
        author: who declared it.
        reason: why, in that person's words; may be empty.
        profiles: the counting profiles that count less under it.
        models: the models whose totals it lowers.
        runs: the runs that the work is of, before or after it.
        about: the fields of which a later statement of the same place ends it while it waits.
        state: ``pending``, ``approved``, ``refused`` or ``superseded``.
        people: who stands behind it, with their reasons, in the order they said so; while it waits
            only who has the role still.
        refused_by: who refused it, and why; empty where nobody did.
    """

    sequence: int
    declared_at_ns: int
    kind: str
    subject: str
    label: str
    place: str
    author: str
    reason: str
    profiles: tuple[str, ...]
    models: tuple[str, ...] = ()
    runs: frozenset[str] = frozenset()
    about: frozenset[str] = frozenset()
    state: str = PENDING
    people: tuple[tuple[str, str], ...] = ()
    refused_by: tuple[str, str] = ("", "")

    @property
    def ruling(self) -> bool:
        """Whether it is about a condition of a law or about exclusions."""
        return RULING in self.about


class Approvals:
    """Roles and what waits. Every statement is checked before it changes anything."""

    def __init__(self) -> None:
        """Start with nobody in any role."""
        self._roles: dict[str, frozenset[str]] = {}
        self.lowerings: dict[int, Lowering] = {}
        self._waiting: Counter[str] = Counter()
        self._of_run: Counter[str] = Counter()

    @property
    def people(self) -> Mapping[str, frozenset[str]]:
        """Who has which roles, by name."""
        return dict(sorted(self._roles.items()))

    def has(self, person: str, role: str) -> bool:
        """Whether a person has a role."""
        return role in self._roles.get(person, frozenset())

    def waiting_count(self, run: str) -> int:
        """How many statements about a run wait for people."""
        return self._of_run.get(run, 0)

    def take_role(self, row: Declaration) -> None:
        """Take that a person has a role from now on, or has it no longer.

        Raises:
            DataError: no such role, no reason, or the author does not own the ledger.
        """
        person, role, granted = parse_role(row.subject, row.body)
        owned = any(OWNER in roles for roles in self._roles.values())
        if not owned and (role != OWNER or not granted or person != row.author):
            raise DataError(
                "nobody owns this ledger's roles yet; whoever is to give them begins with "
                "`flopmeter role grant` of the role owner to themselves"
            )
        if owned and not self.has(row.author, OWNER):
            raise DataError(
                f"{row.author!r} does not own this ledger's roles, so it cannot give or take one; "
                "see `flopmeter role list`"
            )
        held = self._roles.get(person, frozenset())
        if granted == (role in held):
            raise DataError(
                f"{person!r} {'has' if granted else 'does not have'} the role {role}; nothing is "
                "left to do"
            )
        owners = [name for name, roles in self._roles.items() if OWNER in roles]
        if not granted and role == OWNER and owners == [person]:
            raise DataError(f"{person!r} is the last owner; give the role to another person first")
        self._roles[person] = held | {role} if granted else held - {role}
        if not self._roles[person]:
            del self._roles[person]
        if not granted and role == COMPLIANCE:
            for each in self.pending():
                people = tuple(said for said in each.people if said[0] != person)
                self.lowerings[each.sequence] = replace(each, people=people)

    def pending(self) -> list[Lowering]:
        """What waits, in the order of the ledger."""
        if not self._waiting:
            return []
        return [each for each in self.lowerings.values() if each.state == PENDING]

    def supersede(self, subject: str, place: str, about: frozenset[str]) -> None:
        """End what waits of a place, because something else was said of it since.

        Args:
            subject: what was spoken of.
            place: which part of the time.
            about: the fields that were spoken of.
        """
        if not self._waiting[subject]:
            return
        for each in self.pending():
            if (each.subject, each.place) == (subject, place) and each.about & about:
                self.settle(replace(each, state=SUPERSEDED))

    def overrule(self, subject: str, place: str) -> None:
        """End a ruling that held, because another one of the same place holds from now on."""
        for each in list(self.lowerings.values()):
            told = (each.ruling, each.subject, each.place, each.state)
            if told == (True, subject, place, APPROVED):
                self.lowerings[each.sequence] = replace(each, state=SUPERSEDED)

    def behind(self, sequence: int) -> tuple[tuple[str, str], ...]:
        """Who stands behind a declaration, with their reasons; nobody where it need not wait."""
        lowering = self.lowerings.get(sequence)
        return () if lowering is None else lowering.people

    def waits(self, subject: str, place: str) -> bool:
        """Whether anything waits of a place."""
        told = (subject, place)
        return any((each.subject, each.place) == told for each in self.pending())

    def ask_again(self, run: str) -> None:
        """Forget who stands behind what waits of a run: it is about other work since."""
        if self._of_run[run]:
            for each in self.pending():
                if run in each.runs:
                    self.lowerings[each.sequence] = replace(each, people=())

    def widen(self, sequence: int, models: Iterable[str]) -> None:
        """Name further models that a statement would lower; what is decided stays as it is."""
        held = self.lowerings[sequence]
        if held.state == PENDING:
            named = tuple(sorted({*held.models, *models}))
            self.lowerings[sequence] = replace(held, models=named)

    def wait(self, lowering: Lowering) -> None:
        """Keep a statement that lowers a total until enough people stand behind it."""
        people: tuple[tuple[str, str], ...] = ()
        if lowering.reason.strip() and self.has(lowering.author, COMPLIANCE):
            people = ((lowering.author, lowering.reason),)
        self.lowerings[lowering.sequence] = replace(lowering, people=people)
        self._count(lowering, 1)

    def decide(self, row: Declaration) -> Lowering:
        """Take a person's word on a waiting statement.

        Returns:
            The statement as it stands after it; whoever applies it calls `settle`.

        Raises:
            DataError: no such statement waits, or the person may not speak for it.
        """
        sequence, given, reason = parse_approval(row.subject, row.body)
        waiting = self.lowerings.get(sequence)
        if waiting is None:
            raise DataError(
                f"declaration {sequence} does not wait for approval; see `flopmeter approve list`"
            )
        if waiting.state != PENDING:
            raise DataError(f"declaration {sequence} is {waiting.state} already")
        if not self.has(row.author, COMPLIANCE):
            raise DataError(
                f"{row.author!r} does not have the role {COMPLIANCE}, which decides on declaration "
                f"{sequence}; an owner gives it with `flopmeter role grant`"
            )
        if not given:
            return replace(waiting, state=REFUSED, refused_by=(row.author, reason))
        behind = {skeleton(person) for person, _ in waiting.people}
        if skeleton(row.author) in behind:
            raise DataError(
                f"{row.author!r} stands behind declaration {sequence} already; another person has "
                "to approve it"
            )
        people = (*waiting.people, (row.author, reason))
        return replace(waiting, people=people, state=APPROVED if len(people) >= PEOPLE else PENDING)

    def settle(self, lowering: Lowering) -> None:
        """Keep a decision."""
        self.lowerings[lowering.sequence] = lowering
        if lowering.state != PENDING:
            self._count(lowering, -1)

    def _count(self, lowering: Lowering, step: int) -> None:
        for counts, names in ((self._waiting, (lowering.subject,)), (self._of_run, lowering.runs)):
            for name in names:
                counts[name] += step
                if not counts[name]:
                    del counts[name]


def parse_role(person: str, body: Mapping[str, str]) -> tuple[str, str, bool]:
    """Read a declaration of kind ``role``; returns person, role, and whether it is granted.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    check_name(person, what="person")
    role, state = body.get("role", ""), body.get("state", "")
    if body.keys() - {"role", "state", "reason"} or state not in (GRANTED, REVOKED):
        raise DataError(f"a role is {GRANTED} or {REVOKED}, with a reason, and nothing else")
    if role not in ROLES:
        raise DataError(f"{role!r} is no role; use one of {', '.join(ROLES)}")
    _check_reason(body)
    return person, role, state == GRANTED


def parse_approval(subject: str, body: Mapping[str, str]) -> tuple[int, bool, str]:
    """Read a declaration of kind ``approval``; returns the sequence, whether given, and why.

    Raises:
        DataError: a field that is missing, unknown or cannot be read.
    """
    if not (subject.isascii() and subject.isdigit() and len(subject) < 19):
        raise DataError(
            f"{subject[:40]!r} is no declaration; name one by its number in `flopmeter approve "
            "list`"
        )
    state = body.get("state", "")
    if body.keys() - {"state", "reason"} or state not in (GIVEN, REFUSED):
        raise DataError(f"an approval is {GIVEN} or {REFUSED}, with a reason, and nothing else")
    return int(subject), state == GIVEN, _check_reason(body)


def _check_reason(body: Mapping[str, str]) -> str:
    reason = body.get("reason", "")
    if not reason.strip() or len(reason) > 2_000:
        raise DataError("a role and an approval need a reason of at most 2000 characters")
    return reason
