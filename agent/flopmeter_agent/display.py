"""The agent's own estimate: what its open registers come to, for a person who looks early.

Owns: the best figure by allocation, with nothing declared.
May touch: nothing; pure arithmetic on registers.
Called by the loop when it reports. The figure rides along with each report for display, with the
agent's method version; the collector never adds it to anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import add

from flopmeter_core.devices import DeviceRecord, DeviceTable
from flopmeter_core.estimate import coefficients_for, figures_of, weigh
from flopmeter_core.methods.base import Coefficients, Conditions
from flopmeter_core.registers import Evidence, Key, Vector


class DisplayEstimate:
    """Estimates with the built-in table and no declaration."""

    def __init__(self, parts: DeviceTable) -> None:
        """Prepare.

        Args:
            parts: the device table that recognises the parts.
        """
        self._parts = parts
        self._kinds: list[Coefficients] = []
        self._kind_by_source: dict[tuple[Evidence, str], int] = {}

    def best_by_allocation(
        self, registers: Iterable[tuple[Key, Vector]], records: Mapping[str, DeviceRecord]
    ) -> dict[str, int]:
        """Best FLOP of each allocation, over the registers given.

        Vectors that are weighed alike (the devices of a node mostly are) are added up first: an
        estimate is linear, and a sum costs a sixth of a weighing.

        Args:
            registers: keys with their newest vectors.
            records: the device records the keys refer to, by record id.
        """
        alike: dict[tuple[str, str, int], Vector] = {}
        for key, vector in registers:
            group = (key.allocation, key.evidence.level, self._kind(key, records))
            held = alike.get(group)
            alike[group] = vector if held is None else tuple(map(add, held, vector))
        sums: dict[tuple[str, str], list[int]] = {}
        for (allocation, level, kind), vector in alike.items():
            columns = sums.setdefault((allocation, level), [0] * 6)
            for place, flop in enumerate(weigh(vector, self._kinds[kind])):
                columns[place] += flop
        best: dict[str, int] = {}
        for (allocation, _), columns in sums.items():
            best[allocation] = best.get(allocation, 0) + figures_of(columns).observed.best
        return best

    def _kind(self, key: Key, records: Mapping[str, DeviceRecord]) -> int:
        """The number of a key's coefficients; equal ones have one number."""
        source = (key.evidence, key.record)
        kind = self._kind_by_source.get(source)
        if kind is None:
            record = records[key.record]
            conditions = Conditions(self._parts.recognise(record), record)
            weights = coefficients_for(key.evidence, conditions)
            if weights not in self._kinds:
                self._kinds.append(weights)
            kind = self._kind_by_source[source] = self._kinds.index(weights)
        return kind
