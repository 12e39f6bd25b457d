"""A simulated world is judged as it ends, and agents that fail are started again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flopmeter.lab.simulation.node import Node
from flopmeter.lab.simulation.plan import Plan, plan_for, replay_command
from flopmeter.lab.simulation.world import World, simulate
from flopmeter_agent.loop import AgentLoop
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.errors import StorageError

NO_FAULTS = {"nodes": 2, "devices": 1, "hours": 0.1, "faults": (), "collectors": "single"}


def plan(**words: Any) -> Plan:
    """A small quiet world."""
    return plan_for(1, **{**NO_FAULTS, **words})


def test_a_quiet_world() -> None:
    """Nothing is said of it."""
    outcome = simulate(plan())
    assert (outcome.equal, outcome.violations) == (True, ())
    assert sum(outcome.truth.values()) > 0
    assert outcome.command.endswith("--faults none --collectors single")
    assert "--collectors" not in replay_command(plan(collectors="drawn"))


def test_a_world_that_does_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who still waits is named."""
    monkeypatch.setattr(Node, "settled", False)
    outcome = simulate(plan())
    assert not outcome.equal
    (said,) = outcome.violations
    assert said.endswith("the fleet did not converge: n0, n1")


def test_forks_that_nobody_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The alert counts as many as the ledger has."""
    monkeypatch.setattr(RegisterTable, "forked_key_count", lambda self: 3)
    outcome = simulate(plan())
    (said,) = outcome.violations
    assert said.endswith("3 forks are alerted, the ledger has 0")


def test_an_exception_that_nobody_catches(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is part of the verdict, wherever it was raised."""
    ran = World.run

    def fails(world: World) -> Any:
        async def fail() -> None:
            raise RuntimeError("planted")

        world.loop.after(1, lambda: world.loop.create_task(fail()))
        return ran(world)

    monkeypatch.setattr(World, "run", fails)
    outcome = simulate(plan())
    assert not outcome.equal
    assert any("unhandled" in said and "planted" in said for said in outcome.violations)


@pytest.mark.parametrize(("method", "told"), [("_build", "no_start"), ("_sample", "failed")])
def test_an_agent_that_fails_is_started_again(
    monkeypatch: pytest.MonkeyPatch, method: str, told: str
) -> None:
    """As its service manager does it; the world ends equal."""
    sound, failed = getattr(Node, method), set[str]()

    def fails(node: Node, *words: Any) -> Any:
        if node.name in failed:
            return sound(node, *words)
        failed.add(node.name)
        error = StorageError("the disk is away")
        if method == "_build":
            raise error

        async def later() -> None:
            await asyncio.sleep(1)
            raise error

        return later()

    monkeypatch.setattr(Node, method, fails)
    outcome = simulate(plan(), keep_trace=True)
    assert (outcome.equal, outcome.violations) == (True, ())
    assert len(failed) == 2
    assert sum(f" {told} " in f" {line} " for line in outcome.lines) == 2


def test_a_round_that_was_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge is shown nothing of it, and the next one covers its time."""
    sound, failed = AgentLoop.sample, set[str]()

    def fails(loop: AgentLoop) -> None:
        if loop.counters.samples == 3 and loop.incarnation not in failed:
            failed.add(loop.incarnation)
            raise StorageError("the disk is away")
        sound(loop)

    monkeypatch.setattr(AgentLoop, "sample", fails)
    outcome = simulate(plan())
    assert len(failed) == 2
    assert (outcome.equal, outcome.violations) == (True, ())
