"""What people do about alerts and reviews is checked before anything stands."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import pytest

from flopmeter_collector.alerts.acts import (
    ALERT_KIND,
    REVIEW_KIND,
    Action,
    Finding,
    parse_act,
    parse_determination,
)
from flopmeter_collector.ledger.base import Declaration
from flopmeter_core.errors import DataError

AT_NS = 1_796_000_000 * 10**9
DETERMINED = {"determination": "met", "date": "2026-11-30", "reason": "counted"}


def row(kind: str, subject: str, body: Mapping[str, str], author: str = "ada") -> Declaration:
    """A declaration as a ledger has it."""
    return Declaration(5, AT_NS, author, "cli", kind, subject, body)


def test_acts_are_read() -> None:
    """Each action with its fields; only a silence has an end."""
    acknowledged = parse_act(row(ALERT_KIND, "7", {"action": "acknowledge", "reason": "seen"}))
    assert (acknowledged.alert, acknowledged.action) == (7, Action.ACKNOWLEDGE)
    assert (acknowledged.at_ns, acknowledged.sequence) == (AT_NS, 5)
    silence = {"action": "silence", "reason": "x", "until": "2027-01-01T00:00:00Z"}
    assert parse_act(row(ALERT_KIND, "7", silence)).until_ns == 1_798_761_600 * 10**9


def test_determinations_are_read() -> None:
    """Finding, date, reason and evidence, under a person's name."""
    found = parse_determination(row(REVIEW_KIND, "3", {**DETERMINED, "evidence": "memo 12"}))
    assert (found.review, found.finding) == (3, Finding.MET)
    assert (found.on, found.evidence) == (datetime.date(2026, 11, 30), "memo 12")


@pytest.mark.parametrize(
    ("subject", "body", "said"),
    [
        ("7", {"action": "ignore", "reason": "x"}, "nothing can be done about alert 7 but"),
        ("7", {"action": "resolve"}, "the reason has 1 to"),
        ("7", {"action": "resolve", "reason": " "}, "the reason has 1 to"),
        ("7", {"action": "resolve", "reason": "x\x1b[2J"}, "printable characters in one line"),
        ("7", {"action": "resolve", "reason": "x" * 65_536}, "the reason has 1 to"),
        ("7", {"action": "silence", "reason": "x"}, "until"),
        (
            "7",
            {"action": "silence", "reason": "x", "until": "2020-01-01T00:00:00Z"},
            "before it begins",
        ),
        ("7", {"action": "resolve", "reason": "x", "until": "2027-01-01"}, "only a silence"),
        ("7", {"action": "resolve", "reason": "x", "model": "m"}, "unknown field model"),
        ("seven", {"action": "resolve", "reason": "x"}, "list. has those of the alerts"),
        ("\u0667", {"action": "resolve", "reason": "x"}, "is no number"),
        ("9" * 99, {"action": "resolve", "reason": "x"}, "is no number"),
    ],
)
def test_bad_acts(subject: str, body: Mapping[str, str], said: str) -> None:
    """Each is one sentence that says what to do."""
    with pytest.raises(DataError, match=said):
        parse_act(row(ALERT_KIND, subject, body))


@pytest.mark.parametrize(
    ("body", "author", "said"),
    [
        ({**DETERMINED, "determination": "violated"}, "ada", "is no determination of review 3"),
        ({**DETERMINED, "date": "30.11.2026"}, "ada", "is no date; write it as"),
        ({**DETERMINED, "date": ""}, "ada", "is no date"),
        ({**DETERMINED, "reason": ""}, "ada", "the reason has"),
        ({**DETERMINED, "evidence": "\n"}, "ada", "the evidence has"),
        (DETERMINED, "", "the name of a person has"),
        (DETERMINED, "ada\u202e", "the name of a person has"),
        ({**DETERMINED, "by": "x"}, "ada", "unknown field by"),
    ],
)
def test_bad_determinations(body: Mapping[str, str], author: str, said: str) -> None:
    """Each is one sentence that says what to do."""
    with pytest.raises(DataError, match=said):
        parse_determination(row(REVIEW_KIND, "3", body, author))
