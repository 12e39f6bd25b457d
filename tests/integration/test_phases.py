"""Phases from a training process to the figures: process, socket, agent, collector, ledger.

The agent's sensor plays a scenario of counted cycles, so that every figure can be made by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import flopmeter
from flopmeter.cli import main
from flopmeter.sdk import meter as meter_module
from flopmeter.sdk.meter import Meter
from flopmeter_agent.phases import LAST_PHASE
from flopmeter_collector import backends
from flopmeter_core.allocations import boundary
from flopmeter_core.registers import Component, Vector, covered_ns
from flopmeter_core.units import CYCLES_PER_MEGACYCLE, NS_PER_S
from support.training_site import Site, until

ACCELERATION = 10
SCENARIO = f"""
seed = 1
acceleration = {ACCELERATION}
duration_s = 100000
[node]
count = 1
devices = 2
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980
[[run]]
name = "alpha"
start_s = 0
stop_s = 100000
nodes = ["n0"]
tensor_activity = 0.4
clock_mhz = 1755
power_w = 600
"""
SAMPLE_NS = ACCELERATION * NS_PER_S // 10
"""The site's sampling period of 0.1 s, in the scenario's time."""

BF16, FP8 = 4096, 8192
"""Dense FLOP per SM and cycle of an H100's tensor cores (NVIDIA H100 white paper, 2022)."""

CHANGE = boundary("run:alpha", "run:alpha")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Each test is a process that named no phase yet."""
    meter_module._progress.restart()
    yield
    meter_module._progress.restart()


def claiming(site: Site, run: str = "alpha", **named: Any) -> Meter:
    """A meter of this process."""
    return flopmeter.meter(run, socket=str(site.socket), **({"attempt": "0"} | named))


def registers(site: Site) -> dict[tuple[str, int], Vector]:
    """The ledger's vectors by allocation and phase, over devices and incarnations."""
    found: dict[tuple[str, int], Vector] = {}
    with contextlib.closing(backends.read(str(site.folder / "ledger.db"))) as ledger:
        for row in ledger.vectors():
            place = row.key.allocation, row.key.phase
            held = found.get(place, (0,) * len(row.vector))
            found[place] = tuple(a + b for a, b in zip(held, row.vector, strict=True))
    return found


async def reached(site: Site, phase: int, *, busy_s: int = 20) -> None:
    """Wait until the run worked for a while in a phase."""

    async def ask() -> dict[tuple[str, int], Vector]:
        return registers(site)

    def long_enough(held: dict[tuple[str, int], Vector]) -> bool:
        vector = held.get(("run:alpha", phase))
        return vector is not None and vector[Component.BUSY_NS] > 2 * busy_s * NS_PER_S

    await until(ask, long_enough)


def command(*arguments: str) -> None:
    """Use the command line as a person does."""
    assert main(list(arguments)) == 0


def test_two_phases_in_two_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A phase's own format mix is applied to what was done in it, and the sum is that by hand."""
    site = Site(tmp_path, SCENARIO)
    ledger = str(tmp_path / "ledger.db")

    async def scenario() -> None:
        async with site.collecting():
            async with site.metering():
                with claiming(site, phases=("short", "long-context")) as meter:
                    meter.step(1, flop=1)
                    await reached(site, 0)
                    meter.phase("long-context")
                    await reached(site, 1)
            first, second = (
                registers(site)["run:alpha", phase][Component.HMMA_MEGACYCLES] for phase in (0, 1)
            )
            # Without a word both count as bf16, the usual training format.
            undeclared = (first + second) * BF16 * CYCLES_PER_MEGACYCLE
            await until(site.alpha, lambda run: run["compute_flop"]["best"] == undeclared)
            command("run", "declare", "alpha", "--format", "bf16=1", "--ledger", ledger)
            mix = "fp8=0.8,bf16=0.2"
            command("run", "declare", "alpha", "--phase", "1", "--format", mix, "--ledger", ledger)
            after = await until(site.alpha, lambda run: run["split"] is not None)

        held = registers(site)
        assert set(held) == {("run:alpha", 0), ("run:alpha", 1), (CHANGE, 0)}
        # 80 % of the FLOP at 8192 and 20 % at 4096 FLOP a cycle: the mean of their times.
        rate = 1 / (Fraction(80, 100) / FP8 + Fraction(20, 100) / BF16)
        by_hand = (first * BF16 + second * rate) * CYCLES_PER_MEGACYCLE
        assert abs(after["compute_flop"]["best"] / by_hand - 1) < 1e-9
        (span,) = after["split"]["spans"]
        assert span["phase"] == 1
        of_phase = second * rate * CYCLES_PER_MEGACYCLE
        assert abs(int(span["compute_flop_str"]["best"]) / of_phase - 1) < 1e-9
        assert after["split"]["straddling_share"] == 0
        # Two devices each lose at most one sampling period to the change, and it widens upper.
        assert 0 < covered_ns(held[CHANGE, 0]) <= 2 * 3 * SAMPLE_NS
        assert int(after["boundary_flop_str"]["upper"]) > 0

    asyncio.run(scenario())
    capsys.readouterr()
    command("recompute", "--ledger", ledger, "--reason", "phases", "--json")
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert row["changed"]
    assert int(row["after"]["compute_flop_str"]["best"]) > int(
        row["before"]["compute_flop_str"]["best"]
    )


