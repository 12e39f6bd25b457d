"""Prometheus text: families of samples as the exposition format 0.0.4 spells them.

Owns: escaping, exact decimals, and the order of HELP, TYPE and samples.
May touch: nothing; pure text, no floating-point arithmetic.
Called by the collector's http.metrics, which knows what the families mean.
Labels are rendered once and shared by every family of a run: that is most of a scrape's work.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

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
        text: samples that are lines already, as `lines_of` makes them; they come first.
    """

    name: str
    kind: str
    help_text: str
    samples: Iterable[tuple[str, str]]
    text: str = ""


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
    if digits == 0:
        return str(amount)
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), 10**digits)
    if not rest:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{rest:0{digits}}".rstrip("0")


def lines_of(family: Family) -> str:
    """The samples of a family as lines."""
    name = family.name
    lines = [f"{name}{rendered} {number}\n" for rendered, number in family.samples]
    return family.text + "".join(lines)


def render(families: Iterable[Family]) -> str:
    """The exposition text; families without a sample are left out."""
    lines: list[str] = []
    for family in families:
        name, text = family.name, lines_of(family)
        if text:
            help_text = family.help_text.replace("\\", "\\\\").replace("\n", "\\n")
            lines.append(f"# HELP {name} {help_text}\n# TYPE {name} {family.kind}\n{text}")
    return "".join(lines)
