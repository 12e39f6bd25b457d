"""TLS and client certificates: who may report, and who is turned away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support.certificates import Authority, Pair
from support.collector import running
from support.ingest import stream, vector


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The site's authority."""
    return Authority(tmp_path, "site")


def credentials(authority: Authority, pair: Pair | None = None) -> grpc.ChannelCredentials:
    """What an agent trusts, and what it shows of itself."""
    return grpc.ssl_channel_credentials(
        root_certificates=authority.certificate.read_bytes(),
        private_key=pair.key.read_bytes() if pair else None,
        certificate_chain=pair.certificate.read_bytes() if pair else None,
    )


async def reports(address: str, shown: grpc.ChannelCredentials | None) -> bool:
    """Whether an agent with these credentials can report."""
    try:
        async with asyncio.timeout(20), stream(address, shown) as sender:
            await sender.greet()
            await sender.send(1, vector(1))
    except grpc.aio.AioRpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        return False
    return True


def test_tls(tmp_path: Path, authority: Authority) -> None:
    """A collector with a certificate is spoken to over TLS only, by those who trust it."""
    pair = authority.sign("collector")
    stranger = Authority(tmp_path, "stranger")

    async def scenario() -> None:
        async with running(tmp_path, tls_cert=pair.certificate, tls_key=pair.key) as app:
            assert await reports(app.grpc_address, credentials(authority))
            assert not await reports(app.grpc_address, credentials(stranger))
            assert not await reports(app.grpc_address, None)

    asyncio.run(scenario())


def test_client_certificates(tmp_path: Path, authority: Authority) -> None:
    """With an authority of agents named, one without its certificate is turned away."""
    pair = authority.sign("collector")
    stranger = Authority(tmp_path, "stranger")

    async def scenario() -> None:
        async with running(
            tmp_path,
            tls_cert=pair.certificate,
            tls_key=pair.key,
            tls_client_ca=authority.certificate,
        ) as app:
            known = credentials(authority, authority.sign("node-1"))
            assert await reports(app.grpc_address, known)
            assert not await reports(app.grpc_address, credentials(authority))
            other = credentials(authority, stranger.sign("node-2"))
            assert not await reports(app.grpc_address, other)

    asyncio.run(scenario())


def test_tls_off_loopback(tmp_path: Path, authority: Authority) -> None:
    """With TLS a collector listens for other hosts without further permission."""
    pair = authority.sign("collector")

    async def scenario() -> None:
        changes = {"tls_cert": pair.certificate, "tls_key": pair.key}
        async with running(tmp_path, grpc_listen="0.0.0.0:0", **changes) as app:
            port = app.grpc_address.rpartition(":")[2]
            assert await reports(f"127.0.0.1:{port}", credentials(authority))

    asyncio.run(scenario())
