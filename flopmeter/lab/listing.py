"""Rows of anything, laid out so that they read well at any width and nothing is cut.

Owns: which columns stand beside each other, and what moves to a line below its row.
May touch: nothing; a rich renderable.
Called by every command that lists, and by the views of totals, forecasts, alerts and reviews.

A row is one line where the terminal is wide enough. Where it is not, columns move one after the
other to a second line under their row, in the order the caller names, each with its heading; the
first column goes to a line of its own where it alone is too wide. A name that somebody has to
type again and a figure are whole at every width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from flopmeter_core.errors import invariant

Cell = str | Text

_GAP = 2
_INDENT = 2
"""Of what stands below a row; a row below its name is as far in, by the gap after no name."""

_NAME_SHARE = 3
"""The first column is at most a third of the line; a longer name has a line of its own."""

_SHORTEST_NAME = 16

_NARROWEST_WORDS = 14
"""Words that wrap are not squeezed into less than this."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        heading: its name; empty for text that explains itself.
        aside: how soon it leaves the first line where that is too short: 1 first, and 0 last of
            all, from the right.
        right: whether it is a number, which ends at the right.
        wraps: whether it is words that may go on in the next line; the last column only.
    """

    heading: str
    aside: int = 0
    right: bool = False
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class _Layout:
    """What stands where, at one width.

    Attributes:
        widths: column -> characters, of those in the first line.
        asides: columns below it.
        stacked: whether the first column has lines of its own.
    """

    widths: dict[int, int]
    asides: Sequence[int]
    stacked: bool


class Listing:
    """Rows under headings; print it on a console."""

    def __init__(self, *columns: Column | str, grouped: bool = False) -> None:
        """Name the columns; the first one is what a row is called.

        Args:
            columns: a plain text is a column that stays in the line as long as it can.
            grouped: whether rows follow that have no first cell of their own; the first one's
                cell then is a heading where lines are short.
        """
        self._columns = [Column(each) if isinstance(each, str) else each for each in columns]
        self._grouped = grouped
        self._rows: list[tuple[list[Text], str]] = []

    def add(self, *cells: Cell, style: str = "") -> None:
        """Add a row.

        Args:
            cells: one a column; text is taken as it is, without mark-up.
            style: of the whole row.
        """
        taken = [Text(each) if isinstance(each, str) else each for each in cells]
        invariant(len(taken) == len(self._columns), "a row has one cell a column")
        self._rows.append((taken, style))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay out for the width at hand."""
        layout = self._layout(options.max_width)
        headings = {
            at: Text("" if layout.stacked and not at else self._columns[at].heading)
            for at in layout.widths
        }
        if any(heading.plain for heading in headings.values()):
            yield self._line(headings, layout, style="dim")
        for cells, style in self._rows:
            yield from self._row(cells, layout, style, console)

    def _row(
        self, cells: Sequence[Text], layout: _Layout, style: str, console: Console
    ) -> Iterator[RenderableType]:
        """What one row is printed as: its name, its line, and what moved below it."""
        line = {at: cells[at] for at in layout.widths}
        if layout.stacked or cells[0].cell_len > layout.widths[0]:
            if cells[0].plain:
                yield _styled(cells[0], style)
            line[0] = Text()
        last = max(layout.widths)
        words = line[last].wrap(console, layout.widths[last]) if self._columns[last].wraps else ()
        for more, part in enumerate(words or (line[last],)):
            shown = line if not more else dict.fromkeys(line, Text())
            yield self._line({**shown, last: part}, layout, style=style)
        told = []
        for at in layout.asides:
            if cells[at].plain not in ("", "-"):
                heading = self._columns[at].heading
                told.append(Text.assemble((f"{heading} " if heading else "", "dim"), cells[at]))
        if told:
            indent = 2 * _INDENT if layout.stacked else _INDENT
            room = max(console.width - indent, _NARROWEST_WORDS)
            for part in Text("   ").join(told).wrap(console, room, overflow="fold"):
                part.rstrip()
                yield _styled(Text.assemble(" " * indent, part), style)

    def _line(self, cells: dict[int, Text], layout: _Layout, *, style: str) -> Text:
        """Cells beside each other, each as wide as its column."""
        line = Text(style=style, no_wrap=True, overflow="ignore", end="\n")
        for at, cell in cells.items():
            missing = layout.widths[at] - cell.cell_len
            if at:
                line.append(" " * _GAP)
            if self._columns[at].right:
                line.append(" " * missing)
            line.append_text(cell)
            if not self._columns[at].right:
                line.append(" " * missing)
        line.rstrip()
        return line

    def _layout(self, width: int) -> _Layout:
        """The most that the first line has room for."""
        every = range(len(self._columns))
        named = sorted((at for at in every if self._columns[at].aside), key=self._leaves)
        others = [at for at in reversed(every[1:]) if not self._columns[at].aside]
        leaving = [*named, *others]
        # The first column as wide as it is, then as wide as it may be, then above its rows.
        firsts = [
            self._longest(0),
            min(self._longest(0), max(width // _NAME_SHARE, _SHORTEST_NAME)),
        ]
        firsts += [0] if self._grouped else []
        for gone, first in [(gone, first) for gone in range(len(leaving) + 1) for first in firsts]:
            asides = sorted(leaving[:gone])
            widths = {at: self._width(at) for at in every if at not in asides} | {0: first}
            spare = width - sum(widths.values()) - _GAP * (len(widths) - 1)
            if spare >= 0:
                break
        last = max(widths)
        if self._columns[last].wraps:
            widths[last] = min(self._longest(last), widths[last] + max(0, spare))
        return _Layout(widths, asides, stacked=not widths[0])

    def _leaves(self, at: int) -> int:
        return self._columns[at].aside

    def _width(self, at: int) -> int:
        """How wide a column has to be at least."""
        longest = self._longest(at)
        return min(longest, _NARROWEST_WORDS) if self._columns[at].wraps else longest

    def _longest(self, at: int) -> int:
        """The width of a column's heading and of every cell."""
        heading = Text(self._columns[at].heading)
        return max(each.cell_len for each in (heading, *(cells[at] for cells, _ in self._rows)))


def _styled(text: Text, style: str) -> Text:
    """A copy under a row's own style; long words are folded, never cut."""
    taken = Text(style=style, overflow="fold")
    taken.append_text(text)
    return taken
