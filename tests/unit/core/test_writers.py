"""Fingerprints name vectors, and marks stand above sequences."""

from __future__ import annotations

import zlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.registers import COMPONENT_COUNT, Evidence, Key
from flopmeter_core.units import REGISTER_LIMIT
from flopmeter_core.writers import (
    MARK_SHIFT,
    MARKS,
    NOTHING,
    fingerprint,
    is_among,
    is_before,
    key_digest,
    mark_of,
    marked,
    unmarked,
)

VECTOR = tuple(range(1, COMPONENT_COUNT + 1))


def test_a_fingerprint_is_the_same_everywhere() -> None:
    """It goes over the wire: agents and collectors of all versions have to find the same."""
    spelled = b"".join(value.to_bytes(8, "little") for value in VECTOR)
    assert fingerprint(7, VECTOR) == 7 << 32 | zlib.crc32(spelled)
    assert fingerprint(7, VECTOR) == 0x7_D3A7_D52C


def test_it_tells_sequence_and_content() -> None:
    """Another sequence, or one component more, has another name."""
    other = (*VECTOR[:-1], VECTOR[-1] + 1)
    names = {fingerprint(7, VECTOR), fingerprint(8, VECTOR), fingerprint(7, other), NOTHING}
    assert len(names) == 4


def test_among() -> None:
    """A vector is among others by both: a name with its sequence alone is not enough."""
    own = fingerprint(7, VECTOR)
    assert is_among(7, VECTOR, (fingerprint(6, VECTOR), own))
    assert not is_among(7, VECTOR, (own ^ 1,))
    assert not is_among(8, VECTOR, (own,))
    assert not is_among(7, VECTOR, ())


def test_before() -> None:
    """A name tells whether it is older than a sequence, whatever mark that has."""
    own = fingerprint(7, VECTOR)
    assert [is_before(own, sequence) for sequence in (6, 7, 8, marked(8, 3))] == [
        False,
        False,
        True,
        True,
    ]


@given(st.integers(1, 2**MARK_SHIFT - 1), st.integers(1, MARKS), st.integers(1, MARKS))
def test_marks(sequence: int, mark: int, other: int) -> None:
    """A mark can be read, taken off and changed; the sequence stays a valid one."""
    with_mark = marked(sequence, mark)
    assert (mark_of(sequence), mark_of(with_mark)) == (0, mark)
    assert unmarked(with_mark) == unmarked(sequence) == sequence
    assert marked(with_mark, other) == marked(sequence, other) < REGISTER_LIMIT


def test_a_keys_digest_is_of_all_of_it() -> None:
    """Two keys that differ anywhere have two; the same one has the same in every version."""
    named = Key("GPU-1", "ab" * 16, "run:a", 1, Evidence.GPM, "0123")
    others = (
        replace(named, device="GPU-2"),
        replace(named, incarnation="cd" * 16),
        replace(named, allocation="run:b"),
        replace(named, phase=11),
        replace(named, evidence=Evidence.CYCLES),
        replace(named, record="123"),
        replace(named, device="GPU-1\nab"),
    )
    assert len({key_digest(each) for each in (named, *others)}) == 1 + len(others)
    assert key_digest(named).hex() == "f093831bcfa8391a2e76592caba7c647"
