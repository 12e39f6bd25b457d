"""What reports say of when, until the next round takes it.

Owns: which incarnations and devices reported since the last round, how old their boot was, and
up to when their vectors were read.
May touch: memory only.
Called by intake (notes) and publish (takes); residual makes coverage of it.
Explained in docs/adr/0017-residual-time.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from flopmeter_collector.ledger.base import Coverage
from flopmeter_core.registers import Key
from flopmeter_core.reports import KeyedVector


class Sighting(NamedTuple):
    """A running incarnation at its newest report.

    Attributes:
        node: the node's name.
        boot_id: the boot it runs in.
        boot_ns: time since boot of the report.
        received_ns: Unix time in ns at which the report came, by the collector's clock.
    """

    node: str
    boot_id: str
    boot_ns: int
    received_ns: int


@dataclass(slots=True)
class Sightings:
    """Notes of one round.

    Attributes:
        live: the running incarnations whose report held nothing older than what is known.
        reported: incarnation and device of every vector that was taken, and the greatest time
            since its boot in ns up to which one of them was read; 0 where none says.
        enrolled: rows of incarnations of devices that came for the first time; a commit has them.
    """

    live: dict[str, Sighting] = field(default_factory=dict)
    reported: dict[tuple[str, str], int] = field(default_factory=dict)
    enrolled: tuple[Coverage, ...] = ()

    def note_live(self, incarnation: str, sighting: Sighting) -> None:
        """Note a report of a running incarnation; of several of one round the newest counts."""
        known = self.live.get(incarnation)
        if known is None or sighting.boot_ns > known.boot_ns:
            self.live[incarnation] = sighting

    def note_read(self, keyed: KeyedVector) -> None:
        """Note a vector that was taken."""
        self.note(keyed.key, keyed.boot_ns or 0)

    def note(self, key: Key, boot_ns: int) -> None:
        """Note up to when a vector of a key was read; 0 where nobody says."""
        subject = (key.incarnation, key.device)
        if boot_ns >= self.reported.get(subject, 0):
            self.reported[subject] = boot_ns

    def take(self) -> Sightings:
        """Hand the notes over and begin anew."""
        taken = Sightings(self.live, self.reported, self.enrolled)
        self.live, self.reported, self.enrolled = {}, {}, ()
        return taken

    def parts(self, size: int) -> Iterator[Sightings]:
        """The same notes in parts that are taken one after the other.

        Whatever is said of an incarnation's vectors comes before its report, as in one piece.

        Args:
            size: the most vectors, or running incarnations, in one part.
        """
        if self.enrolled:
            yield Sightings(enrolled=self.enrolled)
        reported, live = iter(self.reported.items()), iter(self.live.items())
        while noted := dict(islice(reported, size)):
            yield Sightings(reported=noted)
        while running := dict(islice(live, size)):
            yield Sightings(live=running)
