"""Prometheus text: escaping and exact numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels import render as module
from flopmeter_core.kernels.render import (
    Family,
    decimal,
    decimals,
    escape,
    fractions,
    labels,
    lines_of,
    numbered,
    render,
    with_label,
)


def unescape(text: str) -> str:
    """Read a label value as Prometheus does."""
    out, place = [], 0
    while place < len(text):
        if text[place] == "\\":
            out.append({"n": "\n", "\\": "\\", '"': '"'}[text[place + 1]])
            place += 2
        else:
            out.append(text[place])
            place += 1
    return "".join(out)


def test_family() -> None:
    """HELP, TYPE, then one line a sample."""
    families = [
        Family("a_flop", "gauge", "One\nline.", [(labels(run='x"y'), "12"), ("", "3")]),
        Family("b_total", "counter", "None.", []),
    ]
    assert render(families) == (
        '# HELP a_flop One\\nline.\n# TYPE a_flop gauge\na_flop{run="x\\"y"} 12\na_flop 3\n'
    )


@given(st.text())
def test_escape_is_read_back(text: str) -> None:
    """Any text survives, on one line and without an unescaped quote."""
    escaped = escape(text)
    assert "\n" not in escaped
    assert unescape(escaped) == text


def test_with_label() -> None:
    """A label is appended to rendered ones."""
    assert with_label(labels(run="a"), "scope", 'g"') == '{run="a",scope="g\\""}'


@pytest.mark.parametrize(
    ("amount", "digits", "text"),
    [
        (0, 9, "0"),
        (5, 0, "5"),
        (1_500_000_000, 9, "1.5"),
        (1, 9, "0.000000001"),
        (-1_050, 3, "-1.05"),
        (10**30, 3, "1" + "0" * 27),
    ],
)
def test_decimal(amount: int, digits: int, text: str) -> None:
    """Small units become an exact decimal without trailing zeros."""
    assert decimal(amount, digits=digits) == text


@given(st.lists(st.integers(-(10**25), 10**25) | st.just(0)), st.integers(0, 9))
def test_decimals(amounts: list[int], digits: int) -> None:
    """Many are written as each alone, and say the very number."""
    texts = decimals(amounts, digits=digits)
    assert texts == [decimal(amount, digits=digits) for amount in amounts]
    assert [Decimal(text) * 10**digits for text in texts] == amounts
    assert not any("." in text and text[-1] in "0." for text in texts)


@pytest.mark.parametrize("compiled", [False, True])
@given(st.lists(st.floats() | st.floats(0, 1)))
def test_fractions(compiled: bool, values: list[float]) -> None:
    """Whatever the kernel leaves, each number is what `repr` writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "COMPILED", compiled)
        assert fractions(values) == list(map(repr, values))


def test_pieces_come_before_samples() -> None:
    """Pieces of text are joined as they are; a family of neither is left out."""
    pieces = numbered(['a{run="1"} ', "a "], ["1", "2"])
    family = Family("a", "gauge", "A.", [('{run="3"}', "3")], pieces)
    assert lines_of(family) == 'a{run="1"} 1\na 2\na{run="3"} 3\n'
    assert render([family._replace(samples=(), text=()), family]) == (
        "# HELP a A.\n# TYPE a gauge\n" + lines_of(family)
    )


def test_a_number_a_start() -> None:
    """A line without its number is refused."""
    with pytest.raises(ValueError, match="size"):
        numbered(["a "], ["1", "2"])
