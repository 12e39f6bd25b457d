"""Who reads no answer is let go; who reads late, or is stopped by somebody else, is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flopmeter_collector import answers
from flopmeter_collector.answers import Answers
from flopmeter_core.errors import WireError


class Reader:
    """The other side of a stream."""

    def __init__(self) -> None:
        """Begin without reading."""
        self.reads = asyncio.Event()
        self.taken: list[Any] = []

    async def write(self, message: Any, /) -> None:
        """Take an answer once it reads."""
        await self.reads.wait()
        self.taken.append(message)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for half a minute."""
    monkeypatch.setattr(answers, "ANSWER_DEADLINE_S", 0.05)
    monkeypatch.setattr(answers, "LOOK_S", 0.01)


def test_who_reads_nothing_is_let_go() -> None:
    """After the deadline the write ends in a sentence, and the task itself goes on."""

    async def scenario() -> None:
        written, reader = Answers(), Reader()
        with pytest.raises(WireError, match="unread"):
            await written.write(reader, "one")
        assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]
        reader.reads.set()
        await written.write(reader, "two")
        assert reader.taken == ["two"]

    asyncio.run(scenario())


def test_who_reads_in_time_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is taken before the deadline is an answer like any other."""
    monkeypatch.setattr(answers, "ANSWER_DEADLINE_S", 600)

    async def scenario() -> None:
        written, slow, deaf = Answers(), Reader(), Reader()
        refused = asyncio.create_task(written.write(deaf, "never"))
        taken = asyncio.create_task(written.write(slow, "late"))
        await asyncio.sleep(3 * answers.LOOK_S)
        slow.reads.set()
        await taken
        monkeypatch.setattr(answers, "ANSWER_DEADLINE_S", 0)
        with pytest.raises(WireError):
            await refused
        assert slow.taken == ["late"]

    asyncio.run(scenario())


def test_an_end_from_elsewhere_stays_one() -> None:
    """A stream that is cancelled while its answer waits is cancelled, not deaf."""

    async def scenario() -> None:
        written = Answers()
        waiting = asyncio.create_task(written.write(Reader(), "one"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())


def test_nothing_looks_where_nothing_waits() -> None:
    """With no answer under way the timer ends: an idle collector sleeps."""

    async def scenario() -> None:
        written, reader = Answers(), Reader()
        reader.reads.set()
        await written.write(reader, "one")
        assert written._timer is not None
        await asyncio.sleep(0.03)
        assert written._timer is None

    asyncio.run(scenario())
