"""What a round of evaluation says: every total at one instant, immutable.

Owns: the values that every reader of a figure is handed.
May touch: nothing; frozen data.
Made by totals; read by evaluate, presentation, http, publish and the lab, from any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flopmeter_collector.declarations import RunDeclaration
from flopmeter_collector.residual import NO_RESIDUAL, Residual
from flopmeter_collector.sums import Account, Part
from flopmeter_core.claims import Agreement, ClaimTotals, Reconciliation, worst
from flopmeter_core.interval import Figures, Interval
from flopmeter_core.lineage import model_of
from flopmeter_core.recompute import Factor, factor_or_widest, model_flop
from flopmeter_core.reports import LedgerPosition


@dataclass(frozen=True, slots=True)
class SplitFigures:
    """A run's figures by the parts of time that were declared.

    Attributes:
        parts: by declared span, `None` for the rest and STRADDLE for what may lie on either side
            of a cut; before the parts are clipped their products add up to the run's exactly.
        straddling_share: share of the best figure that straddles, as (share, whole) in FLOP.
    """

    parts: Mapping[Part, Figures]
    straddling_share: tuple[int, int]


@dataclass(frozen=True, slots=True)
class RunTotals:
    """One run: what was declared of it, what its keys add up to, and what is doubtful."""

    run: str
    declaration: RunDeclaration
    account: Account
    warnings: tuple[str, ...] = ()
    claims: tuple[Reconciliation, ...] = ()
    split: SplitFigures | None = None

    @property
    def model(self) -> str:
        """The model this run contributes to."""
        declared = self.declaration.model
        return model_of(self.run, {self.run: declared} if declared is not None else {})

    @property
    def factor(self) -> Factor:
        """Executed / model FLOP as declared; from none to full recomputation where nobody did."""
        declared = self.declaration
        return factor_or_widest(
            declared.recompute, activity=declared.activity, workload=declared.workload
        )

    @property
    def model_flop(self) -> Interval:
        """The metered executed FLOP less what was recomputed, by `factor`."""
        return model_flop(self.account.figures.total, self.factor)

    @property
    def agreement(self) -> Agreement | None:
        """How the claims stand to the meter, at their worst; None where nobody claims."""
        return worst(self.claims) if self.claims else None


@dataclass(frozen=True, slots=True)
class ModelTotals:
    """One model: the figures over its set of distinct runs."""

    model: str
    runs: tuple[str, ...]
    figures: Figures
    simulated: bool


@dataclass(frozen=True, slots=True)
class TotalsSnapshot:
    """All totals at one instant; immutable, so that any thread may read it.

    Attributes:
        as_of_ns: Unix time in ns the snapshot was taken at.
        position: the ledger position whose content it shows; None without a ledger.
        method_version: version of the estimate.
        table_version: version of the device table.
        simulated: whether the ledger, or any key, is simulated.
        runs: in the order of their names.
        models: in the order of their names.
        unattributed: the work of no run, boundary periods and `overflow` included.
        overflow: the part of `unattributed` whose users agents had no room to tell apart.
        residual: enrolled time that nobody classified.
        unmatched_claims: claims of runs that were never metered, by the run's name.
    """

    as_of_ns: int
    position: LedgerPosition | None
    method_version: str
    table_version: str
    simulated: bool
    runs: tuple[RunTotals, ...]
    models: tuple[ModelTotals, ...]
    unattributed: Account
    overflow: Account
    residual: Residual = NO_RESIDUAL
    unmatched_claims: tuple[tuple[str, tuple[ClaimTotals, ...]], ...] = ()
