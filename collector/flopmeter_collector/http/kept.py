"""Text of metrics kept from one scrape to the next, for what has not changed since.

Owns: which runs' (or models') lines are still good, and joining the lines of many into families.
May touch: nothing but its own memory; any thread may scrape.
Called by http.metrics. Explained in docs/metrics.md.

The totals hand out the same object for a run that did not change, so the object itself is the
test: while it is the same one, so is every line made of it. What else the lines were made of is
compared, and nothing is kept beside a different one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from flopmeter_core.kernels.render import Family, lines_of

_Subject = TypeVar("_Subject")

Block = tuple[str, ...]
"""The lines of one subject, family by family."""


class KeptBlocks(Generic[_Subject]):
    """The subjects of the last scrape, with the blocks of those that had come before.

    Many subjects rendered together cost half of what they cost one by one. So a subject that is
    new or has changed is left to the caller, and only one that comes again gets a block.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._last: tuple[object, dict[int, _Subject], dict[int, Block]] = (None, {}, {})

    def split(
        self,
        subjects: Iterable[_Subject],
        beside: object,
        families: Callable[[_Subject], Iterable[Family]],
    ) -> tuple[list[_Subject], list[Block]]:
        """Part what has to be rendered from what is.

        Args:
            subjects: immutable; each is held, so that no other takes its identity meanwhile.
            beside: whatever else the lines are made of.
            families: makes those of one subject; of each the same ones in the same order.

        Returns:
            The subjects that are new or changed, and the blocks of the others.
        """
        before, known, made = self._last
        if before != beside:
            known, made = {}, {}
        fresh: list[_Subject] = []
        now: dict[int, _Subject] = {}
        blocks: dict[int, Block] = {}
        for subject in subjects:
            place = id(subject)
            now[place] = subject
            if place in known:
                blocks[place] = made.get(place) or tuple(map(lines_of, families(subject)))
            else:
                fresh.append(subject)
        # In one step: another thread may be at it too.
        self._last = (beside, now, blocks)
        return fresh, list(blocks.values())


def joined(families: Iterable[Family], blocks: Sequence[Block]) -> Iterator[Family]:
    """The families with the lines of blocks of the same families before their samples."""
    all_families = tuple(families)
    columns = zip(*blocks, strict=True) if blocks else [()] * len(all_families)
    for family, lines in zip(all_families, columns, strict=True):
        # A family of which a subject has no line is no piece of text, so that it may be left out.
        yield family._replace(text=[*filter(None, lines), *family.text])
