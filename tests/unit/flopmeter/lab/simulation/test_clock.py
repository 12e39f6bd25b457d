"""Simulated time: it stands while anything is left to do, and moves to the next thing due."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from flopmeter.lab.simulation.clock import GROUP, Killed, NodeClock, SimulatedLoop, TaskGroup
from flopmeter_core.units import NS_PER_S

THREAD_NS = 5 * NS_PER_S


@pytest.fixture
def loop() -> SimulatedLoop:
    """One that stands at 100 s, whose threads answer after 5 s."""
    return SimulatedLoop(start_ns=100 * NS_PER_S, thread_delay_ns=lambda: THREAD_NS)


def run(loop: SimulatedLoop, until_s: float) -> None:
    """Let time go by."""
    loop.run_until(round(until_s * NS_PER_S))


def test_what_is_due_is_called_at_its_time(loop: SimulatedLoop) -> None:
    """In order of time, then of asking; what was cancelled is not called, now or later."""
    told: list[tuple[str, float]] = []

    def tell(what: str) -> None:
        told.append((what, loop.time()))

    loop.call_at(103.0, tell, "at")
    loop.call_later(2.0, tell, "later")
    loop.call_later(2.0, tell, "later still")
    loop.call_soon(tell, "soon")
    loop.call_soon(tell, "never").cancel()
    loop.call_later(1.0, tell, "never").cancel()
    loop.call_at(111.0, tell, "after the end")
    run(loop, 110)
    assert told == [("soon", 100), ("later", 102), ("later still", 102), ("at", 103)]
    assert loop.time() == 110
    loop.close()
    assert loop.is_closed()
    run(loop, 120)
    assert len(told) == 4


def test_a_fault_is_remembered(loop: SimulatedLoop) -> None:
    """It ends nothing else at that instant; what ends Python is let through."""
    told: list[int] = []
    loop.call_soon(lambda: 1 // 0)
    loop.call_soon(told.append, 1)
    run(loop, 101)
    (fault,) = loop.faults
    assert isinstance(fault["exception"], ZeroDivisionError) and told == [1]

    def interrupted() -> None:
        raise KeyboardInterrupt

    loop.call_soon(interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(loop, 102)
    assert len(loop.faults) == 1
    assert not loop.is_running()


def test_a_thread_answers_later(loop: SimulatedLoop) -> None:
    """With what came of it, an error too; nobody is answered who went away meanwhile."""
    answered = loop.run_in_executor(None, int, "7")
    failed = loop.run_in_executor(None, int, "x")
    gone = loop.run_in_executor(None, int, "8")
    run(loop, 104)
    assert not answered.done()
    gone.cancel()
    run(loop, 105)
    assert answered.result() == 7 and isinstance(failed.exception(), ValueError)
    assert gone.cancelled() and not loop.faults


def test_a_process_ends_with_its_tasks(loop: SimulatedLoop) -> None:
    """A task that meets its end takes the process with it, once; tasks of nobody are left alone."""
    died: list[str] = []

    def end() -> None:
        group.dead = True
        died.append("collector")

    group = TaskGroup("collector", end)

    async def waits() -> None:
        await asyncio.sleep(1_000)

    async def ends() -> None:
        await asyncio.sleep(1)
        raise Killed

    def begin() -> list[asyncio.Task[Any]]:
        GROUP.set(group)
        return [loop.create_task(each()) for each in (waits, ends, ends)]

    others: list[asyncio.Task[Any]] = []
    loop.call_soon(lambda: others.append(loop.create_task(waits())))
    tasks: list[asyncio.Task[Any]] = []
    loop.call_soon(lambda: tasks.extend(begin()))
    run(loop, 102)
    assert died == ["collector"] and isinstance(tasks[1].exception(), Killed)
    group.cancel()
    run(loop, 103)
    assert tasks[0].cancelled() and not cast(Any, others[0]).done() and died == ["collector"]
    others[0].cancel()
    run(loop, 104)


def test_clocks_of_a_node(loop: SimulatedLoop) -> None:
    """Suspend is in the time since boot alone; no step takes Unix time below 0."""
    clock = NodeClock(loop, epoch_ns=NS_PER_S)
    run(loop, 110)
    clock.suspend(4 * NS_PER_S)
    assert (clock.boottime_ns(), clock.monotonic_ns()) == (10 * NS_PER_S, 6 * NS_PER_S)
    clock.step_wall(-50 * NS_PER_S)
    assert clock.wall_ns() == 61 * NS_PER_S
    clock.step_wall(-1_000 * NS_PER_S)
    assert clock.wall_ns() == 0
    clock.boot(boot_id="1", before_ns=NS_PER_S)
    assert (clock.boot_id, clock.boottime_ns(), clock.monotonic_ns()) == ("1", NS_PER_S, NS_PER_S)
