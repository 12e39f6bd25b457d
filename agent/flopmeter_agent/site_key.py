"""The key under which names that could be private are hashed before they leave the node.

Owns: the key's file, how it is made, and the hash.
May touch: one file: the setting's, or one in the state folder that is made once.
Called by allocating, which hands the key to the allocation sources; docs/security.md.

With a key of the site's own, the same name has the same hash on all of its nodes; with the key an
agent makes for itself it is told apart on one node only.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from flopmeter_core.errors import StorageError, UsageError

KEY_FILE = "site-key"
SHORTEST_KEY_BYTES = 16
_LONGEST_KEY_BYTES = 4_096
_HASH_DIGITS = 24
"""96 bits: of a billion names two are alike with a probability below 10^-10."""


class SiteKey:
    """Hashes names."""

    def __init__(self, key: bytes) -> None:
        """Take the key; at least `SHORTEST_KEY_BYTES`."""
        self._key = key

    def hash(self, kind: str, *parts: str) -> str:
        """A name's hash: the same under the same key, and nothing without it.

        Args:
            kind: what is named, so that equal texts of two kinds differ.
            parts: the name.
        """
        content = "\0".join((kind, *parts)).encode("utf-8", "surrogateescape")
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()[:_HASH_DIGITS]


def open_site_key(path: Path | None, state: Path) -> SiteKey:
    """Read the site's key, or the one that this agent made for itself at its first start.

    Args:
        path: the setting; None takes the agent's own.
        state: the state folder.

    Raises:
        UsageError: the site's key cannot be read or is too short.
        StorageError: the agent's own cannot be kept.
    """
    if path is not None:
        try:
            key = path.read_bytes()[:_LONGEST_KEY_BYTES].strip()
        except OSError as error:
            raise UsageError(
                f"site_key {path} cannot be read ({error.strerror}); the agent's user needs to "
                "read it, and nobody else"
            ) from error
        if len(key) < SHORTEST_KEY_BYTES:
            raise UsageError(
                f"site_key {path} has {len(key)} bytes; make one of 32: "
                f"head -c 32 /dev/urandom | base64 > {path}"
            )
        return SiteKey(key)
    own = state / KEY_FILE
    try:
        if own.exists():
            key = own.read_bytes()
            if len(key) >= SHORTEST_KEY_BYTES:
                return SiteKey(key)
        key = secrets.token_bytes(32)
        partial = own.with_suffix(".new")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, key)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(own)
    except OSError as error:
        raise StorageError(f"{own} cannot be kept ({error.strerror})") from error
    return SiteKey(key)
