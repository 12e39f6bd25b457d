"""The register table: the newest vector of every key, in memory.

Owns: what is held of each key, and which keys changed since last asked.
May touch: memory only; the ledger and the totals take the changes from here.
Called by the collector's service (merges), its committer and its evaluation (take changes).
Explained in docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress

from flopmeter_collector.branches import Outcome, beside, holds, join_branches, merge
from flopmeter_collector.claims import ClaimTable
from flopmeter_collector.doubts import Doubts
from flopmeter_collector.held_rows import Branches, HeldRows
from flopmeter_collector.ledger.base import Coverage, Foreign, QuarantinedVector, StoredVector
from flopmeter_collector.limits import KeyCounts, KeyLimits
from flopmeter_collector.newcomers import Newcomers
from flopmeter_collector.quarantine import QuarantineTable
from flopmeter_collector.sightings import Sightings
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.kernels.known_rows import (
    CAME_BOOT,
    CAME_WIDTH,
    SEQUENCE,
    WIDTH,
    judge_rows,
    take_rows,
)
from flopmeter_core.registers import Key
from flopmeter_core.reports import Held, HourlyVector, KeyedVector

AGENTS = 0
"""The stream of a row that came from its agent."""

MAXIMUM_UNCOUNTED_HOURS = 100_000
"""Hours kept for the totals; where more come at once the totals read them from the ledger."""

MAXIMUM_GROWN = 20_000
"""Reports kept as they came for the totals: what 60,000 nodes send between two rounds. Where none
comes for longer, what a round would find in them is noted at once."""


@dataclass(slots=True)
class Changes:
    """What changed since it was last taken.

    Attributes:
        places: rows of the keys that changed.
        grown: further ones, by report, and up to when since its boot each was read (ns); for the
            totals alone.
        vectors: all branches of each, as they were when they were taken to be committed.
        records: device records the table did not know before.
        hours: vectors at the ends of hours, as they came; the ledger decides between two of one.
        hours_left_out: whether there were too many; the ledger has them all.
        coverage: rows of incarnations of devices that were not known before, to be committed.
    """

    places: dict[int, None] = field(default_factory=dict)
    grown: list[tuple[array[int], array[int]]] = field(default_factory=list)
    vectors: Sequence[StoredVector] = ()
    records: dict[str, DeviceRecord] = field(default_factory=dict)
    hours: dict[HourlyVector, None] = field(default_factory=dict)
    hours_left_out: bool = False
    coverage: tuple[Coverage, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return bool(self.places or self.grown or self.records or self.hours)

    def gather(self, note: Callable[[int, int], None]) -> None:
        """Put all rows that changed into `places`.

        Args:
            note: gets each that was in `grown`, with its time.
        """
        grown, self.grown = self.grown, []
        for places, boot_times_ns in grown:
            self.places.update(dict.fromkeys(places))
            for place, boot_ns in zip(places, boot_times_ns, strict=True):
                note(place, boot_ns)


DEFAULT_LIMITS = KeyLimits()


class RegisterTable:
    """Newest vectors by key; owned by one thread."""

    def __init__(self, limits: KeyLimits = DEFAULT_LIMITS) -> None:
        """Start empty; `restore` fills it from a ledger.

        Args:
            limits: how many keys are held.
        """
        self.counts = KeyCounts(limits)
        self.rows = HeldRows()
        self._records: dict[str, DeviceRecord] = {}
        self._records_by_node: dict[str, list[str]] = {}
        self._forked: set[Key] = set()
        self._uncommitted = Changes()
        self._uncounted = Changes()
        self._written: list[array[int]] = []
        """Rows of reports that were taken as rows, for the next commit."""
        self.outcomes: Counter[Outcome] = Counter()
        self.claims = ClaimTable()
        """Beside the registers, never in them."""
        self.sightings = Sightings()
        """What reports say of when; the totals take it with the changes."""
        self.newcomers = Newcomers()
        """Told by intake who is met for the first time."""
        self.doubts = Doubts()
        """Told by the ways in what may be another writer's."""
        self.on_change: Callable[[Key, Branches, Branches], None] | None = None
        """Told the key, its branches before and its branches now; a relay forwards what changes."""
        self.on_grow: Callable[[Sequence[Key], Sequence[int]], None] | None = None
        """Told keys that only grew, and the sequence that each had before. Where there is
        `on_change` and not this, no row is taken as it is."""
        self.quarantine = QuarantineTable()
        """Beside the registers, until a person releases a row of it."""

    def __len__(self) -> int:
        return len(self.rows)

    def restore(
        self,
        records: Mapping[str, DeviceRecord],
        vectors: Iterable[StoredVector],
        quarantined: Iterable[QuarantinedVector] = (),
    ) -> int:
        """Take what a ledger holds, or a part of it; it is committed, and not in totals yet.

        Args:
            records: device records of the keys, but for those that are known.
            vectors: branches; of a key that is held already both are joined.
            quarantined: rows of which the key's other rows were taken before.

        Returns:
            How many keys were not held before.
        """
        for record_id, record in records.items():
            self._know_record(record_id, record)
        before = len(self.rows)
        for stored in vectors:
            self._join(stored.key, (stored,))
        rows = tuple(quarantined)
        self.quarantine.restore((row, self._records[row.key.record].node) for row in rows)
        self._tell_boot_times(row for row in rows if row.released)
        return len(self.rows) - before

    @property
    def known_records(self) -> Container[str]:
        """Ids of the device records that are known."""
        return self._records.keys()

    def branches(self, key: Key) -> Branches:
        """All branches of a key; empty for one that is not known."""
        return self.rows.branches(key)

    def items(self) -> Iterator[tuple[Key, Branches]]:
        """Every key with its branches."""
        return self.rows.items()

    def record(self, record_id: str) -> DeviceRecord:
        """The device record of a key (`Key.record`).

        Raises:
            KeyError: no vector of such a record was ever merged.
        """
        return self._records[record_id]

    def records_of(self, node: str) -> list[str]:
        """Ids of a node's device records."""
        return list(self._records_by_node.get(node, ()))

    def refusal(self, key: Key, record: DeviceRecord) -> str:
        """Why a key cannot be held, in one sentence; empty for one that is or can be."""
        return "" if key in self.rows else self.counts.refusal(key, record.node)

    def forked_key_count(self) -> int:
        """How many keys hold more than one branch: each widens a total and is alerted."""
        return len(self._forked)

    def merge(self, keyed: KeyedVector, record: DeviceRecord) -> Outcome:
        """Take one admitted vector.

        Args:
            keyed: key, sequence (from 1) and cumulative vector.
            record: the device record the key names.

        Returns:
            What became of it. After REFUSED_FORK and CONTESTED nothing changed and it must not be
            acknowledged; after any other outcome the table held it or one that follows it, and
            of more branches than may be kept the least was let go.
        """
        held = self.rows.branches(keyed.key)
        outcome, merged = merge(held, keyed)
        if outcome is Outcome.NEW:
            self._take_record(keyed.key.record, record)
            self.counts.add(keyed.key, record.node)
        self.outcomes[outcome] += 1
        if held is not merged:
            place = self.rows.put(keyed.key, merged, record)
            self._uncommitted.places[place] = self._uncounted.places[place] = None
            self._note_fork(keyed.key, merged)
            if self.on_change is not None:
                self.on_change(keyed.key, held, merged)
        return outcome

    def grow(
        self, places: array[int], came: array[int], follows: Mapping[int, Sequence[int]]
    ) -> bool:
        """Take vectors that `merge` would let advance, and `admit` let in, all at once.

        Args:
            places: the row of each vector, each once.
            came: the vectors (`known_rows.CAME_WIDTH` integers each).
            follows: of some, by their place, what they name as written before.

        Returns:
            Whether that is so of all of them; where it is not, nothing has changed.
        """
        if not self._tells_of_rows or not self._follow(places, follows):
            return False
        usual = bytearray(len(places))
        if judge_rows(self.rows.block, places, came, usual, AGENTS):
            return False
        self._take(places, came, usual, AGENTS)
        return True

    def grow_usual(self, places: array[int], came: array[int], stream: int) -> bytearray:
        """Take of a relay's vectors those that `merge` would let advance, and `admit` let in.

        Args:
            places: the row of each vector, each once; negative for one that is not to be taken.
            came: as in `grow`.
            stream: the number of the relay's stream (`HeldRows.new_stream`).

        Returns:
            Of each vector whether it was taken.
        """
        usual = bytearray(len(places))
        if self._tells_of_rows and judge_rows(self.rows.block, places, came, usual, stream) < (
            len(places)
        ):
            self._take(places, came, usual, stream)
        return usual

    def _take(self, places: array[int], came: array[int], usual: bytearray, stream: int) -> None:
        """Write the rows that were marked, and note that they changed."""
        if self.on_grow is not None:
            keys, block, grown = self.rows.keys, self.rows.block, [*compress(places, usual)]
            before = [block[place * WIDTH + SEQUENCE] for place in grown]
            self.on_grow([keys[place] for place in grown], before)
        take_rows(self.rows.block, places, came, usual, stream)
        # Copies: they are read later.
        changed, boot_times_ns = places[:], came[CAME_BOOT : len(places) * CAME_WIDTH : CAME_WIDTH]
        if not all(usual):
            changed = array("q", compress(changed, usual))
            boot_times_ns = array("q", compress(boot_times_ns, usual))
        self._written.append(changed)
        self._uncounted.grown.append((changed, boot_times_ns))
        if len(self._uncounted.grown) > MAXIMUM_GROWN:
            self._uncounted.gather(self.note_read)
        self.outcomes[Outcome.ADVANCED] += len(changed)

    @property
    def _tells_of_rows(self) -> bool:
        """Whether whoever has to hear of changes hears of rows too."""
        return self.on_change is None or self.on_grow is not None

    def note_read(self, place: int, boot_ns: int) -> None:
        """Note up to when the vector in a row was read, in ns since its boot."""
        self.sightings.note(self.rows.keys[place], boot_ns)

    def _follow(self, places: array[int], follows: Mapping[int, Sequence[int]]) -> bool:
        """Whether each vector that names what was written before it names what is held."""
        if not follows:
            return True
        fingerprint_at = self.rows.fingerprint_at
        return all(fingerprint_at(places[row]) in named for row, named in follows.items())

    def beside(self, keyed: KeyedVector) -> Held | None:
        """What is held of a key that stands above a vector, or was not to be replaced by it."""
        return beside(self.rows.branches(keyed.key), keyed)

    def hold(
        self,
        keyed: KeyedVector,
        record: DeviceRecord,
        *,
        boot_ns: int | None,
        reason: str,
        at_ns: int,
    ) -> bool:
        """Keep a vector that cannot be true beside the registers.

        Args:
            keyed: the vector.
            record: the device record the key names.
            boot_ns: the boot time it was held against, in ns; None where that was not known.
            reason: what it breaks, in one sentence.
            at_ns: Unix time in ns: a label.

        Returns:
            Whether it, or a newer one of its key, is kept; False when it must be refused.
        """
        held = self.quarantine.hold(keyed, record.node, boot_ns=boot_ns, reason=reason, at_ns=at_ns)
        if held:
            self._take_record(keyed.key.record, record)
        return held

    def release(self, name: str, sequence: int, declaration: int) -> bool:
        """Merge a quarantined vector that a person accepted.

        Args:
            name: the row's name.
            sequence: the vector's.
            declaration: sequence of the declaration that says so.

        Returns:
            Whether such a vector was held.
        """
        row = self.quarantine.release(name, sequence, declaration)
        if row is None:
            return False
        keyed = KeyedVector(row.key, row.sequence, row.vector, row.boot_ns)
        self.newcomers.know(row.key)
        self.merge(keyed, self._records[row.key.record])
        return True

    def merge_hour(self, hourly: HourlyVector) -> str:
        """Take one admitted hourly vector.

        Returns:
            Why it was not taken, in one sentence; empty when it was.
        """
        held = self.rows.branches(hourly.key)
        if len(held) > 1:
            return (
                f"two writers used the key of device {hourly.key.device}, and nobody can tell "
                "whose hour this is; the figure itself is kept"
            )
        if not held or not holds(held[0], hourly):
            return (
                f"the hourly vector of device {hourly.key.device} is not part of the newest one "
                "of its key; restart the agent with a state folder of its own"
            )
        self._uncommitted.hours[hourly] = None
        self._count_hour(hourly)
        return ""

    @property
    def uncommitted(self) -> bool:
        """Whether anything waits for a commit: vectors, hours, claims or what is quarantined."""
        return bool(
            self._uncommitted
            or self._written
            or self.claims.uncommitted
            or self.quarantine.uncommitted
        )

    def take_uncommitted(self) -> Changes:
        """Take the changes no commit was given yet, as they are now; the caller now owns them."""
        taken, self._uncommitted = self._uncommitted, Changes()
        taken.places.update(dict.fromkeys(chain.from_iterable(self._written)))
        self._written.clear()
        if taken.places:
            taken.vectors = self.rows.packed(taken.places)
        taken.coverage = self.newcomers.take(
            (self.rows.keys[place], self.rows.branches_at(place)[0].vector)
            for place in taken.places
        )
        self.sightings.enrolled += taken.coverage
        return taken

    def everything(self) -> Changes:
        """All registers, as changes: for a ledger that lost some of them."""
        places = dict.fromkeys(range(len(self.rows)))
        vectors = self.rows.packed(places)
        return Changes(places=places, vectors=vectors, records=dict(self._records))

    def take_uncounted(self) -> Changes:
        """Take the changes the totals were not given yet, those in `grown` by report."""
        taken, self._uncounted = self._uncounted, Changes()
        return taken

    def absorb(self, foreign: Foreign) -> None:
        """Take what other collectors committed: not counted here yet, and nothing to commit."""
        for record_id, record in foreign.records.items():
            if record_id not in self._records:
                self._know_record(record_id, record)
        coming: dict[Key, Branches] = {}
        for stored in foreign.vectors:
            coming[stored.key] = (*coming.get(stored.key, ()), stored)
        for key, branches in coming.items():
            self._join(key, branches)
        for hourly in foreign.hours:
            self._count_hour(hourly)
        self.claims.absorb(foreign.claims)
        self.quarantine.absorb(
            (row, self._records[row.key.record].node) for row in foreign.quarantined
        )

    def _join(self, key: Key, branches: Branches) -> None:
        """Take branches of a key that are committed; they may be new to this table, or late."""
        held, record = self.rows.branches(key), self._records[key.record]
        if not held:
            self.counts.add(key, record.node)
            self.newcomers.know(key)
        usual = not held and len(branches) == 1 and not branches[0].branch
        joined = branches if usual else join_branches(held, branches)
        if joined is not held:
            self._uncounted.places[self.rows.put(key, joined, record)] = None
            self._note_fork(key, joined)

    def _know_record(self, record_id: str, record: DeviceRecord) -> bool:
        """Take a device record; returns whether it is new."""
        if record_id in self._records:
            return False
        self._records[record_id] = self._uncounted.records[record_id] = record
        self._records_by_node.setdefault(record.node, []).append(record_id)
        return True

    def _tell_boot_times(self, released: Iterable[QuarantinedVector]) -> None:
        """What a person released here is judged anew wherever it goes, after a restart too."""
        for row in released:
            branches = self.rows.branches(row.key)
            told = tuple(
                replace(stored, boot_ns=row.boot_ns)
                if (stored.sequence, stored.vector) == (row.sequence, row.vector)
                else stored
                for stored in branches
            )
            if told:
                self.rows.put(row.key, told, self._records[row.key.record])

    def _count_hour(self, hourly: HourlyVector) -> None:
        if len(self._uncounted.hours) < MAXIMUM_UNCOUNTED_HOURS:
            self._uncounted.hours[hourly] = None
        else:
            self._uncounted.hours_left_out = True

    def _note_fork(self, key: Key, branches: Branches) -> None:
        if len(branches) > 1:
            self._forked.add(key)
        elif self._forked:
            self._forked.discard(key)

    def _take_record(self, record_id: str, record: DeviceRecord) -> None:
        if self._know_record(record_id, record):
            self._uncommitted.records[record_id] = record
