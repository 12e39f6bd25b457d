"""From a key's vectors to products in FLOP, under what is declared of the key's run.

Owns: the coefficients in use, how a declared split and a fork are weighed, and the warnings of
declarations that do not fit a part.
May touch: nothing; exact integers in memory.
Called by totals, which adds the products up.
Explained in docs/adr/0004-interval-semantics.md and docs/adr/0007-hourly-vectors-and-splits.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from flopmeter_collector.declarations import RunDeclaration
from flopmeter_collector.snapshot import STRADDLE, Part
from flopmeter_collector.split import Fold, Span, outer
from flopmeter_core.devices import DeviceRecord, DeviceTable
from flopmeter_core.errors import DataError
from flopmeter_core.estimate import coefficients_for, weigh
from flopmeter_core.formats import FormatMix
from flopmeter_core.methods.base import Coefficients, Conditions, Workload
from flopmeter_core.registers import Component, Evidence, Key, Vector

NO_FLOP = (0,) * 6
"""Floor, lower, best, upper, ceiling and unobserved of nothing."""

_CacheKey = tuple[Evidence, str, str | None, Workload | None]


class Weigher:
    """Weighs keys; remembers the coefficients of each record and declaration."""

    def __init__(self, parts: DeviceTable) -> None:
        """Prepare.

        Args:
            parts: the device table that recognises the parts.
        """
        self._parts = parts
        self._coefficients: dict[_CacheKey, Coefficients] = {}
        self._warnings: dict[str, dict[str, str]] = {}

    def forget_warnings(self, run: str) -> None:
        """A new declaration of a run is judged anew."""
        self._warnings.pop(run, None)

    def warnings(self, run: str) -> list[str]:
        """What was set aside of a run's declarations, one sentence a part."""
        return [text for _, text in sorted(self._warnings.get(run, {}).items())]

    def ceiling_flop_per_ns(self, evidence: Evidence, record: DeviceRecord) -> int:
        """What the devices behind a record could do at most in a ns, in whole FLOP."""
        return self._cached(evidence, record, None, None).unobserved[Component.UNOBSERVED_NS]

    def products(
        self,
        key: Key,
        record: DeviceRecord,
        vectors: Sequence[Vector],
        *,
        declared: RunDeclaration | None,
        fold: Fold | None,
    ) -> dict[Part, tuple[int, ...]]:
        """The products of a key's branches by the part of its run they belong to.

        Args:
            key: whose register.
            record: the device record the key refers to.
            vectors: all branches of the key.
            declared: what is declared of the key's run; None for a key without a run.
            fold: the key's hours, where something declared splits its run.
        """
        if fold is None or declared is None:
            weights = self._weights(key, record, declared, None)
            return {None: merge_branches([weigh(vector, weights) for vector in vectors])}
        segments = fold.segments
        weights_of = [self._weights(key, record, declared, segment.span) for segment in segments]
        if len(segments) == 1:
            columns = merge_branches([weigh(vector, weights_of[0]) for vector in vectors])
            return {segments[0].span: columns}
        if len(vectors) > 1:
            # Of a fork nobody can tell when what was done.
            widest = outer(weights_of)
            return {STRADDLE: merge_branches([weigh(vector, widest) for vector in vectors])}
        parts: dict[Part, tuple[int, ...]] = {None: NO_FLOP}
        for places, amount in fold.split(vectors[0]).items():
            part: Part = segments[places[0]].span if len(places) == 1 else STRADDLE
            columns = weigh(amount, outer([weights_of[place] for place in places]))
            held = parts.get(part, NO_FLOP)
            parts[part] = tuple(a + b for a, b in zip(held, columns, strict=True))
        return parts

    def _weights(
        self, key: Key, record: DeviceRecord, declared: RunDeclaration | None, span: Span | None
    ) -> Coefficients:
        """The coefficients of a key under what is declared of its run, or of a span of it.

        A declared format the part does not have is set aside with a warning: a wrong
        declaration must neither stop the meter nor narrow a figure.
        """
        if declared is None:
            return self._cached(key.evidence, record, None, None)
        mix = declared.formats if span is None else span.formats
        try:
            return self._cached(key.evidence, record, mix, declared.workload)
        except DataError as error:
            part = self._parts.recognise(record)
            formats = mix.text if mix else ""
            self._warnings.setdefault(declared.run, {})[part.id] = (
                f"the declared format {formats!r} is set aside on {part.name}, which counts as "
                f"undeclared: {error}"
            )
            return self._cached(key.evidence, record, None, declared.workload)

    def _cached(
        self,
        evidence: Evidence,
        record: DeviceRecord,
        formats: FormatMix | None,
        workload: Workload | None,
    ) -> Coefficients:
        identity = (evidence, record.record_id, formats.text if formats else None, workload)
        weights = self._coefficients.get(identity)
        if weights is None:
            part = self._parts.recognise(record)
            weights = coefficients_for(evidence, Conditions(part, record, formats, workload))
            self._coefficients[identity] = weights
        return weights


def without_doubled(
    columns: Sequence[int], *, doubled_ns: int, covered_ns: int, ceiling_flop_per_ns: int
) -> tuple[int, ...]:
    """A key's products where another agent measured the same time of the same device.

    Nobody can tell which of the work in that time both saw. Floor and lower lose all it can have
    been, best its share by time; upper, ceiling and unobserved keep the sum.

    Args:
        columns: the key's plain products.
        doubled_ns: time of the key's incarnation that another one classified too.
        covered_ns: all time of the key's incarnation; above 0.
        ceiling_flop_per_ns: what the device could do at most.
    """
    floor, lower, best, *outer_columns = columns
    most = doubled_ns * ceiling_flop_per_ns
    floor -= min(max(0, floor), most)
    lower -= min(max(0, lower), most)
    best -= best * min(doubled_ns, covered_ns) // covered_ns
    return floor, lower, best, *outer_columns


def merge_branches(branches: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Make one figure of the branches of a key.

    A fork means that two histories claim one register and nobody can tell which is true: floor
    and lower take the smallest branch, best the largest, upper, ceiling and unobserved the sum.
    """
    if len(branches) == 1:
        return branches[0]
    floor, lower, best, upper, ceiling, unobserved = zip(*branches, strict=True)
    return min(floor), min(lower), max(best), sum(upper), sum(ceiling), sum(unobserved)
