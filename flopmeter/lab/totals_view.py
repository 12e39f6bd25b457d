"""Totals as tables: runs with their figures, models against each threshold.

Owns: which columns there are, and what is red.
May touch: nothing; makes rich tables of a totals document.
Called by `flopmeter totals`, `flopmeter replay` and the demo's live view.
An undeclared number format is red, because nothing widens a figure more and a word cures it.
"""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flopmeter.lab.figure_text import (
    Document,
    best_text,
    counted_of,
    energy_text,
    evidence_text,
    format_text,
    has_readings,
    observed_text,
    percent_range_text,
    range_text,
    standing_text,
)
from flopmeter.lab.legal_view_text import forecast_text
from flopmeter_collector.alike import name_of, put_together
from flopmeter_collector.rounding import Rounding, percent_text, round_flop
from flopmeter_core.catalogue import State

SIMULATED = Text(" SIMULATED ", style="bold black on yellow")

WIDE_COLUMNS = 110
"""Terminals this wide also show energy and the model of each run."""


def totals_view(document: Document, *, columns: int) -> RenderableType:
    """The whole document: mark, runs with the remainder last, models, where to read more.

    Args:
        document: the JSON contract of `flopmeter totals`.
        columns: width of the terminal in characters.
    """
    head = Text(f"as of {document['as_of']}, method {document['method_version']}", style="dim")
    if document["simulated"]:
        head = Text.assemble(SIMULATED, "  every figure here is made up, ", head)
    parts: list[RenderableType] = [head, Text(), runs_table(document, columns=columns)]
    parts += overflow_line(document)
    if document["models"]:
        parts += [
            Text(),
            models_table(document, columns=columns),
            *beside_lines(document),
        ]
    if any(run.get("claims") for run in document["runs"]):
        parts += [Text(), claims_table(document)]
    return Group(*parts, *warnings(document))


