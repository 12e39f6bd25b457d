"""Prometheus text: families of samples as the exposition format 0.0.4 spells them.

Owns: escaping, exact decimals, and the order of HELP, TYPE and samples.
May touch: nothing; pure text, no floating-point arithmetic.
Called by the collector's http.metrics, which knows what the families mean.

What a line says before its number never changes and is kept from scrape to scrape. Numbers are
made a column at a time, and the text is joined once, of starts and numbers: no object is made of a
line or a family. A join of joins would take and give back twice the memory, which costs more than
to fill it.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flopmeter_core.kernels import shortest as kernel

REMEMBERED_LABELS = 65_536
"""Rendered labels kept from scrape to scrape, about 20 MB where as many are used: figures change,
labels do not, and to render them is more than half of a scrape in which everything changed."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Family(NamedTuple):
    """One metric family; a tuple, because a scrape makes tens of thousands.

    Attributes:
        name: the full metric name.
        kind: ``gauge`` or ``counter``.
        help_text: one sentence.
        samples: labels as `labels` renders them (empty for none) and the number's text.
        text: pieces of text that are whole lines when joined, as `numbered` or `lines_of` makes
            them; they come before the samples.
    """

    name: str
    kind: str
    help_text: str
    samples: Iterable[tuple[str, str]] = ()
    text: Sequence[str] = ()


@functools.lru_cache(maxsize=REMEMBERED_LABELS)
def labels(**values: str) -> str:
    """Render labels with their braces, in the order given; any text is a valid value."""
    pairs = ",".join(f'{name}="{escape(text)}"' for name, text in values.items())
    return f"{{{pairs}}}"


@functools.lru_cache(maxsize=REMEMBERED_LABELS)
def with_label(rendered: str, name: str, text: str) -> str:
    """Append one label to rendered labels."""
    return f'{rendered[:-1]},{name}="{escape(text)}"}}'


def escape(text: str) -> str:
    """Escape a label value: backslash, quote and line feed."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def decimal(amount: int, *, digits: int) -> str:
    """Write an integer number of 10^-digits units exactly, without trailing zeros.

    Args:
        amount: the number of small units, of either sign.
        digits: how many decimal places one small unit is, 0 or more.
    """
    text = str(amount)
    if digits == 0 or text == "0":
        return text
    if amount < 0:
        return f"-{decimal(-amount, digits=digits)}"
    if len(text) <= digits:
        text = text.zfill(digits + 1)
    rest = text[-digits:].rstrip("0")
    return f"{text[:-digits]}.{rest}" if rest else text[:-digits]


def decimals(amounts: Sequence[int], *, digits: int) -> list[str]:
    """As `decimal`, of many: most of them are 0 where nothing went wrong."""
    return [decimal(amount, digits=digits) if amount else "0" for amount in amounts]


def fractions(values: Sequence[float]) -> list[str]:
    """What `repr` writes of numbers, one for one."""
    if not values or not COMPILED:
        return list(map(repr, values))
    text = bytearray(kernel.ROOM * len(values))
    bits = memoryview(array("d", values)).cast("B").cast("Q")
    size = kernel.shortest(bits, _powers(), text)
    lines = text[: size - 1].decode("ascii").split("\n")
    if "?" in lines:
        return [
            repr(value) if line == "?" else line for value, line in zip(values, lines, strict=True)
        ]
    return lines


COMPILED = not kernel.__file__.endswith(".py")
"""Whether the kernel of fractions runs compiled; interpreted, `repr` is ten times as fast."""


@functools.cache
def _powers() -> array[int]:
    return array("Q", kernel.powers_of_ten())


def numbered(starts: Sequence[str], numbers: Sequence[str]) -> list[str]:
    """The pieces of lines: of each its start, its number and a line feed.

    Raises:
        ValueError: there are not as many numbers as starts.
    """
    pieces = ["\n"] * (3 * len(starts))
    pieces[::3] = starts
    pieces[1::3] = numbers
    return pieces


def lines_of(family: Family) -> str:
    """The samples of a family as lines."""
    return "".join([*family.text, *_lines(family)])


def _lines(family: Family) -> list[str]:
    name = family.name
    return [f"{name}{rendered} {number}\n" for rendered, number in family.samples]


def render(families: Iterable[Family]) -> str:
    """The exposition text; families without a sample are left out."""
    pieces: list[str] = []
    for family in families:
        lines = _lines(family)
        if lines or family.text:
            name = family.name
            help_text = family.help_text.replace("\\", "\\\\").replace("\n", "\\n")
            pieces.append(f"# HELP {name} {help_text}\n# TYPE {name} {family.kind}\n")
            pieces += family.text
            pieces += lines
    return "".join(pieces)
