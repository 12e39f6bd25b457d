"""Updates of the law as one signed file, carried to hosts without a network.

Owns: the form of a package, its signature (Ed25519), and how one is installed.
May touch: the package and key files it is told to; nothing else.
Called by site (reading an installed one) and by the command line; docs/thresholds.md.

The signature covers the payload's exact bytes, so nothing has to be brought into a common form.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from flopmeter_core.errors import DataError, StorageError, UsageError
from flopmeter_core.lawbook import LawBook, LawFiles, parse_lawbook

FORMAT = "flopmeter-law-1"

MAXIMUM_PACKAGE_CHARACTERS = 16 * 1024 * 1024
"""What flopmeter ships has a hundredth of it."""

_ENVELOPE = {"format", "payload", "signature"}
_PAYLOAD = {"issued_on", "note", "thresholds", "profiles", "calendars"}


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose signature held.

    Attributes:
        issued_on: the day it was made; a later one replaces it, an earlier one is refused.
        note: what it brings, for people.
        book: its rows, profiles and calendars, each read and checked.
        text: the whole file, as it is installed.
    """

    issued_on: datetime.date
    note: str
    book: LawBook
    text: str


def pack(files: LawFiles, *, issued_on: datetime.date, note: str, private_key: bytes) -> str:
    """Make a package.

    Args:
        files: what it brings; each file is read and checked first.
        issued_on: the day.
        note: what it brings, for people.
        private_key: an Ed25519 private key as PEM, without a passphrase.

    Raises:
        DataError: a file is wrong.
        UsageError: the key is no such key.
    """
    parse_lawbook(files)
    payload = json.dumps(
        {
            "issued_on": issued_on.isoformat(),
            "note": note,
            "thresholds": dict(files.thresholds),
            "profiles": dict(files.profiles),
            "calendars": dict(files.calendars),
        },
        ensure_ascii=False,
        sort_keys=True,
    )
    signature = _private_key(private_key).sign(payload.encode())
    envelope = {
        "format": FORMAT,
        "payload": payload,
        "signature": base64.b64encode(signature).decode(),
    }
    return json.dumps(envelope, ensure_ascii=False, indent=1) + "\n"


def unpack(text: str, public_key: bytes, *, name: str) -> Package:
    """Read a package; nothing of it is looked at before its signature held.

    Args:
        text: the file.
        public_key: the Ed25519 public key it has to be signed for, as PEM.
        name: what to call it in an error.

    Raises:
        DataError: it is none, is not signed by that key, or says something wrong.
        UsageError: the key is no such key.
    """
    key = _public_key(public_key)
    if len(text) > MAXIMUM_PACKAGE_CHARACTERS:
        raise DataError(f"package {name} is longer than {MAXIMUM_PACKAGE_CHARACTERS} characters")
    envelope = _object(text, _ENVELOPE, f"package {name}")
    if envelope["format"] != FORMAT:
        raise DataError(f"package {name} has the format {envelope['format']!r}; {FORMAT} is known")
    payload = envelope["payload"]
    if not isinstance(payload, str) or not isinstance(envelope["signature"], str):
        raise DataError(f"package {name}: payload and signature must be texts")
    try:
        key.verify(base64.b64decode(envelope["signature"], validate=True), payload.encode())
    except (InvalidSignature, binascii.Error, UnicodeEncodeError) as error:
        raise DataError(
            f"package {name} is not signed by this key, or was changed since; nothing was taken "
            "from it"
        ) from error
    fields = _object(payload, _PAYLOAD, f"the payload of package {name}")
    return Package(
        issued_on=_day(fields["issued_on"], name),
        note=str(fields["note"]),
        book=parse_lawbook(
            LawFiles(
                thresholds=_files(fields, "thresholds", name),
                profiles=_files(fields, "profiles", name),
                calendars=_files(fields, "calendars", name),
            )
        ),
        text=text,
    )


def install(package: Package, public_key: bytes, path: Path, *, before: Package | None) -> None:
    """Put a package and its key into the file that `installed` reads; whole or not at all.

    Args:
        package: what to install.
        public_key: the key it was signed for.
        path: where to.
        before: the package that is installed there now.

    Raises:
        UsageError: an older package would replace a newer one.
        StorageError: the file cannot be written.
    """
    if before is not None and package.issued_on < before.issued_on:
        raise UsageError(
            f"the package of {package.issued_on.isoformat()} is older than the installed one of "
            f"{before.issued_on.isoformat()}; remove {path} first if you mean it"
        )
    content = json.dumps({"key": public_key.decode(), "package": package.text}) + "\n"
    draft = path.with_name(path.name + ".new")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise StorageError(f"the update cannot be installed as {path}: {error}") from error


def installed(path: Path) -> Package:
    """Read what `install` wrote; its signature is checked again.

    Raises:
        UsageError: it cannot be read.
        DataError: it is not signed by the key beside it, or says something wrong.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the installed update {path} cannot be read ({error}); install it again, or remove it"
        ) from error
    fields = _object(text, {"key", "package"}, f"the installed update {path}")
    return unpack(str(fields["package"]), str(fields["key"]).encode(), name=str(path))


def _object(text: str, fields: set[str], where: str) -> dict[str, Any]:
    """A JSON object with just these fields."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or set(content) != fields:
        raise DataError(f"{where} must have just the fields {', '.join(sorted(fields))}")
    return content


def _files(fields: Mapping[str, Any], field: str, name: str) -> dict[str, str]:
    files = fields[field]
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        raise DataError(f"package {name}: {field} must map file names to texts")
    return {f"{name}: {file}": text for file, text in files.items()}


def _day(text: object, name: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(str(text))
    except ValueError as error:
        raise DataError(f"package {name}: issued_on {text!r} is no date") from error


def _private_key(pem: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"the private key cannot be read ({error}); {_MAKE}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"the private key is no Ed25519 key; {_MAKE}")
    return key


def _public_key(pem: bytes) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"the public key cannot be read ({error}); {_TAKE}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"the public key is no Ed25519 key; {_TAKE}")
    return key


_MAKE = "make one with: openssl genpkey -algorithm ed25519"
_TAKE = "take it from the private one with: openssl pkey -pubout"
