"""Incarnations of devices that a ledger meets for the first time.

Owns: which of them are known, and the row of coverage each gets with its first registers.
May touch: memory only; the instant comes with the meeting.
Called by the register table (know, take) and by intake (meet).
Explained in docs/adr/0017-residual-time.md.

A device is enrolled from its first accepted report on. Were that put down later than the report's
registers, a collector that dies in between would take a node that never comes back for an idle one.
"""

from __future__ import annotations

from collections.abc import Iterable

from flopmeter_collector.ledger.base import Coverage
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import Key, Vector, covered_ns


class Newcomers:
    """Who came since the last commit. One thread."""

    def __init__(self) -> None:
        """Nobody is known."""
        self._known: set[tuple[str, str]] = set()
        self._came: dict[tuple[str, str], tuple[str, int]] = {}

    def know(self, key: Key) -> None:
        """Take a key that is in the ledger already, or whose time nobody saw begin."""
        self._known.add((key.incarnation, key.device))

    def meet(self, key: Key, record: DeviceRecord, at_ns: int) -> None:
        """Take a key that was not held before.

        Args:
            key: whose vector was merged.
            record: its device record; the time of a MIG instance is its GPU's.
            at_ns: Unix time in ns by the collector's clock.
        """
        pair = (key.incarnation, key.device)
        if pair not in self._known:
            self._known.add(pair)
            if record.device_count:
                self._came[pair] = (record.node, at_ns)

    def take(self, vectors: Iterable[tuple[Key, Vector]]) -> tuple[Coverage, ...]:
        """Hand over the rows of all that came since they were last taken.

        Args:
            vectors: newest vectors of all keys that changed since; read only if somebody came.
        """
        if not self._came:
            return ()
        came, self._came = self._came, {}
        covered = dict.fromkeys(came, 0)
        for key, vector in vectors:
            pair = (key.incarnation, key.device)
            if pair in covered:
                covered[pair] += covered_ns(vector)
        return tuple(
            Coverage(incarnation, device, node, "", None, None, at_ns, covered[incarnation, device])
            for (incarnation, device), (node, at_ns) in came.items()
        )
