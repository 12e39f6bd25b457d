"""Names that a reader would take for each other are told from those that only resemble."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.errors import DataError
from flopmeter_core.names import check_distinct, skeleton


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alpha", "\u0430lph\u0430"),
        ("alpha", "ALPHA"),
        ("alpha", "\uff41lpha"),
        ("run-1", "run-l"),
        ("run-1", "run_I"),
        ("run-a", "run\u2014a"),
        ("caf\u00e9", "cafe\u0301"),
        ("o0", "\u03bfO"),
    ],
)
def test_look_alikes(one: str, other: str) -> None:
    """Case, width, accents, dashes and letters of another script make no other name."""
    assert skeleton(one) == skeleton(other)
    with pytest.raises(DataError, match="looks like") as caught:
        check_distinct(one, ["unrelated", other], what="run")
    assert str(caught.value).isascii() and "\n" not in str(caught.value)


@pytest.mark.parametrize(("one", "other"), [("run-1", "run-2"), ("atlas", "atlas2"), ("a", "b")])
def test_others(one: str, other: str) -> None:
    """Names that differ in what a reader sees are both good, and a name is no rival of itself."""
    check_distinct(one, [other, one], what="run")


@given(st.text(max_size=40))
def test_any_text_has_a_skeleton(name: str) -> None:
    """Whatever the characters: a skeleton is found, and it is its own."""
    assert skeleton(skeleton(name)) == skeleton(name)
