"""Runs and models: which runs make up a model.

Owns: the rule that maps runs to models; parents, merges and distillation have no room here yet.
May touch: nothing; pure functions of names.
Called by the collector's totals.
A model's total is over the set of its distinct runs, so a run can never count twice in one model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def model_of(run: str, declared: Mapping[str, str]) -> str:
    """Name the model a run contributes to.

    Args:
        run: the run's name.
        declared: run -> model, for the runs whose model was declared.

    Returns:
        The declared model; without one the run is a model of one, named like the run.
    """
    return declared.get(run, run)


def runs_by_model(runs: Iterable[str], declared: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    """Gather the distinct runs of each model.

    Args:
        runs: all runs, in any order and with any repetition.
        declared: run -> model, for the runs whose model was declared.

    Returns:
        Model -> its runs, in the order of the models' names; each run is in exactly one model.
    """
    members: dict[str, set[str]] = {}
    for run in runs:
        members.setdefault(model_of(run, declared), set()).add(run)
    return {model: frozenset(members[model]) for model in sorted(members)}
