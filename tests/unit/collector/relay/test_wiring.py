"""How a collector becomes a relay: what cannot be forwarded, and how forwarding ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from flopmeter_collector import backends
from flopmeter_collector.commit import Committer
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.ledger.base import HourPage, LedgerBusyError
from flopmeter_collector.ledger.sqlite.store import SqliteLedger
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.relay import wiring
from flopmeter_collector.relay.wiring import Relay, build
from flopmeter_core.errors import UsageError
from support.manual_clock import ManualClock


class Link:
    """A way upstream that ends as it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def run(self, *, wait: object, stop: asyncio.Event) -> None:
        """Forward until the end, or fail."""
        if self.error is not None:
            raise self.error
        await stop.wait()


def relay(error: Exception | None = None) -> Relay:
    """A relay with this way upstream."""
    return Relay(cast(Any, None), cast(Any, Link(error)), ManualClock())


def test_forwarding_ends_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """A stop is no fault, and one that never began is stopped too."""

    async def scenario() -> None:
        await relay().stop()
        started = relay()
        started.start(lambda stop: stop.wait())  # type: ignore[arg-type, return-value]
        await asyncio.sleep(0)
        await started.stop()

    asyncio.run(scenario())
    assert not caplog.records


def test_forwarding_that_fails_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A defect does not pass in silence, and a stop afterwards still works."""

    async def scenario() -> None:
        failing = relay(ZeroDivisionError("no such thing"))
        failing.start(lambda stop: stop.wait())  # type: ignore[arg-type, return-value]
        await asyncio.sleep(0.01)
        await failing.stop()

    asyncio.run(scenario())
    (said,) = caplog.records
    assert (said.levelname, said.message) == ("ERROR", "forwarding ended")
    assert said.exc_info is not None and said.exc_info[0] is ZeroDivisionError


def test_a_ledger_that_cannot_be_forwarded() -> None:
    """Only a file is; where nobody forwards, another kind has nothing to forget."""

    def built(**settings: Any) -> object:
        config = CollectorConfig(ledger="x.db", **settings)
        table = RegisterTable()
        ledger, committer = cast(Any, object()), cast(Any, None)
        return asyncio.run(build(config, ledger, committer, table, dict, ManualClock()))

    assert built() is None
    with pytest.raises(UsageError, match="cannot be forwarded; name a file with --ledger"):
        built(upstream="root.example:8425")


def test_a_ledger_that_is_busy_ends_no_forwarding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read just now is read a moment later, as a commit is tried again."""
    monkeypatch.setattr(wiring, "RETRY_S", 0.01)
    refused = [True, True]
    read = SqliteLedger.hours_to_forward

    def busy(self: SqliteLedger, *asked: Any) -> HourPage:
        if refused:
            refused.pop()
            raise LedgerBusyError("another process holds it")
        return read(self, *asked)

    monkeypatch.setattr(SqliteLedger, "hours_to_forward", busy)

    async def scenario() -> bool:
        ledger, table = backends.collect(str(tmp_path / "l.db"), simulated=False), RegisterTable()
        committer = Committer(ledger, table)
        committer.start()
        config = CollectorConfig(ledger="l.db", upstream="127.0.0.1:1")
        made = await build(config, ledger, committer, table, dict, ManualClock())
        assert made is not None
        batch = await made.forwarder.next_batch()
        await committer.stop()
        ledger.close()
        return batch.hours == ()

    assert asyncio.run(scenario())
    assert not refused
