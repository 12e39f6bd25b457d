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
from collections.abc import Mapping
from pathlib import Path

from flopmeter_core.errors import StorageError
from flopmeter_core.reports import LedgerPosition

NAME = ".imported"

Extent = tuple[str, int]
"""The identity of a series, and its size in bytes."""


class DoneFile:
    """The series that a ledger has acknowledged, by their identities and sizes.

    A series that was packed again with more rows has the same identity, and is not done.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there; a line that was torn by a kill is none.

        Raises:
            StorageError: it cannot be read or written.
        """
        self._path = path
        self._lines: list[tuple[Extent, LedgerPosition, int]] = []
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
                # A line of an earlier version lacks some: that series is sent once more.
                identity, ledger_id, generation, number, size_bytes, newest = json.loads(line)
                position = LedgerPosition(ledger_id, generation, number)
                self._lines.append(((identity, size_bytes), position, newest))
        if content and not content.endswith(b"\n"):
            self._stream.write(b"\n")

    def at(self, position: LedgerPosition, in_ledger: Mapping[str, int] | None) -> set[Extent]:
        """The series that a ledger acknowledged, going by where it stands now.

        Args:
            position: where it stands; one that stands before an acknowledgement was put back from
                a copy, and may lack what it acknowledged then.
            in_ledger: the newest sequence of each identity that the ledger holds: one that was put
                back may have come as far since, and may hold the same series with fewer rows. None
                where nobody looked; then only what this life of its collector acknowledged counts.
        """
        return {
            extent
            for extent, then, newest in self._lines
            if then.ledger_id == position.ledger_id
            and then.commit_number <= position.commit_number
            and (
                then.generation == position.generation
                if in_ledger is None
                else in_ledger.get(extent[0], -1) >= newest
            )
        }

    def add(self, extent: Extent, position: LedgerPosition, newest: int) -> None:
        """Note durably that a series is acknowledged, as far as it went.

        Args:
            extent: the series.
            position: where the ledger stood then.
            newest: the newest sequence of its vectors.

        Raises:
            StorageError: it cannot be written.
        """
        self._lines.append((extent, position, newest))
        identity, size_bytes = extent
        row = [
            identity,
            position.ledger_id,
            position.generation,
            position.commit_number,
            size_bytes,
            newest,
        ]
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
