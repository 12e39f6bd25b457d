"""Totals: what all registers together say of each run, each model and the remainder.

Owns: the running sums per run, and their exact replacement when a key or a declaration changes.
May touch: nothing; exact integers in memory, no clock, no I/O.
Called by the collector's app (one thread) and by the lab's replay.
Every sum is changed by new - old of one key and never built up again, and integers do not round,
so the totals are the same whatever the order, repetition or partition of the updates.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flopmeter_collector.boundaries import Boundaries
from flopmeter_collector.declarations import RunDeclaration
from flopmeter_collector.device_declarations import DeviceDeclaration, DeviceState
from flopmeter_collector.kept import KeptTotals
from flopmeter_collector.ledger.base import QuarantinedVector, StoredVector
from flopmeter_collector.residual import (
    DEFAULT_SILENCE_NS,
    NO_CHARGE,
    Charge,
    ResidualAccounts,
)
from flopmeter_collector.snapshot import (
    STRADDLE,
    ModelTotals,
    Part,
    RunTotals,
    SplitFigures,
    TotalsSnapshot,
)
from flopmeter_collector.split import Fold, segments_of
from flopmeter_collector.sums import Sums, account_of, total_figures
from flopmeter_collector.weighing import NO_FLOP, Weigher, without_doubled
from flopmeter_core.allocations import OVERFLOW, boundary_parties, named_run
from flopmeter_core.claims import (
    DEFAULT_CLAIM_BOUND,
    Agreement,
    ClaimTotals,
    reconcile,
)
from flopmeter_core.devices import DeviceRecord, DeviceTable
from flopmeter_core.errors import invariant
from flopmeter_core.estimate import METHOD_VERSION, figures_of
from flopmeter_core.interval import Figures
from flopmeter_core.lineage import runs_by_model
from flopmeter_core.registers import TIME_COMPONENTS, Component, Evidence, Key, Vector, covered_ns
from flopmeter_core.reports import HourlyVector, LedgerPosition

UNATTRIBUTED = 0
"""Number of the sums that hold the work of no run."""

_OVERFLOW = 1
"""Number of the sums that hold, once more, what of it lies in allocation `overflow`."""


@dataclass(slots=True)
class _Entry:
    """What one key adds, kept so that it can be taken out again."""

    place: int
    neighbours: frozenset[str]
    record: DeviceRecord
    vectors: tuple[Vector, ...]
    flop: tuple[int, ...]
    times_ns: tuple[int, ...]
    energy_mj: int
    covered_ns: int = 0
    plain_lower_flop: int = 0
    ceiling_flop_per_ns: int = 0
    doubled_ns: int = 0
    writer_covered_ns: int = 0
    fold: Fold | None = None
    parts: dict[Part, tuple[int, ...]] = field(default_factory=dict)


class Totals:
    """The running sums. One thread updates; snapshots may be read by any."""

    def __init__(
        self,
        parts: DeviceTable,
        *,
        simulated: bool = False,
        claim_bound: float = DEFAULT_CLAIM_BOUND,
        silence_ns: int = DEFAULT_SILENCE_NS,
    ) -> None:
        """Start empty.

        Args:
            parts: the device table that recognises the parts.
            simulated: whether the ledger is a simulated one; every figure is then marked.
            claim_bound: the factor beyond which claims and meter contradict each other.
            silence_ns: time without a report that is not missing yet.
        """
        self._parts = parts
        self._simulated = simulated
        self._claim_bound = claim_bound
        self._claims: dict[str, tuple[ClaimTotals, ...]] = {}
        self._entries: dict[Key, _Entry] = {}
        self._sums: list[Sums] = [Sums(), Sums()]
        self._place_by_run: dict[str, int] = {}
        self._keys_by_run: dict[str, list[Key]] = {}
        self._declarations: dict[str, RunDeclaration] = {}
        # Plain products of split runs by the part of time they belong to.
        self._parts_by_run: dict[str, dict[Part, list[int]]] = {}
        self._unread: set[str] = set()
        self._boundaries = Boundaries()
        self._kept = KeptTotals()
        self._names: list[str] = []  # of all runs, sorted: to sort 100,000 anew stops every thread
        self._weigher = Weigher(parts)
        self.residuals = ResidualAccounts(silence_ns)

    def declare(self, declaration: RunDeclaration) -> None:
        """Apply a declaration and estimate all keys of its run anew.

        Declarations of one run are to come in the order of the ledger: a later one overrides
        the fields it has.

        Raises:
            DataError: a span that overlaps an earlier one; nothing is changed.
        """
        run = declaration.run
        before = self._declarations.get(run, RunDeclaration(run))
        self._declarations[run] = before.overridden_by(declaration)
        self._place(run)
        self._kept.forget((run,))
        self._weigher.forget_warnings(run)
        if declaration.spans:
            self._unread.add(run)
        for key in self._keys_by_run.get(run, ()):
            entry = self._entries[key]
            if declaration.spans:
                entry.fold = self._fold(key)
            self._replace(key, entry, entry.vectors)

    def declare_device(self, declaration: DeviceDeclaration) -> None:
        """Apply what is declared of a device's enrolled time, in the order of the ledger."""
        if declaration.state is DeviceState.ENROLLED:
            record = DeviceRecord(
                node=declaration.node,
                device=declaration.subject,
                vendor="",
                product_name="",
                part=declaration.part,
            )
            ceiling = self._weigher.ceiling_flop_per_ns(Evidence.ALLOCATION, record)
            self.residuals.declare_ceiling(declaration.subject, ceiling)
        self.residuals.declare(declaration)

    @property
    def unread_runs(self) -> frozenset[str]:
        """Split runs whose hourly vectors have to be read, from the first (`read_hours`)."""
        return frozenset(run for run in self._unread if self._declarations[run].dated)

    def add_hours(self, rows: Iterable[HourlyVector], *, left_out: bool = False) -> None:
        """Take new hourly vectors; those of runs that nothing splits are not needed.

        Args:
            rows: in any order.
            left_out: whether there are more, in the ledger only.
        """
        dated = {run for run, declared in self._declarations.items() if declared.dated}
        if left_out:
            self._unread |= dated
        for row in rows:
            run = named_run(row.key.allocation)
            if run in dated and run not in self._unread:
                entry = self._entries.get(row.key)
                if entry is None or entry.fold is None or not entry.fold.add(row):
                    self._unread.add(run)
                else:
                    self._replace(row.key, entry, entry.vectors)

    def quarantined_flop(self, rows: Iterable[tuple[QuarantinedVector, DeviceRecord]]) -> int:
        """Most likely FLOP of quarantined vectors as they were sent; in no total.

        Args:
            rows: held vectors, each with its device record.

        Returns:
            FLOP, what the registers of the same keys count included.
        """
        flop = 0
        for row, record in rows:
            run = named_run(row.key.allocation) or ""
            self._kept.forget((run,))  # a format that its part lacks is warned of
            declared = self._declarations.get(run)
            products = self._weigher.products(
                row.key, record, (row.vector,), declared=declared, fold=None
            )
            flop += figures_of(products[None]).observed.best
        return flop

    def forget_hours(self, run: str | None) -> None:
        """Note that hours of a run were thinned in the ledger: a split one is read anew."""
        if run in self._declarations:
            self._unread.add(run)

    def read_hours(self, run: str, rows: Iterable[HourlyVector]) -> None:
        """Take all hourly vectors of a run, by key and oldest first."""
        keys = self._keys_by_run.get(run, ())
        for key in keys:
            self._entries[key].fold = self._fold(key)
        broken: set[Key] = set()
        for row in rows:
            entry = self._entries.get(row.key)
            if entry is None or entry.fold is None or row.key in broken:
                continue
            if not entry.fold.add(row):
                # Two histories of one key: nobody can tell when what was done.
                broken.add(row.key)
                entry.fold = self._fold(row.key)
        for key in keys:
            self._replace(key, self._entries[key], self._entries[key].vectors)
        self._unread.discard(run)

    def update(self, key: Key, record: DeviceRecord, branches: Sequence[StoredVector]) -> None:
        """Replace what one key adds by what its newest vectors say.

        Args:
            key: whose register.
            record: the device record the key refers to.
            branches: all branches of the key; more than one only after a fork.
        """
        invariant(len(branches) > 0, "a key has at least one branch")
        entry = self._entries.get(key)
        new = entry is None
        if entry is None:
            entry = self._enrol(key, record)
        self._replace(key, entry, tuple(branch.vector for branch in branches))
        if new:
            self.residuals.enrol_key(key)

    @property
    def run_count(self) -> int:
        """How many runs have totals."""
        return len(self._place_by_run)

    def claim(self, run: str, claimed: tuple[ClaimTotals, ...]) -> None:
        """Take what a run's claims add up to by quantity; no metered figure depends on it."""
        self._claims[run] = claimed
        self._kept.forget((run,))

    def snapshot(self, as_of_ns: int, position: LedgerPosition | None) -> TotalsSnapshot:
        """Copy the sums into an immutable snapshot.

        Args:
            as_of_ns: Unix time in ns the totals hold at.
            position: the ledger position that holds everything applied so far.
        """
        self._take_doubled()
        residual = self.residuals.at(as_of_ns)
        charges = residual.charges
        runs = tuple(
            self._kept.run(run, charges.get(run, NO_CHARGE), self._run_totals)
            for run in self._names
        )
        unattributed = account_of(
            self._sums[UNATTRIBUTED],
            simulated=self._simulated,
            charge=charges.get(None, NO_CHARGE),
        )
        return TotalsSnapshot(
            as_of_ns=as_of_ns,
            position=position,
            method_version=METHOD_VERSION,
            table_version=self._parts.version,
            simulated=unattributed.simulated or any(run.account.simulated for run in runs),
            runs=runs,
            models=self._models(runs, charges),
            unattributed=unattributed,
            overflow=account_of(self._sums[_OVERFLOW], simulated=self._simulated),
            residual=residual,
            unmatched_claims=tuple(
                (run, claimed)
                for run, claimed in sorted(self._claims.items())
                if run not in self._place_by_run
            ),
        )

    def _run_totals(self, run: str, charge: Charge) -> RunTotals:
        account = account_of(
            self._sums[self._place_by_run[run]],
            simulated=self._simulated,
            boundary=self._boundaries.of((run,)),
            charge=charge,
        )
        warnings = self._weigher.warnings(run)
        totals = RunTotals(
            run=run,
            declaration=self._declarations.get(run, RunDeclaration(run)),
            account=account,
            split=self._split_figures(run),
        )
        metered = account.figures.total
        claims = tuple(
            reconcile(claimed, metered, factor=totals.factor, bound=self._claim_bound)
            for claimed in self._claims.get(run, ())
        )
        for agreement in sorted({each.agreement for each in claims if each.agreement.alerts}):
            warnings.append(_CONTRADICTIONS[agreement])
        return replace(totals, warnings=tuple(warnings), claims=claims)

    def _split_figures(self, run: str) -> SplitFigures | None:
        declared = self._declarations.get(run)
        if declared is None or not declared.spans:
            return None
        columns = self._parts_by_run.get(run, {})
        figures: dict[Part, Figures] = {
            part: figures_of(columns.get(part, NO_FLOP))
            for part in (*declared.spans, None, STRADDLE)
        }
        bests = {part: max(0, figures[part].observed.best) for part in figures}
        return SplitFigures(figures, (bests[STRADDLE], sum(bests.values())))

    def _models(
        self, runs: Iterable[RunTotals], charges: Mapping[str | None, Charge]
    ) -> tuple[ModelTotals, ...]:
        by_run = {run.run: run for run in runs}
        declared = {
            run: declaration.model
            for run, declaration in self._declarations.items()
            if declaration.model is not None
        }

        def made(model: str, members: tuple[RunTotals, ...]) -> ModelTotals:
            names = tuple(member.run for member in members)
            return ModelTotals(
                model=model,
                runs=names,
                figures=total_figures(
                    [self._sums[self._place_by_run[run]] for run in names],
                    self._boundaries.of(names),
                    sum(charges[run].flop for run in names if run in charges),
                ),
                simulated=any(member.account.simulated for member in members),
            )

        return tuple(
            self._kept.model(model, tuple(by_run[run] for run in sorted(members)), made)
            for model, members in runs_by_model(by_run, declared).items()
        )

    def _place(self, run: str) -> int:
        """The number of a run's sums; a run seen for the first time gets one."""
        place = self._place_by_run.get(run)
        if place is None:
            place = self._place_by_run[run] = len(self._sums)
            self._sums.append(Sums())
            insort(self._names, run)
        return place

    def _enrol(self, key: Key, record: DeviceRecord) -> _Entry:
        """Make room for a key seen for the first time."""
        run = named_run(key.allocation)
        parties = boundary_parties(key.allocation) or ()
        neighbours = frozenset(n for n in map(named_run, parties) if n is not None)
        for neighbour in neighbours:
            self._place(neighbour)
        self._boundaries.enrol(neighbours)
        place = UNATTRIBUTED if run is None else self._place(run)
        if run is not None:
            self._keys_by_run.setdefault(run, []).append(key)
        known = self._parts.recognise(record).known
        for each in _places(key, place):
            self._sums[each].enrol(record, known=known)
        entry = _Entry(place, neighbours, record, (), NO_FLOP, (0,) * len(TIME_COMPONENTS), 0)
        entry.fold = self._fold(key)
        entry.ceiling_flop_per_ns = self._weigher.ceiling_flop_per_ns(key.evidence, record)
        self._entries[key] = entry
        return entry

    def _replace(self, key: Key, entry: _Entry, vectors: tuple[Vector, ...]) -> None:
        """Put new vectors in the place of the old ones: new - old, in every sum."""
        declared = self._declarations.get(named_run(key.allocation) or "")
        parts = self._weigher.products(
            key, entry.record, vectors, declared=declared, fold=entry.fold
        )
        # Of the branches of a fork each physical quantity counts once, at its largest.
        widest = vectors[0] if len(vectors) == 1 else tuple(map(max, *vectors))
        self._grow(key, entry, widest, sum(columns[1] for columns in parts.values()))
        if entry.doubled_ns:
            parts = {part: self._once(entry, columns) for part, columns in parts.items()}
        flop = tuple(sum(column) for column in zip(*parts.values(), strict=True))
        differences = [new - old for new, old in zip(flop, entry.flop, strict=True)]
        self._replace_parts(key, entry, parts)
        devices = entry.record.device_count
        times_ns = tuple(_less(widest[component], entry) * devices for component in TIME_COMPONENTS)
        energy_mj = _less(widest[Component.ENERGY_MJ], entry)
        for place in _places(key, entry.place):
            sums = self._sums[place]
            sums.replace(
                level=key.evidence.level,
                scope=entry.record.energy_scope,
                flop=differences,
                times_ns=[new - old for new, old in zip(times_ns, entry.times_ns, strict=True)],
                energy_mj=energy_mj - entry.energy_mj,
            )
            sums.fork_count += (len(vectors) > 1) - (len(entry.vectors) > 1)
        self._boundaries.change(entry.neighbours, differences)
        run = named_run(key.allocation)
        self._kept.forget(entry.neighbours if run is None else (run, *entry.neighbours))
        entry.vectors, entry.flop = vectors, flop
        entry.times_ns, entry.energy_mj = times_ns, energy_mj

    def _grow(self, key: Key, entry: _Entry, widest: Vector, lower_flop: int) -> None:
        """Tell the residual what a key covers now."""
        covered = covered_ns(widest)
        self.residuals.grow(
            key,
            entry.record,
            covered_ns=covered - entry.covered_ns,
            lower_flop=lower_flop - entry.plain_lower_flop,
            ceiling_flop_per_ns=entry.ceiling_flop_per_ns,
        )
        entry.covered_ns, entry.plain_lower_flop = covered, lower_flop

    def _once(self, entry: _Entry, columns: tuple[int, ...]) -> tuple[int, ...]:
        """Products of a key whose time another agent measured too."""
        return without_doubled(
            columns,
            doubled_ns=min(entry.doubled_ns, entry.covered_ns),
            covered_ns=entry.writer_covered_ns,
            ceiling_flop_per_ns=entry.ceiling_flop_per_ns,
        )

    def _take_doubled(self) -> None:
        """Weigh anew what two agents measured at the same time."""
        for key, doubled_ns, writer_covered_ns in self.residuals.take_doubled():
            entry = self._entries[key]
            if (entry.doubled_ns, entry.writer_covered_ns) == (doubled_ns, writer_covered_ns):
                continue  # weighed so already: of a device with many writers few go on
            entry.doubled_ns, entry.writer_covered_ns = doubled_ns, writer_covered_ns
            self._replace(key, entry, entry.vectors)

    def _fold(self, key: Key) -> Fold | None:
        """The fold of a key's hours; None where nothing declared splits its run."""
        declared = self._declarations.get(named_run(key.allocation) or "")
        if declared is None or not declared.spans:
            return None
        return Fold(segments_of(declared.spans, key.phase))

    def _replace_parts(self, key: Key, entry: _Entry, parts: dict[Part, tuple[int, ...]]) -> None:
        """Keep a split run's parts beside its sums, by differences as those."""
        run = named_run(key.allocation)
        if run is None or (entry.fold is None and not entry.parts):
            return
        kept = self._parts_by_run.setdefault(run, {})
        for sign, columns_by_part in ((-1, entry.parts), (1, parts)):
            for part, columns in columns_by_part.items():
                held = kept.setdefault(part, [0] * 6)
                for place, amount in enumerate(columns):
                    held[place] += sign * amount
        entry.parts = parts


def _places(key: Key, place: int) -> tuple[int, ...]:
    """The sums a key enters: one, and for overflow a view of it that is added to nothing."""
    return (place, _OVERFLOW) if key.allocation == OVERFLOW else (place,)


def _less(amount: int, entry: _Entry) -> int:
    """An amount without the share of it that another agent measured too, by time."""
    if not entry.doubled_ns:
        return amount
    return amount - amount * min(entry.doubled_ns, entry.writer_covered_ns) // (
        entry.writer_covered_ns
    )


_CONTRADICTIONS = {
    Agreement.ABOVE: (
        "training processes claim far more than was metered: look for unmetered devices, another "
        "run's name, or a wrong formula in the script"
    ),
    Agreement.BELOW: (
        "training processes claim far less than was metered: look for work that is not claimed, "
        "recomputation that nobody declared (flopmeter run declare --recompute), a restart "
        "without an attempt of its own, or a wrong formula in the script"
    ),
    Agreement.IMPOSSIBLE: (
        "training processes claim more than the metered devices could execute: look for unmetered "
        "devices, or a wrong formula in the script"
    ),
}
