"""A collector of a large ledger serves before it has read it: what it says meanwhile is true."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flopmeter_collector import backends
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.ledger.base import (
    Batch,
    Coverage,
    Ledger,
    LedgerBusyError,
    StoredVector,
)
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_collector.loading import Reading
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.reports import HourlyVector, KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from integration.collector.test_app import get
from support.collector import settings
from support.ingest import INCARNATION, RECORD, Sender, hello, key, report, stream, vector
from support.postgres import shared_server

NODES = 30
SLOWLY = Reading(before_serving=0, keys_a_part=1, pause_s=3_600)
"""Only what is asked for is read."""
AT_ONCE = Reading(before_serving=10_000)


def record(number: int) -> DeviceRecord:
    """The device of a node."""
    return dataclasses.replace(RECORD, node=f"node-{number}", device=f"GPU-{number}")


def ledger_of(path: Path | str) -> None:
    """A ledger of many nodes; the key of the first is forked, that of the last comes read last."""
    records = [record(number) for number in range(NODES)]
    rows = [
        StoredVector(key(each, phase=phase), 0, 5, vector(100 + number))
        for number, each in enumerate(records)
        for phase in range(2)
    ]
    rows.append(StoredVector(key(records[0]), 1, 5, vector(90, BUSY_NS=200 * 10**9)))
    coverage = [
        Coverage(INCARNATION, each.device, each.node, "boot", 0, 10**18, 10**18 + 1, 1)
        for each in records
    ]
    with contextlib.closing(backends.collect(str(path), simulated=False)) as ledger:
        held = {each.record_id: each for each in records}
        ledger.commit(Batch(records=held, vectors=tuple(rows), coverage=tuple(coverage)))


@contextlib.asynccontextmanager
async def started(folder: Path, reading: Reading, **changes: Any) -> AsyncIterator[CollectorApp]:
    """A collector that reads its ledger in some way."""
    config = settings(folder, http_listen="127.0.0.1:0", evaluate_period_s=0.05, **changes)
    app = CollectorApp(config, SystemClock(), reading=reading)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def send(sender: Sender, number: int, sequence: int, seconds: int, **fields: Any) -> Any:
    """Report of a node's key; the one acknowledgement."""
    of = record(number)
    keyed = KeyedVector(key(of, **fields), sequence, vector(seconds))
    said = dataclasses.replace(report([keyed]), records={of.record_id: of})
    answer = await sender.exchange(sender.writer.report(said))
    (found,) = answer.acknowledgements
    return found


def rows_of(path: Path | str) -> dict[object, StoredVector]:
    """What the ledger holds, by key; a fork's first branch."""
    with contextlib.closing(backends.read(str(path))) as ledger:
        return {row.key: row for row in ledger.vectors() if not row.branch}


def test_it_acknowledges_before_it_has_read_everything(tmp_path: Path) -> None:
    """A report is held against its own node's rows, whatever else is still in the ledger only."""
    path = tmp_path / "ledger.db"
    ledger_of(path)

    async def scenario() -> None:
        async with started(tmp_path, SLOWLY) as app, stream(app.grpc_address) as sender:
            await sender.exchange(sender.writer.hello(hello(node="node-29")))
            assert (await send(sender, 29, 9, 500)).durability == pb.DURABILITY_AT_ROOT
            assert (await send(sender, 28, 3, 50)).durability == pb.DURABILITY_AT_ROOT
            assert not app.loaded
            held = len(app.table)
            assert held < 2 * NODES

    asyncio.run(scenario())
    rows = rows_of(path)
    assert (rows[key(record(29))].sequence, rows[key(record(29))].vector) == (9, vector(500))
    # A late vector never takes the place of a newer one that was not read yet.
    assert rows[key(record(28))].vector == vector(128)
    assert len(rows) == 2 * NODES


def test_no_partial_total_is_shown(tmp_path: Path) -> None:
    """Until all is read there is no total, and page, readiness, metrics and JSON say so."""
    ledger_of(tmp_path / "ledger.db")

    async def scenario() -> None:
        async with started(tmp_path, SLOWLY) as app:
            assert app.published is None
            status, text = await get(app, "/readyz")
            assert (status, "the totals are loading" in text) == (200, True)
            assert (await get(app, "/"))[1].count("the totals are loading") == 1
            status, text = await get(app, "/api/v1/totals")
            assert (status, "loading" in json.loads(text)["error"]) == (503, True)
            _, text = await get(app, "/metrics")
            samples = dict(
                line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")
            )
            assert samples["flopmeter_exports_totals"] == "0"
            assert samples["flopmeter_registers"] == str(2 * NODES)
            assert int(samples["flopmeter_registers_unread"]) > 0
            assert "flopmeter_forked_registers" not in samples
            assert [name for name in samples if "compute" in name or "_seconds" in name] == [
                name for name in samples if name.startswith("flopmeter_law_read")
            ]

    asyncio.run(scenario())


@pytest.mark.parametrize("parts", [1, 7, 1_000])
def test_loaded_is_as_if_read_at_once(tmp_path: Path, parts: int) -> None:
    """The totals are the same to the last FLOP, whatever was reported while it was loading."""
    ledger_of(tmp_path / "ledger.db")

    async def scenario(reading: Reading, *, reports: bool) -> object:
        async with started(tmp_path, reading) as app:
            if reports:
                async with stream(app.grpc_address) as sender:
                    await sender.exchange(sender.writer.hello(hello(node="node-3")))
                    await send(sender, 3, 8, 700)
                    await send(sender, 17, 8, 710)
                    await send(sender, 99, 1, 5)
            shown = (await app.evaluate_now()).snapshot
            assert app.loaded
            assert app.table.counts.unread == 0
            assert len(app.table) == 2 * NODES + 1
            assert app.table.forked_key_count() == 1
            return [
                (run.run, run.account.figures.observed, run.account.busy_ns, run.account.fork_count)
                for run in shown.runs
            ]

    reading = Reading(before_serving=0, keys_a_part=parts)
    loaded = asyncio.run(scenario(reading, reports=True))
    assert asyncio.run(scenario(AT_ONCE, reports=False)) == loaded
    assert asyncio.run(scenario(reading, reports=False)) == loaded


