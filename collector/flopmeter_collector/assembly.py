"""From running sums to the immutable totals of runs, and the snapshot of all.

Owns: what a run's total is made of: clipped sums, boundary periods, residual, claims.
May touch: nothing; reads the sums that totals owns.
Called by totals, once a round.
Explained in docs/adr/0004-interval-semantics.md and docs/runs-and-models.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from flopmeter_collector.book import Book
from flopmeter_collector.boundaries import Boundaries
from flopmeter_collector.kept import KeptTotals
from flopmeter_collector.model_assembly import ModelAssembly, run_parts
from flopmeter_collector.presence import NO_CHARGE, Charge
from flopmeter_collector.residual import Residual
from flopmeter_collector.snapshot import RunTotals, SplitFigures, TotalsSnapshot
from flopmeter_collector.sums import Sums, account_of
from flopmeter_collector.turns import Pause, between
from flopmeter_collector.weighed import STRADDLE, Part
from flopmeter_core.claim_agreement import Agreement, reconcile
from flopmeter_core.claim_sums import ClaimTotals
from flopmeter_core.claims import ClaimQuantity
from flopmeter_core.devices import DeviceTable
from flopmeter_core.estimate import METHOD_VERSION, figures_of
from flopmeter_core.interval import Figures
from flopmeter_core.reports import LedgerPosition

_NO_FLOP = (0,) * 6


@dataclass(frozen=True, slots=True)
class Assembly:
    """Makes snapshots of sums that somebody else changes, between two changes.

    Attributes:
        parts: the device table.
        book: what people declared.
        sums: by run; None is the unattributed remainder.
        boundaries: periods that may be of several runs.
        kept: what the last snapshot said of what did not change since.
        models: makes the totals of models of those of runs.
        simulated: whether everything in the ledger is simulated.
        claim_bound: the factor beyond which claims and meter contradict each other.
    """

    parts: DeviceTable
    book: Book
    sums: Mapping[str | None, Sums]
    boundaries: Boundaries
    kept: KeptTotals
    models: ModelAssembly
    simulated: bool
    claim_bound: float

    def snapshot(
        self,
        as_of_ns: int,
        position: LedgerPosition | None,
        *,
        residual: Residual,
        charges: Mapping[str | None, Charge],
        overflow: Sums,
        claims: Mapping[str, tuple[ClaimTotals, ...]],
        shown: tuple[str, ...],
        pause: Pause,
    ) -> TotalsSnapshot:
        """Copy everything.

        Args:
            as_of_ns: Unix time in ns the totals hold at.
            position: the ledger position that holds everything applied so far.
            residual: enrolled time that nobody classified.
            charges: the residual by the run it is charged to.
            overflow: the view of what agents had no room to tell apart.
            claims: by the run that training processes name.
            shown: the runs that have a total of their own, in the order of their names.
            pause: called between two runs, and between two models.
        """
        by_home: dict[str, list[tuple[ClaimTotals, ...]]] = {}
        for run, claimed in sorted(claims.items()):
            by_home.setdefault(self.book.attribution.home(run), []).append(claimed)
        found = frozenset(shown) if claims else frozenset()
        runs = tuple(
            self.kept.run(
                run,
                charges.get(run, NO_CHARGE),
                lambda run, charge: self._run(run, charge, _joined(by_home.get(run, []))),
            )
            for run in between(shown, pause)
        )
        unattributed = account_of(
            self.sums[None], simulated=self.simulated, charge=charges.get(None, NO_CHARGE)
        )
        return TotalsSnapshot(
            as_of_ns=as_of_ns,
            position=position,
            method_version=METHOD_VERSION,
            table_version=self.parts.version,
            simulated=unattributed.simulated or any(run.account.simulated for run in runs),
            runs=runs,
            models=self.models.models(runs, pause),
            unattributed=unattributed,
            overflow=account_of(overflow, simulated=self.simulated),
            residual=residual,
            lowerings=tuple(self.book.approvals.lowerings.values()),
            rules=self.book.attribution.rules,
            unmatched_claims=tuple(
                (run, claimed)
                for run, claimed in sorted(claims.items())
                if self.book.attribution.home(run) not in found
            ),
        )

    def _run(self, run: str, charge: Charge, claimed: tuple[ClaimTotals, ...]) -> RunTotals:
        sums = self.sums[run]
        standing = self.book.attribution
        boundary = self.boundaries.of((run,))
        labelled = sums.by_label()
        account = account_of(
            sums, simulated=self.simulated, boundary=boundary, charge=charge, labelled=labelled
        )
        declaration = self.book.own_declaration(run)
        totals = RunTotals(
            run=run,
            declaration=declaration,
            account=account,
            split=_split_figures(sums, declaration.spans),
            name=standing.names.get(run, run),
            parts=run_parts(run, labelled, declaration, charge=charge, boundary=boundary),
            warnings=tuple(sums.warnings),
            merged=standing.merged_into(run),
            sources=standing.sources(run),
            waiting_label_count=self.book.approvals.waiting_count(run),
            model=self.book.model_of(run),
        )
        if not claimed:
            return totals
        metered = account.figures.total
        found = tuple(
            reconcile(each, metered, factor=totals.factor, bound=self.claim_bound)
            for each in claimed
        )
        contradictions = sorted({each.agreement for each in found if each.agreement.alerts})
        warnings = (*totals.warnings, *(_CONTRADICTIONS[each] for each in contradictions))
        return replace(totals, warnings=warnings, claims=found)


def _split_figures(sums: Sums, spans: Iterable[Part]) -> SplitFigures | None:
    """The figures of a run's declared spans; None where nothing splits it."""
    parts = tuple(spans)
    if not parts:
        return None
    columns = sums.by_part()
    figures: dict[Part, Figures] = {
        part: figures_of(columns.get(part, _NO_FLOP)) for part in (*parts, None, STRADDLE)
    }
    bests = {part: max(0, figures[part].observed.best) for part in figures}
    return SplitFigures(figures, (bests[STRADDLE], sum(bests.values())))


def _joined(claimed: list[tuple[ClaimTotals, ...]]) -> tuple[ClaimTotals, ...]:
    """The claims of all names of a run as those of one."""
    if len(claimed) < 2:
        return claimed[0] if claimed else ()
    by_quantity: dict[ClaimQuantity, ClaimTotals] = {}
    for each in (each for totals in claimed for each in totals):
        held = by_quantity.get(each.quantity)
        by_quantity[each.quantity] = each if held is None else _added(held, each)
    return tuple(by_quantity.values())


def _added(one: ClaimTotals, other: ClaimTotals) -> ClaimTotals:
    """Claims of two names of one run: nobody counted in both."""
    return ClaimTotals(
        one.executed_flop + other.executed_flop,
        one.unique_flop + other.unique_flop,
        one.executed_token_count + other.executed_token_count,
        one.unique_token_count + other.unique_token_count,
        one.executed_step_count + other.executed_step_count,
        one.unique_step_count + other.unique_step_count,
        one.attempt_count + other.attempt_count,
        one.writer_count + other.writer_count,
        tuple(sorted({*one.models, *other.models})),
        tuple(sorted({*one.formats, *other.formats})),
        tuple(sorted({*one.activities, *other.activities})),
        one.quantity,
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
