"""How daemons log: one line an event, constant text plus key=value fields, on standard error.

Owns: the form of a line, the levels, and how often one event is said.
May touch: standard error, and the root logger's handlers when an app calls `configure`.
Called by apps once at start; modules use their own ``logging.getLogger(__name__)`` and `fields`.
Levels by who must act: error a person, warning bounds widened, info a state changed, debug each
reading.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

_FIELDS = "flopmeter_fields"

REPEATS, REPEATS_OF_ALL = 20, 5_000
PACE_S = 600
"""An event is said of one subject, and of all together, so often in so many seconds."""

_SUBJECTS = 4_096
_LONGEST_SUBJECT = 200


class LogLevel(enum.StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def fields(**values: object) -> dict[str, object]:
    """Attach fields to an event: ``log.info("stream opened", extra=fields(address=a))``."""
    return {_FIELDS: values}


def configure(level: LogLevel, *, stream: TextIO | None = None) -> None:
    """Send the process's log to `stream`, standard error by default, from `level` upwards.

    Replaces the handlers of an earlier call, so that a process has one.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    handler.addFilter(Pace())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Libraries speak up when a person must act; their chatter is no event of ours.
    for library in ("grpc", "asyncio", "uvicorn"):
        logging.getLogger(library).setLevel(max(root.level, logging.WARNING))


class LineFormatter(logging.Formatter):
    """``2026-11-22T10:00:00.123Z info flopmeter_agent.loop stream opened address=...``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines of its own."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        head = f"{moment}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name}"
        attached = getattr(record, _FIELDS, {})
        pairs = attached if isinstance(attached, Mapping) else {}
        words = [head, _one_line(record.getMessage())]
        words += [f"{key}={_quoted(str(content))}" for key, content in pairs.items()]
        line = " ".join(words)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


@dataclass(slots=True)
class _Said:
    """How often an event was said since a time (s, Unix time), and how often it was left out."""

    since_s: float
    said: int = 0
    left_out: int = 0


class Pace(logging.Filter):
    """Says an event so often of one subject in a while, and counts what it leaves out.

    What goes on and off with each sample would fill a disk with the same two lines. The subject is
    the first field: a device, a node, a run. Who asked for the debug level gets that in full.
    """

    def __init__(self) -> None:
        """Begin with nothing said."""
        super().__init__()
        self._lock = threading.Lock()
        # By event and subject, the one that was longest ago first; None stands for all subjects.
        self._entries: dict[tuple[str, str | None], _Said] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to say it; adds to the fields what was left out, and what will be."""
        if record.levelno <= logging.DEBUG:
            return True
        with self._lock:
            return self._paced(record)

    def _paced(self, record: logging.LogRecord) -> bool:
        attached = getattr(record, _FIELDS, {})
        pairs = dict(attached) if isinstance(attached, Mapping) else {}
        event = f"{record.name} {record.msg}"
        subject = str(next(iter(pairs.values()), ""))[:_LONGEST_SUBJECT]
        # Subjects without end are one flood too: whoever may name runs may name many.
        of_all, of_one = self._entry(event, None, record), self._entry(event, subject, record)
        if of_one.said >= REPEATS or of_all.said >= REPEATS_OF_ALL:
            of_one.left_out += 1
            return False
        of_one.said += 1
        of_all.said += 1
        if of_one.left_out:
            pairs["left_out_before"], of_one.left_out = of_one.left_out, 0
        if of_one.said == REPEATS or of_all.said == REPEATS_OF_ALL:
            pairs["more_of_it"] = f"left out for up to {PACE_S} s"
        setattr(record, _FIELDS, pairs)
        return True

    def _entry(self, event: str, subject: str | None, record: logging.LogRecord) -> _Said:
        """How often an event was said of a subject, or of all where None."""
        entry = self._entries.pop((event, subject), None)
        if entry is None:
            entry = _Said(record.created)
        elif not 0 <= record.created - entry.since_s < PACE_S:
            entry.since_s, entry.said = record.created, 0
        self._entries[event, subject] = entry
        if len(self._entries) > _SUBJECTS:
            del self._entries[next(iter(self._entries))]
        return entry


def _one_line(text: str) -> str:
    """Text that cannot start a line of its own: a log line is never forged by its content."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quoted(text: str) -> str:
    """A field's content, quoted where its end would not be seen otherwise."""
    if text and text.isprintable() and not any(c in text for c in ' "='):
        return text
    return '"' + _one_line(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
