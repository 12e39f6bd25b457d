"""The compact spelling of keys and vectors: what goes in comes out, nothing else is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_agent.packing import (
    MALFORMED,
    MARK,
    Names,
    Packed,
    join,
    numbers_out,
    spelled,
    vector_out,
)
from flopmeter_core.registers import COMPONENT_COUNT, Evidence, Key

KEY = Key("GPU-0", "1" * 32, "run:a", 3, Evidence.GPM, "ab" * 8)
amounts = st.one_of(st.just(0), st.integers(0, 2**63 - 1))
vectors = st.lists(amounts, min_size=COMPONENT_COUNT, max_size=COMPONENT_COUNT)


def packed(*rows: tuple[Key, tuple[int, ...], list[int]]) -> bytes:
    """A state of keys, each with three numbers and a vector."""
    names = Names()
    told = [names.key(key) + numbers_out(*numbers) + vector_out(v) for key, numbers, v in rows]
    return join({"names": names.texts}, told, mark=spelled([1, {"a": None}]))


@given(first=vectors, second=vectors, low=st.integers(-(2**63), 2**63 - 1))
def test_there_and_back(first: list[int], second: list[int], low: int) -> None:
    """Whatever the numbers, keys and rows come back in their order, and so does the head."""
    other = Key("GPU-1", KEY.incarnation, KEY.device, 0, Evidence.CYCLES, KEY.record)
    read = Packed(packed((KEY, (low, 0, 7), first), (other, (1, 2, 3), second)))
    assert read.head["mark"] == [1, {"a": None}]
    found = [(key, read.numbers(3), read.vector()) for key in read.rows()]
    assert found == [(KEY, (low, 0, 7), first), (other, (1, 2, 3), second)]


def test_what_is_spelled_already_stands_in_the_head() -> None:
    """As many entries as there are, before the others, as if they had been given as they are."""
    names: dict[str, object] = {"names": [KEY.device], "n": 1}
    read = Packed(join(names, [], first=spelled([1, 2]), second=spelled({"a": "b"})))
    assert read.head == {"first": [1, 2], "second": {"a": "b"}, **names}
    assert (read.count, read.rest) == (0, b"")


def test_a_component_of_a_newer_version_is_refused() -> None:
    """It is never left out in silence: the sentence says what to do."""
    state = packed((KEY, (1, 2, 3), [0] * COMPONENT_COUNT))
    newer = state[:-4] + (1 << COMPONENT_COUNT).to_bytes(4, "little") + (9).to_bytes(8, "little")
    read = Packed(newer)
    assert next(read.rows()) == KEY
    read.numbers(3)
    with pytest.raises(
        ValueError, match=r"^it has components this version does not know; upgrade the agent$"
    ):
        read.vector()


@pytest.mark.parametrize("length", range(0, 200, 3))
def test_what_is_cut_off_is_no_state(length: int) -> None:
    """Wherever a state ends early, reading it raises one of the errors its callers expect."""
    state = packed((KEY, (1, 2, 3), list(range(COMPONENT_COUNT))))
    with pytest.raises(MALFORMED):
        read = Packed(state[:length])
        for _ in read.rows():
            read.numbers(3)
            read.vector()


def test_what_is_no_state() -> None:
    """Bytes of another beginning are refused before anything in them is believed."""
    with pytest.raises(ValueError, match=r"^it does not start as one$"):
        Packed(b"{}" + MARK)
