"""Where on the collector's clock lies what each agent classified.

Owns: the rule by which a report of a running agent places it, and who has nothing new to say.
May touch: memory only; no clock.
Called by residual, and by publish for each round. Explained in docs/adr/0017-residual-time.md.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Mapping, Sequence
from itertools import compress

from flopmeter_collector.back_clock import Boot
from flopmeter_collector.classified import TIME_LIMIT_NS, Classified, ClassifiedRows
from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.sightings import Sighting
from flopmeter_core.kernels.place_rows import SMALLEST_STEP_NS, place_rows
from flopmeter_core.registers import Key

LATEST_NS = 2 * TIME_LIMIT_NS
"""Unix times below this are compared in rows."""


class Agents:
    """What each incarnation classified, of all its devices. One thread."""

    def __init__(self, rows: ClassifiedRows) -> None:
        """Start with none.

        Args:
            rows: where that is told.
        """
        self._rows = rows
        self._parts: dict[str, list[tuple[str, Classified]]] = {}
        self._numbers: dict[str, array[int]] = {}

    def add(self, key: Key, part: Classified) -> None:
        """Take what an incarnation classified of one more device."""
        self._parts.setdefault(key.incarnation, []).append((key.device, part))
        self._numbers.setdefault(key.incarnation, array("q")).append(part.number)

    def parts(self, incarnation: str) -> Sequence[Classified]:
        """What an incarnation classified, by the names of the devices."""
        # In place: what is sorted costs one look, and nobody reads it between two additions.
        named = self._parts.get(incarnation, [])
        named.sort(key=_name)
        return [part for _, part in named]

    def news(self, live: Mapping[str, Sighting]) -> dict[str, Sighting]:
        """Those of running incarnations by which something may be placed better than it is.

        Args:
            live: a part of a round's, once all that the round says of vectors is known.
        """
        found: dict[str, Sighting] = {}
        asked: list[str] = []
        numbers, counts = array("q"), array("q")
        boots_ns, anchors_ns = array("q"), array("q")
        for incarnation, sighting in live.items():
            boot_ns, anchor_ns = sighting.boot_ns, sighting.received_ns - sighting.boot_ns
            own = self._numbers.get(incarnation)
            if own is None or not 0 <= boot_ns < TIME_LIMIT_NS or abs(anchor_ns) >= LATEST_NS:
                found[incarnation] = sighting
                continue
            asked.append(incarnation)
            numbers += own
            counts.append(len(own))
            boots_ns.append(boot_ns)
            anchors_ns.append(anchor_ns)
        marks = bytearray(len(asked))
        if place_rows(self._rows.block, numbers, counts, boots_ns, anchors_ns, marks):
            found.update((each, live[each]) for each in compress(asked, marks))
        return found


def _name(part: tuple[str, Classified]) -> str:
    return part[0]


def placed(writer: Classified, incarnation: str, sighting: Sighting) -> Coverage | None:
    """A better placing of a row by a live report; None where there is none."""
    row = writer.row
    if row is None:
        return None
    # What was covered ends with its newest reading; a report may be a whole pause younger.
    boot_ns, until_ns = sighting.boot_ns, writer.read_ns
    if until_ns > boot_ns:
        return None  # more was counted since this report: the one that brought it is yet to come
    until_ns = until_ns or boot_ns
    since_ns = max(0, until_ns - writer.covered_ns)
    anchor_ns = sighting.received_ns - boot_ns
    if row.since_ns is not None and row.anchor_ns is not None:
        gained_ns = row.since_ns - since_ns
        if gained_ns < SMALLEST_STEP_NS and row.anchor_ns - anchor_ns < SMALLEST_STEP_NS:
            return None
        since_ns = min(since_ns, row.since_ns)
        anchor_ns = min(anchor_ns, row.anchor_ns)
    return dataclasses.replace(
        row,
        node=sighting.node,
        boot_id=boot_of(incarnation, sighting)[1],
        since_ns=since_ns,
        anchor_ns=anchor_ns,
    )


def least(one: Coverage, other: Coverage) -> Coverage:
    """Both rows of an incarnation and a device in one, as the ledger merges them."""
    known = [row for row in (one, other) if row.since_ns is not None and row.anchor_ns is not None]
    return dataclasses.replace(
        known[0] if known else one,
        since_ns=min((row.since_ns or 0 for row in known), default=None),
        anchor_ns=min((row.anchor_ns or 0 for row in known), default=None),
        first_seen_ns=min(one.first_seen_ns, other.first_seen_ns),
        first_covered_ns=min(one.first_covered_ns, other.first_covered_ns),
    )


def boot_in(row: Coverage) -> Boot:
    """The boot that a row lies in."""
    return row.node, row.boot_id


def boot_of(incarnation: str, sighting: Sighting) -> Boot:
    """The boot that a running incarnation's report is of."""
    return sighting.node, sighting.boot_id or incarnation
