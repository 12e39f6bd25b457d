"""Counting: which part of a model's work a law counts.

Owns: the counting profile, its verdict on a piece of work, and the sums under it.
May touch: nothing; pure functions of figures.
Called by the collector's evaluation and reports; profiles are parsed by core.profiles.
Explained in docs/counting.md and docs/adr/0020-law-as-data.md.

Nothing is dropped at collection: a profile leaves work out only here, by a cited rule, and both
sums (everything, and with the permitted exclusions) are always given side by side.
"""

from __future__ import annotations

import datetime
import enum
import functools
from collections.abc import Iterable, Mapping

from flopmeter_core.activities import Activity, DataVisibility, Edge, WorkLabel
from flopmeter_core.errors import DataError, invariant
from flopmeter_core.interval import NO_FIGURES, Figures
from flopmeter_core.recompute import Factor, model_flop
from flopmeter_core.values import value_class
from flopmeter_core.verification import Verification


class Verdict(enum.StrEnum):
    """What a profile says of a piece of work; from counting most to counting least."""

    COUNT = "count"
    UNADDRESSED = "unaddressed"
    MAY_EXCLUDE = "may_exclude"
    EXCLUDE = "exclude"

    @property
    def rank(self) -> int:
        """Position in the order; a greater one counts less."""
        return _RANKS[self]


_RANKS = {verdict: place for place, verdict in enumerate(Verdict)}


@value_class(frozen=True, slots=True)
class Entry:
    """A verdict and where it is written."""

    verdict: Verdict
    citation: str
    verification: Verification
    note: str = ""


@value_class(frozen=True, slots=True)
class Profile:
    """What one law counts, in one of its quantities.

    Attributes:
        id: the name that threshold rows use.
        quantity: the law's own name of what is counted.
        entries: a verdict on every label there is.
        recomputation: verdict on activations computed again in a backward pass.
        unattributed: verdict on work that no run is known to have done.
        external: verdict on compute the agents cannot see, entered with its source.
        inherited: verdict on the compute of a parent, by the edge it came over.
    """

    id: str
    title: str
    jurisdiction: str
    quantity: str
    entries: Mapping[WorkLabel, Entry]
    recomputation: Entry
    unattributed: Entry
    external: Entry
    inherited: Mapping[Edge, Entry]
    version: int
    source: str
    checked_on: datetime.date
    verification: Verification

    def entry(self, label: WorkLabel) -> Entry:
        """The verdict on a piece of a model's own work."""
        return self.entries[label]

    def entry_of(self, part: WorkPart) -> Entry:
        """The verdict on a part, with the way it reached the model.

        On one way the least counting word decides (a parent's evaluation is an evaluation); over
        several ways the most counting one does (what was left out on one way came in on another).
        """
        if part.origin is OWN:
            return self.entry(part.label)  # one way, on which nothing else has a say
        here = [self.entry(part.label)] + ([self.external] if part.origin.external else [])
        ways = (
            _least_counting([*here, *(self.inherited[edge] for edge in way)])
            for way in part.origin.ways
        )
        return min(ways, key=lambda entry: entry.verdict.rank)


@value_class(frozen=True, slots=True)
class Origin:
    """How a piece of work came to a model.

    Attributes:
        ways: each way from the model to the run, as the edges on it; the empty way is the
            model's own run. A run reached by several ways is one part with several ways.
        external: whether the figure was entered by hand for compute that no agent saw.
        name: the parent model or the external entry, for people; empty for the model's own run.
        agreed: whether it counts in the ratio of a model that was made from this one: what a
            person entered does once two people stand behind it.
    """

    ways: frozenset[tuple[Edge, ...]] = frozenset({()})
    external: bool = False
    name: str = ""
    agreed: bool = True

    def __post_init__(self) -> None:
        """Refuse work that reached the model by no way."""
        invariant(bool(self.ways), "a part of a model's work came to it by some way")

    @property
    def inherited(self) -> bool:
        """Whether it came from a parent alone."""
        return () not in self.ways


OWN = Origin()
"""A model's own, metered run."""


@value_class(frozen=True, slots=True)
class WorkPart:
    """A piece of a model's work with one label.

    Attributes:
        label: what the work was.
        figures: executed FLOP.
        factor: executed / model FLOP, which says how much was recomputed.
        origin: how it came to the model.
        run: the run that did it, or the external entry.
    """

    label: WorkLabel
    figures: Figures
    factor: Factor
    origin: Origin
    run: str


@value_class(frozen=True, slots=True)
class Counted:
    """A model's work under one profile.

    Attributes:
        everything: all but what the law excludes; what a threshold is held against by default.
        permitted: with every permitted exclusion and permitted recomputation left out too.
        decided: with those permitted exclusions left out that a recorded decision names.
        by_verdict: executed FLOP by verdict; their sum is the sum of the parts, exactly.
        assumptions: what had to be assumed, one sentence each.
    """

    everything: Figures
    permitted: Figures
    decided: Figures
    by_verdict: Mapping[Verdict, Figures]
    assumptions: tuple[str, ...]


