"""Agents that start at one instant do not report at one instant."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate, count

from flopmeter_agent.pacing import Pacing

PERIOD_S = 10.0
AGENTS = 2_000

GOLDEN = 0.6180339887
"""Multiples of it fill 0..1 evenly, as random numbers do on the whole."""


def test_agents_that_start_together_report_apart() -> None:
    """From the second report on, no tenth of the period has much more than a tenth of them."""
    numbers = (number * GOLDEN % 1 for number in count())
    fleet = [Pacing(PERIOD_S, lambda: next(numbers)) for _ in range(AGENTS)]
    for stream in (0, 1):  # a collector's restart brings all of them back at once
        times = [list(accumulate(each.pause_s(stream) for _ in range(5))) for each in fleet]
        for report in range(5):
            tenths = Counter(int(at[report] % PERIOD_S) for at in times)
            assert max(tenths.values()) < 1.3 * AGENTS / PERIOD_S


def test_the_period_is_kept_from_then_on() -> None:
    """One pause a stream is drawn; the others are the period, so nothing drifts or piles up."""
    pacing = Pacing(PERIOD_S, lambda: 0.25)
    assert [pacing.pause_s(0) for _ in range(3)] == [2.5, 10.0, 10.0]
    assert [pacing.pause_s(1) for _ in range(2)] == [2.5, 10.0]
