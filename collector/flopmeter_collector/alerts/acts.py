"""What people do about alerts and reviews: acknowledge, silence, resolve, determine.

Owns: the fields of declarations of the kinds ``alert`` and ``review``, and their checks.
May touch: nothing; pure functions of ledger rows.
Called by judge (what stands), and by the lab's alert and review commands (before they write).
Explained in docs/alerts.md, docs/reviews.md and docs/adr/0023-alerts-and-reviews.md.

An act names its person and its reason and leaves an audit row. It moves no figure and no state.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.spans import parse_time
from flopmeter_core.errors import DataError

ALERT_KIND = "alert"
"""Subject: the sequence of the transition; body: ``action``, ``reason``, ``until`` of a silence."""

REVIEW_KIND = "review"
"""Subject: the review's number; body: ``determination``, ``date``, ``reason``, ``evidence``."""

MAXIMUM_PERSON_LENGTH = 200
MAXIMUM_TEXT_LENGTH = 4_000


class Action(enum.StrEnum):
    """What is done about an alert."""

    ACKNOWLEDGE = "acknowledge"
    SILENCE = "silence"
    RESOLVE = "resolve"


class Finding(enum.StrEnum):
    """What a named person determined; the tool offers the words and checks none of them."""

    MET = "met"
    WILL_BE_MET = "will_be_met"
    NOT_MET = "not_met"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class Act:
    """One act on an alert.

    Attributes:
        alert: sequence of the transition it is about.
        action: what was done.
        at_ns: Unix time in ns of the act.
        until_ns: when a silence ends; 0 for the others.
        author, reason: who did it, and why.
        sequence: its place among the declarations.
    """

    alert: int
    action: Action
    at_ns: int
    until_ns: int
    author: str
    reason: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Determination:
    """What a named person determined about a review.

    Attributes:
        review: the review's number.
        finding: the determination.
        on: the date it holds from, in that person's words.
        at_ns: Unix time in ns at which it was recorded.
        author, reason, evidence: who, why, and what it rests on.
        sequence: its place among the declarations.
    """

    review: int
    finding: Finding
    on: datetime.date
    at_ns: int
    author: str
    reason: str
    evidence: str
    sequence: int


def parse_act(declaration: Declaration) -> Act:
    """Read a declaration of kind ``alert``.

    Raises:
        DataError: no such action, no number, no reason, or a silence without its end.
    """
    body = declaration.body
    number = _number(declaration.subject, what="alert")
    _known(body, ("action", "reason", "until"), what=f"alert {number}")
    try:
        action = Action(body.get("action", ""))
    except ValueError as error:
        raise DataError(
            f"nothing can be done about alert {number} but {', '.join(Action)}, not "
            f"{body.get('action', '')[:40]!r}"
        ) from error
    until_ns = 0
    if action is Action.SILENCE:
        until_ns = parse_time(body.get("until", ""), what="until")
        if until_ns <= declaration.declared_at_ns:
            raise DataError(
                f"the silence of alert {number} ends before it begins; give a later --until"
            )
    elif "until" in body:
        raise DataError(f"only a silence has an end; leave --until out to {action} an alert")
    return Act(
        number,
        action,
        declaration.declared_at_ns,
        until_ns,
        person(declaration.author),
        words(body.get("reason", ""), what="reason"),
        declaration.sequence,
    )


def parse_determination(declaration: Declaration) -> Determination:
    """Read a declaration of kind ``review``.

    Raises:
        DataError: no such determination, no number, date or reason.
    """
    body = declaration.body
    number = _number(declaration.subject, what="review")
    _known(body, ("determination", "date", "reason", "evidence"), what=f"review {number}")
    try:
        finding = Finding(body.get("determination", ""))
    except ValueError as error:
        raise DataError(
            f"{body.get('determination', '')[:40]!r} is no determination of review {number}; use "
            f"one of {', '.join(Finding)}"
        ) from error
    try:
        on = datetime.date.fromisoformat(body.get("date", ""))
    except ValueError as error:
        raise DataError(
            f"{body.get('date', '')[:40]!r} is no date; write it as 2026-11-30"
        ) from error
    return Determination(
        number,
        finding,
        on,
        declaration.declared_at_ns,
        person(declaration.author),
        words(body.get("reason", ""), what="reason"),
        words(body["evidence"], what="evidence") if "evidence" in body else "",
        declaration.sequence,
    )


def person(name: str) -> str:
    """Check the name of who acts; returns it.

    Raises:
        DataError: empty, too long, or with letters that cannot be printed.
    """
    if not name.strip() or len(name) > MAXIMUM_PERSON_LENGTH or not name.isprintable():
        raise DataError(
            f"the name of a person has 1 to {MAXIMUM_PERSON_LENGTH} printable characters; give it "
            "with --author"
        )
    return name


def words(text: str, *, what: str) -> str:
    """Check a text that a person gives; returns it.

    Raises:
        DataError: empty, too long, or with letters that cannot be printed.
    """
    if not text.strip() or len(text) > MAXIMUM_TEXT_LENGTH or not text.isprintable():
        raise DataError(
            f"the {what} has 1 to {MAXIMUM_TEXT_LENGTH:,} printable characters in one line; "
            f"give it with --{what}"
        )
    return text


def _number(subject: str, *, what: str) -> int:
    if not (subject.isascii() and subject.isdigit() and 0 < len(subject) < 16):
        raise DataError(
            f"{subject[:40]!r} is no number; `flopmeter {what} list` has those of the {what}s"
        )
    return int(subject)


def _known(body: Mapping[str, str], fields: tuple[str, ...], *, what: str) -> None:
    if unknown := sorted(body.keys() - set(fields)):
        raise DataError(
            f"a declaration about {what} has the unknown field {', '.join(unknown)[:80]}; it may "
            f"have {', '.join(fields)}"
        )
