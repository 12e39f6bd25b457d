"""The account that real faults are judged by: what it must hold, and what it must notice."""

from __future__ import annotations

import json
from typing import Any

from faults.account import Account, Held, judge
from flopmeter_core.registers import COMPONENT_COUNT, Component

MEGA = 10**6


def line(at_ns: int, cycles: int, *, user: str = "run:a", device: str = "D") -> list[Any]:
    """A reading as a witness file holds it: 1 mJ and a megacycle elapsed a nanosecond."""
    counters = {Component.SM_ELAPSED_MEGACYCLES: at_ns * MEGA, Component.TENSOR_MEGACYCLES: cycles}
    return [device, at_ns, at_ns, user, at_ns, {str(int(c)): n for c, n in counters.items()}]


def account(*lines: tuple[str, Any]) -> Account:
    """An account of a witness file."""
    made = Account()
    made.take(json.dumps(each) for each in lines)
    return made


def vector(**amounts: int) -> list[int]:
    """A vector with these components."""
    held = [0] * COMPONENT_COUNT
    for name, amount in amounts.items():
        held[Component[name.upper()]] = amount
    return held


FULL: Held = {
    ("D", "i", "run:a"): (
        2,
        vector(sm_elapsed_megacycles=20, tensor_megacycles=7, energy_mj=20, busy_ns=20),
    )
}


def twice_read() -> Account:
    """Two rounds after the first: 7.5 megacycles of tensor work in 20 ns."""
    return account(
        ("start", 1),
        ("round", [line(10, 0)]),
        ("round", [line(20, 5 * MEGA)]),
        ("round", [line(30, 7 * MEGA + MEGA // 2)]),
    )


def test_the_truth_is_equal_to_itself() -> None:
    """A ledger that holds what was read is equal; what is below a unit is not looked for."""
    verdict = judge(twice_read(), FULL)
    assert verdict.equal
    assert verdict.truth["tensor_megacycles"] == verdict.ledger["tensor_megacycles"] == 7


def test_too_much_of_one_user_does_not_hide_too_little_of_another() -> None:
    """Both are told, although the sum is right."""
    moved: Held = {
        ("D", "i", "run:a"): (
            2,
            vector(sm_elapsed_megacycles=20, tensor_megacycles=6, energy_mj=20, busy_ns=20),
        ),
        ("D", "i", "run:b"): (1, vector(tensor_megacycles=1)),
    }
    verdict = judge(twice_read(), moved)
    assert not verdict.equal
    assert verdict.lacking == verdict.exceeding == {"tensor_megacycles": 1}


def test_a_period_between_two_users_is_a_boundary() -> None:
    """Its work belongs to neither."""
    read = account(
        ("start", 1), ("round", [line(10, 0)]), ("round", [line(20, MEGA, user="run:b")])
    )
    assert list(read.state.amounts) == [("D", "boundary(run:a,run:b)")]


def test_idle_time_is_told_from_busy_time() -> None:
    """A device whose counters stand, but for the clock's own, was idle."""
    read = account(("start", 1), ("round", [line(10, 5)]), ("round", [line(30, 5)]))
    assert judge(read, {}).lacking == {
        "sm_elapsed_megacycles": 20,
        "energy_mj": 20,
        "idle_ns": 20,
    }


def test_a_round_that_no_journal_held_is_dropped_and_its_work_is_not() -> None:
    """The next agent's difference covers it: the counters are cumulative."""
    resumed = {"D": line(10, 0, user="none")}
    read = account(
        ("start", 1),
        ("round", [line(10, 0)]),
        ("round", [line(20, 5 * MEGA)]),
        ("start", 2),
        ("resume", resumed),
        ("round", [line(30, 7 * MEGA + MEGA // 2)]),
    )
    assert (read.dropped, read.longest_drop) == (1, 1)
    assert judge(read, FULL).equal
    assert read.missing_work() == {}


def test_an_agent_that_forgot_everything_is_noticed() -> None:
    """Work from before is in no account any more, and the counters show it."""
    read = account(
        ("start", 1),
        ("round", [line(10, 0)]),
        ("round", [line(20, MEGA)]),
        ("start", 2),
        ("round", [line(30, 2 * MEGA)]),
        ("round", [line(40, 3 * MEGA)]),
    )
    assert read.longest_drop == 2
    assert judge(read, {}).truth["tensor_megacycles"] == 1


def test_a_resumption_from_readings_nobody_made_is_a_problem() -> None:
    """A journal cannot hold what was never read."""
    read = account(
        ("start", 1), ("round", [line(10, 0)]), ("start", 2), ("resume", {"D": line(11, 0)})
    )
    assert read.problems


def test_an_acknowledged_value_that_the_ledger_lacks_is_lost() -> None:
    """Missing keys and older sequences count; newer ones do not."""
    told = [["D", "i", "run:a", 3], ["D", "i", "run:b", 1], ["D", "i", "run:a", 2]]
    read = account(("start", 1), ("answer", [told, []]))
    assert judge(read, FULL).acked_lost == 2
    assert judge(account(("start", 1), ("answer", [told[2:], []])), FULL).acked_lost == 0


def test_a_refused_value_is_told() -> None:
    """With the collector's reason."""
    assert account(("answer", [[], ["too much"]])).refusals == ["too much"]


def test_the_time_of_a_suspend_is_suspended() -> None:
    """Boot time beyond monotonic time is neither busy nor idle."""
    later = line(30, 5 * MEGA)
    later[2] += 1000
    read = account(("start", 1), ("round", [line(10, 0)]), ("round", [later]))
    truth = judge(read, {}).truth
    assert (truth["busy_ns"], truth["suspended_ns"]) == (20, 1000)
