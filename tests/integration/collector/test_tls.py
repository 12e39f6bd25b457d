"""TLS and client certificates: who may report, and who is turned away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from flopmeter_core.reports import PROTOCOL_VERSION, KeyedVector
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from support.certificates import Authority, Pair
from support.collector import running
from support.ingest import RECORD, channel, hello, hourly, key, report, stream, vector


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


def test_a_node_is_who_its_certificate_says(tmp_path: Path, authority: Authority) -> None:
    """An agent speaks, and reports devices, only for nodes that its certificate names."""
    pair = authority.sign("collector")
    theirs = replace(RECORD, node="node-1", device="GPU-theirs")
    mine = replace(RECORD, node="node-2")

    async def scenario() -> None:
        settings = {"tls_cert": pair.certificate, "tls_key": pair.key}
        async with running(tmp_path, tls_client_ca=authority.certificate, **settings) as app:
            shown = credentials(authority, authority.sign("other", "node-2"))
            async with stream(app.grpc_address, shown) as sender:
                with pytest.raises(grpc.aio.AioRpcError, match="or localhost or node-2 or other"):
                    await sender.greet(hello(node="node-1"))
                assert app.intake.nodes == {}
            async with stream(app.grpc_address, shown) as sender:
                await sender.greet(hello(node="node-2"))
                answer = await sender.send(1, vector(1), record=mine)
                assert answer.acknowledgements[0].durability == pb.DURABILITY_AT_ROOT
                keyed = KeyedVector(key(theirs), 1, vector(1))
                hour = hourly(0, 1, vector(1), key=keyed.key)
                sent = report([keyed], [theirs], hours=[hour])
                answer = await sender.exchange(sender.writer.report(sent))
                (ack,) = answer.acknowledgements
                assert ack.durability == pb.DURABILITY_REFUSED
                assert "certificate" in ack.reason
                assert "certificate" in answer.hourly_acknowledgements[0].reason
                assert len(app.table) == 1

    asyncio.run(scenario())


def test_names_are_labels_where_the_operator_says_so(tmp_path: Path, authority: Authority) -> None:
    """With the names unbound every certificate of the authority reports for every node."""
    pair = authority.sign("collector")

    async def scenario() -> None:
        async with running(
            tmp_path,
            tls_cert=pair.certificate,
            tls_key=pair.key,
            tls_client_ca=authority.certificate,
            node_names_from_certificates=False,
        ) as app:
            assert await reports(app.grpc_address, credentials(authority, authority.sign("x")))

    asyncio.run(scenario())


@pytest.mark.parametrize("named", [(), ("site-1",)])
def test_who_may_forward(tmp_path: Path, authority: Authority, named: tuple[str, ...]) -> None:
    """Only who holds a certificate that the operator named reports for other nodes."""
    pair = authority.sign("collector")

    async def scenario() -> None:
        async with running(
            tmp_path,
            tls_cert=pair.certificate,
            tls_key=pair.key,
            tls_client_ca=authority.certificate,
            relays=named,
        ) as app:
            shown = credentials(authority, authority.sign("site-1"))
            async with channel(app.grpc_address, shown) as opened:
                stub = pb_grpc.IngestServiceStub(opened)
                batch = pb.SubmitBatchRequest(protocol_version=PROTOCOL_VERSION, relay="r")
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.SubmitBatch(batch)
                call = stub.StreamBatches()
                greeting = pb.RelayHello(protocol_version=PROTOCOL_VERSION, relay="r")
                await call.write(pb.StreamBatchesRequest(hello=greeting))
                if named:
                    assert await call.read() is not grpc.aio.EOF
                else:
                    with pytest.raises(grpc.aio.AioRpcError, match="setting relays"):
                        await call.read()
                call.cancel()
        wrong = grpc.StatusCode.INVALID_ARGUMENT if named else grpc.StatusCode.PERMISSION_DENIED
        assert refused.value.code() == wrong

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
