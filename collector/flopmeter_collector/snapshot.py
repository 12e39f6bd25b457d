"""What a round of evaluation says: every total at one instant, immutable.

Owns: the values that every reader of a figure is handed.
May touch: nothing; frozen data.
Made by totals; read by evaluate, presentation, http, publish and the lab, from any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flopmeter_collector.approvals import Lowering
from flopmeter_collector.attribution import Rule
from flopmeter_collector.declarations import RunDeclaration
from flopmeter_collector.model_statements import Completeness, External, PartyRole, Planned
from flopmeter_collector.residual import NO_RESIDUAL, Residual
from flopmeter_collector.rulings import NO_RULINGS, Rulings
from flopmeter_collector.sums import Account
from flopmeter_collector.weighed import Part
from flopmeter_core.activities import Edge
from flopmeter_core.catalogue import Standing, Threshold
from flopmeter_core.claim_agreement import Agreement, Reconciliation, worst
from flopmeter_core.claim_sums import ClaimTotals
from flopmeter_core.counting import Counted, Profile, WorkPart
from flopmeter_core.interval import NO_FIGURES, Figures, Interval
from flopmeter_core.ratio import Ratio
from flopmeter_core.recompute import Factor, factor_or_widest, model_flop
from flopmeter_core.reports import LedgerPosition
from flopmeter_core.values import value_class


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


@value_class(frozen=True, slots=True)
class RunTotals:
    """One run: what was declared of it, what its keys add up to, and what is doubtful.

    Attributes:
        run: its own name, which never changes.
        name: the name that people know it by.
        parts: its work by label; their sum is the account's figures. Time that nobody measured and
            periods that may be of another run have the run's label where it has one only.
        merged: the runs that are parts of it.
        sources: the runs whose labels may hold for its work: itself, those that are parts of it,
            and those that it was split off.
        waiting_label_count: statements about it that lower a legal total and wait for people.
        model: the model whose total holds its work: as declared, else the model of one that is
            named like it, or like the run that it was split off.
    """

    run: str
    declaration: RunDeclaration
    account: Account
    warnings: tuple[str, ...] = ()
    claims: tuple[Reconciliation, ...] = ()
    split: SplitFigures | None = None
    name: str = ""
    parts: tuple[WorkPart, ...] = ()
    merged: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    waiting_label_count: int = 0
    model: str = ""

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
class Modification:
    """A model held against one that its weights came from.

    Attributes:
        original: the earlier model.
        edge: how this one came from it.
        ratio: compute of this model's own work over all of the original's; None where nothing is
            known of the original's.
    """

    original: str
    edge: Edge
    ratio: Ratio | None


@value_class(frozen=True, slots=True)
class ModelTotals:
    """One model: the figures over its set of distinct runs, and over those it came from.

    Attributes:
        model: its name.
        runs: its own runs.
        figures: everything: own and inherited work, and external entries.
        simulated: whether any of it is made up.
        parts: the same by run and label, each run once; their sum is `figures`. Periods that may
            be of several of the runs are one part of no run for each way they came.
        inherited: runs of the models it came from.
        own: the figures of its own runs and own external entries.
        external: what was entered by hand, own and inherited; a part of `figures`.
        externals: its own external entries.
        entered_from_ns: of each external entry, own or inherited, by the name of its part's origin:
            Unix time in ns at which its period began.
        parents: the models it came from at once, with how.
        parties: who did what for it.
        completeness: what somebody stated about whether this is everything.
        planned: what it is meant to take in all.
        modifications: its own work against each model that its weights came from.
        rulings: conditions of laws that were declared of it, and exclusions that are used.
        counted, held: what `evaluate` made of all that, by the identity of the profile or the
            threshold beside it: it cannot change while this value lives, and round, page and
            scrape all ask.
    """

    model: str
    runs: tuple[str, ...]
    figures: Figures
    simulated: bool
    parts: tuple[WorkPart, ...] = ()
    inherited: tuple[str, ...] = ()
    own: Figures = NO_FIGURES
    external: Figures = NO_FIGURES
    externals: tuple[External, ...] = ()
    parents: tuple[tuple[str, Edge], ...] = ()
    parties: tuple[tuple[str, PartyRole], ...] = ()
    completeness: Completeness | None = None
    planned: Planned | None = None
    modifications: tuple[Modification, ...] = ()
    rulings: Rulings = NO_RULINGS
    entered_from_ns: tuple[tuple[str, int], ...] = ()
    counted: dict[int, tuple[Profile, Counted]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    held: dict[int, tuple[Threshold, tuple[Standing, Figures]]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )


@value_class(frozen=True, slots=True)
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
        lowerings: every statement that lowers or would lower a legal total, in the order of the
            ledger.
        rules: what takes allocations to come, in the order of the ledger.
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
    lowerings: tuple[Lowering, ...] = ()
    rules: tuple[Rule, ...] = ()
