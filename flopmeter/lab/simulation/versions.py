"""What agents and collectors of other versions say and understand, made from what today's say.

Owns: which fields each version lacks, and the fields that only a later one has.
May touch: the messages it is given, which are copies.
Called by the network for each message, between two sides of which either may be of any version.

An older side never says what came after it and drops it where it hears it. A later one says more
than anybody here knows, everywhere it can. tests/data/wire has what real older versions said.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any


class Version(enum.Enum):
    """A version of the wire, oldest first."""

    BEFORE_HOURS_AND_CLAIMS = "before-hours-and-claims"
    BEFORE_BOOT_TIMES = "before-boot-times"
    BEFORE_WRITERS = "before-writers"
    TODAY = "today"
    LATER = "later"


_UNKNOWN = b"\xfa\x7f\x03abc\xf0\x7f\x05"
"""Field 2047 with a text and field 2046 with a number, which no version has."""

_HOURS_AND_CLAIMS = (
    "claims",
    "hourly_vectors",
    "claim_acknowledgements",
    "hourly_acknowledgements",
)


def between(message: Any, speaker: Version, listener: Version) -> Any:
    """A message of an agent's stream as a listener of one version gets it from a speaker of one.

    Args:
        message: a request or an answer of today's; it is not changed.
        speaker: who says it.
        listener: who hears it.
    """
    if speaker is listener is Version.TODAY:
        return message
    changed = type(message)()
    changed.CopyFrom(message)
    for version in (speaker, listener):
        if version is Version.BEFORE_HOURS_AND_CLAIMS:
            _clear(changed, _HOURS_AND_CLAIMS)
        if version in (Version.BEFORE_HOURS_AND_CLAIMS, Version.BEFORE_BOOT_TIMES):
            for vector in getattr(changed, "vectors", ()):
                _clear(vector, ("boot_duration_ns",))
        if version not in (Version.TODAY, Version.LATER):
            for vector in getattr(changed, "vectors", ()):
                _clear(vector, ("follows_fingerprints",))
            for acknowledgement in getattr(changed, "acknowledgements", ()):
                _clear(acknowledgement, ("held_sequence", "held_fingerprint"))
            _clear(changed, ("doubts",))
    if speaker is Version.LATER:
        for part in _parts(changed):
            part.MergeFromString(_UNKNOWN)
    return changed


def _clear(message: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)


def _parts(message: Any) -> Iterator[Any]:
    """A message and every message in it."""
    for field, content in message.ListFields():
        if field.message_type is None or field.message_type.full_name.startswith("google."):
            continue
        for each in (
            content if hasattr(content, "append") or hasattr(content, "add") else (content,)
        ):
            yield from _parts(each)
    yield message
