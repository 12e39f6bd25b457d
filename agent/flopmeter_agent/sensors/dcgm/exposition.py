"""The text format of Prometheus, as far as an exporter of DCGM uses it.

Owns: the grammar of a line, and refusing a text that is not whole.
May touch: nothing; pure function of a text.
Called by scrape. Format: Prometheus documentation, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from flopmeter_core.errors import DataError
from flopmeter_core.values import value_class

PREFIX = "DCGM_FI_"
"""Families of DCGM fields; an exporter also shows some of its own process."""

_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)[ \t]*(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+(-?\d+))?")
_LABEL = re.compile(r'[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(,|$)')
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d{1,4})?|\.\d+|Inf|inf|NaN|nan)")
_LONGEST_LINE = 1 << 16
_LONGEST_NUMBER = 64


@value_class(frozen=True, slots=True)
class Sample:
    """One line: a value of one series.

    Attributes:
        name: of the family.
        labels: name -> value, with escapes left as they are.
        stated: the value as it is written.
        stamp_ms: the line's own time stamp, Unix ms; None where it has none.
    """

    name: str
    labels: Mapping[str, str]
    stated: str
    stamp_ms: int | None


@value_class(frozen=True, slots=True)
class Exposition:
    """The samples of DCGM fields in a text, and the help of their families."""

    samples: tuple[Sample, ...] = ()
    helps: Mapping[str, str] = field(default_factory=dict)


def parse(text: str) -> Exposition:
    """Read a text.

    Raises:
        DataError: a line that is none of the format, or a text that ends within a line.
    """
    if text and not text.endswith("\n"):
        raise DataError("the exposition ends within a line: it was cut off")
    samples: list[Sample] = []
    helps: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > _LONGEST_LINE:
            raise DataError(f"line {number} of the exposition is {len(line)} characters long")
        if line.startswith("#"):
            _, _, rest = line.partition("# HELP ")
            name, _, told = rest.partition(" ")
            if name.startswith(PREFIX):
                helps[name] = told
        elif line.strip():
            sample = _sample(line, number)
            if sample.name.startswith(PREFIX):
                samples.append(sample)
    return Exposition(tuple(samples), helps)


def _sample(line: str, number: int) -> Sample:
    match = _SAMPLE.fullmatch(line.strip())
    if match is None or len(match[3]) > _LONGEST_NUMBER or not _NUMBER.fullmatch(match[3]):
        raise DataError(f"line {number} of the exposition is no sample: {line[:60]!r}")
    stamp_ms = int(match[4][:20]) if match[4] else None
    labels = _labels(match[2], number) if match[2] and match[1].startswith(PREFIX) else {}
    return Sample(match[1], labels, match[3], stamp_ms)


def _labels(text: str, number: int) -> dict[str, str]:
    labels: dict[str, str] = {}
    place = 0
    while place < len(text):
        match = _LABEL.match(text, place)
        if match is None or match[1] in labels:
            raise DataError(f"line {number} of the exposition has labels that cannot be read")
        labels[match[1]] = match[2]
        place = match.end()
    return labels
