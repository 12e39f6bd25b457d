"""What was imported already: one line a series, kept beside the series.

Owns: the file's form, and when its content no longer holds.
May touch: the one file it is given.
Called by bulk.load. It saves time and nothing else: a series that is imported twice is the same
vectors twice, which a ledger counts once.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from flopmeter_core.errors import StorageError
from flopmeter_core.reports import LedgerPosition

NAME = ".imported"


class DoneFile:
    """The series that a ledger has acknowledged, by their identities."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a line that was torn by a kill is none.

        Raises:
            StorageError: it cannot be read or written.
        """
        self._path = path
        self._lines: list[tuple[str, LedgerPosition]] = []
        try:
            self._stream = path.open("a+b")
            self._stream.seek(0)
            content = self._stream.read()
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written ({error.strerror or error}); name another file with "
                "--done"
            ) from error
        for line in content.splitlines():
            with contextlib.suppress(ValueError, TypeError):
                identity, ledger_id, generation, number = json.loads(line)
                self._lines.append((identity, LedgerPosition(ledger_id, generation, number)))
        if content and not content.endswith(b"\n"):
            self._stream.write(b"\n")

    def at(self, position: LedgerPosition, *, same_generation: bool) -> set[str]:
        """The series that a ledger acknowledged, going by where it stands now.

        Args:
            position: where it stands; one that stands before an acknowledgement was put back from
                a copy, and may lack what it acknowledged then.
            same_generation: whether to trust only what this life of its collector acknowledged;
                for a ledger whose content nobody looked at.
        """
        return {
            identity
            for identity, then in self._lines
            if then.ledger_id == position.ledger_id
            and then.commit_number <= position.commit_number
            and (then.generation == position.generation or not same_generation)
        }

    def add(self, identity: str, position: LedgerPosition) -> None:
        """Note durably that a series is acknowledged.

        Raises:
            StorageError: it cannot be written.
        """
        self._lines.append((identity, position))
        row = [identity, position.ledger_id, position.generation, position.commit_number]
        try:
            self._stream.write(json.dumps(row).encode() + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be written: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
