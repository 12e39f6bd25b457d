"""Answers on their way out, and the end of who reads none.

Owns: since when each answer lies unread, and how long it may.
May touch: the gRPC context of a call; the running event loop's timer.
Called by the service for every answer. Explained in docs/adr/0018-hostile-peers.md.

Nearly every answer is taken at once, so none has a timer of its own: one looks at all of them now
and then.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from flopmeter_core.errors import WireError

ANSWER_DEADLINE_S = 30
"""How long an answer may lie unread before its stream is ended: an agent reads at once."""

LOOK_S = 1.0
"""Between two looks at the answers that lie unread."""


class Writer(Protocol):
    """Where an answer is written; a gRPC context is one."""

    async def write(self, message: Any, /) -> None:
        """Send it, once the other side takes more."""


class Answers:
    """Writes answers. One event loop."""

    def __init__(self) -> None:
        """Start with none."""
        self._since_s: dict[asyncio.Task[Any], float] = {}
        self._overdue: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def write(self, context: Writer, answer: Any) -> None:
        """Write an answer.

        Raises:
            WireError: the sender reads none.
        """
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        self._since_s[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(LOOK_S, self._look, loop)
        try:
            await context.write(answer)
        except asyncio.CancelledError:
            if task not in self._overdue:
                raise
            self._overdue.discard(task)
            task.uncancel()
            raise WireError(
                f"an answer lay unread for {ANSWER_DEADLINE_S} s; check the sender"
            ) from None
        finally:
            del self._since_s[task]

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """End who has read nothing for too long."""
        self._timer = loop.call_later(LOOK_S, self._look, loop) if self._since_s else None
        latest_s = loop.time() - ANSWER_DEADLINE_S
        for task, since_s in self._since_s.items():
            if since_s <= latest_s and task not in self._overdue:
                self._overdue.add(task)
                task.cancel()
