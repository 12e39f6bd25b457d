"""Who asks for pages without end waits; others, and agents, do not."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from flopmeter_collector.http.entrance import REQUESTS_PER_S, Entrance
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
