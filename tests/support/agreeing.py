"""Two people who agree with everything, for tests that are about what holds after it.

Owns: the roles, and the approvals of whatever waits.
May touch: the book it is given.
Called by tests of the collector.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

from flopmeter_collector.book import Book
from flopmeter_collector.ledger.base import Declaration

ROLES = (("ada", "owner"), ("ben", "compliance"), ("eva", "compliance"))


class Agreed:
    """Takes declarations; of what waits two people approve at once."""

    def __init__(self, book: Book, apply: Callable[[Declaration], object] | None = None) -> None:
        """Give the roles.

        Args:
            book: what stands.
            apply: takes a declaration; the book's own when None.
        """
        self._book = book
        self._apply = apply or book.apply
        self._numbers = itertools.count(1)
        for person, role in ROLES:
            body = {"role": role, "state": "granted", "reason": "asked"}
            self._say("ada", "role", person, body)

    def __call__(self, row: Declaration) -> None:
        """Take a declaration, under a number of its own; DataError as the book's."""
        row = dataclasses.replace(row, sequence=next(self._numbers))
        self._apply(row)
        for waiting in self._book.approvals.pending():
            for person in ("ben", "eva"):
                body = {"state": "given", "reason": "seen"}
                self._say(person, "approval", str(waiting.sequence), body)

    def _say(self, author: str, kind: str, subject: str, body: dict[str, str]) -> None:
        number = next(self._numbers)
        self._apply(Declaration(number, 0, author, "cli", kind, subject, body))
