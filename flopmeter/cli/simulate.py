"""`flopmeter simulate`: put a whole fleet of production code through faults, from one seed.

Owns: the command's arguments and its page of text.
May touch: standard output; lab.simulation does the work in one process.
Called by the command line; docs/fault-simulation.md.
"""

from __future__ import annotations

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter_core.errors import UsageError

EXIT_UNEQUAL = 1


@click.command("simulate")
@click.option("--nodes", default=8, show_default=True, type=click.IntRange(1, 200), metavar="N")
@click.option("--devices", default=8, show_default=True, type=click.IntRange(1, 16), metavar="N")
@click.option(
    "--hours",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.2, 24 * 400),
    help="Simulated hours before everything must agree.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Decides all.")
@click.option(
    "--sample", "sample_s", type=click.FloatRange(1, 3600), help="Seconds between two readings."
)
@click.option(
    "--faults",
    default="all",
    show_default=True,
    metavar="all|none|NAME,...",
    help="Which faults may strike.",
)
@click.option(
    "--sensors",
    default="mixed",
    show_default=True,
    type=click.Choice(["mixed", "counting", "sampling"]),
    help="Whether sensors read cumulative counters or sample activity.",
)
@click.option(
    "--collectors",
    default="drawn",
    show_default=True,
    type=click.Choice(["drawn", "single", "tree", "shared"]),
    help="One, a tree of relays, or two on one ledger; the seed decides where it is drawn.",
)
@click.option("--trace", "shows_trace", is_flag=True, help="Print every event first.")
@json_option
def command(
    nodes: int,
    devices: int,
    hours: float,
    seed: int,
    sample_s: float | None,
    faults: str,
    sensors: str,
    collectors: str,
    shows_trace: bool,
    as_json: bool,
) -> int:
    """Put a fleet of agents and a collector through faults.

    Time is simulated. The code of agents and collector is the one in production; clock, network,
    disks and processes are simulated, and one seed decides everything. Exit code 1 when the
    ledger and the truth differ, or a promise was broken on the way.
    """
    from flopmeter.lab.simulation.faults import TABLE
    from flopmeter.lab.simulation.plan import plan_for
    from flopmeter.lab.simulation.world import simulate

    plan = plan_for(
        seed,
        nodes=nodes,
        devices=devices,
        hours=hours,
        sample_s=sample_s,
        faults=_names(faults, tuple(TABLE)),
        sensors=sensors,
        collectors=collectors,
    )
    outcome = simulate(plan, keep_trace=shows_trace)
    for line in outcome.lines:
        click.echo(line, err=as_json)
    if as_json:
        print_json(outcome.to_json())
    else:
        out = console()
        for line in outcome.to_text():
            out.print(line, highlight=False, soft_wrap=True, markup=False)
    if outcome.violations:
        click.echo(f"flopmeter: {outcome.violations[0]}", err=True)
    return 0 if outcome.equal else EXIT_UNEQUAL


def _names(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The faults a person asked for.

    Raises:
        UsageError: a name that is no fault.
    """
    if text == "all":
        return known
    if text == "none":
        return ()
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in known:
            raise UsageError(
                f"{name!r} is no fault that can be simulated; choose all, none, or from "
                f"{', '.join(known)}"
            )
    return names
