"""What one step of the driver's cumulative counters means, found by comparing with time.

Owns: the search for the unit of the counters "since boot", and the conversion to SM cycles.
May touch: nothing; pure integers.
Called by device, once a reading until the unit is found.

Nothing published says whether those counters are summed over the SMs, averaged over them, or
counted per sub-core (four an SM). Each possibility n in {1, S, 4S} gives another mean clock,
elapsed / time / n; the one that gives a possible clock is right. Clocks of S and 4S differ by four
and can both be possible; then the clock the device says it runs at decides. Until two periods in a
row agree, nothing is converted, and the device is read on the next rung.
"""

from __future__ import annotations

from collections.abc import Mapping

from flopmeter_core.registers import Component
from flopmeter_core.units import PPM

_SUB_CORES_PER_SM = 4

# A mean clock is possible from 5 % to 102 % of the highest clock (idle clocks; jitter of a period).
_LOWEST_PPM = 50_000
_HIGHEST_PPM = 1_020_000

# Where several are possible, the right one is this near to the clock read; the next is 4 x off.
_CLOCK_TOLERANCE_PPM = 500_000

# Tensor share by the counters against tensor share by metric 5 over the same period.
_SHARE_TOLERANCE_PPM = 20_000

_AGREEMENTS = 2


class Normaliser:
    """Finds n for one device and converts with it."""

    def __init__(self, sm_count: int, max_sm_clock_mhz: int) -> None:
        """Take what the device says of itself; 0 where it does not."""
        self._sm_count = sm_count
        self._max_clock_khz = max_sm_clock_mhz * 1_000
        self._candidate = 0
        self._agreed = 0
        self._before: tuple[int, Mapping[Component, int]] | None = None
        self.reason = "the unit of the cumulative counters is not known yet"

    @property
    def known(self) -> bool:
        """Whether the unit was found."""
        return self._agreed >= _AGREEMENTS

    @property
    def unit(self) -> int | None:
        """The unit n; None until it is known."""
        return self._candidate if self.known else None

    def resume(self, unit: int) -> None:
        """Take the unit an earlier reading of the same device and driver was made with."""
        if unit in (1, self._sm_count, _SUB_CORES_PER_SM * self._sm_count):
            self._candidate, self._agreed = unit, _AGREEMENTS

    def continues(self, elapsed_cycles: int, elapsed_ns: int) -> bool:
        """Whether counters may be those of an earlier reading, further on: a possible mean clock.

        One that was reset in between and has passed its old value gives too low a clock.

        Args:
            elapsed_cycles: the difference of the elapsed SM cycles, summed over the SMs.
            elapsed_ns: the time between the two readings.
        """
        if elapsed_cycles == 0:
            return True  # nothing moved: a counter that stands still while the device is at rest
        if not self._max_clock_khz or not self._sm_count or elapsed_cycles < 0 or elapsed_ns <= 0:
            return False
        return self._possible(elapsed_cycles * 1_000_000 // (elapsed_ns * self._sm_count))

    def offer(
        self,
        *,
        monotonic_ns: int,
        raw: Mapping[Component, int],
        clock_khz: int | None,
        tensor_ppm: int | None,
    ) -> None:
        """Look at one more reading.

        Args:
            monotonic_ns: when the counters were read.
            raw: the counters as the driver gives them.
            clock_khz: the SM clock of the period, as the device gives it elsewhere.
            tensor_ppm: tensor activity of the period by GPM metric 5, in ppm.
        """
        if self.known or Component.SM_ELAPSED_MEGACYCLES not in raw:
            return
        before, self._before = self._before, (monotonic_ns, raw)
        if before is None or monotonic_ns <= before[0]:
            return
        elapsed_ns = monotonic_ns - before[0]
        deltas = {key: count - before[1].get(key, count) for key, count in raw.items()}
        candidate = self._only_possible(deltas, elapsed_ns, clock_khz)
        if candidate and _contradicts(deltas, tensor_ppm):
            self.reason = "cumulative counters and metric 5 disagree on tensor activity"
            candidate = 0
        if not candidate:
            self._agreed = 0
        elif candidate == self._candidate:
            self._agreed += 1
        else:
            self._agreed = 1
        self._candidate = candidate

    def sm_cycles(self, raw: Mapping[Component, int]) -> dict[Component, int]:
        """Convert counters to SM cycles summed over the SMs; only once the unit is known."""
        return {
            component: count * self._sm_count // self._candidate for component, count in raw.items()
        }

    def _possible(self, mean_khz: int) -> bool:
        """Whether the device can have run at a mean clock."""
        lowest, highest = _LOWEST_PPM * self._max_clock_khz, _HIGHEST_PPM * self._max_clock_khz
        return lowest <= mean_khz * PPM <= highest

    def _only_possible(
        self, deltas: Mapping[Component, int], elapsed_ns: int, clock_khz: int | None
    ) -> int:
        """The one n that gives a possible clock; 0 and a reason where none or several do."""
        if not self._sm_count or not self._max_clock_khz:
            self.reason = "the device says no SM count or no highest clock to compare with"
            return 0
        per_ms = deltas[Component.SM_ELAPSED_MEGACYCLES] * 1_000_000 // elapsed_ns  # = kHz x n
        clocks_khz = {
            n: per_ms // n for n in (1, self._sm_count, _SUB_CORES_PER_SM * self._sm_count)
        }
        possible = [n for n, khz in clocks_khz.items() if self._possible(khz)]
        if len(possible) > 1 and clock_khz:
            possible = [
                n
                for n in possible
                if abs(clocks_khz[n] - clock_khz) * PPM <= _CLOCK_TOLERANCE_PPM * clock_khz
            ]
        if len(possible) == 1:
            self.reason = "the unit of the cumulative counters waits for a second period"
            return possible[0]
        self.reason = (
            "several units of the cumulative counters are possible"
            if possible
            else "no unit of the cumulative counters gives a possible clock"
        )
        return 0


def _contradicts(deltas: Mapping[Component, int], tensor_ppm: int | None) -> bool:
    """Whether the counters give another tensor share than the interval metric."""
    tensor = deltas.get(Component.TENSOR_MEGACYCLES)
    if tensor is None or tensor_ppm is None:
        return False
    share_ppm = tensor * PPM // deltas[Component.SM_ELAPSED_MEGACYCLES]
    return abs(share_ppm - tensor_ppm) > _SHARE_TOLERANCE_PPM + tensor_ppm // 10
