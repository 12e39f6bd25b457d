"""Locks: one agent a host and a state folder, and none left behind."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from flopmeter_agent.locks import HOST_LOCK_NAME, FolderLock, HostLock
from flopmeter_core.errors import BusyError, StorageError


def test_a_second_agent_cannot_read_the_same_devices(tmp_path: Path) -> None:
    """The host-wide lock has one holder, and is free again once released."""
    # A name of its own: an agent of this host, or a suite beside this one, may hold the real one.
    name = f"{HOST_LOCK_NAME}{tmp_path}"
    nowhere = tmp_path / "nowhere"
    first = HostLock(name, nowhere)
    with pytest.raises(BusyError, match="stop it first") as refused:
        HostLock(name, nowhere)
    assert refused.value.exit_code == 75  # a service manager tries again
    first.release()
    HostLock(name, nowhere).release()


def test_nobody_else_keeps_an_agent_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A name that any user can hold stops no agent that has a folder of its own; that is said."""
    name = f"{HOST_LOCK_NAME}{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(name)
        lock = HostLock(name, tmp_path)
        assert "held by another user's process" in caplog.text
        with pytest.raises(BusyError, match="stop it first"):
            HostLock(name, tmp_path)
        lock.release()
    HostLock(name, tmp_path).release()
    assert caplog.text.count("held by another user's process") == 1


def test_two_network_namespaces(tmp_path: Path) -> None:
    """Where agents share the folder but not the names, the file alone tells them apart."""
    lock = HostLock(f"{HOST_LOCK_NAME}{tmp_path}/one", tmp_path)
    with pytest.raises(BusyError):
        HostLock(f"{HOST_LOCK_NAME}{tmp_path}/other", tmp_path)
    lock.release()


@pytest.mark.parametrize("what", ["folder that others may write", "file that others may open"])
def test_a_file_that_others_could_hold(tmp_path: Path, what: str) -> None:
    """It decides nothing: the name does, as where there is no folder."""
    name = f"{HOST_LOCK_NAME}{tmp_path}"
    if what.startswith("folder"):
        tmp_path.chmod(0o777)
    else:
        (tmp_path / "agent.lock").touch()
        (tmp_path / "agent.lock").chmod(0o644)
    first = HostLock(name, tmp_path)
    with pytest.raises(BusyError):
        HostLock(name, tmp_path)
    HostLock(f"{name}/other", tmp_path).release()
    first.release()


def test_a_second_agent_cannot_use_the_same_folder(tmp_path: Path) -> None:
    """The folder's lock has one holder, and is free again once released."""
    first = FolderLock(tmp_path / "state")
    with pytest.raises(BusyError, match="name another with --state"):
        FolderLock(tmp_path / "state")
    first.release()
    FolderLock(tmp_path / "state").release()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """A file where the folder should be is told with its path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used"):
        FolderLock(tmp_path / "file" / "state")
