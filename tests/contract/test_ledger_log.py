"""What people and rounds add to a ledger, row by row, on every implementation."""

from __future__ import annotations

import dataclasses

from flopmeter_collector.ledger.base import (
    AuditRow,
    Batch,
    Delivery,
    HistoryRow,
    audit_link,
)
from support.ledger_places import Place, declaration, transition


def test_declaration_from_outside(place: Place) -> None:
    """Another process declares while a collector holds the ledger; the collector sees it."""
    ledger = place.open()
    assert place.declare(declaration("a", model="m")).sequence == 1
    ledger.commit(Batch(declarations=(declaration("b", model="m"),)))
    assert place.declare(declaration("c", model="m")).sequence == 3
    assert [row.subject for row in ledger.declarations()] == ["a", "b", "c"]
    assert [row.subject for row in ledger.declarations(after=2)] == ["c"]


def test_transitions_are_delivered_once(place: Place) -> None:
    """Delivery is noted for the named transitions only, and is kept."""
    first = place.open()
    first.commit(Batch(transitions=(transition("a"), transition("b"))))
    first.commit(Batch(delivered_transitions=(2,)))
    first.close()
    ledger = place.open()
    assert [(t.model, t.delivered) for t in ledger.transitions()] == [("a", False), ("b", True)]
    assert [t.model for t in ledger.transitions(after=1)] == ["b"]


def test_history_is_added(place: Place) -> None:
    """Published totals are kept as they were written, oldest first, and read from a time on."""
    first = place.open()
    late = HistoryRow("m", 7_200, {"": 10**27, "eu": 3}, revalued=True, basis="3/t")
    early = HistoryRow("m", 3_600, {"": 10**26})
    first.commit(Batch(history=(late,)))
    first.commit(Batch(history=(early,)))
    first.close()
    ledger = place.open()
    assert list(ledger.history()) == [early, late]
    assert list(ledger.history(since_ns=3_601)) == [late]


def test_deliveries_are_noted_once(place: Place) -> None:
    """What a receiver accepted is kept; accepting it again changes nothing."""
    first = place.open()
    first.commit(Batch(deliveries=(Delivery("1/1/fires", "aa", 5), Delivery("1/1/fires", "bb", 6))))
    first.commit(Batch(deliveries=(Delivery("1/1/fires", "aa", 9),)))
    first.close()
    found = sorted(place.open().deliveries(), key=lambda row: row.receiver)
    assert found == [Delivery("1/1/fires", "aa", 5), Delivery("1/1/fires", "bb", 6)]


def test_audit_rows_stay(place: Place) -> None:
    """An audit row gets the next sequence, stays for good, and moves no position."""
    ledger = place.open()
    before = ledger.position()
    rows = [AuditRow(0, 7, "ada", "why", "recompute", text) for text in ('{"a": 1}', "{}")]
    written = [place.audit(row) for row in rows]
    assert [row.sequence for row in written] == [1, 2]
    assert list(ledger.audit()) == written
    assert ledger.position() == before
    assert list(place.read().audit()) == written
    links = [row.link for row in written]
    assert links[0] == audit_link("", written[0])
    assert links[1] == audit_link(links[0], written[1])


def test_audited_declaration(place: Place) -> None:
    """Rows are written together with a declaration or a commit, and the chain goes on."""
    ledger = place.open()
    place.audit(AuditRow(0, 7, "ada", "why", "recompute", "{}"))
    audit = AuditRow(0, 8, "bob", "seen", "hold", '{"subject": "a"}')
    assert place.declare(declaration("a", model="m"), audit=audit).sequence == 1
    first, second = ledger.audit()
    assert (second.author, second.action) == ("bob", "hold")
    assert second.link == audit_link(first.link, second)
    row = AuditRow(0, 9, "collector", "", "law in force", "{}")
    ledger.commit(Batch(audit=(row,)))
    *_, third = place.read().audit()
    assert (third.sequence, third.link) == (3, audit_link(second.link, third))


LAWS = AuditRow(0, 7, "collector", "", "law in force", "{}")


def test_the_newest_audit_row_of_an_act(place: Place) -> None:
    """Of one author's rows of one action the last one, whatever others wrote since; else none."""
    ledger = place.open()
    assert ledger.newest_audit("collector", "law in force") is None
    place.audit(LAWS)
    second = place.audit(dataclasses.replace(LAWS, content='{"line": "9"}'))
    place.audit(dataclasses.replace(LAWS, author="ada"))
    place.audit(dataclasses.replace(LAWS, action="hold"))
    for opened in (ledger, place.read()):
        assert opened.newest_audit("collector", "law in force") == second
        assert opened.newest_audit("collector", "law") is None
