"""Telling the writers of one key apart: fingerprints of vectors, and marks in sequences.

Owns: the fingerprint by which a vector is named, and the part of a sequence that is a mark.
May touch: nothing; pure functions of integers.
Called by the agent (which knows what it wrote), the collector's merge and the fault simulator.
Explained in docs/adr/0030-two-writers-of-one-incarnation.md.

Every key has one writer, unless a machine was copied together with its running agent. Who finds
that another process writes under its keys marks the sequences of its own vectors: vectors with
different marks never follow each other, whatever they hold.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from array import array
from collections.abc import Sequence

from flopmeter_core.registers import COMPONENT_COUNT, Key, Vector

MARK_SHIFT = 40
"""Below it a sequence counts changes: one a second for 34,000 years. Above it is the mark."""

MARKS = 2**22 - 1
"""Marks there are, from 1; a sequence stays below 2^62 with any of them. 0 is no mark."""

NOTHING = 0
"""The fingerprint of no vector: sequences begin at 1."""

KEY_DIGEST_BYTES = 16

_pack = struct.Struct(f"<{COMPONENT_COUNT}q").pack
_LOW = 0xFFFF_FFFF


def fingerprint(sequence: int, vector: Sequence[int]) -> int:
    """A name for one vector of a key, 64 bits: the low half of its sequence and a CRC-32.

    It is no secret and no proof against a liar: it tells what two honest processes wrote apart,
    but for one pair in 2^32 (CRC-32 as in ISO 3309, of the components as 64-bit little endian).

    Args:
        sequence: of the vector.
        vector: its components.
    """
    return name_of(sequence, _pack(*vector))


def name_of(sequence: int, packed: bytes | array[int]) -> int:
    """The fingerprint of a vector whose components are 64-bit little endian already."""
    return (sequence & _LOW) << 32 | zlib.crc32(packed)


def is_among(sequence: int, vector: Vector, fingerprints: tuple[int, ...]) -> bool:
    """Whether the fingerprint of a vector is one of these; looks at its sequence first."""
    low = sequence & _LOW
    return any(each >> 32 == low for each in fingerprints) and (
        fingerprint(sequence, vector) in fingerprints
    )


def is_before(named: int, sequence: int) -> bool:
    """Whether a fingerprint is of a vector with a lower sequence."""
    return named >> 32 < sequence & _LOW


def mark_of(sequence: int) -> int:
    """The mark in a sequence; 0 for none."""
    return sequence >> MARK_SHIFT


def unmarked(sequence: int) -> int:
    """A sequence without its mark: how often the register had changed."""
    return sequence & (1 << MARK_SHIFT) - 1


def marked(sequence: int, mark: int) -> int:
    """A sequence with a mark, 1 to `MARKS`, in the place of any it had."""
    return mark << MARK_SHIFT | unmarked(sequence)


def key_digest(key: Key) -> bytes:
    """A name for a key that tells nothing of it: the first 128 bits of a SHA-256.

    Only who knows the key's random incarnation can find what it stands for. No text of a key holds
    a line's end, so no two keys are spelled alike.
    """
    parts = (key.device, key.incarnation, key.allocation, key.phase, key.evidence.value, key.record)
    return hashlib.sha256("\n".join(map(str, parts)).encode()).digest()[:KEY_DIGEST_BYTES]
