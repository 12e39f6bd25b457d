"""Writes what people do about alerts and reviews into a ledger, while a collector may serve it.

Owns: the check before the write, and the audit row beside each act.
May touch: one ledger (through the collector's backends); a file of evidence, reading; the clock it
is given.
Called by `flopmeter alert` and `flopmeter review`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from flopmeter.lab.evidence_file import named
from flopmeter.lab.ledger_legal import recorded
from flopmeter_collector import backends
from flopmeter_collector.alerts.acts import (
    ALERT_KIND,
    REVIEW_KIND,
    Action,
    Finding,
    parse_act,
    parse_determination,
)
from flopmeter_collector.alerts.lifecycle import Alert
from flopmeter_collector.law_days import FIRST_DAY, LAST_DAY, day_not_ahead
from flopmeter_collector.ledger.base import AuditRow, Declaration
from flopmeter_collector.reviews import Review
from flopmeter_core.errors import DataError, UsageError
from flopmeter_proto.daemon.clock import Clock


def act_on_alert(
    url: str,
    number: str,
    action: Action,
    *,
    until: str | None,
    author: str,
    reason: str,
    clock: Clock,
) -> Declaration:
    """Acknowledge, silence or resolve an alert.

    Args:
        url: the ledger.
        number: the alert's number, as `flopmeter alert list` says it.
        action: what is done.
        until: when a silence ends, as ISO 8601; None for the others.
        author: who acts.
        reason: why.
        clock: dates it.

    Returns:
        The declaration with its place in the ledger.

    Raises:
        DataError: no number, an empty or unprintable text, a silence that has no end.
        UsageError: there is no such alert, or it is over already; or no such ledger.
        StorageError: the ledger cannot be written.
    """
    body = {"action": action.value, "reason": reason}
    if until is not None:
        body["until"] = until
    declaration = Declaration(0, clock.wall_ns(), author, "cli", ALERT_KIND, number, body)
    act = parse_act(declaration)
    alert = _alert(url, act.alert)
    over = alert.end()
    if over is not None:
        raise UsageError(f"alert {act.alert} is over ({over[1]}); nothing is left to {action}")
    return _write(url, declaration, f"alert {action}")


def determine(
    url: str,
    number: str,
    *,
    determination: str,
    date: str,
    author: str,
    reason: str,
    evidence: Path | None,
    clock: Clock,
) -> Declaration:
    """Record what a named person determined about a review.

    Args:
        url: the ledger.
        number: the review's number, as `flopmeter review list` says it.
        determination: one of `alerts.acts.Finding`.
        date: the day it holds from.
        author: the person.
        reason: why.
        evidence: a file it rests on, of which name and SHA-256 are kept.
        clock: dates it.

    Returns:
        The declaration with its place in the ledger.

    Raises:
        DataError: a field that cannot be understood.
        UsageError: there is no such review, file or ledger; or a date that cannot be meant.
        StorageError: the ledger cannot be written.
    """
    body = {"determination": determination, "date": date, "reason": reason}
    if evidence is not None:
        body["evidence"] = named(evidence)
    declaration = Declaration(0, clock.wall_ns(), author, "cli", REVIEW_KIND, number, body)
    found = parse_determination(declaration)
    if found.finding is not Finding.WILL_BE_MET:
        day_not_ahead(date, declaration.declared_at_ns, what="date")
    elif not FIRST_DAY <= found.on <= LAST_DAY:
        raise DataError(f"date {date} is no day on which a line could be met; correct --date")
    review_of(url, found.review)
    return _write(url, declaration, "review determine")


def review_of(url: str, number: int) -> Review:
    """The review of a number.

    Raises:
        UsageError: there is none, or no such ledger.
    """
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        review = recorded(ledger, ()).reviews.get(number)
    if review is None:
        raise UsageError(f"there is no review {number}; `flopmeter review list` has their numbers")
    return review


def _alert(url: str, number: int) -> Alert:
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        alert = recorded(ledger, ()).alerts.get(number)
    if alert is None:
        raise UsageError(f"there is no alert {number}; `flopmeter alert list` has their numbers")
    return alert


def _write(url: str, declaration: Declaration, action: str) -> Declaration:
    told: Mapping[str, object] = {"subject": declaration.subject, **declaration.body}
    audit = AuditRow(
        sequence=0,
        recorded_at_ns=declaration.declared_at_ns,
        author=declaration.author,
        reason=declaration.body["reason"],
        action=action,
        content=json.dumps(told, sort_keys=True),
    )
    return backends.declare(url, declaration, audit=audit)
