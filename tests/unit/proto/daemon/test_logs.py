"""A log line: constant text, fields, one line whatever the content."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from flopmeter_proto.daemon.logs import LogLevel, configure, fields


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
