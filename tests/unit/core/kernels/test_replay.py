"""The replay kernel: exact against plain fractions, near and beyond 64 bits."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels.replay import active_cycles, grow, trapezoid
from flopmeter_core.registers import COMPONENT_COUNT, SUBUNITS

amounts = st.tuples(*[st.integers(0, 2**200)] * COMPONENT_COUNT)


@given(st.lists(amounts, max_size=12))
def test_growth_is_exact_in_any_partition(increments: list[tuple[int, ...]]) -> None:
    """Units and carry together are the sum of the increments, however they were cut."""
    units, carry = [0] * COMPONENT_COUNT, [0] * COMPONENT_COUNT
    for increment in increments:
        largest = grow(units, carry, SUBUNITS, increment)
        assert largest == max(units)
    for place, size in enumerate(SUBUNITS):
        assert units[place] * size + carry[place] == sum(i[place] for i in increments)
        assert 0 <= carry[place] < size


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**18))
def test_trapezoid_is_the_mean_power_times_time(before: int, after: int, elapsed: int) -> None:
    """In mJ: (before + after) / 2 mW x ns x 10^-9."""
    exact = Fraction(before + after, 2) * elapsed / 10**9
    assert Fraction(trapezoid(before, after, elapsed), 2 * 10**9) == exact


def test_one_second_of_an_h100() -> None:
    """132 SMs half active at 1980 MHz for a second are 130,680 megacycles."""
    assert active_cycles(500_000, 132, 1_980_000, 10**9) == 130_680 * 10**18


def test_lists_of_another_length_are_refused() -> None:
    """A register of another version is not silently cut."""
    with pytest.raises(IndexError):
        grow([0], [0], (1, 1), (1, 1))
