"""Which statements lower a total of a run or a model, and what comes under them by rule.

Owns: the choice, so that every page, report and command lists the same ones.
May touch: nothing; pure functions of a snapshot.
Called by presentation and by the lab's reports and lists.
Explained in docs/runs-and-models.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flopmeter_collector.approvals import Lowering
from flopmeter_collector.attribution import Rule
from flopmeter_collector.snapshot import ModelTotals, TotalsSnapshot


def lowerings_by_model(snapshot: TotalsSnapshot) -> Mapping[str, tuple[Lowering, ...]]:
    """What lowers or would lower a legal total of each model, in the order of the ledger.

    Args:
        snapshot: all totals.

    Returns:
        By model: the statements that name its total or that of a model it came from; those about
        its runs, inherited ones included; and those about every run that is a part of one of them
        or that one of them was split off. Models without any are left out.
    """
    if not snapshot.lowerings:
        return {}
    by_run = lowerings_by_run(snapshot)
    of_model: dict[str, set[int]] = {}
    for each in snapshot.lowerings:
        for name in each.models:
            of_model.setdefault(name, set()).add(each.sequence)
    by_name = {each.model: each for each in snapshot.models}
    by_sequence = {each.sequence: each for each in snapshot.lowerings}
    found: dict[str, tuple[Lowering, ...]] = {}
    for model in snapshot.models:
        sequences = {
            number
            for name in _with_ancestors(model.model, by_name)
            for number in of_model.get(name, ())
            # What was ruled of an earlier model is about that one's standing alone.
            if name == model.model or not by_sequence[number].ruling
        }
        for run in (*model.runs, *model.inherited):
            sequences |= {each.sequence for each in by_run.get(run, ())}
        if sequences:
            found[model.model] = tuple(by_sequence[number] for number in sorted(sequences))
    return found


def lowerings_by_run(snapshot: TotalsSnapshot) -> Mapping[str, tuple[Lowering, ...]]:
    """The same by run: what is about its work, or about the work of a run it is made of."""
    about: dict[str, list[Lowering]] = {}
    for each in snapshot.lowerings:
        for run in each.runs:
            about.setdefault(run, []).append(each)
    if not about:
        return {}
    found: dict[str, tuple[Lowering, ...]] = {}
    for totals in snapshot.runs:
        of = {
            each.sequence: each
            for source in {totals.run, *totals.sources}
            for each in about.get(source, ())
        }
        if of:
            found[totals.run] = tuple(of[number] for number in sorted(of))
    return found


def lowerings_of(snapshot: TotalsSnapshot, model: ModelTotals) -> tuple[Lowering, ...]:
    """What lowers or would lower a legal total of one model, as `lowerings_by_model`."""
    return lowerings_by_model(snapshot).get(model.model, ())


def _with_ancestors(model: str, by_name: Mapping[str, ModelTotals]) -> set[str]:
    """A model and every one it came from."""
    seen: set[str] = set()
    waiting = [model]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            if name in by_name:
                waiting += [parent for parent, _ in by_name[name].parents]
    return seen


def rules_by_lowering(snapshot: TotalsSnapshot) -> Mapping[int, tuple[Rule, ...]]:
    """The rules by which work to come is under a lowering statement, by its declaration."""
    if not snapshot.lowerings or not snapshot.rules:
        return {}
    named = {run for each in snapshot.lowerings for run in each.runs}
    sources = {run.run: run.sources for run in snapshot.runs if run.run in named}
    return {each.sequence: rules_of(each, snapshot.rules, sources) for each in snapshot.lowerings}


def rules_of(
    lowering: Lowering, rules: Iterable[Rule], sources: Mapping[str, Iterable[str]]
) -> tuple[Rule, ...]:
    """The rules by which work to come is under a statement about what runs are.

    Args:
        lowering: the statement.
        rules: those that stand.
        sources: by run, the runs whose work may pass it; of others the run itself is taken.
    """
    if not lowering.about:
        return ()
    runs = {source for run in lowering.runs for source in (run, *sources.get(run, ()))}
    return tuple(rule for rule in rules if rule.run in runs)
