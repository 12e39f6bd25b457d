"""Dataclasses that nobody changes: cheap to make an instance of, and cheap to make.

Owns: how such a class is made: frozen for the type checker, without the price of it at run time.
May touch: nothing.
Called by every package whose values are made in hot loops, and by whatever an agent loads
(docs/adr/0051-values-frozen-by-the-checker.md, docs/adr/0053-what-a-start-loads.md).

At run time a frozen dataclass takes five times as long to make an instance of as a plain one,
because each field goes through a function that is there to refuse; and twice as long to make
itself, because each of its methods is compiled from text. mypy, which checks every line of this
project and of its tests, refuses the same assignment for nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

__all__ = ["value_class"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value_class
else:
    T = TypeVar("T")

    def value_class(
        *, frozen: Literal[True], slots: Literal[True], order: bool = False
    ) -> Callable[[type[T]], type[T]]:
        """Make a dataclass whose instances compare, hash and print as frozen ones do.

        Args:
            frozen: always True, and spelled: the type checker reads it there.
            slots: the same.
            order: as in `dataclasses.dataclass`.
        """
        if not (frozen and slots):
            raise TypeError("a value is frozen and has slots; say so where the type checker reads")

        def made(kind: type[T]) -> type[T]:
            own = kind.__dict__
            if "__repr__" not in own:
                kind.__repr__ = _spelled
            return dataclasses.dataclass(
                kind, slots=True, order=order, repr=False, unsafe_hash="__hash__" not in own
            )

        return made


def _spelled(value: Any) -> str:
    """How a dataclass prints: one function for all of them, where each would compile its own."""
    shown = [field.name for field in dataclasses.fields(value) if field.repr]
    told = ", ".join(f"{name}={getattr(value, name)!r}" for name in shown)
    return f"{type(value).__qualname__}({told})"
