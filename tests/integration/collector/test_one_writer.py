"""Two collector processes on one SQLite ledger, whose lock somebody deleted under the first."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import grpc
import pytest

from flopmeter_collector import backends
from flopmeter_collector.ledger.base import AuditRow, Batch, Ledger
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_core.errors import StorageError
from flopmeter_core.reports import LedgerPosition
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from support.collector import child
from support.ingest import stream, vector

NOTE = Batch(audit=(AuditRow(0, 1, "author", "reason", "action", "{}"),))


def test_a_lock_deleted_under_a_collector_ends_it(tmp_path: Path) -> None:
    """The second collector goes on alone with all that was acknowledged; the first stops by itself.

    It says why, and nothing it was sent after the second began is acknowledged or stored.
    """
    ledger = tmp_path / "ledger.db"

    async def report(address: str, sequence: int) -> int:
        async with stream(address) as sender:
            await sender.greet()
            answer = await sender.send(sequence, vector(sequence))
            return int(answer.acknowledgements[0].durability)

    with child(ledger, "--evaluate-period-s", "3600") as first:
        assert asyncio.run(report(first.address, 1)) == pb.DURABILITY_AT_ROOT
        (tmp_path / "ledger.db.lock").unlink()
        assert asyncio.run(report(first.address, 2)) == pb.DURABILITY_AT_ROOT
        with child(ledger) as second:
            with pytest.raises(grpc.aio.AioRpcError):
                asyncio.run(report(first.address, 3))
            assert first.process.wait(timeout=60) == 74
            assert first.process.stderr is not None
            assert "another collector has begun on the ledger" in first.process.stderr.read()
            assert asyncio.run(report(second.address, 4)) == pb.DURABILITY_AT_ROOT
        second.kill()
    with contextlib.closing(backends.read(str(ledger))) as found:
        assert [row.sequence for row in found.vectors()] == [4]


def test_two_that_begin_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another one begins as a collector does, the earlier of the two stores nothing."""
    ledger, both = str(tmp_path / "ledger.db"), contextlib.ExitStack()
    seconds: list[Ledger] = []
    position = SqliteLedger.position

    def begun_meanwhile(self: SqliteLedger) -> LedgerPosition:
        monkeypatch.undo()
        (tmp_path / "ledger.db.lock").unlink()
        seconds.append(both.enter_context(contextlib.closing(collect())))
        return position(self)

    def collect() -> Ledger:
        return backends.collect(ledger, simulated=False)

    collect().close()
    monkeypatch.setattr(SqliteLedger, "position", begun_meanwhile)
    with both, contextlib.closing(collect()) as first:
        (second,) = seconds
        second.commit(NOTE)
        with pytest.raises(StorageError, match="another collector has begun"):
            first.commit(NOTE)
        second.commit(NOTE)


def test_a_log_deleted_under_a_collector_ends_it(tmp_path: Path) -> None:
    """Nothing is acknowledged that would be gone with the process; what was, is in the file."""
    path = tmp_path / "ledger.db"
    with contextlib.closing(backends.collect(str(path), simulated=False)) as ledger:
        ledger.commit(NOTE)
        (tmp_path / "ledger.db-wal").unlink()
        with pytest.raises(StorageError, match="newest commits, was deleted"):
            ledger.commit(NOTE)
    with contextlib.closing(backends.read(str(path))) as found:
        assert len(list(found.audit())) == 1


def test_a_collector_without_work_notices_too(tmp_path: Path) -> None:
    """Its next evaluation finds that another one began."""
    with child(tmp_path / "ledger.db", "--evaluate-period-s", "0.1") as first:
        (tmp_path / "ledger.db.lock").unlink()
        with child(tmp_path / "ledger.db") as second:
            assert first.process.wait(timeout=60) == 74
            assert second.process.poll() is None
