"""A bench writes its own part of a page, and nothing else of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_core.errors import InvariantError
from support.page_part import put

PAGE = (
    "# Title\n<!-- a begins -->\nold\n<!-- a ends -->\nprose\n<!-- b begins -->\n<!-- b ends -->\n"
)


def test_one_part_is_replaced(tmp_path: Path) -> None:
    """What people wrote stays, and so do the parts of others."""
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    put(page, "a", "new\n")
    put(page, "b", "more\n")
    assert page.read_text() == PAGE.replace("old\n", "new\n").replace(
        "<!-- b ends", "more\n<!-- b ends"
    )


@pytest.mark.parametrize("name", ["c", "d"])
def test_a_page_without_the_part_is_left_alone(tmp_path: Path, name: str) -> None:
    """A page that lost its marks, or has them twice, is not written over."""
    page = tmp_path / "page.md"
    page.write_text(PAGE + 2 * "<!-- d begins -->\n<!-- d ends -->\n")
    before = page.read_text()
    with pytest.raises(InvariantError, match=f"marks of {name}"):
        put(page, name, "new\n")
    assert page.read_text() == before
