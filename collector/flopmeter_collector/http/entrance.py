"""How fast requests are let in: readers wait, agents do not.

Owns: the pace of each address that asks for pages.
May touch: the running event loop's timers; the monotonic time of the clock it is given.
Called by the HTTP server around every request. Explained in docs/security.md.

A page costs the event loop a millisecond, and a reader that asks again and again without a pause
would have it ask for nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from flopmeter_collector.limits import WORK_PER_REPORT, Pace
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock

REQUESTS_PER_S = 50
"""Of one address for long, and those of ten seconds at once: scrapers ask every few seconds, and
whoever opens the page asks once."""

LONGEST_WAIT_S = 1
"""Who would wait longer is told to come again."""


class Entrance:
    """An application whose requests come in by a pace, between two answers to agents."""

    def __init__(
        self, app: ASGIApp, clock: Clock, give_way: Callable[[], Awaitable[object]]
    ) -> None:
        """Prepare.

        Args:
            app: answers the requests.
            clock: tells the pace.
            give_way: lets agents that can be answered at once go first.
        """
        self._app = app
        self._clock = clock
        self._give_way = give_way
        self._pace = Pace(REQUESTS_PER_S * WORK_PER_REPORT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request once its address has rested, and agents are answered.

        Where that would be long from now the answer is 429.
        """
        address = (scope.get("client") or ("",))[0]
        now_ns = self._clock.monotonic_ns()
        if self._pace.owed_ns(address, now_ns) > LONGEST_WAIT_S * NS_PER_S:
            # Who waits has one of the server's places: all of them, and nobody else was let in.
            refusal = Response(status_code=429, headers={"retry-after": f"{LONGEST_WAIT_S}"})
            await refusal(scope, receive, send)
            return
        pause_ns = self._pace.pause_ns(address, 0, now_ns)
        if pause_ns:
            await asyncio.sleep(pause_ns / NS_PER_S)
        await self._give_way()
        await self._app(scope, receive, send)
