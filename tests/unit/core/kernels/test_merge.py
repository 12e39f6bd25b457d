"""How two vectors stand to each other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels.merge import ABOVE, APART, BELOW, EQUAL, compare

VECTORS = st.lists(st.integers(0, 2**62 - 1), min_size=3, max_size=3).map(tuple)
SMALL = st.lists(st.integers(0, 2), min_size=3, max_size=3).map(tuple)


@pytest.mark.parametrize(
    ("first", "second", "relation"),
    [
        ((1, 2, 3), (1, 2, 3), EQUAL),
        ((), (), EQUAL),
        ((1, 2, 4), (1, 2, 3), ABOVE),
        ((0, 2, 3), (1, 2, 3), BELOW),
        ((0, 2, 4), (1, 2, 3), APART),
        ((2**62 - 1, 0), (2**62 - 2, 0), ABOVE),
    ],
)
def test_relations(first: tuple[int, ...], second: tuple[int, ...], relation: int) -> None:
    """Each relation is told by every component, to the greatest value a register has."""
    assert compare(first, second) == relation


def test_length_differs() -> None:
    """A vector that is too short is an error, never taken as dominated."""
    with pytest.raises(IndexError):
        compare((1, 2), (1,))


@given(SMALL | VECTORS, SMALL | VECTORS)
def test_mirror(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    """Seen from the other vector, above is below and the rest is the same."""
    mirror = {EQUAL: EQUAL, ABOVE: BELOW, BELOW: ABOVE, APART: APART}
    assert compare(second, first) == mirror[compare(first, second)]


@given(SMALL, SMALL)
def test_definition(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    """The loop says what its definition by all and any says."""
    nowhere_below = all(a >= b for a, b in zip(first, second, strict=True))
    nowhere_above = all(a <= b for a, b in zip(first, second, strict=True))
    expected = {
        (True, True): EQUAL,
        (True, False): ABOVE,
        (False, True): BELOW,
        (False, False): APART,
    }
    assert compare(first, second) == expected[nowhere_below, nowhere_above]
