"""Dataclasses that nobody changes and that are made by the thousand a round.

Owns: how such a class is made: frozen for the type checker, without the price of it at run time.
May touch: nothing.
Called by the modules of every package whose values are made in hot loops; messages and what people
declare are few, and stay frozen at run time too
(docs/adr/0051-values-frozen-by-the-checker.md).

At run time a frozen dataclass takes five times as long to make as a plain one, because each field
goes through a function that is there to refuse. mypy, which checks every line of this project and
of its tests, refuses the same assignment for nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

__all__ = ["value_class"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value_class
else:
    T = TypeVar("T")

    def value_class(
        *, frozen: Literal[True], slots: Literal[True], order: bool = False
    ) -> Callable[[type[T]], type[T]]:
        """Make a dataclass whose instances compare and hash as frozen ones do.

        Args:
            frozen: always True, and spelled: the type checker reads it there.
            slots: the same.
            order: as in `dataclasses.dataclass`.
        """
        if not (frozen and slots):
            raise TypeError("a value is frozen and has slots; say so where the type checker reads")

        def made(kind: type[T]) -> type[T]:
            hashes = "__hash__" not in kind.__dict__
            return dataclasses.dataclass(kind, slots=True, order=order, unsafe_hash=hashes)

        return made
