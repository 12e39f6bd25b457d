"""The key under which names are hashed: one for the site, or one of the agent's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.site_key import KEY_FILE, SiteKey, open_site_key
from flopmeter_core.errors import StorageError, UsageError


def test_own_key(tmp_path: Path) -> None:
    """An agent without a key makes one once, and only it may read it."""
    first = open_site_key(None, tmp_path)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert open_site_key(None, tmp_path).hash("a", "b") == first.hash("a", "b")
    other = tmp_path / "other"
    other.mkdir()
    assert open_site_key(None, other).hash("a", "b") != first.hash("a", "b")


def test_torn_key(tmp_path: Path) -> None:
    """A key that was cut short is made anew."""
    (tmp_path / KEY_FILE).write_bytes(b"short")
    assert len(open_site_key(None, tmp_path).hash("a")) == 24
    assert len((tmp_path / KEY_FILE).read_bytes()) == 32


def test_sites_key(tmp_path: Path) -> None:
    """The same key gives the same hash on every node, whatever ends its line."""
    path = tmp_path / "key"
    path.write_bytes(b"0123456789abcdef\n")
    expected = SiteKey(b"0123456789abcdef").hash("pod", "a", "b")
    assert open_site_key(path, tmp_path).hash("pod", "a", "b") == expected
    assert not (tmp_path / KEY_FILE).exists()


def test_kinds_and_parts_differ() -> None:
    """Neither another kind nor another division of the same letters has the same hash."""
    key = SiteKey(b"k" * 32)
    assert len({key.hash("a", "bc"), key.hash("b", "bc"), key.hash("a", "b", "c")}) == 3
    assert key.hash("a", "b", "c") == key.hash("a", "b\0c")  # a zero byte is no part of a name


def test_bad_key(tmp_path: Path) -> None:
    """A key that is missing or too short is said in one sentence, and a folder that fails too."""
    with pytest.raises(UsageError, match="cannot be read"):
        open_site_key(tmp_path / "missing", tmp_path)
    (tmp_path / "key").write_text("short")
    with pytest.raises(UsageError, match="has 5 bytes"):
        open_site_key(tmp_path / "key", tmp_path)
    with pytest.raises(StorageError, match="cannot be kept"):
        open_site_key(None, tmp_path / "missing")
