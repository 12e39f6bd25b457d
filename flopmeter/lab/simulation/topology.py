"""How collectors stand to each other, and to whom each node reports.

Owns: the tree of relays below the root, and who dials whom at this moment.
May touch: nothing; it is asked at each dial.
Called by the world (which builds a site for each collector), by node and site, and by faults.
"""

from __future__ import annotations

from flopmeter.lab.simulation.ledgers import ROOT
from flopmeter.lab.simulation.randomness import Randomness

DRAWN, SINGLE, TREE, SHARED = COLLECTORS = ("drawn", "single", "tree", "shared")
"""One collector, a tree of relays below one, or two on one server's ledger; drawn by the seed where
nobody says it."""

TREE_SHARE = 0.2
"""Part of all worlds in which relays stand between agents and root."""

SHARED_SHARE = 0.05
"""Part of all worlds in which two collectors share a ledger: they evaluate every five seconds, so
that such an hour costs twice as much as another."""

SECOND = "root-2"
"""The other collector of a shared ledger."""

_SHAPES: tuple[dict[str, str], ...] = (
    {"site-1": ROOT},
    {"site-1": ROOT, "site-2": ROOT},
    {"site-1": "site-2", "site-2": ROOT},
    {"site-1": "middle", "site-2": "middle", "middle": ROOT},
)
"""Trees of relays, each with the collector it forwards to."""


class Topology:
    """Who reports to whom."""

    def __init__(self, collectors: str, randomness: Randomness, *, weeks: bool) -> None:
        """Draw a shape.

        Args:
            collectors: one of `COLLECTORS`.
            weeks: whether it lasts so long that nothing can happen every few seconds.
            randomness: draws the rest.
        """
        self._random = randomness
        share = randomness.share()
        drawn = TREE if share < TREE_SHARE else SINGLE
        if TREE_SHARE <= share < TREE_SHARE + SHARED_SHARE and not weeks:
            drawn = SHARED
        self.kind = drawn if collectors == DRAWN else collectors
        self._planned = randomness.choose(_SHAPES) if self.kind == TREE else {}
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

    @property
    def collectors(self) -> tuple[str, ...]:
        """The names of all collectors, the root first."""
        return (ROOT, *((SECOND,) if self.kind == SHARED else self.relays))

    def ledger(self, collector: str) -> str:
        """The name of a collector's ledger."""
        return ROOT if collector == SECOND else collector

    def upstream(self, relay: str) -> str:
        """Where a relay forwards to now."""
        return self._upstream[relay]

    def home(self, node: str) -> str:
        """The collector a node reports to now."""
        if node not in self._homes:
            several = len(self.collectors) > 1
            self._homes[node] = self._random.choose(self.collectors) if several else ROOT
        return self._homes[node]

    def settle_beside(self, node: str, other: str) -> None:
        """Let a node report where another one does."""
        self._homes[node] = self.home(other)

    def move(self, node: str) -> None:
        """Let a node report to any collector from its next connection on."""
        self._homes[node] = self._random.choose(self.collectors)

    def redirect(self, relay: str) -> None:
        """Let a relay forward to any collector, to itself or one below it too."""
        self._upstream[relay] = self._random.choose((ROOT, *self.relays))

    def heal(self) -> None:
        """Every relay forwards as it was meant to."""
        self._upstream = dict(self._planned)