def test_limits_hold_while_loading(tmp_path: Path) -> None:
    """A new key counts beside those of its node and of the ledger that are not in the table yet."""
    ledger_of(tmp_path / "ledger.db")

    async def refused(**limits: int) -> str:
        async with (
            started(tmp_path, SLOWLY, **limits) as app,
            stream(app.grpc_address) as sender,
        ):
            await sender.exchange(sender.writer.hello(hello(node="node-9")))
            answer = await send(sender, 9, 1, 5, phase=7)
            assert not app.loaded
            return str(answer.reason)

    assert "node-9 has 2 registers" in asyncio.run(refused(maximum_keys_per_node=2))
    assert "holds 60 registers" in asyncio.run(refused(maximum_keys=2 * NODES))
    assert asyncio.run(refused(maximum_keys=2 * NODES + 1)) == ""


def test_an_hour_finds_its_key_while_loading(tmp_path: Path) -> None:
    """An hour is judged by the newest vector of its key, which may be in the ledger only."""
    path = tmp_path / "ledger.db"
    ledger_of(path)

    async def scenario() -> None:
        async with started(tmp_path, SLOWLY) as app, stream(app.grpc_address) as sender:
            await sender.exchange(sender.writer.hello(hello(node="node-20")))
            of = record(20)
            hour = HourlyVector(key(of), 4, vector(60), 0, 3_599 * 10**9, 10**18)
            said = dataclasses.replace(report([]), records={of.record_id: of}, hours=(hour,))
            answer = await sender.exchange(sender.writer.report(said))
            assert [each.durability for each in answer.hourly_acknowledgements] == [
                pb.DURABILITY_AT_ROOT
            ]

    asyncio.run(scenario())


def test_a_collector_that_ends_while_loading_has_lost_nothing(tmp_path: Path) -> None:
    """What was acknowledged before a stop in the middle of loading is there after it."""
    path = tmp_path / "ledger.db"
    ledger_of(path)

    async def scenario(number: int) -> None:
        async with started(tmp_path, SLOWLY) as app, stream(app.grpc_address) as sender:
            await sender.exchange(sender.writer.hello(hello(node=f"node-{number}")))
            await send(sender, number, 9, 900)
            assert not app.loaded

    for number in (4, 5, 4):
        asyncio.run(scenario(number))
    rows = rows_of(path)
    assert [rows[key(record(number))].sequence for number in (3, 4, 5)] == [5, 9, 9]
    assert len(rows) == 2 * NODES


def test_reading_fails_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that is busy in the middle of loading is read on from there."""
    ledger_of(tmp_path / "ledger.db")
    whole, asked = SqliteLedger.part, []

    def part(self: Ledger, **fields: Any) -> Any:
        asked.append(fields["after"])
        if len(asked) == 4:
            raise LedgerBusyError("somebody holds it")
        return whole(self, **fields)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteLedger, "part", part)

    async def scenario() -> None:
        reading = Reading(before_serving=0, keys_a_part=10)
        async with started(tmp_path, reading) as app:
            async with asyncio.timeout(20):
                while app.published is None:
                    await asyncio.sleep(0.01)
            assert len(app.table) == 2 * NODES

    asyncio.run(scenario())
    assert asked == [0, 10, 20, 30, 30, 40, 50, 60]


def test_another_collector_of_the_ledger_goes_on_meanwhile(tmp_path: Path) -> None:
    """Who is loading takes in what others commit, and leads nobody before it knows everything."""
    url = shared_server().create(f"ledger_{secrets.token_hex(8)}")
    ledger_of(url)

    async def scenario() -> None:
        async with started(tmp_path, SLOWLY, ledger=url) as late:
            async with started(tmp_path, AT_ONCE, ledger=url) as first:
                async with stream(first.grpc_address) as sender:
                    await sender.exchange(sender.writer.hello(hello(node="node-29")))
                    await send(sender, 29, 9, 500)
                    await send(sender, 98, 1, 7)
                assert first.published is not None
                async with stream(late.grpc_address) as sender:
                    await sender.exchange(sender.writer.hello(hello(node="node-29")))
                    await send(sender, 29, 7, 300)
                    await send(sender, 28, 8, 600)
            # Nobody leads now, and who is loading still does not.
            await asyncio.sleep(0.3)
            assert (late.published, late.loaded) == (None, False)
            assert late.table.branches(key(record(29)))[0].vector == vector(500)

    async def totals(reading: Reading) -> object:
        async with started(tmp_path, reading, ledger=url) as app:
            shown = (await app.evaluate_now()).snapshot
            assert len(app.table) == 2 * NODES + 1
            return [(run.run, run.account.figures.observed) for run in shown.runs]

    asyncio.run(scenario())
    rows = rows_of(url)
    assert [rows[key(record(node))].sequence for node in (27, 28, 29, 98)] == [5, 8, 9, 1]
    assert asyncio.run(totals(Reading(before_serving=0, keys_a_part=7))) == asyncio.run(
        totals(AT_ONCE)
    )
