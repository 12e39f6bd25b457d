"""Long work lets those go first who can be answered at once, but not for ever."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from flopmeter_collector import turns as turns_module
from flopmeter_collector.turns import LONGEST_WAIT_S, SLICE_S, Turns, between, go_on


def test_long_work_waits_for_an_answer() -> None:
    """A slice does not begin while somebody is being answered, and begins when that is over."""

    async def scenario() -> None:
        turns = Turns()
        with turns.answering():
            slice_ = asyncio.create_task(turns.give_way())
            for _ in range(10):
                await asyncio.sleep(0)
            assert not slice_.done()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert slice_.done()

    asyncio.run(scenario())


def test_long_work_goes_on_beside_answers_without_end() -> None:
    """However many are being answered, a slice has its turn after a while."""

    async def scenario() -> None:
        turns = Turns()
        with turns.answering():
            async with asyncio.timeout(LONGEST_WAIT_S * 1_000):
                await turns.give_way()
            assert not turns._waiting, "who has waited leaves nothing behind"

    asyncio.run(scenario())


def test_two_answers_are_both_waited_for() -> None:
    """The end of one answer is not the end of the other."""

    async def scenario() -> None:
        turns = Turns()
        with turns.answering():
            with turns.answering():
                slice_ = asyncio.create_task(turns.give_way())
                for _ in range(10):
                    await asyncio.sleep(0)
            for _ in range(2):
                await asyncio.sleep(0)
            assert not slice_.done()
        await slice_

    asyncio.run(scenario())


def test_work_in_a_thread_waits_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on once nobody is being answered any more."""
    monkeypatch.setattr(turns_module, "LONGEST_WAIT_S", 60.0)

    async def scenario() -> None:
        turns = Turns()
        pause = turns.pauses()
        time.sleep(SLICE_S)
        passed = threading.Event()

        def work_on() -> None:
            pause()
            passed.set()

        with turns.answering():
            work = asyncio.create_task(asyncio.to_thread(work_on))
            while not turns._doors:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            assert not passed.is_set()
        async with asyncio.timeout(30):
            await work

    asyncio.run(scenario())


class Doors(list[threading.Lock]):
    """Counts who ever stood at one."""

    came = 0

    def append(self, door: threading.Lock, /) -> None:
        """One more."""
        self.came += 1
        super().append(door)


def test_work_in_a_thread_goes_on_beside_answers_without_end() -> None:
    """It waits for so long at most, again and again, and works a slice in between."""

    async def scenario() -> None:
        turns = Turns()
        turns._doors = doors = Doors()
        pause = turns.pauses()

        now_s = asyncio.get_running_loop().time

        def work() -> int:
            before = doors.came
            until_s = now_s() + 50 * SLICE_S
            while now_s() < until_s:
                pause()
            return doors.came - before

        with turns.answering():
            waits = await asyncio.to_thread(work)
            assert not turns._doors, "who has waited leaves nothing behind"
        # What stands before each wait is a whole slice.
        assert 1 <= waits <= 50
        assert await asyncio.to_thread(work) == 0

    asyncio.run(scenario())


def test_short_work_pauses_not_at_all() -> None:
    """What comes between the steps of it does nothing; every step is made, in order."""
    paused: list[int] = []
    assert list(between([1, 2], lambda: paused.append(1))) == [1, 2]
    assert paused == [1, 1]
    go_on()
