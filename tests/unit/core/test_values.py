"""A value compares, hashes, orders and prints as the frozen class that the type checker sees."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.values import value_class


@value_class(frozen=True, slots=True, order=True)
class Value:
    """As a hot loop makes it."""

    number: int
    text: str = "a"
    note: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, order=True)
class Frozen:
    """What the type checker takes it for."""

    number: int
    text: str = "a"
    note: int = field(default=0, compare=False)


FIELDS = st.tuples(st.integers(0, 1), st.sampled_from("ab"), st.integers(0, 1))


@given(one=FIELDS, other=FIELDS)
def test_as_frozen(one: tuple[int, str, int], other: tuple[int, str, int]) -> None:
    """Nothing that reads a value can tell it from a frozen one."""
    values, frozen = (Value(*one), Value(*other)), (Frozen(*one), Frozen(*other))
    assert (values[0] == values[1]) == (frozen[0] == frozen[1])
    assert (values[0] < values[1]) == (frozen[0] < frozen[1])
    assert hash(values[0]) == hash(frozen[0])
    assert repr(values[0]) == repr(frozen[0]).replace("Frozen", "Value")
    assert replace(values[0], number=7) == Value(7, *one[1:])
    assert pickle.loads(pickle.dumps(values[0])) == values[0]
    assert not hasattr(values[0], "__dict__")


def test_own_words_stay() -> None:
    """A class that says how it prints keeps its way."""

    @value_class(frozen=True, slots=True)
    class Printed:
        number: int

        def __repr__(self) -> str:
            return f"number {self.number}"

    assert repr(Printed(1)) == "number 1"


def test_own_hash_stays() -> None:
    """A class that says how it hashes keeps its way."""

    @value_class(frozen=True, slots=True)
    class Hashed:
        number: int

        def __hash__(self) -> int:
            return 5

    assert hash(Hashed(1)) == 5


@pytest.mark.parametrize("said", [{"frozen": False}, {"slots": False}])
def test_said_as_the_type_checker_reads_it(said: dict[str, bool]) -> None:
    """A class that the type checker would not take for frozen is none of these."""
    words: dict[str, Any] = {"frozen": True, "slots": True, **said}
    with pytest.raises(TypeError, match="say so"):
        value_class(**words)
