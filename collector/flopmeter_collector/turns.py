"""Whose turn it is on the event loop: who can be answered at once goes before long work.

Owns: how many senders are being answered, and who waits for that with a slice of something long.
May touch: the running event loop's futures and timers.
Called by the service, which answers, and by whatever works for long on the same loop: large
reports, batches, and the rounds of publish. Explained in docs/adr/0018-hostile-peers.md.

Long work yields between slices of about a millisecond. A bare yield is not enough: an answer takes
several turns of the loop, and every long work would put a slice into each of them.
"""

from __future__ import annotations

import asyncio

LONGEST_WAIT_S = 0.002
"""How long a slice waits at most, however many answers are under way: twice a slice, so that long
work gets a third of the time of a collector that never rests."""

TURNS = 2
"""Turns of the loop until a message that has just arrived is in somebody's hands."""


class Turns:
    """Lets answers go before long work. One event loop."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._answering = 0
        self._waiting: list[asyncio.Future[None]] = []

    def answering(self) -> Turns:
        """Say, with a `with` block, that a sender is being answered, and that it takes little."""
        return self

    def __enter__(self) -> None:
        """One more is."""
        self._answering += 1

    def __exit__(self, *_: object) -> None:
        """One is not any more."""
        self._answering -= 1
        if not self._answering:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                _wake(future)

    async def give_way(self) -> None:
        """Wait, between two slices of long work, until nobody is being answered; not for long."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if not self._answering:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        timer = loop.call_later(LONGEST_WAIT_S, _wake, future)
        try:
            await future
        finally:
            timer.cancel()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
