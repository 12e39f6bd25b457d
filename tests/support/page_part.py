"""Writes a measured part of a page of docs/, and leaves what people wrote around it.

Owns: the marks that such a part lies between.
May touch: the page it is given.
Called by the benches.
"""

from __future__ import annotations

from pathlib import Path

from flopmeter_core.errors import invariant


def put(page: Path, name: str, text: str) -> None:
    """Replace the part of a page between `<!-- NAME begins -->` and `<!-- NAME ends -->`.

    Raises:
        InvariantError: the page has no such part, or has it twice.
    """
    begin, end = f"<!-- {name} begins -->\n", f"<!-- {name} ends -->\n"
    whole = page.read_text()
    before, _, rest = whole.partition(begin)
    invariant(
        whole.count(begin) == 1 and rest.count(end) == 1,
        f"{page.name} has one part between the marks of {name}",
    )
    page.write_text(before + begin + text + end + rest.partition(end)[2])
