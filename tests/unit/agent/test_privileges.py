"""What an agent's doctor finds: sight of processes, the kubelet's socket, the driver's lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flopmeter_agent import privileges as module
from flopmeter_agent.config import AgentConfig
from flopmeter_agent.privileges import findings, sight_of_processes
from support.fake_nvml import FakeDriver
from support.proc_tree import ProcTree


def config(folder: Path, *sources: str, **named: Any) -> AgentConfig:
    """Settings of an agent with these sources."""
    return AgentConfig(collector="c:8425", allocations=sources, allocations_folder=folder, **named)


def of(found_in: AgentConfig, source: str) -> tuple[bool | None, str]:
    """What is found of one source."""
    (found,) = [each for each in findings(found_in) if each.source == source]
    return found.has, found.found


@pytest.fixture(autouse=True)
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that is not there, unless a test has one."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "")


def test_only_the_sources_that_are_asked(tmp_path: Path) -> None:
    """What no setting names is not looked at; processes, driver and key always are."""
    always = ["processes", "driver", "site_key"]
    assert [each.source for each in findings(config(tmp_path))] == always
    named = config(tmp_path, "exec", "slurm", "kubernetes")
    assert [each.source for each in findings(named)] == ["exec", "slurm", "kubernetes", *always]


@pytest.mark.parametrize(
    ("inodes", "said"),
    [
        ({}, []),
        ({"pid": 7}, ["another PID namespace"]),
        ({"user": 7}, ["a private user namespace"]),
        ({"pid": 7, "user": 7}, ["another PID namespace", "a private user namespace"]),
    ],
)
def test_namespaces(
    inodes: dict[str, int], said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each namespace that is not the host's is told with what to change."""
    tree = ProcTree(tmp_path / "proc")
    tree.start(1)
    monkeypatch.setattr(module, "_inode", lambda path: inodes.get(path.name))
    told = sight_of_processes(tree.folder)
    assert [words in told for words in said] == [True] * len(said)
    assert bool(told) is bool(said)


def test_processes_that_cannot_be_read(tmp_path: Path) -> None:
    """Another reason than hidden processes is told in the system's words."""
    (tmp_path / "1/stat").mkdir(parents=True)
    assert "processes of others cannot be read (Is a directory)" in sight_of_processes(tmp_path)


def test_no_kubelet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without one lacks nothing; a folder without its socket does."""
    monkeypatch.setattr(module, "_KUBELET_FOLDER", tmp_path / "kubelet")
    monkeypatch.setattr("flopmeter_agent.allocations.kubernetes.KUBELET_SOCKET", tmp_path / "s")
    looked_for = config(tmp_path, "kubernetes", kubelet_socket="auto")
    assert of(looked_for, "kubernetes") == (None, "no kubelet is on this node")
    (tmp_path / "kubelet").mkdir()
    has, found = of(looked_for, "kubernetes")
    assert has is False and f"may not be used by user {os.geteuid()}" in found


# --- the driver ----------------------------------------------------------------------------------


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    """A scripted driver of two devices, found as the agent finds it."""
    made = FakeDriver(tmp_path, devices=2)
    from flopmeter_agent.sensors.nvml import driver as nvml

    real = nvml.open_driver
    monkeypatch.setattr(nvml, "open_driver", lambda _: real(made.library))
    yield made
    made.close()


def test_a_driver_that_tells(driver: FakeDriver, tmp_path: Path) -> None:
    """Every device tells its processes."""
    driver.set("gpu0.processes", 4_242)
    assert of(config(tmp_path), "driver") == (
        True,
        "2 of 2 device(s) tell their processes, 1 now",
    )


def test_a_driver_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node without one lacks nothing that could be given."""
    from flopmeter_agent.sensors.nvml import driver as nvml

    def missing(_: object) -> None:
        raise nvml.DriverError("nvmlInit", 12, "the library is missing")

    monkeypatch.setattr(nvml, "open_driver", missing)
    has, _ = of(config(tmp_path), "driver")
    assert has is None
