"""Large reports: whose turn it is with one, and its reading in steps that leave room for answers.

Owns: which messages are large, that one is in hand at a time and of an address by its pace.
May touch: the turns and the pace it is given; threads of the running event loop.
Called by the service. Explained in docs/adr/0050-large-reports-in-steps.md.

What a large message takes in one piece, everybody waits for: on the event loop as long as it
lasts, in a thread as long as no other thread may compute. So nothing of it is done in one piece:
it is built, read, answered and let go in steps.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from flopmeter_collector.limits import Pace
from flopmeter_collector.turns import Pause, Turns
from flopmeter_collector.waits import Waits
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.wire.parsing import is_many

BYTES_PER_WORK = 100
"""About the size of a vector: what is read costs its address, whether or not it makes sense."""

LARGE_REPORT = 400
"""Work above which a report is read beside the event loop, waits for other large ones, and is
committed slice by slice: nobody's commit holds more than a slice of it. 8 devices with 50 users and
phases each that change between two reports stay below."""

LARGE_BYTES = LARGE_REPORT * 200
"""A message that is longer is taken so without a look at it: so long are as many vectors that name
what was written before them."""

LET_GO_AT_ONCE = 200
"""Vectors freed at a time: about 0.2 ms."""

T = TypeVar("T")


def is_large(raw: bytes) -> bool:
    """Whether a message is large by its looks."""
    return len(raw) > LARGE_BYTES or is_many(raw)


class LargeReports:
    """Takes large reports one at a time. One event loop."""

    def __init__(self, turns: Turns, pace: Pace, clock: Clock, waits: Waits) -> None:
        """Prepare.

        Args:
            turns: lets small reports go first.
            pace: of addresses; each large report is charged here, and waits for it.
            clock: tells the pace.
            waits: ends, in a stop, the wait for a turn.
        """
        self._turns = turns
        self._waits = waits
        self._pace = pace
        self._clock = clock
        self._one = asyncio.Lock()
        self._of_address: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def turn(self, address: str, work: int) -> AsyncIterator[None]:
        """Have the turn of an address, once its earlier work is paid off, and then that of all.

        Of each address one waits for the turn of all, so nobody waits behind a hundred of another.

        Args:
            address: whose report it is.
            work: what it is charged for, as far as that is known.

        Raises:
            StorageError: this collector is stopping, and the turn had not come.
        """
        self._waiting[address] += 1
        try:
            async with contextlib.AsyncExitStack() as held:
                with self._waits.until_stop():
                    of_address = self._of_address.setdefault(address, asyncio.Lock())
                    await held.enter_async_context(of_address)
                    owed_ns = self._pace.owed_ns(address, self._clock.monotonic_ns())
                    if owed_ns:
                        await asyncio.sleep(owed_ns / NS_PER_S)
                    self._pace.pause_ns(address, work, self._clock.monotonic_ns())
                    await held.enter_async_context(self._one)
                yield
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
                self._of_address.pop(address, None)

    def charge(self, address: str, more: int) -> None:
        """Note what a report turned out to cost beyond its size; later large ones wait for that."""
        self._pace.add(address, more, self._clock.monotonic_ns())

    async def batch(
        self, raw: bytes, parse: Callable[[bytes], T], parse_long: Callable[[bytes, Pause], T]
    ) -> T:
        """A message in columns: large ones have few parts, and others are built in steps.

        Args:
            raw: the message.
            parse: builds it at once.
            parse_long: builds it in steps.

        Raises:
            WireError: it is none, or has too many parts.
        """
        if not is_many(raw):
            return parse(raw)
        return await self.beside(functools.partial(parse_long, raw))

    async def beside(self, work: Callable[[Pause], T]) -> T:
        """Do something in a thread, which gets what it has to call between its steps."""
        return await asyncio.to_thread(work, self._turns.pauses())

    async def let_go(self, gone: list[Any], give_way: Callable[[], Awaitable[None]]) -> None:
        """Free what nobody else names, in steps: all at once would stop every thread.

        Args:
            gone: what it is; it is emptied.
            give_way: lets others go first, between two steps.
        """
        while gone:
            del gone[-LET_GO_AT_ONCE:]
            await give_way()
