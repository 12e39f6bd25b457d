"""The long part of a round, in slices: what changed is counted, and who reported is placed.

Owns: how much is done between two turns of those that wait for answers.
May touch: totals and register table, on the event loop; the injected clock.
Called by publish in each round. Explained in docs/adr/0018-hostile-peers.md.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable

from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.registers import Changes, RegisterTable
from flopmeter_collector.sightings import Sighting, Sightings
from flopmeter_collector.totals import Totals
from flopmeter_collector.turns import LONGEST_WAIT_S
from flopmeter_core.kernels.known_rows import BOOT, WIDTH
from flopmeter_proto.daemon.clock import Clock

ROWS_SLICE = 1_000
"""Registers that only grew counted before reports have their turn: about 0.3 ms. A round waits for
reports between two slices, so this is also what keeps it ahead of 30,000 nodes."""

SLICE = 100
"""Of the others that are known, about 0.7 ms; so many where answers took all the time they may have
between two slices, because a round has to end."""

QUIET_SLICE = 40
"""So many where they did not: an answer that comes in the middle of a slice waits for its end, and
in its own pauses (the ledger) for another one."""

NEW_KEY_COUNT = 10
"""A register that is counted for the first time costs as much as so many that grew."""

SIGHTED_SLICE = 300
"""Incarnations that reported, each of 8 devices, looked at before reports have their turn: about
0.5 ms."""

PLACED_SLICE = 60
"""Of those that may be placed better than they are. Those of 10,000 nodes took 8 ms in one piece.
"""

HOURS_SLICE = 500
"""Hours looked at before reports have their turn: about 0.5 ms, as most are of no split run."""


class Slices:
    """Gives totals what a round is of. One round at a time."""

    def __init__(
        self,
        table: RegisterTable,
        totals: Totals,
        clock: Clock,
        give_way: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare.

        Args:
            table: holds the registers that changed.
            totals: adds them up.
            clock: tells when a report of a new device came.
            give_way: lets agents that can be answered at once go first.
        """
        self._table = table
        self._totals = totals
        self._clock = clock
        self._give_way = give_way

    async def count(self, changes: Changes, sightings: Sightings) -> None:
        """Give the totals what changed, and free it, in slices: reports must not wait for all."""
        keys = self._table.rows.keys

        def note(place: int, boot_ns: int) -> None:
            sightings.note(keys[place], boot_ns)

        grown, rest = changes.grown, changes.places
        while grown:
            places = array("q")
            while grown and len(places) < ROWS_SLICE:
                places += grown.pop()[0]
            if rest:
                for place in places:
                    rest.pop(place, None)
            await self._count_rows(places, note)
        places = array("q", rest)
        rest.clear()
        await self._count_rows(places, note)
        hours = list(changes.hours)
        changes.hours.clear()
        self._totals.add_hours((), left_out=changes.hours_left_out)
        while hours:
            self._totals.add_hours(reversed(hours[-HOURS_SLICE:]))
            del hours[-HOURS_SLICE:]
            await self._give_way()

    async def _count_rows(self, places: array[int], note: Callable[[int, int], None]) -> None:
        """Give the totals rows that changed; see `Totals.count_rows`.

        What is counted is what a row holds by now, and that may be newer than the change that was
        noted of it: so it was also read when the row says, or its agent would seem to have begun
        earlier than it did, for good.
        """
        rows, limit = self._table.rows, QUIET_SLICE
        for start in range(0, len(places), ROWS_SLICE):
            done, part, block = 0, places[start : start + ROWS_SLICE], rows.block
            read_ns = array("q", [max(0, block[place * WIDTH + BOOT]) for place in part])
            left = self._totals.count_rows(rows, part, read_ns, note)
            for place in left:
                if done >= limit:
                    done = 0
                    limit = SLICE if await self._pressed() else QUIET_SLICE
                key = rows.keys[place]
                branches = rows.branches_at(place)
                note(place, max(each.boot_ns or 0 for each in branches))
                new = self._totals.update(key, self._table.record(key.record), branches, place)
                done += NEW_KEY_COUNT if new else 1
            await self._give_way()

    async def place(self, sightings: Sightings) -> list[Coverage]:
        """Tell the residual when incarnations reported, in slices; gives the rows that changed."""
        residuals, now_ns = self._totals.residuals, self._clock.wall_ns()
        rows: dict[tuple[str, str], Coverage] = {}
        news: dict[str, Sighting] = {}
        for part in sightings.parts(SIGHTED_SLICE):
            for row in residuals.note(part, now_ns):
                rows[row.incarnation, row.device] = row
            news |= residuals.agents.news(part.live)
            await self._give_way()
        doubted = residuals.boots.doubted(news, self._clock.monotonic_ns())
        for part in Sightings(live=news).parts(PLACED_SLICE) if news else ():
            for row in residuals.place(part.live, doubted):
                rows[row.incarnation, row.device] = row
            await self._give_way()
        return list(rows.values())

    async def _pressed(self) -> bool:
        """Give way; whether others took all the time they may have."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await self._give_way()
        return loop.time() - began_s >= LONGEST_WAIT_S
