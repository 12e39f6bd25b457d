"""Large reports are taken one at a time, of an address by its pace, and let go in steps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from flopmeter_collector.large import LARGE_BYTES, LET_GO_AT_ONCE, LargeReports, is_large
from flopmeter_collector.limits import BURST_S, WORK_PER_REPORT, Pace
from flopmeter_collector.service import work_of
from flopmeter_collector.turns import Turns
from flopmeter_collector.waits import STOPPING, Waits
from flopmeter_core.errors import StorageError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from support.manual_clock import ManualClock


def large(work_per_s: int = 0, clock: ManualClock | None = None) -> LargeReports:
    """Nobody has a turn yet."""
    return LargeReports(Turns(), Pace(work_per_s), clock or ManualClock(), Waits())


def test_nobody_waits_behind_many_of_one_address() -> None:
    """One is in hand at a time, and each address has one that waits for that."""

    async def scenario() -> list[str]:
        reports, order, in_hand = large(), [], 0

        async def one(address: str) -> None:
            nonlocal in_hand
            async with reports.turn(address, 1):
                in_hand += 1
                assert in_hand == 1
                for _ in range(5):
                    await asyncio.sleep(0)
                order.append(address)
                in_hand -= 1

        many = [asyncio.create_task(one("a")) for _ in range(10)]
        await asyncio.sleep(0)
        await asyncio.gather(*many, *(asyncio.create_task(one("b")) for _ in range(2)))
        assert not reports._of_address, "who has nothing waiting is forgotten"
        assert not reports._waiting
        return order

    order = asyncio.run(scenario())
    assert order.index("b") == 1
    assert order.count("a") == 10


def test_who_owes_waits_before_its_report_is_read() -> None:
    """What an address has sent beyond its share is waited for first, and only by that address."""

    async def scenario() -> None:
        clock = ManualClock()
        reports = large(1_000, clock)
        reports.charge("a", 1_000 * BURST_S)
        begun = asyncio.Event()

        async def one() -> None:
            async with reports.turn("a", 50):
                begun.set()

        async with reports.turn("a", 100 - WORK_PER_REPORT):
            pass  # nothing was owed when it came
        waiting = asyncio.create_task(one())
        began_s = asyncio.get_running_loop().time()
        async with reports.turn("b", 5_000):
            assert not begun.is_set()
        await waiting
        # The clock of the pace stands still, so what is owed is 100 of 1,000 a second.
        assert asyncio.get_running_loop().time() - began_s >= 0.1
        owed_ns = reports._pace.owed_ns("a", clock.monotonic_ns())
        assert owed_ns == (100 + 50 + WORK_PER_REPORT) * NS_PER_S // 1_000

    asyncio.run(scenario())


def test_who_gives_up_leaves_the_turn() -> None:
    """A stream that ends while it has or awaits a turn holds up no other one."""

    async def scenario() -> None:
        reports = large()
        held = asyncio.Event()

        async def hold() -> None:
            async with reports.turn("a", 1):
                held.set()
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(hold()) for _ in range(3)]
        await held.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(30), reports.turn("a", 1):
            pass
        assert not reports._of_address

    asyncio.run(scenario())


def test_a_stop_waits_for_no_turn_that_has_not_come() -> None:
    """Who owes, or waits behind another, is told to send again later; who has a turn ends it."""

    async def scenario() -> None:
        clock, waits, go_on = ManualClock(), Waits(), asyncio.Event()
        reports = LargeReports(Turns(), Pace(1_000), clock, waits)
        reports.charge("owes", 1_000 * (BURST_S + 3_600))
        ended: list[str] = []

        async def one(address: str) -> None:
            async with reports.turn(address, 1):
                await go_on.wait()
                ended.append(address)

        first = asyncio.create_task(one("first"))
        await asyncio.sleep(0)
        others = [asyncio.create_task(one(name)) for name in ("owes", "owes", "first", "behind")]
        for _ in range(3):
            await asyncio.sleep(0)
        waits.end()
        async with asyncio.timeout(30):
            told = await asyncio.gather(*others, return_exceptions=True)
        assert [str(each) for each in told] == [STOPPING] * 4
        go_on.set()
        await first
        assert ended == ["first"]
        assert not reports._of_address
        with pytest.raises(StorageError, match="stopping"):
            await one("late")

    asyncio.run(scenario())


def test_what_is_let_go_goes_in_steps() -> None:
    """Others have their turn between two steps, and nothing is left."""

    async def scenario() -> list[int]:
        gone: list[object] = [object() for _ in range(2 * LET_GO_AT_ONCE + 1)]
        left: list[int] = []

        async def give_way() -> None:
            left.append(len(gone))

        await large().let_go(gone, give_way)
        return left

    assert asyncio.run(scenario()) == [LET_GO_AT_ONCE + 1, 1, 0]


def test_everything_stated_is_work() -> None:
    """A message of nothing but device records is no small one."""
    message = pb.StreamReportsRequest()
    for _ in range(1_000):
        message.device_records.add()
    assert work_of(message) == 4_000


def test_many_parts_are_large_however_short_they_are() -> None:
    """What takes long to count and build is done in steps, a usual message at once."""
    parts = bytes([pb.StreamReportsRequest.CLAIMS_FIELD_NUMBER << 3 | 2, 0])
    assert not is_large(parts * 900)
    assert is_large(parts * 4_000)
    assert is_large(bytes([15 << 3 | 2, 0]) * 20_000 + b"\x07")
    assert is_large(bytes(LARGE_BYTES + 1))


def test_a_message_of_many_parts_is_built_in_steps() -> None:
    """One of few is built at once: a thread for each message of a relay would cost more."""
    few, many = b"\x08\x01", b"\x08\x01" * 20_000

    async def scenario() -> list[object]:
        reports = large()
        own = threading.get_ident()

        def at_once(raw: bytes) -> object:
            return "at once", len(raw), threading.get_ident() == own

        def in_steps(raw: bytes, pause: Callable[[], None]) -> object:
            pause()
            return "in steps", len(raw), threading.get_ident() == own

        return [await reports.batch(raw, at_once, in_steps) for raw in (few, many)]

    assert asyncio.run(scenario()) == [
        ("at once", len(few), True),
        ("in steps", len(many), False),
    ]
