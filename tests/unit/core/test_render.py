"""Prometheus text: escaping and exact numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flopmeter_core.kernels.render import Family, decimal, escape, labels, render, with_label


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
