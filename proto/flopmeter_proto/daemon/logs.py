"""How daemons log: one line an event, constant text plus key=value fields, on standard error.

Owns: the form of a line and the levels.
May touch: standard error, and the root logger's handlers when an app calls `configure`.
Called by apps once at start; modules use their own ``logging.getLogger(__name__)`` and `fields`.
Levels by who must act: error a person, warning bounds widened, info a state changed, debug each
reading.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Mapping
from typing import TextIO

_FIELDS = "flopmeter_fields"


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


def _one_line(text: str) -> str:
    """Text that cannot start a line of its own: a log line is never forged by its content."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _quoted(text: str) -> str:
    """A field's content, quoted where its end would not be seen otherwise."""
    if text and text.isprintable() and not any(c in text for c in ' "='):
        return text
    return '"' + _one_line(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'