def test_a_phase_survives_the_agent(tmp_path: Path) -> None:
    """An agent started again goes on in the phase, whether or not a process speaks again."""

    async def scenario() -> None:
        site = Site(tmp_path, SCENARIO)
        async with site.collecting():
            async with site.metering():
                meter = claiming(site)
                meter.phase(3)
                await reached(site, 3, busy_s=2)
            before = registers(site)
            async with site.metering():
                await reached(site, 3, busy_s=30)
            meter.close()
        after = registers(site)
        assert set(after) <= {("run:alpha", 0), ("run:alpha", 3), (CHANGE, 0)}
        # The gap between the two is the phase's own: no other register grew.
        others = [("run:alpha", 0), (CHANGE, 0)]
        assert [after.get(place) for place in others] == [before.get(place) for place in others]

    asyncio.run(scenario())


def test_a_change_is_read_at_once(tmp_path: Path) -> None:
    """A phase does not wait for the next period, and however many come, readings stay apart."""

    async def scenario() -> None:
        site = Site(tmp_path, SCENARIO)
        async with site.collecting(), site.metering(sample_period_s=60) as agent:

            async def samples() -> int:
                return agent.loop.counters.samples

            await until(samples, lambda count: count == 1)
            with claiming(site) as meter:
                meter.phase(1)
                await until(samples, lambda count: count == 2)
                started_s = asyncio.get_running_loop().time()
                for phase in range(2, 40):
                    meter.phase(phase)
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.3)
                elapsed_s = asyncio.get_running_loop().time() - started_s
            assert 4 <= await samples() <= 2 + elapsed_s / 0.1 + 1

    asyncio.run(scenario())


def test_another_runs_phase_does_not_act(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The phase of a run that has no device here moves no register, and is said once."""

    async def scenario() -> None:
        site = Site(tmp_path, SCENARIO)
        async with site.collecting(), site.metering():
            await reached(site, 0, busy_s=2)
            with claiming(site, "ghost") as meter:
                for phase in (1, 2, 3):
                    meter.phase(phase)
            await reached(site, 0, busy_s=10)
        assert set(registers(site)) == {("run:alpha", 0)}

    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())
    said = [r for r in caplog.records if "no device here is allocated to" in r.getMessage()]
    assert len(said) == 1


def test_a_flood_of_phases(tmp_path: Path) -> None:
    """However many phases a client names, few keys are made, and no cycle is lost or added."""

    async def scenario() -> None:
        site = Site(tmp_path, SCENARIO.replace("devices = 2", "devices = 8"))
        async with site.collecting(), site.metering():
            await reached(site, 0, busy_s=2)
            with claiming(site) as meter:
                for phase in [*range(200), 2**70, 10**30]:
                    meter.phase(phase)
                    await asyncio.sleep(0.002)
            await reached(site, LAST_PHASE, busy_s=10)
        held = registers(site)
        assert max(phase for _, phase in held) == LAST_PHASE
        assert {allocation for allocation, _ in held} == {"run:alpha", CHANGE}
        total = [sum(column) for column in zip(*held.values(), strict=True)]
        # 132 SMs at 1755 MHz, over the time that is in the registers; a key drops less than a unit.
        expected = 132 * 1755 * total[Component.BUSY_NS] / NS_PER_S
        assert abs(total[Component.SM_ACTIVE_MEGACYCLES] - expected) <= 8 * len(held)

    asyncio.run(scenario())
