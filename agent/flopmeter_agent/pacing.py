"""When the next report is due: a fleet must not report in step.

Owns: the phase of a stream's reports within the period.
May touch: nothing; randomness comes with the constructor.
Called by app between two reports.

Agents that start together (a cluster that boots) or come back together (a collector that was
restarted) would otherwise report at the same instants for as long as they run: 1,000 reports at one
instant wait 0.2 s for their answers where spread ones wait a few ms.
"""

from __future__ import annotations

from collections.abc import Callable


class Pacing:
    """The pauses between the reports of one agent."""

    def __init__(self, period_s: float, jitter: Callable[[], float]) -> None:
        """Prepare.

        Args:
            period_s: between two reports.
            jitter: a random number in 0..1.
        """
        self._period_s = period_s
        self._jitter = jitter
        self._stream: int | None = None

    def pause_s(self, stream: int) -> float:
        """How long to wait for the next report, in s.

        The first pause of a stream is a random part of the period, and so places all that follow.

        Args:
            stream: which one it is; another number with each connection.
        """
        if stream == self._stream:
            return self._period_s
        self._stream = stream
        return self._period_s * self._jitter()
