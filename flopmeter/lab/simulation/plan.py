"""What to simulate, as it is asked for, and the command that asks for the same again.

Owns: the plan, its defaults and its words on the command line.
May touch: nothing.
Called by `flopmeter simulate`, campaign and tests; the world is built from a plan.
"""

from __future__ import annotations

from dataclasses import dataclass

from flopmeter.lab.simulation.faults import TABLE
from flopmeter.lab.simulation.topology import DRAWN

LONG_HOURS = 48
"""Longer simulations sample once an hour unless told otherwise."""

MIXED, COUNTING, SAMPLING = SENSORS = ("mixed", "counting", "sampling")
"""Sensors read cumulative counters, or sample activity, or some nodes do this and some that."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate.

    Attributes:
        seed: decides everything.
        nodes, devices: nodes, and devices in each.
        hours: length in hours, without the drain.
        sample_s, report_s, evaluate_s: the periods of agents and collector.
        faults: names of the faults that may strike.
        sensors: what the nodes' sensors do, one of `SENSORS`.
        collectors: how collectors stand to each other, one of `topology.COLLECTORS`.
    """

    seed: int
    nodes: int = 8
    devices: int = 8
    hours: float = 1.0
    sample_s: float = 30.0
    report_s: float = 60.0
    evaluate_s: float = 60.0
    faults: tuple[str, ...] = ()
    sensors: str = MIXED
    collectors: str = DRAWN


def plan_for(
    seed: int,
    *,
    nodes: int = 8,
    devices: int = 8,
    hours: float = 1.0,
    sample_s: float | None = None,
    faults: tuple[str, ...] = (),
    sensors: str = MIXED,
    collectors: str = DRAWN,
) -> Plan:
    """A plan whose periods fit its length: 30 s for hours, an hour for weeks.

    Args:
        seed: decides everything.
        nodes: how many nodes.
        devices: devices in each.
        hours: length in hours.
        sample_s: the sampling period; None chooses it.
        faults: names of the faults that may strike.
        sensors: what sensors do, one of `SENSORS`.
        collectors: how collectors stand to each other, one of `topology.COLLECTORS`.
    """
    if sample_s is None:
        sample_s = 30.0 if hours <= LONG_HOURS else 3_600.0
    report_s = max(60.0, sample_s)
    return Plan(
        seed,
        nodes=nodes,
        devices=devices,
        hours=hours,
        sample_s=sample_s,
        report_s=report_s,
        evaluate_s=report_s,
        faults=faults,
        sensors=sensors,
        collectors=collectors,
    )


def replay_command(plan: Plan) -> str:
    """The command that repeats a simulation byte for byte."""
    known = tuple(TABLE)
    faults = "all" if plan.faults == known else ",".join(plan.faults) or "none"
    words = [
        f"flopmeter simulate --nodes {plan.nodes} --devices {plan.devices} --hours {plan.hours:g}",
        f"--sample {plan.sample_s:g} --seed {plan.seed} --faults {faults}",
    ]
    if plan.sensors != MIXED:
        words.append(f"--sensors {plan.sensors}")
    if plan.collectors != DRAWN:
        words.append(f"--collectors {plan.collectors}")
    return " ".join(words)