def runs_table(document: Document, *, columns: int) -> Table:
    """One row a run, the unattributed remainder last."""
    wide = columns >= WIDE_COLUMNS
    table = _table()
    # Of the narrow columns only this one gives way: a name may be cut, a figure may not.
    table.add_column("run", overflow="ellipsis", min_width=8, max_width=40 if wide else 16)
    if wide:
        table.add_column("model", no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column("FLOP", justify="right", no_wrap=True)
    table.add_column("likely range", no_wrap=True)
    table.add_column("format", overflow="ellipsis", no_wrap=True, max_width=24 if wide else 10)
    table.add_column("evidence", overflow="ellipsis", no_wrap=True, max_width=24 if wide else 9)
    table.add_column("observed", justify="right", no_wrap=True)
    table.add_column("devices", justify="right", no_wrap=True)
    if wide:
        table.add_column("energy", justify="right", no_wrap=True)
    for run in document["runs"]:
        declared = format_text(run)
        table.add_row(
            *_row(
                Text(run["run"], style="bold"),
                run["model"] or "-",
                run,
                Text(declared) if declared else Text("undeclared", style="bold red"),
                wide=wide,
            )
        )
    table.add_row(
        *_row(Text("unattributed"), "-", document["unattributed"], Text("-"), wide=wide),
        style="dim",
    )
    return table


def overflow_line(document: Document) -> list[RenderableType]:
    """What of the remainder had users that agents had no room to tell apart; nothing for none."""
    overflow = document["overflow"]
    if not overflow["device_seconds"]:
        return []
    figures = overflow["compute_flop"]
    return [
        Text(
            f"{overflow['device_seconds']:,.0f} device-seconds are in overflow: agents had no room "
            f"to tell their users apart. {best_text(figures)} FLOP (likely {range_text(figures)}) "
            "are counted in unattributed and in no run.",
            style="yellow",
        )
    ]


def beside_lines(document: Document) -> list[RenderableType]:
    """What a reader of any model's total has to know beside it."""
    lines: list[RenderableType] = []
    could_add = int(document["unattributed"].get("could_add_up_to_flop_str", "0"))
    if could_add:
        most = round_flop(could_add, rounding=Rounding.UP)
        lines.append(Text(f"unattributed work could add up to {most} FLOP to a model", style="dim"))
    for model in document["models"]:
        external = {b: int(text) for b, text in model.get("external_flop_str", {}).items()}
        if external.get("upper"):
            lines.append(
                Text(
                    f"{model['model']}: {best_text(external)} FLOP (likely {range_text(external)}) "
                    "of it are external compute, declared",
                    style="yellow",
                )
            )
    waiting = sum(row["state"] == "pending" for row in document.get("lowerings", ()))
    if waiting:
        lines.append(
            Text(
                "labels that would lower a total and wait for people (`flopmeter approve list`): "
                f"{waiting}",
                style="yellow",
            )
        )
    return lines


def models_table(document: Document, *, columns: int = 0) -> Table:
    """One row a model and threshold, thresholds in the order of their values."""
    table = _table()
    # Names are cut and states wrap where a line is short; figures stand whole.
    table.add_column("model", overflow="ellipsis", min_width=8)
    table.add_column("threshold", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("reached", justify="right", no_wrap=True)
    table.add_column("likely range", no_wrap=True)
    table.add_column("state", overflow="fold", min_width=10)
    foreseen = columns >= WIDE_COLUMNS and any(
        row.get("forecast") for model in document["models"] for row in model["thresholds"]
    )
    if foreseen:
        table.add_column("above from (90 %)", overflow="fold")
    for model in document["models"]:
        name = Text(model["model"], style="bold")
        for rows in standings_alike(model):
            cells = _standing(model, rows)
            table.add_row(name, *cells, *([forecast_text(rows[0])] if foreseen else []))
            name = Text()
    return table


def claims_table(document: Document) -> Table:
    """One row a claimed run and quantity: claimed and metered of the same, and how they stand."""
    table = _table()
    table.add_column("run", overflow="ellipsis", min_width=8, max_width=20)
    table.add_column("FLOP of", no_wrap=True)
    table.add_column("claimed", justify="right", no_wrap=True)
    table.add_column("metered", justify="right", no_wrap=True)
    table.add_column("likely range", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for run in document["runs"]:
        name = Text(run["run"], style="bold")
        for row in (run.get("claims") or {}).get("by_quantity", ()):
            metered = {bound: int(text) for bound, text in row["metered_flop_str"].items()}
            contradicts = row["agreement"] in ("impossible", "above", "below")
            table.add_row(
                name,
                row["quantity"],
                str(round_flop(row["executed_flop"])),
                best_text(metered),
                range_text(metered),
                "-" if row["ratio"] is None else f"{row['ratio']:.3g}",
                Text(row["agreement"], style="bold red" if contradicts else "green"),
            )
            name = Text()
    return table


def warnings(document: Document) -> list[RenderableType]:
    """What a reader has to know of single runs, one line each."""
    return [
        Text(f"{run['run']}: {sentence}", style="yellow")
        for run in document["runs"]
        for sentence in run.get("warnings", ())
    ]


def state_style(state: str, *, decided: bool) -> str:
    """The colour of a state: green only where the whole likely range is below."""
    if state == State.ABOVE:
        return "bold red"
    return "green" if state == State.BELOW and decided else "yellow"


def _row(name: Text, model: str, account: Any, formats: Text, *, wide: bool) -> list[Text | str]:
    values = [row["value_flop"] for row in account.get("thresholds", ())]
    figures = account["compute_flop"]
    cells: list[Text | str] = [name]
    if wide:
        cells.append(model)
    if has_readings(account):
        cells += [Text(best_text(figures, values), style="bold"), range_text(figures, values)]
    else:
        cells += ["-", Text("no reading yet", style="dim")]
    cells += [
        formats,
        evidence_text(account),
        observed_text(account),
        f"{account['devices']} on {account['nodes']}" if account["devices"] else "-",
    ]
    if wide:
        cells.append(energy_text(account))
    return cells


def standings_alike(model: Document) -> list[list[Document]]:
    """The rows of a model, those that say the same put together."""
    return put_together(
        model["thresholds"],
        lambda row: (
            row["value_flop"],
            row["state"],
            row["decided"],
            str(row.get("ratio")),
            bool(row.get("conditions")),
            row.get("state_words"),
            str(row.get("counted_flop_str")),
            str(row.get("forecast")),
        ),
    )


def _standing(model: Document, rows: list[Document]) -> list[Text | str]:
    row = rows[0]
    value_flop = row["value_flop"]
    conditional = bool(row.get("conditions"))
    style = "yellow" if conditional else state_style(row["state"], decided=row["decided"])
    counted = counted_of(model, row)
    return [
        name_of([row["id"] for row in rows]),
        f"{value_flop:.1e}".replace("e+", "e").replace(".0e", "e"),
        Text(percent_text(counted["best"], value_flop), style="bold"),
        percent_range_text(counted, value_flop),
        Text(standing_text(row), style=style),
    ]


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
