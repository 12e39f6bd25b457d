"""The HTTP server: bound before it serves, and ended whether it served or not."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from flopmeter_collector.http import server as http_server
from flopmeter_collector.http.server import HttpServer
from flopmeter_core.errors import UnreachableError


async def _hello(_: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LARGE_BYTES = 50 << 20


async def _large(_: Any) -> PlainTextResponse:
    return PlainTextResponse(b"x" * LARGE_BYTES)


APP = Starlette(routes=[Route("/", _hello), Route("/large", _large)])


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


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", LARGE])
def test_who_asks_or_takes_nothing_gives_its_place_up(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut off, whether it is silent, in the middle of a request, or reads no answer."""
    monkeypatch.setattr(http_server, "NO_PROGRESS_S", 0.05)
    monkeypatch.setattr(http_server, "KEEP_ALIVE_S", 60)

    async def scenario() -> None:
        server = HttpServer(APP, "127.0.0.1:0")
        await server.start()
        held = server._server.server_state.connections
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port))) as peer:
            peer.sendall(said)
            async with asyncio.timeout(30):
                while not held:
                    await asyncio.sleep(0.005)
                while held:
                    await asyncio.sleep(0.005)
        await server.stop()

    asyncio.run(scenario())


def test_who_takes_an_answer_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it takes some of it, however often it is looked at meanwhile."""
    monkeypatch.setattr(http_server, "NO_PROGRESS_S", 0.2)

    async def scenario() -> int:
        server = HttpServer(APP, "127.0.0.1:0")
        await server.start()
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 16)
        writer.write(LARGE)
        got = 0
        async with asyncio.timeout(30):
            while part := await reader.read(1 << 20):
                got += len(part)
                await asyncio.sleep(0.01)
        writer.close()
        await server.stop()
        return got

    assert asyncio.run(scenario()) > LARGE_BYTES
