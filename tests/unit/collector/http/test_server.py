"""The HTTP server: bound before it serves, and ended whether it served or not."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from flopmeter_collector.http.server import HttpServer
from flopmeter_core.errors import UnreachableError


async def _hello(_: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/", _hello)])


def test_serves_and_stops() -> None:
    """It answers once it has started, and twice stopped does no harm."""

    async def scenario() -> None:
        server = HttpServer(APP, "127.0.0.1:0")
        await server.start()
        url = f"http://{server.address}/"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
        assert text == b"hello"
        await server.stop()
        await server.stop()

    asyncio.run(scenario())


def test_one_that_never_served_lets_go_of_its_address() -> None:
    """Another one can have it; meanwhile the address is taken, and that is said."""

    async def scenario() -> None:
        first = HttpServer(APP, "127.0.0.1:0")
        with pytest.raises(UnreachableError, match="stop what listens there, or name another"):
            HttpServer(APP, first.address)
        await first.stop()
        second = HttpServer(APP, first.address)
        await second.stop()

    asyncio.run(scenario())


def test_what_cannot_begin_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends at once raises why, instead of being waited for, and lets go."""

    async def scenario() -> None:
        server = HttpServer(APP, "127.0.0.1:0")

        async def broken(sockets: Any) -> None:
            raise RuntimeError("no event loop of mine")

        monkeypatch.setattr(server._server, "serve", broken)
        with pytest.raises(RuntimeError, match="no event loop of mine"):
            await server.start()
        with pytest.raises(RuntimeError):
            await server.stop()
        await HttpServer(APP, server.address).stop()

    asyncio.run(scenario())