@value_class(frozen=True, slots=True)
class Decision:
    """A recorded decision to use exclusions that a profile permits; the default uses none.

    Attributes:
        labels: work to leave out by what it was.
        edges: parents' work to leave out by how it came to the model.
        recomputation: whether activations computed again are left out.
    """

    labels: frozenset[WorkLabel] = frozenset()
    edges: frozenset[Edge] = frozenset()
    recomputation: bool = False

    def check(self, profile: Profile) -> None:
        """Refuse to leave out what a profile does not permit.

        Raises:
            DataError: it names a label, an edge or recomputation that has to be counted.
        """
        named = {str(label): profile.entry(label) for label in sorted(self.labels)}
        named |= {f"edge {edge}": profile.inherited[edge] for edge in sorted(self.edges)}
        if self.recomputation:
            named["recomputation"] = profile.recomputation
        for name, entry in named.items():
            if entry.verdict in (Verdict.COUNT, Verdict.UNADDRESSED):
                raise DataError(
                    f"profile {profile.id} does not permit leaving out {name} "
                    f"({entry.verdict}, {entry.citation}); take it out of the decision"
                )

    def leaves_out(self, part: WorkPart) -> bool:
        """Whether it names this part, by its label or on every way it came."""
        return part.label in self.labels or all(
            self.edges.intersection(way) for way in part.origin.ways
        )


COUNT_EVERYTHING = Decision()
"""No exclusion is used: what holds until somebody decides otherwise."""


def count(
    parts: Iterable[WorkPart], profile: Profile, *, decision: Decision = COUNT_EVERYTHING
) -> Counted:
    """Sum the parts of a model's work as a profile counts them.

    Args:
        parts: disjoint pieces of work.
        profile: the law's rules.
        decision: the permitted exclusions that somebody decided to use, on the record.

    Raises:
        DataError: the decision leaves out what the profile does not permit.
    """
    decision.check(profile)
    by_verdict = dict.fromkeys(Verdict, NO_FIGURES)
    everything = permitted = decided = NO_FIGURES
    assumptions: set[str] = set()
    for part in parts:
        entry = profile.entry_of(part)
        by_verdict[entry.verdict] += part.figures
        assumptions.update(_assumptions(part, entry, profile))
        if entry.verdict is Verdict.EXCLUDE:
            continue
        must_leave = profile.recomputation.verdict is Verdict.EXCLUDE
        may_leave = must_leave or profile.recomputation.verdict is Verdict.MAY_EXCLUDE
        asked = must_leave or may_leave or decision.recomputation
        less = _less_recomputation(part) if asked else part.figures
        everything += less if must_leave else part.figures
        if entry.verdict is not Verdict.MAY_EXCLUDE:
            permitted += less if may_leave else part.figures
        if entry.verdict is not Verdict.MAY_EXCLUDE or not decision.leaves_out(part):
            decided += less if must_leave or decision.recomputation else part.figures
    return Counted(everything, permitted, decided, by_verdict, tuple(sorted(assumptions)))


def _least_counting(entries: Iterable[Entry]) -> Entry:
    return max(entries, key=lambda entry: entry.verdict.rank)


def _less_recomputation(part: WorkPart) -> Figures:
    """The figures without activations computed again; shared and unseen time stays whole."""
    figures = part.figures
    return Figures(
        model_flop(figures.observed, part.factor),
        figures.unobserved_ceiling,
        figures.boundary_upper,
        figures.boundary_ceiling,
    )


def _assumptions(part: WorkPart, entry: Entry, profile: Profile) -> list[str]:
    """What the sums take for granted of a part that holds anything."""
    if part.figures.total.ceiling == 0:
        return []
    found = []
    if entry.verdict is Verdict.UNADDRESSED:
        found.append(f"{part.label} is counted although the law does not name it: {entry.citation}")
    if part.label.activity is Activity.UNLABELLED:
        found.append("work that nobody labelled is counted as training")
    if part.label.visibility is DataVisibility.UNKNOWN and _visibility_matters(part, profile):
        found.append(f"the data of {part.label.activity} are taken as not public".replace("_", " "))
    if part.origin.external:
        found.append(f"external compute {part.run} is taken as entered, not measured")
    if entry.verification is Verification.UNVERIFIED:
        found.append(f"the rule for {part.label} was not verified: {entry.citation}")
    return found


def _visibility_matters(part: WorkPart, profile: Profile) -> bool:
    labels = _of_any_visibility(part.label)
    return len({profile.entry(label).verdict for label in labels}) > 1


@functools.cache  # there are as many labels as activities, dispositions and visibilities make
def _of_any_visibility(label: WorkLabel) -> tuple[WorkLabel, ...]:
    """The labels of the same work on data of each visibility."""
    return tuple(WorkLabel(label.activity, label.disposition, each) for each in DataVisibility)
