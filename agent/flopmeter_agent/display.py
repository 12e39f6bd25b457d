"""The agent's own estimate: what its open registers come to, for a person who looks early.

Owns: the best figure by allocation, with nothing declared.
May touch: nothing; pure arithmetic on registers.
Called by the loop when it reports. The figure rides along with each report for display, with the
agent's method version; the collector never adds it to anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
        self._coefficients: dict[tuple[Evidence, str], Coefficients] = {}

    def best_by_allocation(
        self, registers: Iterable[tuple[Key, Vector]], records: Mapping[str, DeviceRecord]
    ) -> dict[str, int]:
        """Best FLOP of each allocation, over the registers given.

        Args:
            registers: keys with their newest vectors.
            records: the device records the keys refer to, by record id.
        """
        sums: dict[tuple[str, str], list[int]] = {}
        for key, vector in registers:
            weights = self._weights(key, records[key.record])
            columns = sums.setdefault((key.allocation, key.evidence.level), [0] * 6)
            for place, flop in enumerate(weigh(vector, weights)):
                columns[place] += flop
        best: dict[str, int] = {}
        for (allocation, _), columns in sums.items():
            best[allocation] = best.get(allocation, 0) + figures_of(columns).observed.best
        return best

    def _weights(self, key: Key, record: DeviceRecord) -> Coefficients:
        identity = (key.evidence, key.record)
        if identity not in self._coefficients:
            conditions = Conditions(self._parts.recognise(record), record)
            self._coefficients[identity] = coefficients_for(key.evidence, conditions)
        return self._coefficients[identity]
