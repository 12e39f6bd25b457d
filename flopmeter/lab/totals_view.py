"""Totals as tables: runs with their figures, models against each threshold.

Owns: which columns there are, and what is red.
May touch: nothing; makes rich tables of a totals document.
Called by `flopmeter totals`, `flopmeter replay` and the demo's live view.
An undeclared number format is red, because nothing widens a figure more and a word cures it.
"""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
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
    reached_text,
    standing_text,
)
from flopmeter.lab.legal_view_text import dated, forecast_text
from flopmeter.lab.listing import Column, Listing
from flopmeter_collector.alike import name_of, put_together
from flopmeter_collector.rounding import Rounding, exact_flop, round_flop
from flopmeter_core.catalogue import State

SIMULATED = Text(" SIMULATED ", style="bold black on yellow")


def totals_view(document: Document) -> RenderableType:
    """The whole document: mark, runs with the remainder last, models, where to read more.

    Args:
        document: the JSON contract of `flopmeter totals`.
    """
    head = Text(f"as of {document['as_of']}, method {document['method_version']}", style="dim")
    if document["simulated"]:
        head = Text.assemble(SIMULATED, "  every figure here is made up, ", head)
    parts: list[RenderableType] = [head, Text(), runs_table(document)]
    parts += overflow_line(document)
    if document["models"]:
        parts += [
            Text(),
            models_table(document),
            *beside_lines(document),
        ]
    if any(run.get("claims") for run in document["runs"]):
        parts += [Text(), claims_table(document)]
    return Group(*parts, *warnings(document))


def runs_table(document: Document) -> Listing:
    """One row a run, the unattributed remainder last."""
    table = Listing(
        "run",
        Column("model", aside=2),
        Column("FLOP", right=True),
        "likely range",
        Column("format", aside=5),
        Column("evidence", aside=3),
        Column("observed", right=True),
        Column("devices", aside=4, right=True),
        Column("energy", aside=1, right=True),
    )
    for run in document["runs"]:
        declared = format_text(run)
        table.add(
            *_row(
                Text(run["run"], style="bold"),
                run["model"] or "-",
                run,
                Text(declared) if declared else Text("undeclared", style="bold red"),
            )
        )
    table.add(
        *_row(Text("unattributed"), "-", document["unattributed"], Text("-")),
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
                "statements that would lower a total and wait for people "
                f"(`flopmeter approve list`): {waiting}",
                style="yellow",
            )
        )
    return lines


def models_table(document: Document) -> Listing:
    """One row a model and threshold, thresholds in the order of their values."""
    foreseen = any(dated(row) for model in document["models"] for row in model["thresholds"])
    table = Listing(
        "model",
        "threshold",
        Column("value", right=True),
        Column("reached", right=True),
        "likely range",
        *([Column("above from (90 %)", aside=1)] if foreseen else []),
        Column("state", wraps=True),
        grouped=True,
    )
    for model in document["models"]:
        name = Text(model["model"], style="bold")
        for rows in standings_alike(model):
            *cells, state = _standing(model, rows)
            when = forecast_text(rows[0]) if dated(rows[0]) else ""
            table.add(name, *cells, *([when] if foreseen else []), state)
            name = Text()
    return table


def claims_table(document: Document) -> Listing:
    """One row a claimed run and quantity: claimed and metered of the same, and how they stand."""
    table = Listing(
        "run",
        "FLOP of",
        Column("claimed", right=True),
        Column("metered", right=True),
        "likely range",
        Column("ratio", right=True),
        "",
        grouped=True,
    )
    for run in document["runs"]:
        name = Text(run["run"], style="bold")
        for row in (run.get("claims") or {}).get("by_quantity", ()):
            metered = {bound: int(text) for bound, text in row["metered_flop_str"].items()}
            contradicts = row["agreement"] in ("impossible", "above", "below")
            table.add(
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


def _row(name: Text, model: str, account: Any, formats: Text) -> list[Text | str]:
    values = [row["value_flop"] for row in account.get("thresholds", ())]
    figures = account["compute_flop"]
    cells: list[Text | str] = [name, model]
    if has_readings(account):
        cells += [Text(best_text(figures, values), style="bold"), range_text(figures, values)]
    else:
        cells += ["-", Text("no reading yet", style="dim")]
    cells += [
        formats,
        evidence_text(account),
        observed_text(account),
        f"{account['devices']} on {account['nodes']}" if account["devices"] else "-",
        energy_text(account),
    ]
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
        str(exact_flop(value_flop)),
        Text(reached_text(row["state"], counted["best"], value_flop), style="bold"),
        "-" if row["state"] == State.UNKNOWN else percent_range_text(counted, value_flop),
        Text(standing_text(row), style=style),
    ]
