"""A report as one HTML page that prints well.

Owns: how each block is spelled, the page around them, and the escaping of what others wrote.
May touch: nothing; pure text. No script and nothing loaded: the file can be handed on as it is.
Called by `flopmeter report --html`; the style is the page's own (http.page_style).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from flopmeter_collector.filings.blocks import Block, Heading, Paragraph, Points, Table
from flopmeter_collector.http.page_style import STYLE

SHORT_ROWS = 12
"""A table of so many rows goes to the next sheet whole; a longer one is cut between rows and has
its head on each sheet."""

_ONE_WORD = re.compile(r"[0-9][0-9.eE+:TZ%-]{0,19}( %)?")

_OWN = """
main { background:#fff; padding:28px 32px; margin:24px auto; max-width:980px; }
h1 { font-size:21px; margin:0 0 12px; overflow-wrap:anywhere; }
h2 { border-top:1px solid var(--line); padding-top:16px; break-after:avoid; }
table { margin:10px 0; } td { overflow-wrap:break-word; } td.id, th { white-space:nowrap; }
.signed { border-left:5px solid var(--good); background:var(--goodground); color:var(--good);
  padding:10px 14px; margin:18px 0 0; border-radius:0 6px 6px 0; }
@media screen and (max-width:820px) {
  main { padding:18px 14px; margin:0; }
  .scroll { overflow:visible; } table, tbody, tr, td { display:block; width:100%; }
  tr { border-bottom:2px solid var(--line); padding:6px 0; }
  td { border:0; padding:2px 0; overflow-wrap:anywhere; }
  td:first-child { font-weight:600; }
  td + td { padding-left:118px; min-height:1.5em; position:relative; }
  td + td::before { content:attr(data-head); position:absolute; left:0; width:110px;
    color:var(--soft); font-size:12px; } }
@media print { main { padding:0; margin:0; max-width:none; }
  thead { display:table-header-group; } tr, li, p { break-inside:avoid; }
  table.short { break-inside:avoid; }
  table { font-size:11px; } th { font-size:10.5px; } td { padding:4px 8px 4px 0; }
  h2 + p, p:has(+ .scroll), p:has(+ ul) { break-after:avoid; } }
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
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{_OWN}</style></head><body>{banner}<main>"
        + "".join(_block(block) for block in told)
        + "</main></body></html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        kind = "notice" if block.notice else "signed" if block.signed else ""
        mark = f' class="{kind}"' if kind else ""
        return f"<p{mark}>{escape(block.text)}</p>"
    if isinstance(block, Points):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    return _table(block)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    short = ' class="short"' if len(table.rows) <= SHORT_ROWS else ""
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td data-head="{escape(name)}"{_whole(cell)}>{escape(cell)}</td>'
            for name, cell in zip(table.head, row, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="scroll"><table{short}><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _whole(cell: str) -> str:
    """A date or a figure is not broken at its hyphen."""
    return ' class="id"' if _ONE_WORD.fullmatch(cell) else ""
