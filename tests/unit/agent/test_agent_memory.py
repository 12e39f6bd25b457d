"""An agent's memory: constant space for 90 days and any number of starts, sums exact."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.succession import MAXIMUM_OPEN
from flopmeter_core.allocations import OVERFLOW
from flopmeter_core.registers import COMPONENT_COUNT, SM_CYCLE_COMPONENTS, SUBUNITS, Component
from flopmeter_core.reports import Acknowledgement, Answer, Durability, LedgerPosition, Report
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from support.counting_node import CountingNode

BUDGET_BYTES = 4 * 1024 * 1024
CLAIMS_BYTES = 3 * 64 * 1024
HOURS_OF_90_DAYS = 90 * 24


def check_sums(node: CountingNode, from_ns: int) -> None:
    """What is held is what was counted, to the last sub-unit."""
    held, truth = node.subunits(), node.truth(from_ns)
    assert [held[place] for place in SM_CYCLE_COMPONENTS] == [
        truth[place] for place in SM_CYCLE_COMPONENTS
    ]


def answer(report: Report, *, generation: int = 1, fold_users: bool = False) -> Answer:
    """The root has everything."""
    acks = tuple(Acknowledgement(k.key, k.sequence, Durability.AT_ROOT) for k in report.vectors)
    return Answer(acks, LedgerPosition("L", generation, 1), fold_users=fold_users)


def test_90_days_without_a_collector(tmp_path: Path) -> None:
    """8 devices, 100 users, 12 starts: at most 4 MiB with the claims' journal, nothing lost."""
    node = CountingNode(tmp_path, period_ns=6 * NS_PER_HOUR)
    node.start()
    node.step(NS_PER_HOUR)
    reserved = node.disk_bytes()
    for hour in range(0, HOURS_OF_90_DAYS, 6):
        node.sensor.allocation = f"run:{hour * 100 // HOURS_OF_90_DAYS}-of-a-user-with-a-name"
        if hour % 180 == 90:
            node.start()
        node.step()
        assert node.disk_bytes() <= reserved
    assert reserved + CLAIMS_BYTES <= BUDGET_BYTES
    check_sums(node, NS_PER_HOUR)
    loop = node.loop
    assert loop is not None
    users = {key.allocation for key in loop.held() if key.allocation.startswith("run:")}
    assert len(users) == 100
    assert loop.accumulator.overflowed == 0
    assert len(loop.accumulator.registers) <= MAXIMUM_OPEN
    # All of it reaches a collector that is there at last, in as many reports as it takes.
    shown: set[str] = set()
    while (report := loop.report()) is not None and report.vectors:
        shown |= {keyed.key.allocation for keyed in report.vectors}
        loop.acknowledge(answer(report))
    assert users <= shown


def test_a_crash_loop_without_a_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Any number of starts takes constant space and loses nothing, whoever the user is.

    tests/bench/journal_days.py does 10,000 of them with the room as it is.
    """
    monkeypatch.setattr("flopmeter_agent.closed.SLOT_BYTES", 32 * 1024)
    node = CountingNode(tmp_path, devices=1)
    node.sensor.allocation = "run:a"
    node.start()
    node.step()
    reserved = node.disk_bytes()
    for number in range(300):
        node.start()
        node.sensor.allocation = f"run:{number // 50}"
        node.step()
        if number % 100 == 0:
            assert node.disk_bytes() == reserved
    check_sums(node, NS_PER_S)
    assert node.loop is not None
    assert not any(key.allocation == OVERFLOW for key in node.loop.held())
    assert any("added up" in each.message for each in caplog.records)


def test_more_users_than_fit_share_the_overflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room full of what was sent and not acknowledged: new users fold, exactly, and it is known."""
    monkeypatch.setattr("flopmeter_agent.closed.SLOT_BYTES", 96 * 1024)
    node = CountingNode(tmp_path, devices=2)
    loop = node.start()
    node.step()
    for number in range(300):
        node.sensor.allocation = f"run:{number}"
        node.step()
        loop.report()
    assert loop.accumulator.overflowed > 0
    assert len(loop.accumulator.registers) <= MAXIMUM_OPEN + 2
    folded = [key for key in loop.accumulator.registers if key.allocation == OVERFLOW]
    assert {key.device for key in folded} == {r.device for r in node.sensor.devices()}
    check_sums(node, NS_PER_S)
    # A process that starts now has no room either: it registers nothing, and loses nothing.
    loop = node.start()
    node.step(100 * NS_PER_S)
    assert loop.counters.samples == 0
    assert loop.accumulator.registers == {}
    report = loop.report()
    assert report is not None
    loop.acknowledge(answer(report))
    node.step()
    assert loop.counters.samples == 1
    assert loop.accumulator.registers
    place = Component.TENSOR_MEGACYCLES
    known = {keyed.key: keyed.vector[place] for keyed in report.vectors}
    known |= {key: register.units[place] for key, register in loop.held().items()}
    lost = node.truth(NS_PER_S)[place] // 10**18 - sum(known.values())
    assert 0 <= lost <= len(known)  # of each key what is below one unit


