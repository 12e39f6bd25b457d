"""Totals: what all registers together say of each run, each model and the remainder.

Owns: the running sums per run, which keys there are, and which of them a declaration touches.
May touch: nothing; exact integers in memory, no clock, no I/O.
Called by the collector's app (one thread) and by the lab's replay.
Every sum is changed by new - old of one key and never built up again, and integers do not round,
so the totals are the same whatever the order, repetition or partition of the updates. A
declaration touches the keys of the allocations it is about, and no other.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from flopmeter_collector.additions import Additions
from flopmeter_collector.assembly import Assembly
from flopmeter_collector.attribution import attachable
from flopmeter_collector.book import Book
from flopmeter_collector.boundaries import Boundaries
from flopmeter_collector.counted import CountedRows
from flopmeter_collector.declarations import RunDeclaration
from flopmeter_collector.device_declarations import (
    DEVICE_KIND,
    DeviceDeclaration,
    DeviceState,
    parse_device_declaration,
)
from flopmeter_collector.held_rows import HeldRows
from flopmeter_collector.holder import Holder, KeptPieces
from flopmeter_collector.kept import KeptTotals
from flopmeter_collector.ledger.base import Declaration, QuarantinedVector, StoredVector
from flopmeter_collector.model_assembly import ModelAssembly
from flopmeter_collector.pieces import Change
from flopmeter_collector.presence import gathered
from flopmeter_collector.residual import DEFAULT_SILENCE_NS, ResidualAccounts
from flopmeter_collector.shares import Entry, quarantined_best
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.split import Fold
from flopmeter_collector.sums import Sums
from flopmeter_collector.turns import Pause, go_on
from flopmeter_collector.weighing import Weigher
from flopmeter_collector.worth import Profiles
from flopmeter_core.allocations import parties, user_of
from flopmeter_core.claim_agreement import DEFAULT_CLAIM_BOUND
from flopmeter_core.claim_sums import ClaimTotals
from flopmeter_core.devices import DeviceRecord, DeviceTable
from flopmeter_core.errors import invariant
from flopmeter_core.estimate import figures_of
from flopmeter_core.interval import Figures, sum_figures
from flopmeter_core.patterns import fits
from flopmeter_core.registers import Evidence, Key
from flopmeter_core.reports import HourlyVector, LedgerPosition


class Totals:
    """The running sums. One thread updates; snapshots may be read by any."""

    def __init__(
        self,
        parts: DeviceTable,
        *,
        simulated: bool = False,
        claim_bound: float = DEFAULT_CLAIM_BOUND,
        silence_ns: int = DEFAULT_SILENCE_NS,
        profiles: Profiles | None = None,
    ) -> None:
        """Start empty.

        Args:
            parts: the device table that recognises the parts.
            simulated: whether the ledger is a simulated one; every figure is then marked.
            claim_bound: the factor beyond which claims and meter contradict each other.
            silence_ns: time without a report that is not missing yet.
            profiles: the counting profiles of the law in use, which decide which statements wait
                for people; those that flopmeter ships when None.
        """
        self._parts = parts
        self._claims: dict[str, tuple[ClaimTotals, ...]] = {}
        self._entries: dict[Key, Entry] = {}
        self._sums: dict[str | None, Sums] = {None: Sums()}
        self._overflow = Sums()
        self._holders: dict[str, Holder] = {}
        self._by_run: dict[str, set[str]] = {}
        self._by_user: dict[str, set[str]] = {}
        self._unread: set[str] = set()
        # Of all runs, sorted: to sort 100,000 anew each round would stop every thread.
        self._names: list[str] = []
        self._end_counts: Counter[str | None] = Counter()
        self._boundaries = Boundaries()
        self._weigher = Weigher(parts)
        self.book = Book(profiles)
        self._pieces = KeptPieces(self.book)
        self.residuals = ResidualAccounts(silence_ns)
        self._kept = KeptTotals()
        self._counted = CountedRows(self.residuals)
        self._adds = Additions(
            self._sums,
            self._overflow,
            self._weigher,
            self._boundaries,
            self._kept,
            self.residuals,
            self._counted,
        )
        self._assembly = Assembly(
            parts,
            self.book,
            self._sums,
            self._boundaries,
            self._kept,
            ModelAssembly(self.book, self._boundaries, self._kept),
            simulated,
            claim_bound,
        )

    # --- what people declare ---------------------------------------------------------------------

    def apply(self, row: Declaration) -> None:
        """Take the next declaration of the ledger, of a device or of runs.

        Raises:
            DataError: it cannot be understood, or contradicts what stands; nothing is changed.
        """
        if row.kind == DEVICE_KIND:
            self.declare_device(parse_device_declaration(row.subject, row.body))
        else:
            self._pieces.forget()
            self._take(self.book.apply(row))

    def take_profiles(self, profiles: Profiles, rows: Iterable[Declaration]) -> bool:
        """Take other counting profiles; returns whether any statement fares else.

        A label that held may wait for people from now on, and one that waited may hold: then all
        work is weighed anew.

        Args:
            profiles: of the law in use.
            rows: every declaration of the ledger that was applied, in its order.
        """
        taken = [row for row in rows if row.kind != DEVICE_KIND]
        self._pieces.forget()
        if not self.book.retake(taken, profiles):
            return False
        self._kept.forget_models()
        self._kept.forget(self._names)
        for name, holder in sorted(self._holders.items()):
            self._reattribute(name, holder)
        return True

    def declare(self, declaration: RunDeclaration) -> None:
        """Apply what a run is and estimate its work anew.

        Declarations of one run are to come in the order of the ledger: a later one overrides
        the fields it has.

        Raises:
            DataError: a span that overlaps an earlier one; nothing is changed.
        """
        self._pieces.forget()
        self._take(self.book.declare(declaration))

    def declare_device(self, declaration: DeviceDeclaration) -> None:
        """Apply what is declared of a device's enrolled time, in the order of the ledger."""
        if declaration.state is DeviceState.ENROLLED:
            ceiling = self._weigher.ceiling_flop_per_ns(Evidence.ALLOCATION, declaration.record)
            self.residuals.declare_ceiling(declaration.subject, ceiling)
        self.residuals.declare(declaration)

    def _take(self, change: Change) -> None:
        """Estimate anew what a statement touches."""
        touched: set[str] = set()
        if change.models:
            self._kept.forget_models()
        self._kept.forget(change.runs | set(map(self.book.attribution.home, change.runs)))
        for run in change.runs:
            self._place(run)
            touched |= self._by_run.get(run, set())
        for run in change.named:
            self._place(run)
        self._kept.forget(change.named)
        if change.allocation is not None:
            touched |= self._by_user.get(user_of(change.allocation), set())
        if change.pattern is not None:
            touched |= {
                name
                for name in self._holders
                if attachable(name) and fits(user_of(name), change.pattern)
            }
        for name in sorted(touched):
            self._reattribute(name, self._holders[name])

    def _reattribute(self, name: str, holder: Holder) -> None:
        """Share the work of an allocation out anew."""
        self._route(name, holder)
        moved = False
        for key in holder.keys:
            entry = self._entries[key]
            moved |= not entry.recut(self._pieces.of(name, key.phase))
            self._adds.replace(key, entry, entry.vectors)
        self._note_dated(name, holder, moved=moved)
        for key in holder.shared:
            entry = self._entries[key]
            entry.ends = self._ends(key.allocation)
            self._adds.replace(key, entry, entry.vectors)

    def _route(self, name: str, holder: Holder) -> None:
        """Look up where an allocation's work may go."""
        visited, ends = self.book.attribution.visited(name)
        self._end_counts.subtract(holder.ends)
        self._end_counts.update(ends)
        holder.ends = ends
        for run in holder.visited - visited:
            self._by_run[run].discard(name)
        for run in visited - holder.visited:
            self._by_run.setdefault(run, set()).add(name)
        holder.visited = visited
        for end in holder.ends:
            self._place(end)

    def _note_dated(self, name: str, holder: Holder, *, moved: bool) -> None:
        holder.dated = any(len(self._entries[key].segments) > 1 for key in holder.keys)
        if not holder.dated:
            self._unread.discard(name)
        elif moved:
            self._unread.add(name)

    # --- what is metered -------------------------------------------------------------------------

    @property
    def unread_allocations(self) -> frozenset[str]:
        """Allocations whose hourly vectors have to be read, from the first (`read_hours`)."""
        return frozenset(self._unread)

    def add_hours(self, rows: Iterable[HourlyVector], *, left_out: bool = False) -> None:
        """Take new hourly vectors; those of work that nothing cuts are not needed.

        Args:
            rows: in any order.
            left_out: whether there are more, in the ledger only.
        """
        if left_out:
            self._unread |= {name for name, holder in self._holders.items() if holder.dated}
        for row in rows:
            name = row.key.allocation
            holder = self._holders.get(name)
            if holder is None or not holder.dated or name in self._unread:
                continue
            entry = self._entries.get(row.key)
            if entry is None or (entry.fold is not None and not entry.fold.add(row)):
                self._unread.add(name)
            elif entry.fold is not None:
                self._adds.replace(row.key, entry, entry.vectors)

    def quarantined_flop(self, rows: Iterable[tuple[QuarantinedVector, DeviceRecord]]) -> int:
        """Most likely FLOP of quarantined vectors as they were sent; in no total.

        Args:
            rows: held vectors, each with its device record.

        Returns:
            FLOP, what the registers of the same keys count included.
        """
        return sum(
            quarantined_best(
                row, record, self.book.pieces(row.key.allocation, row.key.phase), self._weigher
            )
            for row, record in rows
        )

    def forget_hours(self, allocation: str) -> None:
        """Note that hours were thinned in the ledger: those of work that is cut are read anew."""
        holder = self._holders.get(allocation)
        if holder is not None and holder.dated:
            self._unread.add(allocation)

    def read_hours(self, allocation: str, rows: Iterable[HourlyVector]) -> None:
        """Take all hourly vectors of an allocation, by key and oldest first."""
        keys = self._holders[allocation].keys
        for key in keys:
            self._refold(self._entries[key])
        broken: set[Key] = set()
        for row in rows:
            entry = self._entries.get(row.key)
            if entry is None or entry.fold is None or row.key in broken:
                continue
            if not entry.fold.add(row):
                # Two histories of one key: nobody can tell when what was done.
                broken.add(row.key)
                self._refold(entry)
        for key in keys:
            self._adds.replace(key, self._entries[key], self._entries[key].vectors)
        self._unread.discard(allocation)

    def count_rows(
        self,
        rows: HeldRows,
        places: array[int],
        read_ns: array[int],
        note: Callable[[int, int], None],
    ) -> list[int]:
        """Replace what keys add by what their rows hold, where they only grew.

        Args:
            rows: the registers; at each call the same.
            places: the numbers of rows that changed.
            read_ns: up to when since its boot each was read; 0 where a sighting tells it.
            note: gets those that a sighting has to tell of all the same.

        Returns:
            The numbers of the others, for `update`.
        """
        left = self._counted.count(rows.block, places, read_ns, note)
        for growth, more in self._counted.settle():
            self._adds.put(growth, more)
        return left

    def update(
        self,
        key: Key,
        record: DeviceRecord,
        branches: Sequence[StoredVector],
        place: int = -1,
    ) -> bool:
        """Replace what one key adds by what its newest vectors say.

        Args:
            key: whose register.
            record: the device record the key refers to.
            branches: all branches of the key; more than one only after a fork.
            place: the number of its row, where `count_rows` is to count it from now on.

        Returns:
            Whether the key is new.
        """
        invariant(len(branches) > 0, "a key has at least one branch")
        entry = self._entries.get(key)
        if entry is not None and entry.growth is not None and len(branches) == 1:
            self._adds.go_on(key, entry, entry.growth, branches[0].vector)
            return False
        new = entry is None
        if entry is None:
            entry = self._enrol(key, record)
        entry.place = max(place, entry.place)
        if not (new and len(branches) == 1 and self._adds.begin(key, entry, branches[0].vector)):
            self._adds.replace(key, entry, tuple(branch.vector for branch in branches))
        if new:
            self.residuals.enrol_key(key)
        return new

    def claim(self, run: str, claimed: tuple[ClaimTotals, ...]) -> None:
        """Take what a run's claims add up to by quantity; no metered figure depends on it."""
        self._claims[run] = claimed
        self._kept.forget((self.book.attribution.home(run),))

    # --- what comes out --------------------------------------------------------------------------

    @property
    def run_count(self) -> int:
        """How many runs have totals, some of them perhaps taken back."""
        return len(self._sums) - 1

    @property
    def allocations(self) -> Mapping[str, frozenset[str | None]]:
        """Every allocation that a key names, and the runs whose totals may hold its work."""
        return {name: holder.ends for name, holder in self._holders.items() if holder.keys}

    def runs_of(
        self, key: Key, from_ns: int | None = None, until_ns: int | None = None
    ) -> frozenset[str]:
        """The runs that hold a key's work of a time; of all of it where none is given.

        Args:
            key: one that was counted.
            from_ns: Unix time in ns of the first instant; None: since the beginning.
            until_ns: Unix time in ns of the first instant after it; None: open.
        """
        entry = self._entries.get(key)
        pieces = entry.segments if entry is not None else ()
        return frozenset(
            piece.content.run
            for piece in pieces
            if piece.content.run is not None and piece.meets(from_ns, until_ns)
        )

    def allocation_flop(self, name: str) -> Figures:
        """What an allocation's registers hold, whose ever they are."""
        holder = self._holders.get(name)
        keys = holder.keys if holder is not None else []
        return sum_figures(
            figures_of(amounts.flop)
            for key in keys
            for amounts in self._entries[key].added().values()
        )

    def snapshot(
        self, as_of_ns: int, position: LedgerPosition | None, pause: Pause = go_on
    ) -> TotalsSnapshot:
        """Copy the sums into an immutable snapshot.

        Args:
            as_of_ns: Unix time in ns the totals hold at.
            position: the ledger position that holds everything applied so far.
            pause: called between two runs.
        """
        self._take_doubled()
        residual = self.residuals.at(as_of_ns)
        return self._assembly.snapshot(
            as_of_ns,
            position,
            residual=residual,
            charges=gathered(residual.charges, self._charged),
            overflow=self._overflow,
            claims=self._claims,
            shown=tuple(run for run in self._names if self._is_shown(run)),
            pause=pause,
        )

    def _is_shown(self, run: str) -> bool:
        """Whether anybody reported or declared a run, and it is no part of another one."""
        if run in self.book.attribution.merged:
            return False
        return self._end_counts[run] > 0 or self.book.knows(run)

    # --- inside ----------------------------------------------------------------------------------

    def _place(self, run: str | None) -> None:
        """Make room for a run's sums."""
        if run not in self._sums:
            self._sums[run] = Sums()
            if run is not None:
                insort(self._names, run)

    def _charged(self, allocation: str | None) -> str | None:
        """The run that a gap of an allocation is charged to; None where it may be another's."""
        if allocation is None:
            return None
        ends = self._holder(allocation).ends
        return next(iter(ends)) if len(ends) == 1 else None

    def _holder(self, name: str) -> Holder:
        holder = self._holders.get(name)
        if holder is None:
            holder = self._holders[name] = Holder()
            self._by_user.setdefault(user_of(name), set()).add(name)
            self._route(name, holder)
        return holder

    def _ends(self, allocation: str) -> frozenset[str]:
        """The runs that a period with several users may be of."""
        return frozenset(
            run
            for party in parties(allocation)
            for run in self._holder(party).ends
            if run is not None
        )

    def _enrol(self, key: Key, record: DeviceRecord) -> Entry:
        """Make room for a key seen for the first time."""
        name = key.allocation
        several = parties(name)
        for party in several:
            self._holder(party).shared.append(key)
        entry = Entry(
            record,
            self._pieces.of(name, key.phase),
            self._ends(name) if several else frozenset(),
            known=self._parts.recognise(record).known,
            ceiling_flop_per_ns=self._weigher.ceiling_flop_per_ns(key.evidence, record, key.record),
        )
        self._refold(entry)
        self._entries[key] = entry
        holder = self._holder(name)
        if entry.fold is not None and not holder.dated:
            # Its first key that is cut, whatever keys came before: nobody kept hours for it so far.
            self._unread.add(name)
            holder.dated = True
        holder.keys.append(key)
        return entry

    @staticmethod
    def _refold(entry: Entry) -> None:
        """Begin the hours of a key anew."""
        entry.fold = Fold(entry.segments) if len(entry.segments) > 1 else None

    def _take_doubled(self) -> None:
        """Weigh anew what two agents measured at the same time."""
        for key, doubled_ns, writer_covered_ns in self.residuals.take_doubled():
            entry = self._entries[key]
            if (entry.doubled_ns, entry.writer_covered_ns) == (doubled_ns, writer_covered_ns):
                continue  # weighed so already: of a device with many writers few go on
            entry.doubled_ns, entry.writer_covered_ns = doubled_ns, writer_covered_ns
            self._adds.replace(key, entry, entry.vectors)
