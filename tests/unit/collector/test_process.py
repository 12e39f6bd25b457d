"""The collector as a process: it ends in order when asked, and with its failure when it has one."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

from flopmeter_collector import process
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.interpreter import Cycles
from flopmeter_core.errors import FlopmeterError, StorageError


class App:
    """A collector that stops by itself, or fails."""

    def __init__(self, error: FlopmeterError | None = None) -> None:
        self.law = SimpleNamespace(ask=list)
        self.error = error
        self.told: list[str] = []

    async def start(self) -> None:
        """Begin."""
        self.told.append("started")

    async def wait_failed(self) -> FlopmeterError:
        """Fail at once, or never."""
        if self.error is None:
            await asyncio.Event().wait()
        assert self.error is not None
        return self.error

    async def stop(self) -> None:
        """End."""
        self.told.append("stopped")


def served(app: App, monkeypatch: pytest.MonkeyPatch) -> int:
    """Be that collector; neither the log nor the interpreter is changed."""
    monkeypatch.setattr(process, "CollectorApp", lambda *_, **__: app)
    monkeypatch.setattr(process, "logs", SimpleNamespace(configure=lambda level: None))
    monkeypatch.setattr(process, "prefer_answers", lambda: None)
    monkeypatch.setattr(Cycles, "settle", lambda _: None)
    return process.run(CollectorConfig())


def test_a_failure_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped in order, and the process ends with the failure and its exit code."""
    app = App(StorageError("the disk is full"))
    with pytest.raises(StorageError, match="the disk is full"):
        served(app, monkeypatch)
    assert app.told == ["started", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an orderly stop the exit code is 0; a hangup before only has the law read again."""

    class Signalled(App):
        def __init__(self) -> None:
            super().__init__()
            self.law.ask = self.ask

        def ask(self) -> None:
            self.told.append("law")
            os.kill(os.getpid(), number)

        async def start(self) -> None:
            await super().start()
            os.kill(os.getpid(), signal.SIGHUP)

    app = Signalled()
    assert served(app, monkeypatch) == 0
    assert app.told == ["started", "law", "stopped"]
