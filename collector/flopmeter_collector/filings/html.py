"""A report as one HTML page that prints well.

Owns: how each block is spelled, the page around them, and the escaping of what others wrote.
May touch: nothing; pure text. No script and nothing loaded: the file can be handed on as it is.
Called by `flopmeter report --html`; the style is the page's own (http.page_style).
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from flopmeter_collector.filings.blocks import Block, Heading, Paragraph, Points, Table
from flopmeter_collector.http.page_style import STYLE

_OWN = """
main { background:#fff; padding:28px 32px; margin:24px auto; max-width:980px; }
h1 { font-size:21px; margin:0 0 12px; overflow-wrap:anywhere; }
h2 { border-top:1px solid var(--line); padding-top:16px; break-after:avoid; }
table { margin:10px 0; } td { overflow-wrap:break-word; } th { white-space:nowrap; }
@media print { main { padding:0; margin:0; max-width:none; } table { break-inside:avoid; } }
"""


def render(told: Iterable[Block], *, title: str, simulated: bool) -> str:
    """The whole page.

    Args:
        told: the blocks.
        title: of the window.
        simulated: whether the banner stands above everything.
    """
    banner = (
        '<div class="simulated" role="alert"><b>SIMULATED</b> Every figure is made up.</div>'
        if simulated
        else ""
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}{_OWN}</style></head><body>{banner}<main>"
        + "".join(_block(block) for block in told)
        + "</main></body></html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        mark = ' class="notice"' if block.notice else ""
        return f"<p{mark}>{escape(block.text)}</p>"
    if isinstance(block, Points):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    return _table(block)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'
