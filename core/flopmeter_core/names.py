"""Names that look alike: what a reader would take for the same name.

Owns: the skeleton of a name, by which two of them are held against each other.
May touch: nothing; pure text and Python's own Unicode tables.
Called before a name is written that nobody used yet; docs/runs-and-models.md.

The idea is that of Unicode Technical Standard 39, section 4 (confusable detection); of its table
only the letters of Cyrillic and Greek that look like Latin ones are taken, because a whole table
would be data that nobody here keeps up. So a name may pass that looks like another one in a script
this table does not know: the check keeps honest people from mistakes and is no defence.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from flopmeter_core.errors import DataError

_LETTERS = str.maketrans(
    "аеорсухіјѕԁԛԝьһкмтнвгпαβγικνορτυχ",
    "aeopcyxljsdqwbhkmthbrnabylknoptux",
)
_STROKES = str.maketrans("0o1il|_", "oollll-")
_DASHES = str.maketrans(
    "\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}", "-----"
)


def skeleton(name: str) -> str:
    """What a reader sees of a name: without case, width, accents, and which dash it is."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    for table in (_LETTERS, _STROKES, _DASHES):
        letters = letters.translate(table)
    return " ".join(letters.split())


def check_distinct(name: str, known: Iterable[str], *, what: str) -> None:
    """Refuse a new name that a reader would take for one that is in use.

    Args:
        name: the new name.
        known: the names in use.
        what: what it names, for the sentence.

    Raises:
        DataError: it looks like one of them and is another one.
    """
    seen = skeleton(name)
    for other in known:
        if other != name and skeleton(other) == seen:
            raise DataError(
                f"the new name {name!a} of a {what} looks like {other!a}, which is in "
                "use; use that one, or choose a name that nobody can mistake for it"
            )