def test_a_fraction_goes_on_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users that were given up come back: what their sum took in is not handed to them again."""
    monkeypatch.setattr("flopmeter_agent.closed.SLOT_BYTES", 64 * 1024)
    node = CountingNode(tmp_path, devices=2)
    loop = node.start()
    node.step()
    for number in range(900):
        node.sensor.allocation = f"run:{number % 300}"
        node.step()
    assert loop.closed_summary().room_made["overflow"] > 0
    opened = loop.accumulator.registers
    sums = [0] * COMPONENT_COUNT
    for register in loop.held().values():
        for place, units in enumerate(register.units):
            sums[place] += units * SUBUNITS[place]
    fractions = [register.carry for register in opened.values()]
    fractions += loop.accumulator.carries.values()
    truth = node.truth(NS_PER_S)
    for place in SM_CYCLE_COMPONENTS:
        assert sums[place] + sum(carry[place] for carry in fractions) == truth[place]


def test_a_full_incarnation_goes_on_in_the_next(tmp_path: Path) -> None:
    """Sums, totals by device and fractions go on; no key of the old one is written again."""
    node = CountingNode(tmp_path, devices=4)
    loop = node.start()
    node.step()
    seen: dict[str, int] = {}
    while len(seen) < 3:
        node.sensor.allocation = f"run:{node.clock.at_ns // NS_PER_S % 50}"
        node.step()
        seen[loop.incarnation] = len(loop.accumulator.registers)
    assert max(seen.values()) <= MAXIMUM_OPEN
    check_sums(node, NS_PER_S)
    totals = loop.device_totals()
    held = loop.held()
    for device, total in totals.items():
        assert total[Component.BUSY_NS] == sum(
            register.units[Component.BUSY_NS]
            for key, register in held.items()
            if key.device == device
        )
    after = node.start()
    node.step()
    assert {key: held[key] for key in held if key.incarnation != loop.incarnation}.keys() <= (
        after.held().keys()
    )
    check_sums(node, NS_PER_S)


def test_an_answer_that_names_what_was_never_sent(tmp_path: Path) -> None:
    """The journal is older than the ledger: everything is sent again, once a generation."""
    node = CountingNode(tmp_path, devices=1)
    loop = node.start()
    node.step()
    node.step()
    report = loop.report()
    assert report is not None
    loop.acknowledge(answer(report))
    assert loop.report() is None
    (keyed,) = report.vectors
    beyond = Acknowledgement(keyed.key, keyed.sequence + 1, Durability.AT_ROOT)
    for generation, sends in ((1, True), (1, False), (2, True)):
        loop.acknowledge(Answer((beyond,), LedgerPosition("L", generation, 1)))
        again = loop.report()
        assert (again is not None) == sends
        if again is not None:
            loop.acknowledge(answer(again, generation=generation))


def test_what_was_shown_is_known_after_a_kill(tmp_path: Path) -> None:
    """Before a register leaves for the first time its mark is durable; others have none."""
    node = CountingNode(tmp_path, devices=1)
    loop = node.start()
    node.step()
    node.step()
    assert loop.report() is not None
    node.sensor.allocation = "run:later"
    node.step()
    node.step()
    after = node.start()
    marks = {key.allocation: row.sent for key, row in after._closed._rows.items()}
    assert marks["none"]
    assert not marks["run:later"]
    assert after.report() is not None
    again = node.start()
    assert all(row.sent for row in again._closed._rows.values())


def test_up_time_ages_what_the_root_has(tmp_path: Path) -> None:
    """90 days of boot time, over boots and starts; switched off, nothing ages."""
    node = CountingNode(tmp_path, devices=1, period_ns=24 * NS_PER_HOUR)
    loop = node.start()
    node.step()
    node.step()
    report = loop.report()
    assert report is not None
    loop.acknowledge(answer(report))
    node.step(1)
    (old,) = {keyed.key for keyed in report.vectors}
    for boot in range(6):
        loop = node.start()
        node.clock.wall_step_ns = (-1) ** boot * 10**18
        for _ in range(19):
            node.step()
        assert old in loop.held()
        report = loop.report()
        assert report is not None
        loop.acknowledge(answer(report))
        node.step(1)
        node.clock.boot_id = f"boot {boot}"
        node.clock.at_ns = 0
    assert old not in node.start().held()


def test_users_fold_where_the_collector_has_little_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Told so, an agent gives only known users registers of their own; the sum stays exact."""
    node = CountingNode(tmp_path, devices=1)
    loop = node.start()

    def meter(user: str, *, fold_users: bool) -> set[str]:
        """Who a user's two periods are registered under."""
        before = {key: register.sequence for key, register in loop.accumulator.registers.items()}
        node.sensor.allocation = user
        node.step()
        node.step()
        report = loop.report()
        assert report is not None
        loop.acknowledge(answer(report, fold_users=fold_users))
        return {
            key.allocation
            for key, register in loop.accumulator.registers.items()
            if register.sequence != before.get(key, 0)
        }

    node.step()
    assert "run:a" in meter("run:a", fold_users=False)
    assert "run:b" in meter("run:b", fold_users=True)
    for number in range(5):
        assert meter(f"run:{number}", fold_users=True) == {OVERFLOW}
    assert sum("share its overflow" in each.message for each in caplog.records) == 1
    assert loop.renew()
    assert meter("run:a", fold_users=True) == {OVERFLOW, "run:a"}
    assert meter("none", fold_users=False) == {OVERFLOW, "none"}
    assert "run:4" in meter("run:4", fold_users=False)
    assert loop.accumulator.overflowed == 12
    check_sums(node, NS_PER_S)
