"""The agent's own estimate: what its open registers come to, for a person who looks early.

Owns: the best figure by allocation, with nothing declared.
May touch: nothing; pure arithmetic on registers.
Called by the loop when it reports. The figure rides along with each report for display, with the
agent's method version; the collector never adds it to anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import add

from flopmeter_core.devices import DeviceRecord, DeviceTable
from flopmeter_core.estimate import coefficients_for, figures_of, weigh
from flopmeter_core.methods.base import Coefficients, Conditions
from flopmeter_core.registers import Evidence, Key


class DisplayEstimate:
    """Estimates with the built-in table and no declaration."""

    def __init__(self, parts: DeviceTable) -> None:
        """Prepare.

        Args:
            parts: the device table that recognises the parts.
        """
        self._parts = parts
        self._kinds: list[tuple[str, Coefficients]] = []
        self._kind_by_source: dict[tuple[Evidence, str], int] = {}

    def best_by_allocation(
        self, registers: Iterable[tuple[Key, Sequence[int]]], records: Mapping[str, DeviceRecord]
    ) -> dict[str, int]:
        """Best FLOP of each allocation, over the registers given.

        Vectors that are weighed alike (the devices of a node mostly are) are added up first: an
        estimate is linear, and a sum costs a sixth of a weighing.

        Args:
            registers: keys with their newest vectors.
            records: the device records the keys refer to, by record id.
        """
        alike: dict[tuple[str, int], Sequence[int]] = {}
        for key, vector in registers:
            kind = self._kind_by_source.get((key.evidence, key.record))
            if kind is None:
                kind = self._new_kind(key, records)
            group = (key.allocation, kind)
            held = alike.get(group)
            alike[group] = vector if held is None else list(map(add, held, vector))
        sums: dict[tuple[str, str], list[int]] = {}
        for (allocation, kind), vector in alike.items():
            level, weights = self._kinds[kind]
            columns = sums.setdefault((allocation, level), [0] * 6)
            for place, flop in enumerate(weigh(vector, weights)):
                columns[place] += flop
        best: dict[str, int] = {}
        for (allocation, _), columns in sums.items():
            best[allocation] = best.get(allocation, 0) + figures_of(columns).observed.best
        return best

    def _new_kind(self, key: Key, records: Mapping[str, DeviceRecord]) -> int:
        """The number of a key's level and coefficients; equal ones have one number."""
        record = records[key.record]
        conditions = Conditions(self._parts.recognise(record), record)
        kind = (key.evidence.level, coefficients_for(key.evidence, conditions))
        if kind not in self._kinds:
            self._kinds.append(kind)
        number = self._kind_by_source[key.evidence, key.record] = self._kinds.index(kind)
        return number
