"""Hours over a real stream: kept, acknowledged, refused, and never in a total."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from pathlib import Path

from flopmeter_collector import backends
from flopmeter_core.reports import HourlyVector, KeyedVector
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from support.collector import running
from support.ingest import BOOT_NS, RECORD, Sender, hourly, key, report, stream, vector
from support.postgres import shared_server


async def send(sender: Sender, newest: int, *hours: HourlyVector) -> pb.StreamReportsResponse:
    """Send the newest vector, `newest` busy seconds, with hours."""
    keyed = KeyedVector(key(), newest, vector(newest))
    return await sender.exchange(sender.writer.report(report([keyed], [RECORD], hours=hours)))


def stored(folder: Path) -> list[HourlyVector]:
    """The hours that another process finds in the ledger."""
    ledger = backends.read(str(folder / "ledger.db"))
    try:
        return list(ledger.hours("run:a"))
    finally:
        ledger.close()


def test_kept_and_acknowledged(tmp_path: Path) -> None:
    """When an hour is acknowledged the ledger has it; late and alone it is taken as well."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            rows = [hourly(0, 1_800, vector(1_800)), hourly(2, 5_000, vector(5_000))]
            answer = await send(sender, 6_000, *rows)
            assert [ack.durability for ack in answer.hourly_acknowledgements] == [
                pb.DURABILITY_AT_ROOT
            ] * 2
            assert stored(tmp_path) == rows
            before = (await app.evaluate_now()).snapshot.runs
            late = hourly(1, 3_000, vector(3_000))
            answer = await sender.exchange(sender.writer.report(report([], hours=[late])))
            (ack,) = answer.hourly_acknowledgements
            assert (ack.hour, ack.sequence) == (1, 3_000)
            assert stored(tmp_path) == [rows[0], late, rows[1]]
            assert (await app.evaluate_now()).snapshot.runs == before
            await sender.close()

    asyncio.run(scenario())


def test_refused_hours_change_nothing(tmp_path: Path) -> None:
    """An hour that cannot be true is refused alone, in one sentence; the vector is kept."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            answer = await send(
                sender,
                5_000,
                hourly(0, 4_000, vector(4_000)),
                hourly(1, 6_000, vector(6_000)),
                hourly(BOOT_NS // NS_PER_HOUR + 1, 4_000, vector(4_000)),
                hourly(3, 4_000, vector(4_000)),
            )
            reasons = [ack.reason for ack in answer.hourly_acknowledgements]
            assert "covers 4000 s but its node booted only 3599 s ago" in reasons[0]
            assert "not part of the newest one" in reasons[1]
            assert "is not over yet" in reasons[2]
            assert reasons[3] == ""
            assert all("\n" not in reason for reason in reasons)
            assert [row.hour for row in stored(tmp_path)] == [3]
            assert answer.acknowledgements[0].durability == pb.DURABILITY_AT_ROOT
            assert app.intake.counts.refused_hours == 3
            await sender.close()

    asyncio.run(scenario())


def test_an_hour_is_told_to_another_collector_than_its_vector(tmp_path: Path) -> None:
    """Behind one address a sender changes collectors: its hour waits for what the other knows."""
    url = shared_server().create(f"ledger_{secrets.token_hex(8)}")
    row = hourly(0, 1_800, vector(1_800))

    async def scenario() -> None:
        async with running(tmp_path, ledger=url) as one, running(tmp_path, ledger=url) as other:
            async with stream(one.grpc_address) as sender:
                await sender.greet()
                await send(sender, 1_800)
                await sender.close()
            async with stream(other.grpc_address) as sender:
                await sender.greet()
                answer = await sender.exchange(sender.writer.report(report([], hours=[row])))
                (ack,) = answer.hourly_acknowledgements
                assert (ack.durability, ack.reason) == (pb.DURABILITY_AT_ROOT, "")
                await sender.close()

    asyncio.run(scenario())
    with contextlib.closing(backends.read(url)) as ledger:
        assert list(ledger.hours("run:a")) == [row]
