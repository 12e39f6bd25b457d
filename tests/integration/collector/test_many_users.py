"""A node with more users than a collector tells apart: the ledger has all their work, exactly."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.collector import running
from support.many_users import ManyUsers

FREE = {"maximum_work_per_node_s": 0, "maximum_work_per_address_s": 0}


def test_further_users_share_the_overflow(tmp_path: Path) -> None:
    """Near the limit the agent folds users into `overflow`: bounded rows, the sum of all exact."""

    async def scenario() -> None:
        limits = {"maximum_allocations_per_node": 250, **FREE}
        (tmp_path / "agent").mkdir()
        many = ManyUsers(tmp_path / "agent")
        async with running(tmp_path, **limits) as app:
            await many.report_to(app, 100)
            assert not many.ledger(app).overflow
            await many.report_to(app, 500)
            assert many.ledger(app).refused == 0
        # What counts is what a collector that starts anew reads from its disk.
        async with running(tmp_path, **limits) as app:
            found = many.ledger(app)
        assert found.exact, found
        assert found.overflow and 225 <= found.users <= 250
        assert found.keys <= found.users + 10

    asyncio.run(scenario())


def test_what_was_refused_is_kept_until_there_is_room(tmp_path: Path) -> None:
    """Users an agent opened in an outage may be too many: it keeps them, and nothing is lost."""

    async def scenario() -> None:
        (tmp_path / "agent").mkdir()
        many = ManyUsers(tmp_path / "agent")
        for _ in range(100):
            many.work()
        async with running(tmp_path, maximum_allocations_per_node=50, **FREE) as app:
            await many.report_to(app, 10)
            found = many.ledger(app)
            assert found.users == 50 and found.refused > 100 and not found.exact
        many.node.start()
        async with running(tmp_path, **FREE) as app:
            await many.report_to(app, 1)
            found = many.ledger(app)
            assert found.exact, found
            assert found.users > 200 and found.refused == 0

    asyncio.run(scenario())
