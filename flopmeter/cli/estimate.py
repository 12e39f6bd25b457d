"""`flopmeter estimate`: compute from published figures, three ways side by side and reconciled.

Owns: the command's arguments, its JSON and its table.
May touch: the one CSV file it is given (through lab.published); standard output.
Called by the command line; the estimates are core.desk's. Explained in docs/estimate.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.lab.published import builtin_devices, read_published
from flopmeter_core.desk.cells import Span
from flopmeter_core.desk.reconcile import DeskEstimate, estimate_row
from flopmeter_core.desk.row import Row, read_row
from flopmeter_core.errors import UsageError
from flopmeter_core.interval import COVERAGE

if TYPE_CHECKING:
    from rich.table import Table

WAYS = ("hardware", "architecture", "energy", "reconciled")

WIDE_COLUMNS = 130
"""Terminals this wide show the ways side by side: four ranges of 22 characters, run and basis."""

FLAGS = {
    "accelerator": ("accelerator", "Accelerator, by a name of `flopmeter device list`."),
    "count": ("accelerator_count", "How many of them."),
    "hours": ("wall_hours", "Wall-clock hours of the run."),
    "gpu_hours": ("gpu_hours", "Device-hours, in place of count and hours."),
    "utilization": ("mfu", "Model FLOP utilisation, 0.4, 40% or 0.38-0.43."),
    "parameters": ("params_active", "Active parameters."),
    "tokens": ("tokens", "Tokens seen in training."),
    "number_format": ("precision", "Number format or mix: bf16, fp8, fp8=0.9,bf16=rest."),
    "energy_mwh": ("energy_mwh", "Energy of the run in MWh."),
    "energy_basis": ("energy_basis", "What the energy is: 'metered', 'metered at nodes, PUE 1.2'."),
}
"""Flag -> the column it stands for, and its help: one reader for flags and files."""


def _flags(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, (_, text) in reversed(FLAGS.items()):
        flag = "--format" if name == "number_format" else f"--{name.replace('_', '-')}"
        function = click.option(flag, name, default="", metavar="TEXT", help=text)(function)
    return function


@click.command("estimate")
@click.option(
    "--csv",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Table of runs, one a line; docs/estimate.md names its columns.",
)
@_flags
@json_option
def command(file: Path | None, as_json: bool, **flags: str) -> None:
    """Estimate training compute from published figures."""
    given = {FLAGS[name][0]: text for name, text in flags.items() if text}
    if file is not None and given:
        raise UsageError("--csv and the flags of a single run exclude each other; use one")
    if file is not None:
        runs = read_published(file)
        if runs.unread_columns:
            click.echo(f"flopmeter: columns not used: {', '.join(runs.unread_columns)}", err=True)
        rows: Sequence[Row] = runs.rows
    elif given:
        rows = [read_row({"model": "this run", **given}, builtin_devices(), place="the run")]
    else:
        raise UsageError("say what to estimate: --csv FILE, or flags such as --accelerator")
    estimates = [estimate_row(row) for row in rows]
    if file is None and estimates[0].reconciled is None:
        raise UsageError(
            "nothing to estimate from: give --accelerator with --gpu-hours (or --count and "
            "--hours), or --parameters with --tokens, or --accelerator with --energy-mwh"
        )
    if as_json:
        print_json([document(estimate) for estimate in estimates])
    else:
        _print_table(estimates)


def document(estimate: DeskEstimate) -> dict[str, object]:
    """One estimate as JSON: whole FLOP, rounded outward, each with its decimal string."""
    spans = {
        "hardware": estimate.hardware,
        "architecture": estimate.architecture,
        "energy": estimate.energy,
        "reconciled": estimate.reconciled,
    }
    return {
        "model": estimate.model,
        **{name: _whole(span) for name, span in spans.items()},
        **{f"{name}_str": _texts(_whole(span)) for name, span in spans.items()},
        "method": estimate.method,
        "quantity": "model",
        "coverage": COVERAGE,
        **{name: estimate.basis.get(name) for name in ("part", "number_format")},
        "utilization_basis": estimate.basis.get("utilization_basis"),
        "annex": estimate.basis.get("annex", "").splitlines() or None,
        "warnings": list(estimate.warnings),
    }


def _whole(span: Span | None) -> dict[str, int] | None:
    if span is None:
        return None
    return {
        "lower": math.floor(span.lower),
        "best": round(span.best),
        "upper": math.ceil(span.upper),
    }


def _texts(whole: dict[str, int] | None) -> dict[str, str] | None:
    return None if whole is None else {name: str(flop) for name, flop in whole.items()}


def _print_table(estimates: Sequence[DeskEstimate]) -> None:
    from rich.markup import escape

    out = console()
    out.print((_wide_table if out.width >= WIDE_COLUMNS else _narrow_table)(estimates))
    out.print(
        f"\nmodel FLOP: best \\[lower..upper] at {COVERAGE:.0%}; recomputation is not counted"
    )
    for estimate in estimates:
        # A figure that is missing shows as a dash; why is in the JSON.
        for sentence in (s for s in estimate.warnings if not s.startswith("no ")):
            out.print(escape(f"{estimate.model}: {sentence}"))
    if len(estimates) == 1 and (annex := estimates[0].basis.get("annex")):
        out.print(escape(f"\nby hand, as the annex of the EU guidelines does:\n{annex}"))


def _wide_table(estimates: Sequence[DeskEstimate]) -> Table:
    """One line a run, the ways side by side."""
    from rich.markup import escape

    table = _table("run", *WAYS, "by")
    for estimate in estimates:
        cells = [_short(getattr(estimate, way)) for way in WAYS]
        table.add_row(escape(estimate.model), *cells, estimate.method)
    return table


def _narrow_table(estimates: Sequence[DeskEstimate]) -> Table:
    """One line a way, where not all of them fit side by side: no figure is ever cut."""
    from rich.markup import escape

    table = _table("run", "way", "model FLOP")
    for estimate in estimates:
        name = escape(estimate.model)
        for way in WAYS:
            span = getattr(estimate, way)
            if span is None:
                continue
            by = f"{way} (by {estimate.method})" if way == "reconciled" else way
            table.add_row(name, by, _short(span))
            name = ""
        if name:
            table.add_row(name, "-", "-")
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        # Only a name may give way; it wraps.
        table.add_column(name, no_wrap=name != "run", overflow="fold")
    return table


def _short(span: Span | None) -> str:
    """Two significant figures, the bounds rounded outward."""
    if span is None:
        return "-"
    lower, upper = _outward(span.lower, math.floor), _outward(span.upper, math.ceil)
    return f"{float(span.best):.1e} \\[{lower:.1e}..{upper:.1e}]".replace("e+", "e")


def _outward(flop: Fraction, rounding: Callable[[Fraction], int]) -> float:
    """Cut to two significant figures, down or up."""
    if not flop:
        return 0.0
    unit = Fraction(10) ** (math.floor(math.log10(flop)) - 1)
    return float(rounding(flop / unit) * unit)
