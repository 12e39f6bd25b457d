"""Whose turn it is on the event loop: who can be answered at once goes before long work.

Owns: how many senders are being answered, and who waits for that with a slice of something long.
May touch: the running event loop's futures and timers.
Called by the service, which answers, and by whatever works for long on the same loop: large
reports, batches, and the rounds of publish. Explained in docs/adr/0018-hostile-peers.md.

Long work yields between slices of about a millisecond. A bare yield is not enough: an answer takes
several turns of the loop, and every long work would put a slice into each of them. Long work in a
thread beside the loop takes the interpreter from answers too, and pauses for them as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Pause = Callable[[], None]
"""What long work in a thread calls between its steps."""

LONGEST_WAIT_S = 0.002
"""How long a slice waits at most, however many answers are under way: twice a slice, so that long
work gets a third of the time of a collector that never rests."""

SLICE_S = 0.001
"""How long work in a thread goes on between two looks at who is being answered."""

TURNS = 2
"""Turns of the loop until a message that has just arrived is in somebody's hands."""


class Turns:
    """Lets answers go before long work. One event loop."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._answering = 0
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._doors: list[threading.Lock] = []

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
            waiting, self._waiting = self._waiting, {}
            for future in waiting:
                _wake(future)
            doors, self._doors = self._doors, []
            # Of a copy: threads take away theirs meanwhile.
            for door in tuple(doors):
                door.release()

    async def give_way(self) -> None:
        """Wait, between two slices of long work, until nobody is being answered; not for long."""
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if not self._answering:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting[future] = None
        timer = loop.call_later(LONGEST_WAIT_S, _wake, future)
        try:
            await future
        finally:
            timer.cancel()
            # Where answers never end nobody else takes it away.
            self._waiting.pop(future, None)

    def pauses(self) -> Pause:
        """What long work in a thread of its own calls between its steps, as often as it likes.

        After each millisecond of work it waits there until nobody is being answered, not for long:
        an answer changes threads a dozen times, and would wait for a thread that computes at each.
        """
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + SLICE_S

        def pause() -> None:
            nonlocal until_s
            if not self._answering or now_s() < until_s:
                return
            door = threading.Lock()
            door.acquire()
            # Where the last answer ends just now nobody opens it, and it waits the longest.
            self._doors.append(door)
            if not door.acquire(timeout=LONGEST_WAIT_S):
                with contextlib.suppress(ValueError):
                    self._doors.remove(door)
            until_s = now_s() + SLICE_S

        return pause


def go_on() -> None:
    """Pause not at all: for work that is short, or on the event loop itself."""


def between(items: Iterable[T], pause: Pause) -> Iterator[T]:
    """The items, with a pause before each."""
    for item in items:
        pause()
        yield item


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
