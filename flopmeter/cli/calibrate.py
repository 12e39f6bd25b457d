"""`flopmeter calibrate`: run work of known FLOP beside a recording, and score the meter by it.

Owns: the command's arguments and how the outcome is printed.
May touch: what lab.calibrate touches; standard output.
Called by the command line; docs/calibration.md says what is answered.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.output import json_option, print_json
from flopmeter_core.errors import UsageError

SECONDS_LEAST, SECONDS_MOST = 1.0, 120.0
DEFAULT_SECONDS = 8.0


@click.command("calibrate")
@click.option("--suite", default="all", show_default=True, metavar="all|quick", help="How much.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("calibration"),
    show_default=True,
    help="New or empty folder for recording, truth and score.",
)
@click.option(
    "--seconds-per-kernel",
    "seconds",
    type=float,
    default=DEFAULT_SECONDS,
    show_default=True,
    help="How long each workload runs, 1 to 120.",
)
@json_option
def command(suite: str, out: Path, seconds: float, as_json: bool) -> None:
    """Score the meter by work of known FLOP.

    Runs the work beside a recording.

    Needs an NVIDIA GPU that nothing else uses, and PyTorch with CUDA.
    """
    if suite not in ("all", "quick"):
        raise UsageError(f"there is no suite {suite!r}; use all or quick")
    if not SECONDS_LEAST <= seconds <= SECONDS_MOST:
        raise UsageError(f"--seconds-per-kernel {seconds:g} is not from 1 to 120")
    from flopmeter.lab.runner import TorchRunner, load_torch

    torch = load_torch()
    from flopmeter.lab.calibrate import calibrate, probe_access, recorder_process, score_document
    from flopmeter.lab.live_widths import live_widths
    from flopmeter.lab.published import builtin_devices
    from flopmeter.lab.score_text import row_table, rung_table
    from flopmeter.lab.workloads.table import suite as workloads
    from flopmeter_proto.daemon.clock import SystemClock

    outcome = calibrate(
        workloads(suite),
        TorchRunner(torch, SystemClock()),
        out,
        seconds=seconds,
        record=recorder_process,
        probe_access=probe_access,
        tell=lambda line: click.echo(line, err=True),
    )
    if as_json:
        print_json(score_document(outcome))
        return
    for lines in (
        row_table(outcome.rows),
        rung_table(outcome.rows, live_widths(builtin_devices())),
    ):
        click.echo("\n".join(lines) + "\n")
    for finding in outcome.findings.values():
        click.echo(f"{finding.question}: {finding.answer}")
    for truth in outcome.truths:
        if truth.not_run:
            click.echo(f"{truth.workload} was not run: {truth.not_run}")
    click.echo(f"written to {out}")
