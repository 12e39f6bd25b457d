"""Patterns: what fits is decided alike by two ways, and what shares a name is proved."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flopmeter_core.errors import DataError
from flopmeter_core.patterns import check_pattern, fits, meet

names = st.text(alphabet="ab", max_size=6)
patterns = st.text(alphabet="ab*?", max_size=6)


def by_expression(name: str, pattern: str) -> bool:
    """The same by a regular expression."""
    spelled = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    return re.fullmatch(spelled, name, re.DOTALL) is not None


@given(names, patterns)
def test_fits(name: str, pattern: str) -> None:
    """A name fits as it does by a regular expression."""
    assert fits(name, pattern) == by_expression(name, pattern)


@given(names, patterns, patterns)
def test_what_both_fit_is_found(name: str, one: str, other: str) -> None:
    """Two patterns that a name fits do meet."""
    if fits(name, one) and fits(name, other):
        assert meet(one, other) and meet(other, one)


@given(patterns, patterns)
@example("a*b", "*ab")
@example("a?*", "*?b")
def test_meet_is_proved(one: str, other: str) -> None:
    """Two patterns meet only where a name exists: one of at most both lengths together."""
    length = len(one) + len(other)
    if length > 8:
        return
    words = [""]
    found = False
    for _ in range(length + 1):
        found = found or any(fits(word, one) and fits(word, other) for word in words)
        words = [word + letter for word in words for letter in "ab"]
    assert meet(one, other) == found


@pytest.mark.parametrize("pattern", ["", "a" * 513, "a\nb", "*" * 9])
def test_refused(pattern: str) -> None:
    """What nobody could check is refused in one sentence."""
    with pytest.raises(DataError) as caught:
        check_pattern(pattern)
    assert "\n" not in str(caught.value)


def test_many_stars_are_quick() -> None:
    """A long name against stars that nearly fit ends at once."""
    assert not fits("a" * 512, "*a*a*a*a*a*a*a*b")
