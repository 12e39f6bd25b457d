"""How a collector becomes a relay: what cannot be forwarded, and how forwarding ends."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.registers import RegisterTable
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
