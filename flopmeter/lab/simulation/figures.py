"""Holds every published figure against the work the accelerators physically did.

Owns: the physical truth in FLOP over time, and the bounds that published totals must keep.
May touch: nothing of the world; it looks at the hardware's counters and at published snapshots.
Called by the world each time the collector has published.

Lower may never be above what was done by now, for then something was invented or counted twice.
Upper may never be below what enrolled devices had done before their reports could be late, whatever
was lost, cut off or switched off meanwhile. And no device has more classified time than went by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.publish import Published
from flopmeter_collector.residual import DEFAULT_SILENCE_NS
from flopmeter_core.interval import ZERO
from flopmeter_core.registers import Key, covered_ns
from flopmeter_core.units import NS_PER_S

FLOP_PER_TENSOR_CYCLE = 4_096
"""Dense bf16 of one H100 SM: 989.4 TFLOP/s / (132 SMs x 1,830 MHz) (NVIDIA H100 data sheet)."""

CLOCK_SLACK_NS = NS_PER_S
"""Two clocks are read one after the other."""


class FigureWatch:
    """Knows what was done, and what the ledger says of it."""

    def __init__(
        self,
        now_ns: Callable[[], int],
        work: Callable[[], Mapping[str, int]],
        violation: Callable[[str], None],
    ) -> None:
        """Begin.

        Args:
            now_ns: simulated time.
            work: tensor cycles each device has done by now.
            violation: is told what is broken.
        """
        self.collector_clock_stepped = False
        """Then nothing is known of time that nobody classified (docs/adr/0017)."""
        self.doubted: set[str] = set()
        """Devices that two processes measure under one name: `clones` has their upper."""
        self._now_ns = now_ns
        self._work = work
        self._violation = violation
        self._enrolled: dict[str, int] = {}
        self._past: list[tuple[int, dict[str, int]]] = []
        self._covered: dict[Key, int] = {}
        self._by_device: dict[str, int] = {}

    def committed(self, vectors: Iterable[StoredVector]) -> None:
        """The ledger has new vectors."""
        work: Mapping[str, int] = {}
        for stored in vectors:
            device = stored.key.device
            if device not in self._enrolled:
                work = work or self._work()
                self._enrolled[device] = work[device]
            if stored.branch:
                continue
            covered = covered_ns(stored.vector)
            more = covered - self._covered.get(stored.key, 0)
            self._covered[stored.key] = covered
            total_ns = self._by_device[device] = self._by_device.get(device, 0) + more
            writers = 2 if device in self.doubted else 1
            if total_ns > writers * (self._now_ns() + CLOCK_SLACK_NS):
                self._violation(
                    f"{device} has {total_ns / 1e9:.1f} s classified, more than went by"
                )

    def opened(self, vectors: Iterable[StoredVector]) -> None:
        """The ledger holds these and nothing else."""
        self._covered.clear()
        self._by_device.clear()
        held = list(vectors)
        devices = {stored.key.device for stored in held}
        self._enrolled = {name: at for name, at in self._enrolled.items() if name in devices}
        self.committed(held)

    def look(self, published: Published) -> None:
        """Hold a publication against the truth."""
        now_ns = self._now_ns()
        work = dict(self._work())
        self._past.append((now_ns, work))
        total = ZERO
        for run in published.snapshot.runs:
            total += run.account.figures.total
        total += published.snapshot.unattributed.figures.total
        done_flop = sum(work.values()) * FLOP_PER_TENSOR_CYCLE
        if total.lower > done_flop:
            self._violation(f"lower is {total.lower}, but only {done_flop} FLOP were done")
        if not self.collector_clock_stepped:
            self._look_at_upper(total.upper, now_ns)

    def _look_at_upper(self, upper_flop: int, now_ns: int) -> None:
        reported_ns = now_ns - DEFAULT_SILENCE_NS - 2 * CLOCK_SLACK_NS
        while len(self._past) > 1 and self._past[1][0] <= reported_ns:
            self._past.pop(0)
        at_ns, work = self._past[0]
        if at_ns > reported_ns:
            return
        cycles = sum(
            max(0, work.get(device, 0) - before)
            for device, before in self._enrolled.items()
            if device not in self.doubted
        )
        if upper_flop < cycles * FLOP_PER_TENSOR_CYCLE:
            self._violation(
                f"upper is {upper_flop}, but {cycles * FLOP_PER_TENSOR_CYCLE} FLOP were done"
            )
