"""Figures for people: two digits, never on or across a threshold that the figure is not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_collector.rounding import (
    Rounding,
    exact_flop,
    known_lines,
    percent_range,
    percent_text,
    round_flop,
    round_range,
)

LINE = 10**25


@pytest.mark.parametrize(
    ("flop", "text"),
    [
        (0, "0"),
        (7, "7.0e0"),
        (42, "4.2e1"),
        (123456, "1.2e5"),
        (995, "1.0e3"),
        (15 * 10**24, "1.5e25"),
        (9_960_000 * 10**18, "9.96e24"),
        (9_999_600 * 10**18, "9.9996e24"),
        (LINE - 1, "9." + "9" * 24 + "e24"),
        (LINE, "1.0e25"),
        (LINE + 1, "1." + "0" * 24 + "1e25"),
        (1_004 * 10**22, "1.004e25"),
    ],
)
def test_two_digits_or_more(flop: int, text: str) -> None:
    """Two digits, and one more as long as rounding would land on or across the line."""
    assert str(round_flop(flop, thresholds=[LINE])) == text


def test_without_a_threshold_two_digits_are_enough() -> None:
    """Where no line is near, two digits."""
    assert str(round_flop(996 * 10**19)) == "1.0e22"


@pytest.mark.parametrize("value", [10**20, 10**23, 10**25, 10**26, 3 * 10**25])
def test_the_built_in_lines_need_no_naming(value: int) -> None:
    """No caller can forget a law: a figure just below one is never printed as one on it."""
    assert value in known_lines()
    assert str(round_flop(996 * value // 1000)) == f"{996 * value // 1000:.2e}".replace("+", "")
    assert str(round_flop(value - 1)).startswith(f"{str(value - 1)[0]}.{str(value - 1)[1:]}e")


def test_a_line_of_a_third_is_printed_short() -> None:
    """A line's own value is no figure on the wrong side of it."""
    third = next(value for value in known_lines() if value % 10 == 3)
    assert len(str(round_flop(third))) == len("3.3e24")
    assert str(exact_flop(third)) == "3.3e22"


@pytest.mark.parametrize(
    ("value", "text"), [(10**25, "1e25"), (1254 * 10**20, "1.254e23"), (15 * 10**23, "1.5e24")]
)
def test_a_line_is_printed_as_it_is(value: int, text: str) -> None:
    """A law's own number is never rounded into another one."""
    assert str(exact_flop(value)) == text
    assert int(Decimal(text)) == value


@given(
    st.integers(0, 10**30),
    st.lists(st.integers(1, 10**30), max_size=3),
    st.sampled_from(Rounding),
)
def test_never_crosses(flop: int, lines: list[int], rounding: Rounding) -> None:
    """Whatever the figure and the lines, text and figure lie on the same side of each line."""
    rounded = round_flop(flop, thresholds=[*lines, flop + 1, max(1, flop - 1)], rounding=rounding)
    whole, _, part = rounded.mantissa.partition(".")
    shown = int(whole + part) * 10**rounded.exponent
    scale = 10 ** len(part)
    for line in lines:
        assert (shown > line * scale) == (flop > line)
        assert (shown < line * scale) == (flop < line)
    if rounding is Rounding.DOWN:
        assert shown <= flop * scale
    if rounding is Rounding.UP:
        assert shown >= flop * scale


def test_range_is_rounded_outward() -> None:
    """Lower goes down and upper up, so that the printed range holds the exact one."""
    assert [str(end) for end in round_range(1_999, 2_101)] == ["1.9e3", "2.2e3"]
    assert percent_range(1_999, 2_101, 10_000) == ("19 %", "22 %")


@pytest.mark.parametrize(
    ("flop", "text"),
    [
        (0, "0 %"),
        (1, "1.0e-23 %"),
        (8 * LINE // 10**6, "0.00080 %"),
        (LINE // 1000, "0.10 %"),
        (12 * LINE // 1000, "1.2 %"),
        (123 * LINE // 1000, "12 %"),
        (996 * LINE // 1000, "99.6 %"),
        (LINE - 1, "99." + "9" * 23 + " %"),
        (LINE, "100 %"),
        (LINE + 1, "100." + "0" * 22 + "1 %"),
        (3 * LINE, "300 %"),
        (12_345 * LINE, "1.2e6 %"),
    ],
)
def test_percent(flop: int, text: str) -> None:
    """Two digits, and 100 % only for a figure that is exactly the threshold."""
    assert percent_text(flop, LINE) == text
