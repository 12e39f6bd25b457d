"""A change of a folder or a process is noticed at once, and nothing else wakes the agent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_agent.watching import Watcher


class Told:
    """Counts what a watcher says."""

    def __init__(self) -> None:
        self.count = 0
        self._event = threading.Event()

    def __call__(self) -> None:
        """Be told."""
        self.count += 1
        self._event.set()

    def soon(self, seconds: float = 30) -> bool:
        """Whether it is told within a time; forgets it."""
        found = self._event.wait(seconds)
        self._event.clear()
        return found


@pytest.fixture
def told() -> Told:
    """Nothing said yet."""
    return Told()


@pytest.fixture
def watcher(tmp_path: Path, told: Told) -> Iterator[Watcher]:
    """A watcher of one folder, and of one that is not there."""
    made = Watcher((tmp_path, tmp_path / "missing"), told)
    yield made
    made.close()


def test_folder(watcher: Watcher, told: Told, tmp_path: Path) -> None:
    """A file put in place, rewritten and removed is noticed each time."""
    assert not watcher.sees_folders  # not the one that is missing
    (tmp_path / ".new").write_text("a")
    assert told.soon()
    (tmp_path / ".new").rename(tmp_path / "GPU-a")
    assert told.soon()
    (tmp_path / "GPU-a").unlink()
    assert told.soon()


def test_process(watcher: Watcher, told: Told) -> None:
    """The end of a process is noticed once, though its descriptor stays readable."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pidfd = os.pidfd_open(child.pid)
    watcher.follow([pidfd])
    assert not told.soon(0.2)
    child.communicate(b"\n")
    assert told.soon()
    time.sleep(0.2)
    assert told.count == 1
    watcher.follow([])
    os.close(pidfd)


def test_descriptor_closed_by_its_owner(watcher: Watcher, told: Told) -> None:
    """A process that was let go of by its owner is no trouble, and its number may be used anew."""
    first = os.pidfd_open(os.getpid())
    watcher.follow([first])
    os.close(first)
    watcher.follow([])
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    second = os.pidfd_open(child.pid)
    watcher.follow([second])
    child.communicate(b"\n")
    assert told.soon()
    watcher.follow([])
    os.close(second)


def test_folders_that_are_all_there(tmp_path: Path, told: Told) -> None:
    """Only then nobody has to look by themselves; where none is to be watched, none is missed."""
    for folders in ((tmp_path,), ()):
        watcher = Watcher(folders, told)
        assert watcher.sees_folders
        watcher.close()


def test_nothing_to_watch(tmp_path: Path, told: Told) -> None:
    """Without a folder it sees none, and ends all the same."""
    watcher = Watcher((tmp_path / "missing",), told)
    assert not watcher.sees_folders
    watcher.close()
    watcher.follow([0])


def test_number_that_is_another_process_now(watcher: Watcher, told: Told) -> None:
    """A process whose descriptor has the number of one that ended is followed all the same."""
    first = os.pidfd_open(os.getpid())
    watcher.follow([first])
    os.close(first)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    second = os.pidfd_open(child.pid)
    assert second == first
    watcher.follow([second])
    child.communicate(b"\n")
    assert told.soon()
    os.close(second)


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_folder_that_is_made_anew(tmp_path: Path, told: Told, how: str) -> None:
    """A folder that went is not taken for watched; its successor is, once it is there."""
    folder = tmp_path / "alloc"
    folder.mkdir()
    watcher = Watcher((folder,), told)
    assert watcher.sees_folders
    if how == "removed":
        folder.rmdir()
    else:
        folder.rename(tmp_path / "old")
    assert told.soon()
    watcher.follow([])
    assert not watcher.sees_folders
    folder.mkdir()
    watcher.follow([])
    assert told.soon()
    assert watcher.sees_folders
    time.sleep(0.2)
    told.soon(0)
    (folder / "GPU-a").write_text("a")
    assert told.soon()
    watcher.close()
