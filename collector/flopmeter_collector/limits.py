"""What one sender may take of a collector: keys, allocations, hours, streams and attention.

Owns: the counts by node and by address, and the pace a node is held to.
May touch: memory only; the monotonic time comes with each call.
Called by the register table (keys), the intake (hours) and the service (streams, pace).
Explained in docs/security.md, which states each limit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from flopmeter_core.allocations import NONE, OVERFLOW
from flopmeter_core.registers import Key
from flopmeter_core.units import NS_PER_S

REMEMBERED_NODES = 100_000
"""Nodes whose pace is remembered; about 200 bytes each."""

BURST_S = 10
"""A node may use the work of so many seconds at once: what it kept through an outage."""

WORK_PER_REPORT = 10
"""A report costs the collector about as much as this many vectors, besides its own."""


MAXIMUM_HOURS_PER_NODE = 1_000_000
"""400 days of 8 devices with a dozen users an hour each."""

UNCOUNTED_SHARE = 10
"""The part of its hourly rows (one in so many) that a node may send before they are counted."""

COUNT_PERIOD_S = 600
"""A node at its limit is counted again after so long: old hours may have been thinned."""


NOBODY = (NONE, OVERFLOW)
"""Allocations that are no user: they end at no limit of users, because what has to be folded would
have no place to go to."""

FREE_SHARE = 10
"""Of a node's limits (one in so many) that is kept for users its agent opened before it heard that
it should fold them."""


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """How many register keys are held; one key takes about 2 KB of memory and a row.

    Attributes:
        per_node: of one node, by the records its keys name.
        allocations_per_node: distinct users of one node's devices.
        overall: of all nodes together.
    """

    per_node: int = 100_000
    allocations_per_node: int = 10_000
    overall: int = 10_000_000


class KeyCounts:
    """Counts the keys that are held, from nothing but the keys: a restart counts the same."""

    def __init__(self, limits: KeyLimits) -> None:
        """Start with none."""
        self._limits = limits
        self._count = 0
        self._keys: Counter[str] = Counter()
        self._allocations: dict[str, set[str]] = {}
        self.unread = 0
        """Keys that are in the ledger and not counted here yet, while it is being read."""
        self.refused = 0

    def add(self, key: Key, node: str) -> None:
        """Count a key that is held from now on."""
        self._count += 1
        self._keys[node] += 1
        if key.allocation not in NOBODY:
            self._allocations.setdefault(node, set()).add(key.allocation)

    def is_nearly_full(self, node: str) -> bool:
        """Whether there is little room for further users or registers of a node."""
        limits = self._limits
        users = len(self._allocations.get(node, ()))
        return (
            _is_near(users, limits.allocations_per_node)
            or _is_near(self._keys[node], limits.per_node)
            or _is_near(self._count + self.unread, limits.overall)
        )

    def refusal(self, key: Key, node: str) -> str:
        """Why no room is made for a new key, in one sentence; empty when there is room."""
        limits = self._limits
        users = self._allocations.get(node, ())
        told_apart = key.allocation in NOBODY or key.allocation in users
        if (count := self._count + self.unread) >= limits.overall:
            held, setting = f"the collector holds {count} registers", "maximum_keys"
        elif self._keys[node] >= limits.per_node:
            held, setting = f"node {node} has {limits.per_node} registers", "maximum_keys_per_node"
        elif len(users) >= limits.allocations_per_node and not told_apart:
            held = f"the devices of node {node} had {len(users)} users"
            setting = "maximum_allocations_per_node"
        else:
            return ""
        self.refused += 1
        return (
            f"{held}, and no new one is taken; its time stays unobserved until {setting} is raised"
        )


def _is_near(held: int, limit: int) -> bool:
    return held * FREE_SHARE >= limit * (FREE_SHARE - 1)


class HourCounts:
    """Counts the hourly rows of each node, and reads a ledger only where that may matter.

    Rows are counted as they come, the same one twice where it comes twice; a count that reaches a
    tenth of the limit is replaced by the ledger's own, and so is one at the limit, now and then.
    So a node may have the limit in rows, and a tenth of it more for each start of the collector.
    """

    def __init__(self, limit: int = MAXIMUM_HOURS_PER_NODE) -> None:
        """Start with none.

        Args:
            limit: rows of one node.
        """
        self._limit = limit
        self._rows: Counter[str] = Counter()
        self._counted_ns: dict[str, int] = {}

    def is_due(self, node: str, coming: int, now_ns: int) -> bool:
        """Whether a node's rows should be counted in the ledger before more of it are taken.

        Args:
            node: whose.
            coming: how many are about to be taken.
            now_ns: monotonic time in ns.
        """
        rows = self._rows[node] + coming
        counted_ns = self._counted_ns.get(node)
        if counted_ns is None:
            return rows > self._limit // UNCOUNTED_SHARE
        return rows > self._limit and now_ns - counted_ns >= COUNT_PERIOD_S * NS_PER_S

    def note(self, node: str, rows: int, now_ns: int) -> None:
        """Take what the ledger counted."""
        self._rows[node] = rows
        self._counted_ns[node] = now_ns

    def add(self, node: str) -> None:
        """Count a row that was taken."""
        self._rows[node] += 1

    def refusal(self, node: str) -> str:
        """Why no further row of a node is taken, in one sentence; empty when one is."""
        if self._rows[node] < self._limit:
            return ""
        return (
            f"node {node} has {self._limit} hourly vectors, and no further one is taken; its "
            "figures are kept, but can be split no finer until maximum_hours_per_node is raised"
        )


class Places:
    """How many streams are open, in all and from one address."""

    def __init__(self, *, overall: int, per_address: int) -> None:
        """Start with none.

        Args:
            overall: streams served at a time.
            per_address: of them, from one address.
        """
        self._overall = overall
        self.per_address = per_address
        self._count = 0
        self._by_address: Counter[str] = Counter()

    def take(self, address: str) -> str:
        """Take a place; returns why there is none, in one sentence, or an empty text."""
        if self._count >= self._overall:
            return (
                f"this collector serves {self._overall} streams and all are taken; "
                "try again later, or raise maximum_streams"
            )
        if self._by_address[address] >= self.per_address:
            return (
                f"{self.per_address} streams come from this address already; end some, or raise "
                "maximum_streams_per_address"
            )
        self._count += 1
        self._by_address[address] += 1
        return ""

    def leave(self) -> None:
        """Give a place back to all, while its address may hold something of it yet."""
        self._count -= 1

    def forget(self, address: str) -> None:
        """Give a place that was left back to its address too."""
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class Pace:
    """Holds each sender (node or address) to so much work a second, over all its streams."""

    def __init__(self, work_per_s: int) -> None:
        """Start with everybody rested.

        Args:
            work_per_s: vectors a sender may send a second, a report counting as `WORK_PER_REPORT`
                more; 0 sets no pace.
        """
        self._work_per_s = work_per_s
        # Until when a sender's work would take at its pace, in monotonic ns.
        self._busy_until_ns: dict[str, int] = {}
        self.held_count = 0

    def pause_ns(self, name: str, work: int, now_ns: int) -> int:
        """Note a report's work; returns how long its sender has to wait, in ns.

        Args:
            name: whose work it is.
            work: in vectors.
            now_ns: monotonic time in ns.
        """
        if not self._work_per_s:
            return 0
        self.add(name, work + WORK_PER_REPORT, now_ns)
        pause_ns = self.owed_ns(name, now_ns)
        self.held_count += pause_ns > 0
        return pause_ns

    def add(self, name: str, work: int, now_ns: int) -> None:
        """Note more work of a report that was noted by its size; arguments as of `pause_ns`."""
        if not self._work_per_s:
            return
        known = self._busy_until_ns
        began_ns = max(now_ns, known.pop(name, 0))
        known[name] = began_ns + work * NS_PER_S // self._work_per_s
        if len(known) > REMEMBERED_NODES:
            del known[next(iter(known))]

    def owed_ns(self, name: str, now_ns: int) -> int:
        """How long a sender has to wait for the work it has made already, in ns."""
        return max(0, self._busy_until_ns.get(name, 0) - now_ns - BURST_S * NS_PER_S)
