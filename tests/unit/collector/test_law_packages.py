"""Signed updates: what a package brings counts only if its signature holds, and whole."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from flopmeter_collector.law_packages import install, installed, pack, unpack
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import DataError, StorageError, UsageError
from flopmeter_core.lawbook import LawFiles
from support.law_keys import key_pair

PRIVATE, PUBLIC = key_pair(1)
OTHER_PRIVATE, OTHER_PUBLIC = key_pair(2)
ROW = builtin_thresholds()["ca-sb53.toml"]
DAY = datetime.date(2026, 12, 1)


def packed(row: str = ROW, *, day: datetime.date = DAY, key: bytes = PRIVATE) -> str:
    """A package with one row."""
    files = LawFiles(thresholds={"ca-sb53.toml": row})
    return pack(files, issued_on=day, note="a test", private_key=key)


def test_round() -> None:
    """What is packed comes out, with its day and note."""
    package = unpack(packed(), PUBLIC, name="p")
    assert [row.id for row in package.book.rows] == ["ca-sb53"]
    assert (package.issued_on, package.note) == (DAY, "a test")


def test_every_changed_character_is_seen() -> None:
    """No character of the payload can be another without the signature failing."""
    envelope = json.loads(packed())
    payload = envelope["payload"]
    for place in range(0, len(payload), 97):
        changed = "x" if payload[place] != "x" else "y"
        envelope["payload"] = payload[:place] + changed + payload[place + 1 :]
        with pytest.raises(DataError, match="not signed by this key, or was changed"):
            unpack(json.dumps(envelope), PUBLIC, name="p")


def test_another_key() -> None:
    """A package that somebody else signed is refused."""
    with pytest.raises(DataError, match="not signed by this key"):
        unpack(packed(key=OTHER_PRIVATE), PUBLIC, name="p")


@pytest.mark.parametrize(
    ("field", "content", "sentence"),
    [
        ("format", "flopmeter-law-2", "has the format 'flopmeter-law-2'"),
        ("signature", "!", "not signed by this key"),
        ("signature", 1, "must be texts"),
        ("payload", "\ud800", "not signed by this key"),
        ("more", 1, "must have just the fields"),
    ],
)
def test_bad_envelope(field: str, content: object, sentence: str) -> None:
    """A file that is no package is refused before anything of it is read."""
    with pytest.raises(DataError, match=sentence):
        unpack(json.dumps(json.loads(packed()) | {field: content}), PUBLIC, name="p")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "x" * (16 * 1024 * 1024 + 1)])
def test_no_package(text: str) -> None:
    """Anything else is refused in one sentence."""
    with pytest.raises(DataError, match="package p"):
        unpack(text, PUBLIC, name="p")


def test_a_wrong_row_is_not_packed() -> None:
    """A row with a mistake is refused where it is written, and again where it is read."""
    with pytest.raises(DataError, match="operator has the unknown word"):
        packed(ROW.replace('operator = "above"', 'operator = "over"'))


def test_keys() -> None:
    """A key that is none, or of another kind, is said with the command that makes one."""
    other = X25519PrivateKey.generate()
    private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for key in (b"", b"no key", private, PUBLIC):
        with pytest.raises(UsageError, match="openssl genpkey"):
            packed(key=key)
    for key in (b"", b"no key", public, PRIVATE):
        with pytest.raises(UsageError, match="openssl pkey -pubout"):
            unpack(packed(), key, name="p")


def test_install(tmp_path: Path) -> None:
    """What is installed is read back with its signature; an older one does not replace it."""
    path = tmp_path / "update.package"
    newer, older = (
        unpack(packed(), PUBLIC, name="p"),
        unpack(packed(day=DAY - datetime.timedelta(days=1)), PUBLIC, name="p"),
    )
    install(older, PUBLIC, path, before=None)
    install(newer, PUBLIC, path, before=installed(path))
    assert installed(path).issued_on == DAY
    with pytest.raises(UsageError, match="is older than the installed one"):
        install(older, PUBLIC, path, before=installed(path))
    assert installed(path).issued_on == DAY
    assert [entry.name for entry in tmp_path.iterdir()] == ["update.package"]


def test_a_changed_installation_is_seen(tmp_path: Path) -> None:
    """A file that was changed after it was installed is refused, with its name."""
    path = tmp_path / "update.package"
    install(unpack(packed(), PUBLIC, name="p"), PUBLIC, path, before=None)
    path.write_text(path.read_text().replace("10^26", "10^27"))
    with pytest.raises(DataError, match=r"update\.package is not signed"):
        installed(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot be read"):
        installed(path)


def test_no_place(tmp_path: Path) -> None:
    """A folder that is not there is said; nothing is left behind."""
    with pytest.raises(StorageError, match="cannot be installed"):
        install(unpack(packed(), PUBLIC, name="p"), PUBLIC, tmp_path / "no" / "p", before=None)
