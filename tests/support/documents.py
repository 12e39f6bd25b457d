"""Documents as the tidy checks read them: headings, tables and lists, never sentences.

Owns: the sections of a Markdown text, and the comparison of what is offered with what is told.
May touch: the documents of this tree (reading).
Called by tests/tidy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from support.requirements import ROOT

DOCS = ROOT / "docs"

CODE = re.compile(r"`([^`]+)`")
"""A piece of code in a line of Markdown."""


@dataclass(frozen=True)
class Section:
    """A heading and the lines below it, up to the next heading."""

    heading: str
    lines: tuple[str, ...]

    def rows(self) -> list[list[str]]:
        """The cells of its tables, without headings and rules."""
        rows = []
        for number, line in enumerate(self.lines):
            below = self.lines[number + 1] if number + 1 < len(self.lines) else ""
            if line.startswith("|") and not _is_rule(line) and not _is_rule(below):
                rows.append([cell.strip() for cell in line.strip("|\n ").split("|")])
        return rows

    def first_codes(self) -> list[str]:
        """What stands in code in the first cell of its tables' rows."""
        return [code for row in self.rows() for code in CODE.findall(row[0])]

    def flags(self) -> list[str]:
        """Flags that a list of it explains."""
        items = [line for line in self.lines if line.startswith("- ")]
        return [f for line in items for f in re.findall(r"`(--[\w-]+)`", line.partition(":")[0])]


def _is_rule(line: str) -> bool:
    return line.startswith("|") and set(line.strip()) <= set("|-: ")


def sections(text: str) -> dict[str, Section]:
    """A document by its headings; code fences hold no headings."""
    parts: dict[str, list[str]] = {"": []}
    heading, fenced = "", False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        match = None if fenced else re.match(r"#+ (.*)", line)
        if match:
            heading = match[1].strip().strip("`[]")
            parts[heading] = []
        elif not fenced:
            parts[heading].append(line)
    return {name: Section(name, tuple(lines)) for name, lines in parts.items()}


def document(name: str) -> str:
    """A document's text."""
    return (DOCS / name).read_text("utf-8")


def differences(offered: Iterable[str], documented: Iterable[str], *, where: str) -> list[str]:
    """Name what one side has and the other lacks, and what is documented twice."""
    rows = list(documented)
    code, docs = set(offered), set(rows)
    return [
        *(f"{where} lacks {name}" for name in sorted(code - docs)),
        *(f"{where} names {name}, which the code lacks" for name in sorted(docs - code)),
        *(f"{where} names {name} twice" for name in sorted({n for n in rows if rows.count(n) > 1})),
    ]
