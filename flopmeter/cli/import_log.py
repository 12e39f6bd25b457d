"""`flopmeter import-log`: model and executed FLOP from a training's own log.

Owns: the command's arguments, its JSON and its table.
May touch: the log and the architecture file (through lab.training_log); standard output.
Called by the command line. Explained in docs/architecture-flop.md.
"""

from __future__ import annotations

from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json


@click.command("import-log")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--architecture",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file that describes the training, where PATH does not.",
)
@json_option
def command(path: Path, architecture: Path | None, as_json: bool) -> None:
    """Count FLOP by architecture from a training's own log.

    PATH is a log of Megatron, modded-nanogpt or llm.c, or a table of llm-foundry.
    """
    from flopmeter.lab.training_log import TOLERANCE, document, read_logs

    every = read_logs(path, architecture)
    rates = [each for figures in every for each in figures.reproduced]
    errors = [abs(each.relative_error) for each in rates if each.relative_error is not None]
    summary = {
        "stated": len(rates),
        "reproduced": sum(error <= TOLERANCE for error in errors),
        "tolerance": float(TOLERANCE),
        "worst_relative_error": float(max(errors)) if errors else None,
    }
    if as_json:
        logs = [document(figures) for figures in every]
        print_json({"schema": 1, "logs": logs, "summary": summary})
        return
    from rich.markup import escape

    from flopmeter.lab.listing import Column, Listing
    from flopmeter_core.architecture.six_pd import objections

    titles = ("tokens", "model", "executed", "/ model", "TFLOP/s", "MFU", "HFU")
    table = Listing("run", *(Column(title, right=True) for title in titles))
    for figures in every:
        flop, model = figures.flop, figures.flop.model * figures.sequences
        rate = figures.per_device(flop.model)
        mfu, hfu = (figures.share_of_peak(each) for each in (flop.model, flop.executed.best))
        table.add(
            figures.log.name,
            f"{float(sum(step.tokens for step in figures.log.steps)):.2e}",
            f"{float(model):.2e}",
            f"{float(figures.executed.best):.2e}",
            f"{float(flop.recompute_ratio):.2f}",
            "-" if rate is None else f"{float(rate / 10**12):.1f}",
            *("-" if share is None else f"{float(share):.1%}" for share in (mfu, hfu)),
        )
    out = console()
    out.print(table)
    out.print("\nFLOP by architecture; TFLOP/s of one device and MFU are model FLOP, HFU executed")
    if rates:
        worst = f", the worst {float(max(errors)):.2%} off" if errors else ""
        out.print(
            f"the log's own rates, by its own formulas: {summary['reproduced']} of {len(rates)} "
            f"within {float(TOLERANCE):.0%}{worst}"
        )
    for remark in dict.fromkeys(text for figures in every for text in figures.log.remarks):
        out.print(escape(remark))
    if len(every) == 1:
        setup = every[0].log.setup
        for sentence in objections(setup.shape, setup.training):
            out.print(escape(f"6PD does not hold here: {sentence}"))
        if (annex := every[0].annex()) is not None:
            out.print("\n".join(escape(line) for line in annex.lines()))
