"""One seed for everything: named streams of random numbers, each independent of the others.

Owns: the generator; the only module of the simulator that knows one.
May touch: nothing.
Called by the rest of lab.simulation. A stream of its own for each part of the world means that one
more draw in one part does not change what happens in all the others.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Randomness:
    """A stream of random numbers that depends on a seed and a name alone."""

    def __init__(self, seed: int, name: str) -> None:
        """Begin the stream; the same seed and name give the same numbers on any machine."""
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        self._random = random.Random(int.from_bytes(digest[:8], "little"))
        self._seed = seed
        self._name = name

    def stream(self, name: str) -> Randomness:
        """Another stream below this one."""
        return Randomness(self._seed, f"{self._name}/{name}")

    def below(self, limit: int) -> int:
        """A whole number in 0 .. limit - 1."""
        return int(self._random.random() * limit)

    def between(self, low: int, high: int) -> int:
        """A whole number in low .. high, both included."""
        return low + self.below(high - low + 1)

    def share(self) -> float:
        """A number in 0 .. 1, 1 excluded."""
        return self._random.random()

    def chance(self, share: float) -> bool:
        """True in `share` of all calls."""
        return self._random.random() < share

    def choose(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All of the items, in another order."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(len(left))]

    def hexadecimal(self, digits: int) -> str:
        """So many hexadecimal digits."""
        return f"{self._random.getrandbits(4 * digits):0{digits}x}"
