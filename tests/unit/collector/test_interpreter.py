"""The interpreter as a collector sets it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Iterator

import pytest

from flopmeter_collector.interpreter import Cycles, prefer_answers

CALLS = 30_000
"""Each holds an object until its next report, as the calls of a fleet do."""


class Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_a_collector() -> Iterator[None]:
    """The interpreter as a collector sets it; what was declared old is searched again after it."""
    prefer_answers()
    gc.collect()
    yield
    gc.unfreeze()


def young() -> int:
    """How many objects the next search would walk."""
    return len(gc.get_objects(generation=0)) + len(gc.get_objects(generation=1))


def test_what_lives_does_not_gather_among_the_young() -> None:
    """Where as much dies as is made, Python itself never searches, and all that lives is young."""

    async def replaced() -> int:
        cycles = Cycles()
        watching = asyncio.create_task(cycles.watch(0.0))
        held = [[number] for number in range(CALLS)]
        for _ in range(2):
            for number in range(CALLS):
                held[number] = [number]
                if number % 1000 == 0:
                    await asyncio.sleep(0)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        return young()

    assert asyncio.run(replaced()) < CALLS // 2


@pytest.mark.parametrize("told", [True, False])
def test_it_searches_where_a_cycle_was_made(*, told: bool) -> None:
    """Then what is young is walked once; else nothing is, and both times all of it is old."""
    cycles, knot = Cycles(), weakref.ref(Knot())
    walks: list[str] = []
    gc.callbacks.append(lambda phase, _: walks.append(phase))
    try:
        if told:
            cycles.made()
        cycles.settle()
        cycles.settle()
    finally:
        gc.callbacks.pop()
    assert (knot() is None) is told
    assert walks == ["start", "stop"] * told
    assert young() < 100
