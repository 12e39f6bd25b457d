"""A report as Markdown.

Owns: how each block is spelled, and the escaping of what other people wrote.
May touch: nothing; pure text.
Called by `flopmeter report --markdown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from flopmeter_collector.filings.blocks import Block, Heading, Paragraph, Points, Table

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def render(told: Iterable[Block]) -> str:
    """The text; a name can neither make a heading nor a link, nor end a table's cell."""
    return "\n\n".join(_block(block) for block in told) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_escaped(block.text)}"
    if isinstance(block, Paragraph):
        text = _escaped(block.text)
        return f"> **{text}**" if block.notice or block.signed else text
    if isinstance(block, Points):
        return "\n".join(f"- {_escaped(item)}" for item in block.items)
    return _table(block)


def _table(table: Table) -> str:
    rows = [table.head, tuple("---" for _ in table.head)]
    lines = [
        *(_row(rows[0]), "| " + " | ".join(rows[1]) + " |"),
        *(_row(row) for row in table.rows),
    ]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
