"""Rows that say the same of a model are shown to people once.

Owns: which rows are put together, and the name of the whole.
May touch: nothing; pure functions. Documents for programs list every row.
Called by http.page, http.axis and the lab's tables; several laws have one number.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

Row = TypeVar("Row")


def put_together(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """Gather the rows that have one key, in the order in which each key came first."""
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())


def name_of(names: Sequence[str]) -> str:
    """The first name, and how many more there are: ``ca-sb53 +3``."""
    return names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"
