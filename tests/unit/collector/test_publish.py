"""A round lets reports go first, and yet keeps ahead of a fleet."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock, MagicMock

from flopmeter_collector.judge import Judge
from flopmeter_collector.publish import NEW_KEY_COUNT, SLICE, Publisher
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.totals import Totals
from flopmeter_core.reports import KeyedVector
from support.totals import AS_OF_NS, busy_vector, h100, key_of, table, thresholds

KEYS = 500


def test_known_registers_are_counted_in_larger_slices_than_new_ones() -> None:
    """Between two slices a round waits for answers, so its slices decide how much it can count."""

    async def counted() -> list[int]:
        registers, gives_way = RegisterTable(), AsyncMock()
        publisher = Publisher(
            table=registers,
            totals=Totals(table()),
            committer=MagicMock(),
            clock=MagicMock(wall_ns=lambda: AS_OF_NS),
            judge=Judge(thresholds(), horizon_ns=1),
            teller=MagicMock(),
            give_way=gives_way,
        )
        record = h100()
        slices = []
        for sequence in (1, 2):
            for number in range(KEYS):
                keyed = KeyedVector(
                    key_of(record, f"run:r{number}"), sequence, busy_vector(sequence)
                )
                registers.merge(keyed, record)
            gives_way.reset_mock()
            await publisher._count(registers.take_uncounted())
            slices.append(gives_way.await_count)
        return slices

    new, known = asyncio.run(counted())
    assert new == KEYS * NEW_KEY_COUNT // SLICE
    assert known == KEYS // SLICE
