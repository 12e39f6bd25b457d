"""Locks: one agent a host and a state folder, and none left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.locks import HOST_LOCK_NAME, FolderLock, HostLock
from flopmeter_core.errors import BusyError, StorageError


def test_a_second_agent_cannot_read_the_same_devices(tmp_path: Path) -> None:
    """The host-wide lock has one holder, and is free again once released."""
    # A name of its own: an agent of this host, or a suite beside this one, may hold the real one.
    name = f"{HOST_LOCK_NAME}{tmp_path}"
    first = HostLock(name)
    with pytest.raises(BusyError, match="stop it first") as refused:
        HostLock(name)
    assert refused.value.exit_code == 75  # a service manager tries again
    first.release()
    HostLock(name).release()


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
