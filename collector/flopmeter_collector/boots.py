"""Where on the collector's clock each boot of a node began, by all that was reported of it.

Owns: the least of receipt less boot time over a boot's reports, and which boots a round of them
may not move.
May touch: memory only; no clock: both times come with each question.
Called by residual. Explained in docs/adr/0017-residual-time.md and
docs/adr/0052-met-by-a-clock-that-is-behind.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from flopmeter_collector.back_clock import EARLY_NS, BackClock, Boot
from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.placing import boot_in, boot_of
from flopmeter_collector.sightings import Sighting


class Boots:
    """All of them. One thread."""

    def __init__(self) -> None:
        """Know none."""
        self._anchors: dict[Boot, int] = {}
        self._devices: dict[Boot, set[str]] = {}
        self._back_clock = BackClock()

    def began_ns(self, row: Coverage) -> int:
        """Unix time in ns at which the boot began in which a row lies that has a place."""
        return self._anchors[boot_in(row)]

    def put(self, row: Coverage) -> Set[str]:
        """Take a row; the devices whose time moves by it, but for its own."""
        if row.anchor_ns is None:
            return frozenset()
        boot = boot_in(row)
        devices = self._devices.setdefault(boot, set())
        devices.add(row.device)
        if row.anchor_ns >= self._anchors.get(boot, row.anchor_ns + 1):
            return frozenset()
        self._anchors[boot] = row.anchor_ns
        return devices

    def doubted(self, news: Mapping[str, Sighting], steady_ns: int) -> Set[Boot]:
        """The boots that a round does not place.

        Args:
            news: all of the round: whether the clock went back shows in several boots.
            steady_ns: monotonic time in ns, which no step of that clock moves.
        """
        doubted = self._back_clock.doubted(self._early(news), steady_ns)
        if not self._back_clock.stands_behind(steady_ns):
            return doubted
        # What is met now is placed by the next report to a clock that is right again.
        return doubted | {boot_of(*each) for each in news.items()}.difference(self._anchors)

    def _early(self, live: Mapping[str, Sighting]) -> dict[Boot, int]:
        """Boots that would begin much earlier by these reports than is known, by how many ns."""
        early_ns = {}
        for incarnation, sighting in live.items():
            boot = boot_of(incarnation, sighting)
            known_ns = self._anchors.get(boot)
            back_ns = (known_ns or 0) - sighting.received_ns + sighting.boot_ns
            if known_ns is not None and back_ns > EARLY_NS:
                early_ns[boot] = back_ns
        return early_ns
