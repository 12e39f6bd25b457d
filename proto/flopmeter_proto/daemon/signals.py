"""How a daemon is asked to stop or to read its files again.

Owns: the handlers of SIGTERM and SIGINT, which set an event once, and of SIGHUP.
May touch: the process's signal handlers; main thread only.
Called by apps; whatever runs takes the event as an argument.
A second signal has its usual effect, so that a person can always end a daemon that hangs.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_event() -> Iterator[threading.Event]:
    """Give an event that SIGTERM or SIGINT sets; the handlers before are put back at the end."""
    event = threading.Event()
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def stop(number: int, frame: FrameType | None) -> None:
        event.set()
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_DFL)

    for number in STOP_SIGNALS:
        signal.signal(number, stop)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def async_stop_event() -> Iterator[asyncio.Event]:
    """As `stop_event`, with an asyncio event of the running loop."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def stop() -> None:
        event.set()
        for each in STOP_SIGNALS:
            loop.remove_signal_handler(each)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield event
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            # The loop leaves the usual one, also where a signal was ignored: in the background.
            signal.signal(number, handler)


@contextmanager
def on_hangup(call: Callable[[], None]) -> Iterator[None]:
    """Call something on the running loop at each SIGHUP, which would end the process else."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, call)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
