"""A log line: constant text, fields, one line whatever the content."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from flopmeter_proto.daemon.logs import PACE_S, REPEATS, REPEATS_OF_ALL, LogLevel, configure, fields


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A configured log that is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    text = io.StringIO()
    configure(LogLevel.INFO, stream=text)
    yield text
    root.handlers[:] = handlers
    root.setLevel(level)


def test_line(stream: io.StringIO) -> None:
    """Time in UTC, level, logger, event, fields."""
    logging.getLogger("flopmeter_x").info("stream opened", extra=fields(address="a:1", tries=2))
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info flopmeter_x stream opened"
        r" address=a:1 tries=2\n",
        stream.getvalue(),
    )


def test_levels(stream: io.StringIO) -> None:
    """Events below the level, and a library's chatter, are not written."""
    logging.getLogger("flopmeter_x").debug("reading")
    logging.getLogger("asyncio").info("chatter")
    assert stream.getvalue() == ""


def test_content_cannot_forge_a_line(stream: io.StringIO) -> None:
    """A line feed or quote in a field stays inside that field."""
    logging.getLogger("x").warning("odd %s", "a\nb", extra=fields(name='y"\nz', empty=""))
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith('odd a\\nb name="y\\"\\nz" empty=""\n')


def test_error_has_its_traceback(stream: io.StringIO) -> None:
    """An exception follows the line."""
    try:
        raise ValueError("reason")
    except ValueError:
        logging.getLogger("x").exception("step failed")
    assert "error x step failed\nTraceback" in stream.getvalue()


def test_configured_twice(stream: io.StringIO) -> None:
    """A second call replaces the first: no event is written twice."""
    second = io.StringIO()
    configure(LogLevel.DEBUG, stream=second)
    logging.getLogger("x").debug("reading")
    assert (stream.getvalue(), second.getvalue().count("reading")) == ("", 1)


def said(stream: io.StringIO, event: str) -> list[str]:
    """The lines of one event."""
    return [line for line in stream.getvalue().splitlines() if event in line]


def test_event_that_goes_on_and_off(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said so often of one device, of another too, and later with what is missing."""
    logger = logging.getLogger("flopmeter_x")
    seconds = iter(range(10**6))
    made = logging.LogRecord

    def at(*values: Any, **more: Any) -> logging.LogRecord:
        record = made(*values, **more)
        record.created = float(next(seconds))
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", at)
    for _ in range(100):
        logger.warning("a device cannot be read", extra=fields(device="GPU-a"))
        logger.info("a device is read again", extra=fields(device="GPU-a"))
    logger.warning("a device cannot be read", extra=fields(device="GPU-b"))
    lines = said(stream, "cannot be read device=GPU-a")
    assert len(lines) == REPEATS
    assert "more_of_it" in lines[-1] and "more_of_it" not in lines[-2]
    assert len(said(stream, "read again")) == REPEATS
    assert len(said(stream, "GPU-b")) == 1
    for _ in range(PACE_S):
        next(seconds)
    logger.warning("a device cannot be read", extra=fields(device="GPU-a"))
    assert f"left_out_before={100 - REPEATS}" in said(stream, "cannot be read device=GPU-a")[-1]
    monkeypatch.setattr(logging, "_logRecordFactory", made)
    for run in range(2 * REPEATS_OF_ALL):
        logger.info("a process names its run", extra=fields(run=f"run-{run}"))
    assert len(said(stream, "names its run")) == REPEATS_OF_ALL


def test_debug_is_said_in_full(stream: io.StringIO) -> None:
    """Who asks for each reading gets each."""
    logging.getLogger().setLevel(logging.DEBUG)
    for _ in range(10 * REPEATS):
        logging.getLogger("flopmeter_x").debug("a reading", extra=fields(device="GPU-a"))
    assert len(said(stream, "a reading")) == 10 * REPEATS
