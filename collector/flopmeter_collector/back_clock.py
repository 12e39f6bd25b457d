"""Whether the collector's clock stands before where it stood.

Owns: which boots would have begun much earlier than was known, and for how long they have said so.
May touch: memory only; both times come with the question; the log.
Called by residual before it places boots by live reports.
Explained in docs/adr/0045-a-clock-that-goes-back.md.

A boot lies at the least of receipt less boot time over its reports. One round of reports that came
while the collector's clock was hours behind (a machine put back from a snapshot, before its time
service noticed) would move every boot over the one before it, for good, and what both measured
would count once. A single boot that moves had its first reports stuck; several do not at once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set

from flopmeter_collector.timeline import OTHER_BOOT_TOLERANCE_NS
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

EARLY_NS = OTHER_BOOT_TOLERANCE_NS
"""A boot that begins earlier by less does not come to lie over another."""

BELIEVED_AFTER_NS = NS_PER_HOUR
"""A clock that still stands there after so long was put right, and was ahead before."""

EPISODE_NS = 300 * NS_PER_S
"""Boots that turn out early within so long of each other do so for one reason."""

SEVERAL = 2

Boot = tuple[str, str]
"""A node and its boot id."""


class BackClock:
    """Doubts about the collector's clock. One thread."""

    def __init__(self) -> None:
        """Doubt nothing."""
        self._since_ns: dict[Boot, int] = {}
        self._newest_ns = 0

    def doubted(self, early_ns: Mapping[Boot, int], steady_ns: int) -> Set[Boot]:
        """The boots that are not to be moved by the reports of this round.

        Args:
            early_ns: boots that would begin earlier than was known by more than `EARLY_NS`, and by
                how much.
            steady_ns: monotonic time in ns.
        """
        if not early_ns:
            return frozenset()
        if steady_ns - self._newest_ns > EPISODE_NS:
            self._since_ns.clear()
        self._newest_ns = steady_ns
        before = len(self._since_ns)
        for boot in early_ns:
            self._since_ns.setdefault(boot, steady_ns)
        if len(self._since_ns) < SEVERAL:
            return frozenset()
        if before < SEVERAL:
            logger.error(
                "several boots would have begun earlier than was known, so this host's clock went "
                "back; nothing is placed by it for an hour: put it right",
                extra=fields(boots=len(early_ns), seconds=max(early_ns.values()) // NS_PER_S),
            )
        return {boot for boot in early_ns if steady_ns - self._since_ns[boot] < BELIEVED_AFTER_NS}

    def stands_behind(self, steady_ns: int) -> bool:
        """Whether it does as far as is known: a boot that is met now would lie too early for good.

        Args:
            steady_ns: monotonic time in ns.
        """
        since_ns = self._since_ns.values()
        return (
            len(since_ns) >= SEVERAL
            and steady_ns - self._newest_ns <= EPISODE_NS
            and steady_ns - min(since_ns) < BELIEVED_AFTER_NS
        )
