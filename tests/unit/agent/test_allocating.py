"""Which sources of users an agent has, and what becomes of one that cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flopmeter_agent import allocating as module
from flopmeter_agent.allocating import allocating, kubelet_socket
from flopmeter_agent.allocations import kubernetes
from flopmeter_agent.config import AgentConfig
from flopmeter_core.errors import FlopmeterError, StorageError
from support.manual_clock import ManualClock


def config(folder: Path, *sources: str, **named: Any) -> AgentConfig:
    """Settings of an agent with these sources."""
    settings = {"allocations_folder": folder / "run", "state": folder / "state", **named}
    return AgentConfig(collector="c:8425", allocations=sources, kubelet_socket="", **settings)


def nothing() -> None:
    """Nobody has to be told."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an agent keeps its state, and others write their files."""
    (tmp_path / "run").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path


def test_folders_of_sources(folder: Path) -> None:
    """Everybody may write runs, only its owner what a prolog says; a second agent finds them."""
    for _ in range(2):
        with allocating(config(folder, "exec", "slurm"), ManualClock(), changed=nothing) as table:
            assert table is not None
            assert list(table.counters) == ["exec", "slurm"]
    assert (folder / "run/runs").stat().st_mode & 0o7777 == 0o1777
    assert (folder / "run/alloc").stat().st_mode & 0o7777 == 0o755


def test_only_what_is_asked_for(folder: Path) -> None:
    """A source that is left out has no folder."""
    with allocating(config(folder, "cgroup"), ManualClock(), changed=nothing) as table:
        assert table is not None and list(table.counters) == ["cgroup"]
    assert list((folder / "run").iterdir()) == []


def test_a_folder_that_cannot_be_made(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and the agent goes on: the folder may come later."""
    caplog.set_level("INFO")
    missing = config(folder, "exec", allocations_folder=folder / "none" / "run")
    with allocating(missing, ManualClock(), changed=nothing) as table:
        assert table is not None
    assert any("cannot be made" in row.message for row in caplog.records)


def test_a_key_that_cannot_be_had(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without one of its own an agent tells nobody apart; one that was named has to be there."""

    def unreadable(*_: object) -> bytes:
        raise StorageError("no room for a key")

    monkeypatch.setattr(module, "open_site_key", unreadable)
    with allocating(config(folder, "exec"), ManualClock(), changed=nothing) as table:
        assert table is None
    assert any("no allocations are told apart" in row.message for row in caplog.records)
    named = config(folder, "exec", site_key=folder / "key")
    with (
        pytest.raises(FlopmeterError, match="no room for a key"),
        allocating(named, ManualClock(), changed=nothing),
    ):
        pytest.fail("a key that was asked for is not done without")


def test_the_kubelets_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked for by itself, named, or not wanted."""
    assert kubelet_socket("") is None
    assert kubelet_socket("/x.sock") == Path("/x.sock")
    monkeypatch.setattr(kubernetes, "KUBELET_SOCKET", tmp_path / "kubelet.sock")
    assert kubelet_socket("auto") is None
    (tmp_path / "kubelet.sock").touch()
    assert kubelet_socket("auto") == tmp_path / "kubelet.sock"
