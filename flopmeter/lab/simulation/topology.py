"""How collectors stand to each other, and to whom each node reports.

Owns: the tree of relays below the root, and who dials whom at this moment.
May touch: nothing; it is asked at each dial.
Called by the world (which builds a site for each collector), by node and site, and by faults.
"""

from __future__ import annotations

from flopmeter.lab.simulation.ledgers import ROOT
from flopmeter.lab.simulation.randomness import Randomness

DRAWN, SINGLE, TREE = COLLECTORS = ("drawn", "single", "tree")
"""One collector, or a tree of relays below one; drawn by the seed where nobody says it."""

TREE_SHARE = 0.25
"""Part of all worlds in which relays stand between agents and root."""

_SHAPES: tuple[dict[str, str], ...] = (
    {"site-1": ROOT},
    {"site-1": ROOT, "site-2": ROOT},
    {"site-1": "site-2", "site-2": ROOT},
    {"site-1": "middle", "site-2": "middle", "middle": ROOT},
)
"""Trees of relays, each with the collector it forwards to."""


class Topology:
    """Who reports to whom."""

    def __init__(self, collectors: str, randomness: Randomness) -> None:
        """Draw a shape.

        Args:
            collectors: one of `COLLECTORS`.
            randomness: draws the rest.
        """
        self._random = randomness
        tree = randomness.chance(TREE_SHARE)
        if collectors != DRAWN:
            tree = collectors == TREE
        self.kind = TREE if tree else SINGLE
        self._planned = randomness.choose(_SHAPES) if tree else {}
        self._upstream = dict(self._planned)
        self._homes: dict[str, str] = {}

    @property
    def relays(self) -> tuple[str, ...]:
        """The names of all relays."""
        return tuple(self._planned)

    @property
    def depth(self) -> int:
        """How many relays stand one above the other, at most."""
        depths = {ROOT: 0}
        for _ in self._planned:
            for relay, above in self._planned.items():
                if above in depths:
                    depths[relay] = depths[above] + 1
        return max(depths.values())

    def upstream(self, relay: str) -> str:
        """Where a relay forwards to now."""
        return self._upstream[relay]

    def home(self, node: str) -> str:
        """The collector a node reports to now."""
        if node not in self._homes:
            self._homes[node] = self._random.choose((ROOT, *self.relays)) if self.relays else ROOT
        return self._homes[node]

    def settle_beside(self, node: str, other: str) -> None:
        """Let a node report where another one does."""
        self._homes[node] = self.home(other)

    def move(self, node: str) -> None:
        """Let a node report to any collector from its next connection on."""
        self._homes[node] = self._random.choose((ROOT, *self.relays))

    def redirect(self, relay: str) -> None:
        """Let a relay forward to any collector, to itself or one below it too."""
        self._upstream[relay] = self._random.choose((ROOT, *self.relays))

    def heal(self) -> None:
        """Every relay forwards as it was meant to."""
        self._upstream = dict(self._planned)
