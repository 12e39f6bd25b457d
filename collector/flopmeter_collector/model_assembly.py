"""The totals of models: own work, that of the models they came from, and what was entered by hand.

Owns: the parts of a model's work, each run once, and what stands beside them.
May touch: nothing; reads the sums that totals owns.
Called by assembly, once a round, for the models of which something changed.
Explained in docs/runs-and-models.md and docs/adr/0021-attribution.md.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from flopmeter_collector.agreed import is_agreed
from flopmeter_collector.book import Book
from flopmeter_collector.boundaries import Boundaries
from flopmeter_collector.declarations import RunDeclaration
from flopmeter_collector.kept import KeptTotals
from flopmeter_collector.presence import NO_CHARGE, Charge
from flopmeter_collector.snapshot import ModelTotals, Modification, RunTotals
from flopmeter_collector.sums import NO_BOUNDARY
from flopmeter_collector.turns import Pause, between, go_on
from flopmeter_core.activities import UNLABELLED, WorkLabel
from flopmeter_core.counting import OWN, Origin, WorkPart
from flopmeter_core.interval import NO_FIGURES, Figures, sum_figures
from flopmeter_core.lineage import MODIFIES, OWN_WAY, Way, runs_by_model
from flopmeter_core.ratio import ratio_of
from flopmeter_core.recompute import Factor, RecomputeMode, factor_or_widest


@dataclass(frozen=True, slots=True)
class ModelAssembly:
    """Makes the totals of models of sums that somebody else changes.

    Attributes:
        book: what people declared.
        boundaries: periods that may be of several runs.
        kept: what the last snapshot said of what did not change since.
    """

    book: Book
    boundaries: Boundaries
    kept: KeptTotals

    def models(self, runs: tuple[RunTotals, ...], pause: Pause = go_on) -> tuple[ModelTotals, ...]:
        """All models of which something is known, in the order of their names.

        A planned one has figures of 0, because nothing was done; of one that is named as a parent
        only nothing is known, and nothing is not 0: it is left out.

        Args:
            runs: all runs.
            pause: called between two models.
        """
        known = self.kept.all_models(runs)
        if known is not None:
            return known
        by_run = {run.run: run for run in runs}
        declared = {run.run: run.model for run in runs if run.model != run.run}
        own = runs_by_model(by_run, declared)
        lineage = self.book.models.lineage
        found: list[ModelTotals] = []
        for model in between(self.kept.in_order(own, self.book.models.models), pause):
            reached = lineage.ways(model) if lineage.has_parents(model) else _alone(model)
            names = [run for name in reached for run in sorted(own.get(name, ()))]
            members = tuple(by_run[run] for run in names)
            if not members and not self.book.models.tells_of(model, reached):
                continue
            make = functools.partial(self._made, reached=reached, own=own)
            found.append(self.kept.model(model, members, make))
        # Freed in one piece, 100,000 models would stop every thread for 7 ms.
        while own:
            own.popitem()
        return self.kept.keep_all(runs, tuple(found))

    def _made(
        self,
        model: str,
        members: tuple[RunTotals, ...],
        reached: Mapping[str, frozenset[Way]],
        own: Mapping[str, frozenset[str]],
    ) -> ModelTotals:
        """The totals of one model.

        Args:
            model: its name.
            members: every run whose work counts in it.
            reached: every model whose work counts in it, itself included, and the ways to it.
            own: the runs of each model.
        """
        books = self.book.models
        runs = own.get(model, frozenset())
        parts = self._parts(members, reached, own)
        external = [self._entered(name, ways, model) for name, ways in reached.items()]
        entered = [part for each in external for part in each]
        figures = sum_figures(part.figures for part in (*parts, *entered))
        mine = figures
        if len(reached) > 1:
            mine = sum_figures(
                part.figures for part in (*parts, *entered) if OWN_WAY in part.origin.ways
            )
        return ModelTotals(
            model=model,
            runs=tuple(run.run for run in members if run.run in runs),
            figures=figures,
            simulated=any(run.account.simulated for run in members),
            parts=(*parts, *entered),
            inherited=tuple(run.run for run in members if run.run not in runs),
            own=mine,
            external=sum_figures(part.figures for part in entered),
            externals=tuple(books.externals_of(model).values()),
            parents=tuple(books.lineage.parents(model).items()),
            parties=tuple(sorted(books.parties.get(model, ()))),
            completeness=books.completeness.get(model),
            planned=books.plans.get(model),
            modifications=self._modifications(model, mine, members, own),
            rulings=self.book.rulings.of(model, self.book.approvals),
            entered_from_ns=tuple(
                (_entry_name(entry, name, model), each.from_ns)
                for name in reached
                for entry, each in books.externals_of(name).items()
            ),
        )

    def _parts(
        self,
        members: Sequence[RunTotals],
        reached: Mapping[str, frozenset[Way]],
        own: Mapping[str, frozenset[str]],
    ) -> list[WorkPart]:
        """The metered parts: each run's work once, and what may be of several runs once."""
        model_of = {run: name for name in reached for run in own.get(name, ())}
        parts: list[WorkPart] = []
        counted: list[str] = []
        before = NO_BOUNDARY
        # What is nearest comes first: a period between an own and an inherited run is own.
        for ways, names in _by_ways(reached):
            group = [run for run in members if model_of[run.run] in names]
            for run in group:
                origin = _origin(ways, model_of[run.run])
                parts += [
                    part if origin is OWN else replace(part, origin=origin)
                    for part in run.parts
                    if part.run
                ]
            counted += [run.run for run in group]
            now = self.boundaries.of(counted)
            addend = Figures(
                unobserved_ceiling=now[2] - before[2],
                boundary_upper=now[0] - before[0],
                boundary_ceiling=now[1] - before[1],
            )
            before = now
            if addend != NO_FIGURES:
                labels = {part.label for run in group for part in run.parts}
                label = next(iter(labels)) if len(labels) == 1 else UNLABELLED
                parts.append(_between(addend, label, _origin(ways, "")))
        return parts

    def _entered(self, model: str, ways: frozenset[Way], of: str) -> list[WorkPart]:
        """The external entries of a model as parts; a label that waits for people is not theirs."""
        return [
            WorkPart(
                label=self.book.external_labels.get((model, name), UNLABELLED),
                figures=Figures(observed=entry.compute),
                factor=_factor(None, None, None),
                origin=Origin(
                    ways,
                    external=True,
                    name=_entry_name(name, model, of),
                    agreed=is_agreed(self.book.approvals, entry.sequence),
                ),
                run=name,
            )
            for name, entry in self.book.models.externals_of(model).items()
        ]

    def _modifications(
        self,
        model: str,
        mine: Figures,
        members: Sequence[RunTotals],
        own: Mapping[str, frozenset[str]],
    ) -> tuple[Modification, ...]:
        lineage = self.book.models.lineage
        by_run = {run.run: run for run in members}
        found = []
        for original, edge in lineage.parents(model).items():
            if edge not in MODIFIES:
                continue
            reached = lineage.ways(original)
            runs = [by_run[run] for name in reached for run in sorted(own.get(name, ()))]
            parts = self._parts(runs, reached, own)
            entered = [
                part
                for name, ways in reached.items()
                for part in self._entered(name, ways, "")
                if part.origin.agreed
            ]
            whole = sum_figures(part.figures for part in (*parts, *entered)).total
            ratio = ratio_of(mine.total, whole) if whole.ceiling else None
            found.append(Modification(original, edge, ratio))
        return tuple(found)


