"""The law while a collector serves: read at its start, and again when its files change.

Owns: when the files are looked at, what is used of them, and why newer ones are not.
May touch: the folder of a site's files, reading; the injected clock; the log.
Called by the collector's app before each round. Explained in docs/thresholds.md.

A file that is wrong changes nothing: the rows that were read last go on holding, and the collector
says so in its log, on its page and in a metric until the files are right.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

from flopmeter_collector.held import local_date
from flopmeter_collector.site import UPDATE_FILE, read_law, stale_rows
from flopmeter_core.catalogue import Threshold
from flopmeter_core.errors import FlopmeterError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

LOOK_PERIOD_S = 5
"""Looking costs a call to the file system a file, about 0.1 ms in all: no need each second."""

Seen = tuple[tuple[str, int, int], ...]
"""Name, time of change and size of every file: what differs where one was changed."""


class LawWatch:
    """Reads the law, and looks for changes; one call at a time, on the event loop."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Prepare; nothing is read before `begin`.

        Args:
            folder: of the site's own files.
            clock: says when to look again, and how old rows are.
        """
        self._folder = folder
        self._clock = clock
        self._seen: Seen = ()
        self._looked_ns = 0
        self._asked = False
        self.rows: tuple[Threshold, ...] = ()
        self.failure = ""
        self.read_ns = 0

    def begin(self) -> tuple[Threshold, ...]:
        """Read the law for the first time.

        Raises:
            FlopmeterError: a file is wrong; a collector does not start on half a law.
        """
        self._seen = _seen(self._folder)
        self._take(read_law(self._folder).rows)
        return self.rows

    def ask(self) -> None:
        """Read again at the next look, whether files changed or not (SIGHUP)."""
        self._asked = True

    async def look(self) -> tuple[Threshold, ...] | None:
        """The new rows, where files changed or somebody asked; None where all is as before."""
        now_ns = self._clock.monotonic_ns()
        if not self._asked and now_ns - self._looked_ns < LOOK_PERIOD_S * NS_PER_S:
            return None
        self._looked_ns = now_ns
        seen = _seen(self._folder)
        if seen == self._seen and not self._asked:
            return None
        self._seen, self._asked = seen, False
        try:
            book = await asyncio.to_thread(read_law, self._folder)
        except FlopmeterError as error:
            self.failure = (
                f"the law's files changed and are not used, what was read before holds: {error}"
            )
            logger.error("the law was not read again", extra=fields(reason=str(error)))
            return None
        self._take(book.rows)
        logger.info("the law was read again", extra=fields(rows=len(self.rows)))
        return self.rows

    def _take(self, rows: tuple[Threshold, ...]) -> None:
        self.rows, self.failure, self.read_ns = rows, "", self._clock.wall_ns()
        if stale := stale_rows(rows, local_date(self.read_ns, "UTC")):
            logger.warning("threshold rows are old", extra=fields(rows=len(stale)))


def _seen(folder: Path) -> Seen:
    """Every file that `read_law` would read; a folder that is not there has none."""
    found: list[tuple[str, int, int]] = []
    inside = _look_into(str(folder), found)
    for name in ("profiles", "calendars"):
        if name in inside:
            _look_into(f"{folder}/{name}", found)
    return tuple(sorted(found))


def _look_into(folder: str, found: list[tuple[str, int, int]]) -> set[str]:
    """Note the files of the law in a folder; returns the names of all that is in it."""
    names = set()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            names.add(name)
            if name.endswith(".toml") or name == UPDATE_FILE:
                with contextlib.suppress(OSError):
                    status = entry.stat()
                    found.append((entry.path, status.st_mtime_ns, status.st_size))
    return names
