"""Where the contract tests keep a ledger of each implementation, and the rows they put there.

Owns: opening, reading and writing from outside, by URL; small rows with usual values.
May touch: the ledger it is given.
Called by the contract tests.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

from flopmeter_collector import backends
from flopmeter_collector.ledger.base import (
    AuditRow,
    Batch,
    Declaration,
    Ledger,
    StoredVector,
    Transition,
)
from flopmeter_core.registers import Key, Vector
from support.ingest import RECORD, key


class Place(Protocol):
    """Where one implementation keeps ledgers."""

    def open(self, *, simulated: bool = False) -> Ledger:
        """Open the test's ledger as its collector; create it at first."""

    def read(self) -> Ledger:
        """Open it for reading."""

    def declare(self, declaration: Declaration, *, audit: AuditRow | None = None) -> Declaration:
        """Add a declaration from outside."""

    def audit(self, row: AuditRow) -> AuditRow:
        """Add an audit row from outside."""


class UrlPlace:
    """A ledger named by a URL."""

    def __init__(self, url: str) -> None:
        """Name it; it is closed at the test's end."""
        self.url = url
        self.opened: list[Ledger] = []

    def open(self, *, simulated: bool = False) -> Ledger:
        """Open as the collector, and lead where nobody does."""
        ledger = self._kept(backends.collect(self.url, simulated=simulated))
        ledger.lead()
        return ledger

    def read(self) -> Ledger:
        """Open for reading."""
        return self._kept(backends.read(self.url))

    def declare(self, declaration: Declaration, *, audit: AuditRow | None = None) -> Declaration:
        """Declare from outside."""
        return backends.declare(self.url, declaration, audit=audit)

    def audit(self, row: AuditRow) -> AuditRow:
        """Audit from outside."""
        return backends.audit(self.url, row)

    def close(self) -> None:
        """Close whatever the test left open."""
        for ledger in self.opened:
            ledger.close()

    def _kept(self, ledger: Ledger) -> Ledger:
        self.opened.append(ledger)
        return ledger


def stored(sequence: int, values: Vector, key_: Key | None = None, branch: int = 0) -> StoredVector:
    """One branch of the test's key."""
    return StoredVector(key_ or key(), branch, sequence, values)


def batch(*vectors: StoredVector) -> Batch:
    """A batch of these vectors with the test's record."""
    return Batch(records={RECORD.record_id: RECORD}, vectors=vectors)


def declaration(subject: str, **body: str) -> Declaration:
    """A declaration of a run."""
    return Declaration(0, 1_800_000_000, "person", "cli", "run", subject, body)


def transition(model: str = "m", **fields: object) -> Transition:
    """A change of a model's state."""
    row = Transition(0, model, "line", "unknown", "above", True, 1_800_000_000, 0, {"best": "9"})
    return dataclasses.replace(row, **fields)  # type: ignore[arg-type]
