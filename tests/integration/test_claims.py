"""Claims from a training script to the ledger: real processes, socket, agent, collector.

The agent's sensor plays a scenario, so that what was metered is known before anybody claims.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from flopmeter.lab.ledger_totals import ledger_totals
from flopmeter_core.claim_agreement import Agreement
from flopmeter_proto.daemon.clock import SystemClock
from support.totals import thresholds
from support.training_site import Site, until


def figures(run: Any) -> dict[str, Any]:
    """Everything of a run that the meter says."""
    return {name: run[name] for name in run if name not in ("claims", "warnings")}


def test_claims_reach_the_ledger_and_change_no_figure(tmp_path: Path) -> None:
    """Eight ranks' claims stand beside the meter, a liar is flagged, restarts lose nothing."""

    async def scenario() -> None:
        site = Site(tmp_path)
        async with site.collecting(), site.metering():
            before = await site.metered()
            best = before["compute_flop"]["best"]
            assert best > 10**18 and before["claims"] is None
            step_flop = best // (8 * 100)

            # Eight ranks; then a restart from step 51 that does half of it again.
            await site.claim(8, step_flop, "rank", "0", 1)
            whole = 8 * 100 * step_flop
            run = await until(
                site.alpha,
                lambda r: r["claims"] and r["claims"]["executed_flop"] == whole,
            )
            assert run["claims"]["agreement"] == "agrees"
            assert abs(run["claims"]["ratio"] - 1) < 1e-6
            assert run["claims"]["processes"] == 8
            assert run["claims"]["formats"] == ["bf16=1"]
            assert (run["claims"]["unique_tokens"], run["claims"]["unique_steps"]) == (
                6400,
                100,
            )
            assert (figures(run), run["warnings"]) == (figures(before), before["warnings"])
            await site.claim(8, step_flop, "rank", "1", 51)
            run = await until(
                site.alpha,
                lambda r: r["claims"]["executed_flop"] == whole + 8 * 50 * step_flop,
            )
            assert run["claims"]["unique_flop"] == whole
            assert run["claims"]["attempts"] == 2

            # One process claims 100 times as much, and another claims a run nobody metered.
            await site.claim(1, 100 * 8 * step_flop, "global", "1", 51)
            await site.claim(1, step_flop, "global", "1", 1, run="ghost")
            run = await until(site.alpha, lambda r: r["claims"]["agreement"] != "agrees")
            assert run["claims"]["agreement"] in (Agreement.ABOVE, Agreement.IMPOSSIBLE)
            assert any("training processes claim" in text for text in run["warnings"])
            assert figures(run) == figures(before)
            document = await until(site.document, lambda d: d["unmatched_claims"])
            assert [row["run"] for row in document["unmatched_claims"]] == ["ghost"]
            assert {r["run"] for r in document["runs"]} == {"alpha"}
            metrics = await site.page("/metrics")
            own_id = run["metrics_id"]
            assert (
                f'flopmeter_run_claim_discrepancy{{run="{own_id}",simulated="true"}} 1' in metrics
            )
            assert "flopmeter_unmatched_claims 1" in metrics
            assert "Claimed FLOP, like against like" in await site.page("/")
            claims = run["claims"]

        # A collector that starts again, and one that only reads, say the same.
        async with site.collecting():
            assert (await site.alpha())["claims"] == claims
        read = ledger_totals(str(tmp_path / "ledger.db"), thresholds(), SystemClock())
        assert {run["run"]: run for run in read["runs"]}["alpha"]["claims"] == claims  # type: ignore[attr-defined]

    asyncio.run(scenario())


def test_claims_wait_for_a_collector(tmp_path: Path) -> None:
    """What is claimed while no collector answers is kept, over the agent's end, and sent later."""

    async def scenario() -> None:
        site = Site(tmp_path)
        async with site.collecting() as collector:
            address = collector.grpc_address
        site.collector.grpc_address = address  # type: ignore[union-attr]
        async with site.metering():
            await site.claim(1, 10**18, "global", "0", 1)
            threads = [thread.name for thread in threading.enumerate()]
            assert "claims" in threads
        async with site.collecting(), site.metering():
            run = await until(site.alpha, lambda r: r["claims"] is not None)
            assert run["claims"]["executed_flop"] == 100 * 10**18

    asyncio.run(scenario())
