"""Who asks for pages without end waits; others, and agents, do not."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from flopmeter_collector.http.entrance import LONGEST_WAIT_S, REQUESTS_PER_S, Entrance
from flopmeter_collector.limits import BURST_S
from support.manual_clock import ManualClock

ANY = cast(Any, None)


def test_who_asks_without_end_waits() -> None:
    """An address has what ten seconds allow at once, and then waits; another one does not."""

    async def scenario() -> None:
        order: list[str] = []

        async def give_way() -> None:
            order.append("agents")

        async def app(scope: Any, *_: Any) -> None:
            order.append((scope["client"] or ("nobody",))[0])

        entrance = Entrance(app, ManualClock(), give_way)

        async def ask(address: str) -> float:
            began_s = asyncio.get_running_loop().time()
            await entrance({"client": (address, 1)}, ANY, ANY)
            return asyncio.get_running_loop().time() - began_s

        await ask("a")
        assert order == ["agents", "a"], "agents go first"
        for _ in range(REQUESTS_PER_S * BURST_S - 1):
            await ask("a")
        assert await ask("a") >= 1 / REQUESTS_PER_S
        assert await ask("b") < 1 / REQUESTS_PER_S
        # Where nobody knows who asks, it is one address.
        await entrance({"client": None}, ANY, ANY)
        assert order[-1] == "nobody"

    asyncio.run(scenario())


def test_who_would_wait_long_is_told_to_come_again() -> None:
    """Nobody who waits, or has gone away meanwhile, takes the server's places from others."""

    async def scenario() -> None:
        answered: list[str] = []
        told: list[int] = []

        async def app(scope: Any, *_: Any) -> None:
            answered.append(scope["client"][0])

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                told.append(message["status"])
                assert (b"retry-after", b"1") in message["headers"]

        entrance = Entrance(app, ManualClock(), lambda: asyncio.sleep(0))
        most = REQUESTS_PER_S * BURST_S + REQUESTS_PER_S * LONGEST_WAIT_S + 1
        began_s = asyncio.get_running_loop().time()
        scope = {"type": "http", "client": ("a", 1)}
        await asyncio.gather(*(entrance(scope, ANY, send) for _ in range(most + 9)))
        assert asyncio.get_running_loop().time() - began_s < 2 * LONGEST_WAIT_S
        assert (len(answered), told) == (most, [429] * 9)
        await entrance({"type": "http", "client": ("b", 1)}, ANY, send)
        assert answered[-1] == "b"

    asyncio.run(scenario())
