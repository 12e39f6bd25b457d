"""Runs and models: which runs make up a model, and which earlier models it came from.

Owns: the rule that maps runs to models, the edges between models, and the ways from one to another.
May touch: nothing; pure functions of names.
Called by the collector's totals and its book of declarations; docs/runs-and-models.md.
A model's total is over the set of its distinct runs and of those of the models it came from, so a
run can never count twice in one model, by however many ways it is reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from flopmeter_core.activities import Edge
from flopmeter_core.errors import DataError

Way = tuple[Edge, ...]
"""The kinds of edges between a model and an earlier one, each once and in order: what a way is
made of decides what it counts as, not how often or in which order."""

OWN_WAY: Way = ()

MODIFIES = (Edge.WEIGHTS, Edge.MERGE, Edge.INIT)
"""Edges over which the weights of the original go on in the model."""


def model_of(run: str, declared: Mapping[str, str]) -> str:
    """Name the model a run contributes to.

    Args:
        run: the run's name.
        declared: run -> model, for the runs whose model was declared.

    Returns:
        The declared model; without one the run is a model of one, named like the run.
    """
    return declared.get(run, run)


def runs_by_model(runs: Iterable[str], declared: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Gather the distinct runs of each model.

    Args:
        runs: all runs, in any order and with any repetition.
        declared: run -> model, for the runs whose model was declared.

    Returns:
        Model -> its runs; each run is in exactly one model.
    """
    members: dict[str, set[str]] = {}
    for run in runs:
        members.setdefault(model_of(run, declared), set()).add(run)
    # One by one: to free 100,000 sets at once is one piece, in which no thread computes.
    return {model: frozenset(members.pop(model)) for model in list(members)}


class Lineage:
    """Which models came from which, as declared; without a circle, always."""

    def __init__(self) -> None:
        """Start with models that came from nowhere."""
        self._parents: dict[str, dict[str, Edge]] = {}
        self._child_counts: Counter[str] = Counter()

    @property
    def models(self) -> frozenset[str]:
        """Every model that an edge names."""
        return frozenset(
            {*self._parents, *(name for parents in self._parents.values() for name in parents)}
        )

    def names(self, model: str) -> bool:
        """Whether any edge names a model."""
        return model in self._parents or self._child_counts[model] > 0

    def has_parents(self, model: str) -> bool:
        """Whether it came from any other."""
        return model in self._parents

    def parents(self, model: str) -> Mapping[str, Edge]:
        """The models it came from at once, in the order of their names."""
        return dict(sorted(self._parents.get(model, {}).items()))

    def children(self, model: str) -> tuple[str, ...]:
        """The models that came from it at once, in the order of their names."""
        return tuple(sorted(name for name, held in self._parents.items() if model in held))

    def add(self, model: str, parent: str, edge: Edge) -> None:
        """Say that a model came from another one; the same parent again corrects the edge.

        Raises:
            DataError: the parent is the model itself, or came from it.
        """
        if model == parent or model in self.ways(parent):
            raise DataError(
                f"model {parent!r} is or came from model {model!r}, so it cannot be its parent: "
                "a model comes from earlier ones only"
            )
        held = self._parents.setdefault(model, {})
        self._child_counts[parent] += parent not in held
        held[parent] = edge

    def remove(self, model: str, parent: str) -> None:
        """Say that a model did not come from another one.

        Raises:
            DataError: nobody said it did.
        """
        if parent not in self._parents.get(model, {}):
            raise DataError(f"model {parent!r} is no declared parent of model {model!r}")
        del self._parents[model][parent]
        self._child_counts[parent] -= 1
        if not self._parents[model]:
            del self._parents[model]

    def ways(self, model: str) -> Mapping[str, frozenset[Way]]:
        """Every model whose work counts in one, itself included, and the ways it is reached by.

        Ways of the same kinds of edges are one, so there are at most 16 to a model, however many
        paths there are.
        """
        found: dict[str, set[Way]] = {model: {OWN_WAY}}
        waiting: list[tuple[str, Way]] = [(model, OWN_WAY)]
        while waiting:
            at, way = waiting.pop()
            for parent, edge in self._parents.get(at, {}).items():
                longer = tuple(sorted({*way, edge}))
                ways = found.setdefault(parent, set())
                if longer not in ways:
                    ways.add(longer)
                    waiting.append((parent, longer))
        return {name: frozenset(ways) for name, ways in sorted(found.items())}
