"""What each ledger of the world has committed, and when: the collectors' half of the oracle.

Owns: the newest sequence of every key in every ledger, over time, and what a ledger must never do.
May touch: nothing of the world; it is told, and only looks.
Called by site and the shared server (commits, openings), and by the oracle (what was durable when).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flopmeter.lab.simulation.history import History
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_core.registers import Key

ROOT = "root"
"""The ledger whose totals are the fleet's; the others belong to relays."""


@dataclass(slots=True)
class _Ledger:
    """One ledger: the newest sequence of each key, and that of each commit."""

    newest: dict[Key, int] = field(default_factory=dict)
    commits: dict[Key, list[tuple[int, int]]] = field(default_factory=dict)


class Ledgers:
    """Knows what every ledger holds."""

    def __init__(self, history: History, violation: Callable[[str], None]) -> None:
        """Begin without a ledger.

        Args:
            history: everything that was ever written.
            violation: is told what is broken.
        """
        self.index = 0
        """How many commits there were, in all ledgers together."""
        self._history = history
        self._violation = violation
        self._ledgers: dict[str, _Ledger] = {ROOT: _Ledger()}

    def committed(self, name: str, vectors: Iterable[StoredVector]) -> None:
        """A commit is durable."""
        self.index += 1
        ledger = self._ledgers.setdefault(name, _Ledger())
        for stored in vectors:
            key, device = stored.key, stored.key.device
            if not self._history.anybody(key, stored.sequence, stored.vector):
                self._violation(f"the ledger {name} holds a vector of {device} nobody wrote")
            elif key in self._history.shared:
                newest = max(stored.sequence, ledger.newest.get(key, 0))
                self._note(ledger, key, newest)
            elif stored.branch:
                self._violation(f"the ledger {name} has a fork of {device} with one writer")
            else:
                if stored.sequence < ledger.newest.get(key, 0):
                    self._violation(f"the ledger {name} went back on a vector of {device}")
                self._note(ledger, key, stored.sequence)

    def opened(self, name: str, vectors: Iterable[StoredVector], *, restored: bool) -> None:
        """A collector has opened its ledger: what was committed is there.

        Args:
            name: the ledger.
            vectors: what it holds.
            restored: whether an old backup, or an empty disk, was put in its place.
        """
        ledger = self._ledgers.setdefault(name, _Ledger())
        held: dict[Key, int] = {}
        for stored in vectors:
            held[stored.key] = max(stored.sequence, held.get(stored.key, 0))
        if not restored:
            for key, sequence in ledger.newest.items():
                if held.get(key, 0) < sequence:
                    self._violation(
                        f"a committed vector of {key.device} is gone after a restart of {name}"
                    )
        self.index += 1
        for key in [*held, *(key for key in ledger.newest if key not in held)]:
            self._note(ledger, key, held.get(key, 0))

    def key_count(self, name: str) -> int:
        """How many keys a ledger has."""
        return len(self._ledgers[name].newest) if name in self._ledgers else 0

    def held_at(self, name: str, key: Key, index: int) -> int:
        """The newest sequence of a key that was durable in a ledger at a commit."""
        ledger = self._ledgers.get(name)
        commits = ledger.commits.get(key, []) if ledger is not None else []
        for at, sequence in reversed(commits):
            if at <= index:
                return sequence
        return 0

    def was_held(self, name: str, key: Key, sequence: int, index: int) -> bool:
        """Whether a ledger held a sequence of a key at any time up to a commit."""
        ledger = self._ledgers.get(name)
        commits = ledger.commits.get(key, []) if ledger is not None else []
        return any(held >= sequence for at, held in commits if at <= index)

    def held(self, key: Key, name: str = ROOT) -> int:
        """The newest sequence of a key in a ledger now."""
        return self._ledgers[name].newest.get(key, 0)

    def held_anywhere(self, key: Key) -> int:
        """The newest sequence of a key in any ledger now: it has to come to the root yet."""
        return max(ledger.newest.get(key, 0) for ledger in self._ledgers.values())

    def _note(self, ledger: _Ledger, key: Key, sequence: int) -> None:
        ledger.newest[key] = sequence
        ledger.commits.setdefault(key, []).append((self.index, sequence))
