"""Long work lets those go first who can be answered at once, but not for ever."""

from __future__ import annotations

import asyncio

from flopmeter_collector.turns import LONGEST_WAIT_S, Turns


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
