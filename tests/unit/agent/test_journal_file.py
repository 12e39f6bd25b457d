"""The journal's file of the operating system: whole writes, reserved space, durable renames."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from flopmeter_agent.journal import OsBlockFile


def test_a_short_write_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may take less than it was given."""
    whole = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda descriptor, view, at: whole(descriptor, bytes(view[:3]), at)
    )
    file = OsBlockFile(tmp_path / "file")
    file.write(5, b"0123456789")
    assert file.read(0, 99) == b"\0\0\0\0\0" + b"0123456789"
    assert file.size() == 15
    file.close()


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    """A new file and one that took an old one's place."""
    path = tmp_path / "file"
    file = OsBlockFile(path)
    assert path.stat().st_mode & 0o777 == 0o600
    file.rewrite(100, 10, b"content")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes() == bytes(10) + b"content" + bytes(83)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    file.close()


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fsync", "rename"])
def test_a_new_file_that_cannot_be_made_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whatever fails before the rename: the old file is there, open and whole."""
    path = tmp_path / "file"
    file = OsBlockFile(path)
    file.write(0, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space"):
            file.rewrite(100, 0, b"new")
    assert file.read(0, 3) == b"old"
    assert path.read_bytes() == b"old"
    file.write(0, b"odd")
    file.sync()
    assert path.read_bytes() == b"odd"
    file.rewrite(4, 0, b"next")  # what the failed one left is in nobody's way
    assert path.read_bytes() == b"next"
    file.close()


def test_a_rewrite_is_durable_by_content_and_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file before its rename, the folder after it."""
    path = tmp_path / "file"
    file = OsBlockFile(path)
    seen: list[str] = []
    sync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        seen.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        seen.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    before = len(os.listdir("/proc/self/fd"))
    file.rewrite(10, 0, b"x")
    assert seen == ["file", "rename", "folder"]
    assert len(os.listdir("/proc/self/fd")) == before
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.size()
