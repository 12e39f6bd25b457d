"""A table of the page that reads on a desk, on a telephone and on paper.

Owns: the mark-up of tables.
May touch: nothing; pure text. Whoever calls has escaped every text.
Called by the modules of the page. Each cell carries its heading, so that a narrow window shows a
row as lines of heading and content instead of a table that is cut at the side (page_style).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        cells: mark-up, one a column.
        kind: its class, or empty.
        title: what a pointer on the first cell shows, or empty.
    """

    cells: Sequence[str]
    kind: str = ""
    title: str = ""


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Row]) -> str:
    """A table in a card that scrolls where a word is wider than the window.

    Args:
        columns: heading and class of each; the class is ``n`` for numbers.
        rows: the rows.
    """
    heads = "".join(f"<th{_class(kind)}>{heading}</th>" for heading, kind in columns)
    body = "".join(_row(columns, row) for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(columns: Sequence[tuple[str, str]], row: Row) -> str:
    cells = []
    for number, ((heading, kind), content) in enumerate(zip(columns, row.cells, strict=True)):
        title = f' title="{row.title}"' if row.title and not number else ""
        # A cell without content says nothing where it would have a line of its own.
        empty = "" if content else " data-empty"
        cells.append(
            f'<td data-h="{heading}"{_class(kind)}{title}{empty}><div>{content}</div></td>'
        )
    return f"<tr{_class(row.kind)}>{''.join(cells)}</tr>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