def _entry_name(entry: str, of: str, model: str) -> str:
    """What an external entry is called in the parts of a model."""
    return entry if of == model else f"{of}: {entry}"


def run_parts(
    run: str,
    labelled: Mapping[tuple[str, WorkLabel], Figures],
    declared: RunDeclaration,
    *,
    charge: Charge = NO_CHARGE,
    boundary: tuple[int, int, int] = NO_BOUNDARY,
) -> tuple[WorkPart, ...]:
    """A run's work by label; their sum is the run's figures.

    Args:
        run: its name.
        labelled: what its keys add up to, by evidence level and label.
        declared: what was declared of it.
        charge: the residual time charged to it.
        boundary: what periods that may be of other runs too could hold, in FLOP; a part of its
            own, of no run, because a model of several runs counts each period once.
    """
    labels: dict[WorkLabel, Figures] = {}
    for (_, label), figures in labelled.items():
        labels[label] = labels.get(label, NO_FIGURES) + figures
    sole = next(iter(labels)) if len(labels) == 1 else declared.whole_label.label
    rest = sole if len(labels) < 2 else UNLABELLED
    if charge.flop:
        addend = Figures(unobserved_ceiling=charge.flop)
        labels[rest] = labels.get(rest, NO_FIGURES) + addend
    parts = [
        WorkPart(
            label=label,
            figures=figures,
            factor=_factor(declared.recompute, label.activity, declared.workload),
            origin=OWN,
            run=run,
        )
        for label, figures in sorted(labels.items())
    ]
    upper, ceiling, unobserved = boundary
    addend = Figures(unobserved_ceiling=unobserved, boundary_upper=upper, boundary_ceiling=ceiling)
    if addend != NO_FIGURES:
        parts.append(_between(addend, rest, OWN))
    return tuple(parts)


@functools.lru_cache(maxsize=1_000)
def _factor(recompute: RecomputeMode | None, activity: str | None, workload: str | None) -> Factor:
    """The recompute factor; the same for every run that was declared alike."""
    return factor_or_widest(recompute, activity=activity, workload=workload)


def _between(addend: Figures, label: WorkLabel, origin: Origin) -> WorkPart:
    """What may be of several runs: a part of no run."""
    return WorkPart(label, addend, _factor(None, None, None), origin, "")


def _origin(ways: frozenset[Way], model: str) -> Origin:
    return OWN if OWN_WAY in ways else Origin(ways, name=model)


def _by_ways(
    reached: Mapping[str, frozenset[Way]],
) -> Iterable[tuple[frozenset[Way], frozenset[str]]]:
    """The models by the ways they are reached, the model itself first."""
    groups: dict[frozenset[Way], set[str]] = {}
    for name, ways in reached.items():
        groups.setdefault(ways, set()).add(name)
    for ways in sorted(groups, key=lambda each: (OWN_WAY not in each, sorted(each))):
        yield ways, frozenset(groups[ways])


def _alone(model: str) -> Mapping[str, frozenset[Way]]:
    """The ways of a model that came from nowhere."""
    return {model: frozenset({OWN_WAY})}
