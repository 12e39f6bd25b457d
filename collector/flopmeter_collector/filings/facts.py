"""What a report rests on, gathered once: figures, time, energy, lineage, doubts and their sources.

Owns: the values that every page of a report is made of.
May touch: nothing; frozen data.
Made by the lab's reporting from a ledger; read by the other modules of this folder.
Explained in docs/filings.md.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from flopmeter_collector.modifications import Line
from flopmeter_collector.rulings import NO_RULINGS, Rulings
from flopmeter_collector.sums import DeviceUse
from flopmeter_core.catalogue import Standing
from flopmeter_core.claim_agreement import Agreement
from flopmeter_core.counting import Counted, Profile
from flopmeter_core.devices import EnergyScope
from flopmeter_core.interval import Figures, Interval
from flopmeter_core.reports import LedgerPosition


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run of the model, as far as a report tells it.

    Attributes:
        run: its id, which is also the subject of its declarations.
        activity: what was done, in words; several where it changed.
        number_format: the declared mix; ``undeclared`` where nobody declared one.
        figures: executed FLOP.
        evidence: level -> share of the best figure, as (amount, whole).
        first_ns, last_ns: Unix time in ns of its first and last recorded hour; None without one.
        register_count: rows of the ledger its figure is made of.
        origin: ``own``, or how it came to the model.
    """

    run: str
    activity: str
    number_format: str
    figures: Figures
    evidence: Mapping[str, tuple[int, int]]
    first_ns: int | None
    last_ns: int | None
    register_count: int
    origin: str


@dataclass(frozen=True, slots=True)
class ExternalFacts:
    """Compute that no agent saw, entered by a person with its source."""

    name: str
    interval: Interval
    activity: str
    period: str
    party: str
    source: str
    source_sha256: str


@dataclass(frozen=True, slots=True)
class OtherMethod:
    """The same work by another method: what the training scripts claim."""

    run: str
    quantity: str
    claimed_flop: int
    metered: Interval
    agreement: Agreement


@dataclass(frozen=True, slots=True)
class ReviewFacts:
    """A review item: from when, by when, and what a named person determined.

    Attributes:
        number: as `flopmeter review` knows it.
        earliest: the earliest arguable date of "met or known that it will be met", as text.
        due_on: the last day to tell somebody, with its time zone; empty where no law sets one.
        determination: what was determined last, in one sentence; empty while it is open.
    """

    number: int
    earliest: str
    due_on: str
    determination: str


@dataclass(frozen=True, slots=True)
class ModificationFacts:
    """The model's own work over that of one it came from, against the lines drawn for that."""

    original: str
    edge: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class StandingFacts:
    """How the model stands to one threshold, under that threshold's own profile.

    Attributes:
        standing: the comparison.
        counted: what was held against it.
        status: of the row on the day of the law; None before its first event.
        rulings: what was declared of the other conditions, and which exclusions are used.
        review: the newest review of it; None where no transition opened one.
    """

    standing: Standing
    counted: Figures
    status: str | None
    rulings: Rulings = NO_RULINGS
    review: ReviewFacts | None = None

    @property
    def undecided_conditions(self) -> tuple[str, ...]:
        """What else the law asks for that no meter sees and nobody declared."""
        row = self.standing.threshold
        declared = self.rulings.declared(row.id)
        return tuple(each.text for each in row.required_conditions if each.id not in declared)


@dataclass(frozen=True, slots=True)
class Basis:
    """The three times of a report, and what makes it the same report again.

    Attributes:
        measured_to_ns: Unix time in ns; work after it is in no figure.
        law_as_of: the day whose law is applied.
        known_at: sequence of the last declaration that counts.
        position: the ledger's.
        registers_sha256: hash of every register and hour that was read.
    """

    measured_to_ns: int
    law_as_of: datetime.date
    known_at: int
    position: LedgerPosition
    registers_sha256: str
    method_version: str
    device_table_version: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model, ready to be told.

    Attributes:
        counted: profile id -> the model's work under it.
        profiles: profile id -> the rules themselves.
        executed: all executed FLOP of the model's parts, counted by nobody's rule.
        energy_mj: energy by what its measurement covers, in mJ.
        observed_share: share of the device time that was measured, from 0 to 1.
        dependencies: (parent model, edge) in order.
        completeness: what its owner says of what is missing; empty where nothing was said.
        unattributed_upper_flop: what work of no known run could add at most.
        assumptions: one sentence each.
        lowering: declarations that make a legal total smaller, one sentence each.
        rulings: exclusions that are used, and other conditions that were declared.
        modifications: of each model that its weights came from.
    """

    model: str
    simulated: bool
    basis: Basis
    counted: Mapping[str, Counted]
    profiles: Mapping[str, Profile]
    executed: Figures
    runs: tuple[RunFacts, ...]
    hardware: tuple[DeviceUse, ...]
    energy_mj: Mapping[EnergyScope, int]
    observed_share: Fraction
    standings: tuple[StandingFacts, ...]
    dependencies: tuple[tuple[str, str], ...] = ()
    externals: tuple[ExternalFacts, ...] = ()
    other_methods: tuple[OtherMethod, ...] = ()
    completeness: str = ""
    unattributed_upper_flop: int = 0
    assumptions: tuple[str, ...] = ()
    lowering: tuple[str, ...] = ()
    rulings: Rulings = NO_RULINGS
    modifications: tuple[ModificationFacts, ...] = ()

    @property
    def first_ns(self) -> int | None:
        """Unix time in ns of the first recorded hour of any run; None without one."""
        return min((run.first_ns for run in self.runs if run.first_ns is not None), default=None)

    @property
    def last_ns(self) -> int | None:
        """Unix time in ns of the end of the last recorded hour; None without one."""
        return max((run.last_ns for run in self.runs if run.last_ns is not None), default=None)
