"""What the last snapshot said of each run and model, kept until something of it changes.

Owns: which runs have to be made anew, and the immutable values of the others.
May touch: nothing; memory only.
Called by totals. A collector that knows 100,000 runs hears of a few of them between two rounds:
making all of them anew each time would take the interpreter from the reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from heapq import merge
from itertools import chain

from flopmeter_collector.presence import Charge
from flopmeter_collector.snapshot import ModelTotals, RunTotals


class KeptTotals:
    """Run and model totals of the last snapshot. One thread at a time."""

    def __init__(self) -> None:
        """Start with nothing kept."""
        self._runs: dict[str, tuple[Charge, RunTotals]] = {}
        self._models: dict[str, tuple[tuple[RunTotals, ...], ModelTotals]] = {}
        self._all: tuple[tuple[RunTotals, ...], tuple[ModelTotals, ...]] | None = None
        self._order: list[str] = []
        self._ordered: set[str] = set()

    def in_order(self, own: Mapping[str, object], more: Set[str]) -> Sequence[str]:
        """The names of models in their order, most of which had theirs in the last snapshot.

        To sort 100,000 names takes 30 ms, in which no thread of the interpreter computes.

        Args:
            own: the models that have runs.
            more: what else is a model.
        """
        gone = [name for name in self._order if name not in own and name not in more]
        new = sorted({name for name in chain(own, more) if name not in self._ordered})
        if gone or new:
            self._ordered.difference_update(gone)
            left = [name for name in self._order if name in self._ordered]
            self._ordered.update(new)
            self._order = list(merge(left, new))
        return self._order

    def forget(self, runs: Iterable[str]) -> None:
        """Note that the sums, the declaration or the claims of these runs changed."""
        for run in runs:
            self._runs.pop(run, None)

    def forget_models(self) -> None:
        """Note that something was declared of models: where they came from, or what is beside."""
        self._models.clear()
        self._all = None

    def all_models(self, runs: tuple[RunTotals, ...]) -> tuple[ModelTotals, ...] | None:
        """All models of the last snapshot, where these runs are its; None where any is another."""
        known = self._all
        return known[1] if known is not None and _same(known[0], runs) else None

    def keep_all(
        self, runs: tuple[RunTotals, ...], models: tuple[ModelTotals, ...]
    ) -> tuple[ModelTotals, ...]:
        """Keep the models of a snapshot's runs, and give them."""
        self._all = (runs, models)
        return models

    def run(self, run: str, charge: Charge, make: Callable[[str, Charge], RunTotals]) -> RunTotals:
        """The totals of a run.

        Args:
            run: its name.
            charge: the residual time charged to it now, which moves without any report.
            make: makes them anew.
        """
        kept = self._runs.get(run)
        if kept is None or kept[0] != charge:
            kept = self._runs[run] = (charge, make(run, charge))
        return kept[1]

    def model(
        self,
        model: str,
        members: tuple[RunTotals, ...],
        make: Callable[[str, tuple[RunTotals, ...]], ModelTotals],
    ) -> ModelTotals:
        """The totals of a model, which change with its set of runs and with each of them.

        Args:
            model: its name.
            members: the runs whose work counts in it, as they are now, in a fixed order.
            make: makes them anew.
        """
        kept = self._models.get(model)
        if kept is None or not _same(kept[0], members):
            kept = self._models[model] = (members, make(model, members))
        return kept[1]


def _same(before: tuple[RunTotals, ...], now: tuple[RunTotals, ...]) -> bool:
    """Whether these are the very same values: equal ones that were made anew do not count."""
    return len(before) == len(now) and all(
        one is other for one, other in zip(before, now, strict=True)
    )
