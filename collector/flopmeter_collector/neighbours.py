"""Which devices stand in one node with a place on the bus, and what a name among them ends.

Owns: the places of each node and the devices beside them; when a place has to be looked at anew.
May touch: the devices' time it is given; memory only.
Called by residual before it divides what changed.
Explained in docs/adr/0054-a-place-whose-board-has-a-name.md.

A fleet without such places pays nothing: devices are known by their node from the first place on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from flopmeter_collector.boots import Boots
from flopmeter_collector.device_time import DeviceTime
from flopmeter_collector.ledger.base import Coverage
from flopmeter_collector.places import Sight, named
from flopmeter_core.devices import is_place


class Neighbours:
    """The nodes that have places. One thread."""

    def __init__(self, devices: Mapping[str, DeviceTime], boots: Boots) -> None:
        """Know no place.

        Args:
            devices: every device by its name.
            boots: where their rows lie.
        """
        self._devices = devices
        self._boots = boots
        self._places: dict[str, set[str]] = {}
        self._named: dict[str, set[str]] = {}

    def put(self, row: Coverage) -> None:
        """Take a row that its device has by now."""
        if is_place(row.device):
            if not self._places:
                for name, device in self._devices.items():
                    self._know(name, device.rows.values())
            self._places.setdefault(row.node, set()).add(row.device)
        elif self._places:
            self._know(row.device, (row,))

    def look(self, moved: Iterable[str]) -> set[str]:
        """Look at the places beside devices that moved; gives who has to be divided anew by that.

        What a device's newest agent goes on to classify moves nothing here and need not be told:
        it began after a place's time or was beside it already. A place that ended tells it all.

        Args:
            moved: devices whose rows, writers or time changed since.
        """
        if not self._places:
            return set()
        found: set[str] = set()
        for node in self._nodes(moved):
            places = self._sights(node, self._places[node])
            devices = self._sights(node, self._named.get(node, set()))
            spans = named(places, devices)
            for place in places:
                if self._devices[place].named != spans.get(place, ()):
                    self._devices[place].named = spans.get(place, ())
                    found.add(place)
        return found

    def _know(self, name: str, rows: Iterable[Coverage]) -> None:
        if not is_place(name):
            for row in rows:
                self._named.setdefault(row.node, set()).add(name)

    def _nodes(self, moved: Iterable[str]) -> list[str]:
        """The nodes with places in which devices stood."""
        nodes = {row.node for name in moved for row in self._devices[name].rows.values()}
        return sorted(nodes.intersection(self._places))

    def _sights(self, node: str, names: Set[str]) -> dict[str, list[Sight]]:
        """What was classified of devices in a node, of those whose registers are known."""
        found = {name: self._devices[name].sights(node, self._boots) for name in sorted(names)}
        return {name: sights for name, sights in found.items() if sights}
