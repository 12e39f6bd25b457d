"""Coefficients in FLOP, under what is declared of a piece of work.

Owns: the coefficients in use, how a fork and doubled time are weighed, and the warnings of
declarations that do not fit a part.
May touch: nothing; exact integers in memory.
Called by shares, which weighs a key's work with them.
Explained in docs/adr/0004-interval-semantics.md and docs/adr/0007-hourly-vectors-and-splits.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter

from flopmeter_collector.pieces import Piece
from flopmeter_core.devices import DeviceRecord, DeviceTable
from flopmeter_core.errors import DataError
from flopmeter_core.estimate import coefficients_for
from flopmeter_core.formats import FormatMix
from flopmeter_core.methods.base import Coefficients, Conditions, Workload
from flopmeter_core.registers import INSTANCE_MARK, Component, Evidence, Key

_CacheKey = tuple[Evidence, str, str | None, Workload | None]
_KindKey = tuple[Evidence, bool, tuple[object, ...], str | None, Workload | None]

_OF_ONE_DEVICE = {"node", "device", "driver_version"}
"""What of a record says which device it is, and no coefficient depends on."""

_kind = attrgetter(
    *(each.name for each in fields(DeviceRecord) if each.init and each.name not in _OF_ONE_DEVICE)
)


class Weigher:
    """Weighs keys; remembers the coefficients of each record and declaration."""

    def __init__(self, parts: DeviceTable) -> None:
        """Prepare.

        Args:
            parts: the device table that recognises the parts.
        """
        self._parts = parts
        self._coefficients: dict[_CacheKey, Coefficients] = {}
        self._by_kind: dict[_KindKey, Coefficients] = {}

    def ceiling_flop_per_ns(
        self, evidence: Evidence, record: DeviceRecord, record_id: str = ""
    ) -> int:
        """What the devices behind a record could do at most in a ns, in whole FLOP.

        Args:
            evidence: how the work is measured.
            record: what the device says of itself.
            record_id: of the record, of who has it: it is a hash of the whole record.
        """
        weights = self._cached(evidence, record_id or record.record_id, record, None, None)
        return weights.unobserved[Component.UNOBSERVED_NS]

    def weights(self, key: Key, record: DeviceRecord, piece: Piece) -> tuple[Coefficients, str]:
        """The coefficients of work under what was declared of it.

        A declared format the part does not have is set aside with a warning: a wrong
        declaration must neither stop the meter nor narrow a figure.

        Args:
            key: whose register; says how the work was measured.
            record: what its device said of itself.
            piece: what holds for it.

        Returns:
            The coefficients, and one sentence on what was set aside; empty for nothing.
        """
        declared = piece.declared
        if declared is None:
            return self._cached(key.evidence, key.record, record, None, None), ""
        mix = declared.formats if piece.span is None else piece.span.formats
        try:
            return self._cached(key.evidence, key.record, record, mix, declared.workload), ""
        except DataError as error:
            part = self._parts.recognise(record)
            formats = mix.text if mix else ""
            return self._cached(key.evidence, key.record, record, None, declared.workload), (
                f"the declared format {formats!r} is set aside on {part.name}, which counts as "
                f"undeclared: {error}"
            )

    def _cached(
        self,
        evidence: Evidence,
        record_id: str,
        record: DeviceRecord,
        formats: FormatMix | None,
        workload: Workload | None,
    ) -> Coefficients:
        identity = (evidence, record_id, formats.text if formats else None, workload)
        weights = self._coefficients.get(identity)
        if weights is None:
            # Made once for a kind of device: a fleet has many devices, and few kinds.
            instance = INSTANCE_MARK in record.device
            kind = (evidence, instance, _kind(record), identity[2], workload)
            weights = self._by_kind.get(kind)
            if weights is None:
                part = self._parts.recognise(record)
                weights = coefficients_for(evidence, Conditions(part, record, formats, workload))
                self._by_kind[kind] = weights
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
