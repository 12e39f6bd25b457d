"""Who shares a commit: many that come fast, and fewer where each of them comes now and then."""

from __future__ import annotations

from flopmeter_collector.commit import GATHER_S
from flopmeter_collector.crowd import LOOK_S, MANY, RESTED_PER_S, Crowd


def after(waiter_count: int, gathered_s: float, *, rested: bool = False, commits: int = 1) -> bool:
    """Whether the next commit waits after some, for each of which so many came in such a time."""
    crowd = Crowd()
    crowd.came(0, 0, 100.0)
    found = False
    for number in range(1, commits + 1):
        found = crowd.came(waiter_count, waiter_count * rested, 100.0 + number * gathered_s)
    return found


def test_a_crowd_is_many_that_come_fast() -> None:
    """Eight in less than 4 ms are one, and 31 in the 15 ms that they gather; 13 are not."""
    assert after(MANY, 0.0039)
    assert not after(MANY - 1, 0.003)
    assert after(31, GATHER_S)
    assert not after(13, GATHER_S)
    assert not after(500, 1.0)


def test_a_fleet_that_reports_now_and_then_is_one_sooner() -> None:
    """A thousand such reports a second are a crowd, gathered or not; half of its least is none."""
    for gathered_s in (0.004, GATHER_S):
        commits = round(2 * LOOK_S / gathered_s)
        thousand, few = round(1_000 * gathered_s), round(RESTED_PER_S / 2 * gathered_s)
        assert after(thousand, gathered_s, rested=True, commits=commits)
        assert not after(few, gathered_s, rested=True, commits=commits)
        # The same of senders that begin again at once.
        assert not after(thousand, gathered_s, commits=commits)


def test_a_crowd_that_went_is_none() -> None:
    """What came longer ago than is looked at is forgotten."""
    crowd = Crowd()
    assert crowd.came(100, 100, 5.0)
    assert crowd.came(1, 1, 5.0 + LOOK_S / 2)
    assert not crowd.came(1, 1, 5.0 + 2 * LOOK_S)
