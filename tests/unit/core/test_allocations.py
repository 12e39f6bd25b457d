"""Allocations: one spelling each, and names that cannot be taken for another kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core import allocations
from flopmeter_core.errors import DataError

names = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="(),").filter(
        str.isprintable
    ),
    min_size=1,
    max_size=allocations.MAXIMUM_RUN_NAME_LENGTH,
)


@given(one=names, other=names)
def test_round_trip(one: str, other: str) -> None:
    """Run names and the parties of a boundary come back as they went in, within the length."""
    first, second = allocations.for_run(one), allocations.for_run(other)
    assert allocations.named_run(first) == one
    shared = allocations.boundary(first, second)
    assert allocations.boundary_parties(shared) == (first, second)
    assert len(shared) <= allocations.MAXIMUM_LENGTH
    assert allocations.named_run(shared) is None
    assert allocations.boundary_parties(first) is None


def test_nobody() -> None:
    """Nobody's time is no run's, at a boundary too."""
    assert allocations.named_run(allocations.NONE) is None
    shared = allocations.boundary(allocations.NONE, "run:a")
    assert shared == "boundary(none,run:a)"
    assert allocations.boundary_parties(shared) == ("none", "run:a")
    assert allocations.boundary_parties("boundary(none)") is None


@pytest.mark.parametrize("name", ["", "a" * 201, "a,b", "a(b", "a)b", "a\nb", "a\x00"])
def test_bad_name(name: str) -> None:
    """A name that would confuse a reader or a parser is refused, whatever it names."""
    with pytest.raises(DataError, match="the name of a run"):
        allocations.for_run(name)
    with pytest.raises(DataError, match="the name of a model"):
        allocations.check_name(name, what="model")
