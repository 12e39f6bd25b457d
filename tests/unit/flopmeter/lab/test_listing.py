"""Lists read well at any width, and nothing of them is ever cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from flopmeter.lab.listing import Column, Listing

WORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), max_size=60)
COLUMNS = st.lists(
    st.builds(Column, WORDS, st.integers(0, 3), st.booleans()), min_size=1, max_size=7
)


def lines_of(listing: Listing, width: int) -> list[str]:
    """What is printed on a terminal this wide."""
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(listing)
    return captured.get().splitlines()


@given(st.data(), COLUMNS, st.integers(20, 200), st.booleans(), st.booleans())
def test_nothing_is_cut(
    data: st.DataObject, columns: list[Column], width: int, grouped: bool, wraps: bool
) -> None:
    """Every cell is printed with all its characters, and no line is longer than the terminal."""
    columns[-1] = Column(columns[-1].heading, columns[-1].aside, columns[-1].right, wraps)
    rows = data.draw(
        st.lists(st.lists(WORDS, min_size=len(columns), max_size=len(columns)), max_size=4)
    )
    listing = Listing(*columns, grouped=grouped)
    for row in rows:
        listing.add(*row)
    lines = lines_of(listing, width)
    assert max(map(len, lines), default=0) <= width
    told = "".join("".join(lines).split())
    for cell in (cell for row in rows for cell in row if cell != "-"):
        assert cell in told


def row() -> Listing:
    """Two runs, one with a long name."""
    listing = Listing("run", Column("FLOP", right=True), Column("energy", aside=1), "observed")
    listing.add("atlas", "1.5e20", "68 kWh", "100 %")
    listing.add("atlas-of-the-seventy-billions", "1.5e9", "-", "99 %")
    return listing


def test_wide_and_narrow() -> None:
    """One line a row where there is room, else a long name above, then a column below."""
    assert lines_of(row(), 60) == [
        "run                              FLOP  energy  observed",
        "atlas                          1.5e20  68 kWh  100 %",
        "atlas-of-the-seventy-billions   1.5e9  -       99 %",
    ]
    assert lines_of(row(), 48) == [
        "run                 FLOP  energy  observed",
        "atlas             1.5e20  68 kWh  100 %",
        "atlas-of-the-seventy-billions",
        "                   1.5e9  -       99 %",
    ]
    assert lines_of(row(), 36) == [
        "run                 FLOP  observed",
        "atlas             1.5e20  100 %",
        "  energy 68 kWh",
        "atlas-of-the-seventy-billions",
        "                   1.5e9  99 %",
    ]


def test_a_group_has_its_name_above() -> None:
    """Rows of one model stand below its name where they do not fit beside it."""
    listing = Listing("model", "threshold", Column("state", wraps=True), grouped=True)
    listing.add("a-model-of-some-length", "eu-ai-act-51-2", "below, range reaches above")
    listing.add("", "ca-sb53", "below")
    assert lines_of(listing, 44) == [
        "  threshold       state",
        "a-model-of-some-length",
        "  eu-ai-act-51-2  below, range reaches above",
        "  ca-sb53         below",
    ]
    assert lines_of(listing, 36)[2:4] == [
        "  eu-ai-act-51-2  below, range",
        " " * 18 + "reaches above",
    ]


def test_text_is_no_mark_up() -> None:
    """A name that looks like mark-up is printed as it is, and a style shows no cell less."""
    listing = Listing("run", "")
    listing.add("[red]x[/red]", Text("[b]", style="bold"), style="dim")
    assert lines_of(listing, 40)[1:] == ["[red]x[/red]  [b]"]


def test_every_row_has_every_cell() -> None:
    """A row of another length is a mistake of the caller's."""
    with pytest.raises(Exception, match="one cell a column"):
        Listing("run", "FLOP").add("atlas")
