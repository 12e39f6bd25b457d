"""SIGTERM and SIGINT set the event; the handlers before come back."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from flopmeter_proto.daemon.signals import STOP_SIGNALS, async_stop_event, stop_event


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_sync(number: signal.Signals) -> None:
    """A signal sets the event; a second one would have its usual effect."""
    before = signal.getsignal(number)
    with stop_event() as event:
        assert not event.is_set()
        os.kill(os.getpid(), number)
        assert event.wait(5)
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before


@pytest.fixture(params=["heard", "ignored"])
def before(request: pytest.FixtureRequest) -> Iterator[object]:
    """What an interrupt does before; a process in the background of a shell ignores it."""
    own = signal.getsignal(signal.SIGINT)
    handler = signal.SIG_IGN if request.param == "ignored" else signal.default_int_handler
    signal.signal(signal.SIGINT, handler)
    yield handler
    signal.signal(signal.SIGINT, own)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_async(number: signal.Signals, before: object) -> None:
    """The same for a loop, whose handlers end with it."""

    async def main() -> None:
        with async_stop_event() as event:
            os.kill(os.getpid(), number)
            await asyncio.wait_for(event.wait(), 5)

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert signal.getsignal(signal.SIGINT) is before


def test_async_without_signal() -> None:
    """A loop that ends by itself leaves no handler behind."""
    before = signal.getsignal(signal.SIGTERM)

    async def main() -> bool:
        with async_stop_event() as event:
            inside = signal.getsignal(signal.SIGTERM)
        assert inside is not before
        assert signal.getsignal(signal.SIGTERM) is before
        return event.is_set()

    loop = asyncio.new_event_loop()
    try:
        assert not loop.run_until_complete(main())
    finally:
        loop.close()
