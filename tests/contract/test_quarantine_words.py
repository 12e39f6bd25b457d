"""What people say of quarantined vectors, on every implementation of a ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from flopmeter.lab.ledger_quarantine import quarantine_rows, reject, release
from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Batch, QuarantinedVector
from flopmeter_collector.loading import read_beginning
from flopmeter_collector.quarantine import quarantine_name
from flopmeter_core.errors import DataError, UsageError
from flopmeter_proto.daemon.clock import SystemClock
from support.ingest import RECORD, key, vector
from support.ledger_places import UrlPlace

WHO: Any = {"author": "ada", "reason": "the driver was broken", "clock": SystemClock()}


def held(sequence: int) -> QuarantinedVector:
    """A quarantined vector of the test's key."""
    return QuarantinedVector(key(), sequence, vector(2**32), 9, "cannot be true", 1_800_000_000)


@pytest.fixture
def url(place: UrlPlace) -> str:
    """A ledger with one vector in quarantine, whose collector still holds it."""
    place.open().commit(Batch(records={RECORD.record_id: RECORD}, quarantined=(held(3),)))
    return place.url


def states(url: str) -> list[tuple[object, ...]]:
    """State, sequence and rejecting declaration of each row."""
    return [
        (row["state"], row["sequence"], row["rejected_by_declaration"])
        for row in quarantine_rows(url)
    ]


def test_a_rejection_is_kept_and_audited(url: str) -> None:
    """It is of one vector, leaves the row as it was, and names its author and reason."""
    name = quarantine_name(held(3))
    written = reject(url, name[:6], **WHO)
    assert (written["name"], written["sequence"], written["declaration"]) == (name, 3, 1)
    assert states(url) == [("rejected", 3, 1)]
    with contextlib.closing(backends.read(url)) as ledger:
        assert list(ledger.quarantined()) == [held(3)]
        (row,) = ledger.audit()
        assert (row.action, row.author, row.reason) == ("quarantine reject", "ada", WHO["reason"])
        assert list(read_beginning(ledger).rejected) == [(name, 3)]


def test_a_newer_vector_waits_again(url: str, place: UrlPlace) -> None:
    """What was found untrue was that vector, not its register."""
    name = quarantine_name(held(3))
    reject(url, name, **WHO)
    place.opened[0].commit(Batch(quarantined=(held(4),)))
    assert states(url) == [("held", 4, None)]
    with pytest.raises(UsageError, match="names no vector"):
        reject(url, name, **WHO)


def test_what_was_rejected_may_be_released(url: str) -> None:
    """A later release stands; after it nothing can be rejected: registers keep what counts."""
    name = quarantine_name(held(3))
    reject(url, name, **WHO)
    with pytest.raises(UsageError, match="was rejected already"):
        reject(url, name, **WHO)
    release(url, name, **WHO)
    assert states(url) == [("release declared", 3, 1)]
    for word, told in ((release, "released already"), (reject, "a register takes nothing back")):
        with pytest.raises(UsageError, match=told):
            word(url, name, **WHO)
    with contextlib.closing(backends.read(url)) as ledger:
        assert len(list(ledger.declarations())) == len(list(ledger.audit())) == 2


@pytest.mark.parametrize("second", [release, reject])
def test_words_do_not_race(
    url: str, monkeypatch: pytest.MonkeyPatch, second: Callable[..., Any]
) -> None:
    """Whoever spoke between another's look and word is heard: the later word is refused."""
    name, declare, spoken = quarantine_name(held(3)), backends.declare, list[str]()

    def late(*told: Any, **more: Any) -> Any:
        if not spoken:
            spoken.append(name)
            release(url, name, **WHO)
        return declare(*told, **more)

    monkeypatch.setattr(backends, "declare", late)
    with pytest.raises(UsageError, match="was released"):
        second(url, name, **WHO)
    with contextlib.closing(backends.read(url)) as ledger:
        (row,) = ledger.declarations()
    assert row.kind == "quarantine"


def test_a_rejection_needs_a_reason(url: str) -> None:
    """No act on a ledger goes without its reason."""
    with pytest.raises(DataError, match="reason"):
        reject(url, quarantine_name(held(3)), **{**WHO, "reason": " "})
    assert states(url) == [("held", 3, None)]
