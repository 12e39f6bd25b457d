"""Runs and models at this moment: the busiest first, the nearest to a line first, and how fast.

Owns: what is told of two totals documents that follow each other, as rows, as one line, as JSON.
May touch: nothing; makes renderables and plain values of the documents it is given.
Called by `flopmeter top`. Explained in docs/cli.md.

A rate is the difference of two most likely figures over the time between the two documents. Late
reports and declarations move a figure without any work now, so a rate is for watching: nothing is
decided by it, and a forecast asks the recorded history instead.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from flopmeter.lab.figure_text import best_text, counted_of, range_text, reached_text, standing_text
from flopmeter.lab.legal_view_text import dated, forecast_text
from flopmeter.lab.listing import Column, Listing
from flopmeter.lab.totals_view import SIMULATED, state_style
from flopmeter_collector.rounding import round_flop
from flopmeter_core.catalogue import State

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Moment:
    """A totals document, and the one before it.

    Attributes:
        now: the document.
        before: the one before; None at first, and where another ledger answers.
    """

    now: Row
    before: Row | None = None

    def after(self, document: Row) -> Moment:
        """The next moment; another ledger begins anew."""
        same = document["ledger"]["id"] == self.now["ledger"]["id"]
        return Moment(document, self.now if same else None)

    @property
    def span_s(self) -> float:
        """Seconds between the two documents; 0 without an earlier one."""
        if self.before is None:
            return 0.0
        return (_instant(self.now) - _instant(self.before)).total_seconds()


def runs_at(moment: Moment) -> list[Row]:
    """Every run with its rate in FLOP/s, the fastest first, then the largest.

    A rate is None where there was no run before, where no time passed, or where the figure fell.
    """
    held = {run["run"]: _best(run) for run in (moment.before or {}).get("runs", ())}
    rows = []
    for run in moment.now["runs"]:
        grown = _best(run) - held[run["run"]] if run["run"] in held else -1
        rate = round(grown / moment.span_s) if moment.span_s > 0 and grown >= 0 else None
        rows.append(
            {
                "run": run["run"],
                "name": run["name"],
                "model": run["model"] or run["run"],
                "simulated": run["simulated"],
                "compute_flop_str": run["compute_flop_str"],
                "flop_per_s": rate,
                "devices": run["devices"],
                "nodes": run["nodes"],
            }
        )
    return sorted(rows, key=lambda row: (-(row["flop_per_s"] or 0), -_best(row), row["run"]))


def models_at(moment: Moment) -> list[Row]:
    """Every model against the next line that it has not reached, and those it is above.

    Who is above the greatest line comes first, and among those who is nearest to the next one.
    Where no line is left, the greatest one is told.
    """
    rows: list[Row] = []
    for model in moment.now["models"]:
        held = sorted(model["thresholds"], key=lambda row: (row["value_flop"], row["id"]))
        met = [row for row in held if row["state"] in (State.ABOVE, State.CONDITIONS_NOT_MET)]
        line = next((row for row in held if row not in met), held[-1] if held else None)
        if line is not None:
            counted = counted_of(model, line)["best"]
            above = [row["id"] for row in met]
            rows.append({"model": model, "line": line, "counted_flop": counted, "above": above})
            rows[-1]["order"] = (
                max((row["value_flop"] for row in met), default=0),
                counted / line["value_flop"],
            )
    return sorted(rows, key=lambda row: (*(-part for part in row["order"]), row["model"]["model"]))


def document(moment: Moment) -> Row:
    """A moment for machines: totals, rates, and each model against its line."""
    runs, models = runs_at(moment), models_at(moment)
    rates = [run["flop_per_s"] for run in runs if run["flop_per_s"] is not None]
    return {
        "schema": 1,
        "as_of": moment.now["as_of"],
        "simulated": moment.now["simulated"],
        "flop_per_s": sum(rates) if rates else None,
        "runs": runs,
        "models": [
            {
                "model": row["model"]["model"],
                "metrics_id": row["model"].get("metrics_id"),
                "threshold": row["line"]["id"],
                "counted_flop_str": str(row["counted_flop"]),
                "value_flop_str": str(row["line"]["value_flop"]),
                "state": row["line"]["state"],
                "decided": row["line"]["decided"],
                "above": row["above"],
            }
            for row in models
        ],
        "alerts_firing": _firing(moment.now),
        "reviews_open": _open(moment.now),
    }


def plain_line(moment: Moment) -> str:
    """A moment as one line for a pipe: what there is, how fast, and what is nearest."""
    runs, models, now = runs_at(moment), models_at(moment), moment.now
    working = sum(1 for run in runs if run["flop_per_s"])
    told = [
        now["as_of"],
        *(["SIMULATED"] if now["simulated"] else []),
        f"runs {len(runs)}",
        f"working {working if moment.span_s else '-'}",
        f"rate {_rate(document(moment)['flop_per_s'])} FLOP/s",
        f"alerts {_firing(now)}",
        f"reviews {_open(now)}",
    ]
    if models:
        told.append(f"nearest {_nearest(models[0])}")
    return "  ".join(told)


def live_view(moment: Moment, *, rows: int, note: str = "") -> RenderableType:
    """A moment for a terminal.

    Args:
        moment: what is shown.
        rows: how many rows of a table there is room for, over both.
        note: why the moment is an old one; empty where it is not.
    """
    now = moment.now
    head = Text.assemble(SIMULATED, "  ") if now["simulated"] else Text()
    head.append("flopmeter top", style="bold")
    head.append(f"  as of {now['as_of']}, method {now['method_version']}  ")
    head.append(f"alerts firing {_firing(now)}, reviews open {_open(now)}", style="dim")
    models, runs = models_at(moment), runs_at(moment)
    for_models = min(len(models), max(3, rows // 3))
    for_runs = max(3, rows - for_models)
    parts: list[RenderableType] = [head]
    if note:
        parts.append(Text(note, style="bold red"))
    parts += [Text(), _models_table(models[:for_models]), *_more(models, for_models, "models")]
    parts += [Text(), _runs_table(runs[:for_runs]), *_more(runs, for_runs, "runs")]
    return Group(*parts)


def _models_table(rows: Sequence[Row]) -> Listing:
    table = Listing(
        "model",
        "next line",
        Column("reached", right=True),
        Column("above from (90 %)", aside=1),
        "state",
        Column("above", wraps=True),
    )
    for row in rows:
        line = row["line"]
        style = state_style(line["state"], decided=line["decided"])
        table.add(
            Text(row["model"]["model"], style="bold"),
            line["id"],
            reached_text(line["state"], row["counted_flop"], line["value_flop"]),
            forecast_text(line) if dated(line) else "-",
            Text(standing_text(line), style="yellow" if line.get("conditions") else style),
            Text(", ".join(row["above"]) or "-", style="bold red" if row["above"] else ""),
        )
    return table


def _runs_table(rows: Sequence[Row]) -> Listing:
    table = Listing(
        "run",
        Column("model", aside=1),
        Column("FLOP/s", right=True),
        Column("FLOP", right=True),
        "likely range",
        Column("devices", aside=2, right=True),
    )
    for row in rows:
        exact = {bound: int(text) for bound, text in row["compute_flop_str"].items()}
        name = row["run"] if row["name"] == row["run"] else f"{row['run']} ({row['name']})"
        table.add(
            Text(name, style="bold" if row["flop_per_s"] else ""),
            row["model"],
            _rate(row["flop_per_s"]),
            best_text(exact) if row["devices"] else "-",
            range_text(exact) if row["devices"] else Text("no reading yet", style="dim"),
            f"{row['devices']} on {row['nodes']}" if row["devices"] else "-",
        )
    return table


def _more(rows: Sequence[Row], shown: int, what: str) -> list[RenderableType]:
    left = len(rows) - shown
    return [Text(f"and {left} more {what}", style="dim")] if left > 0 else []


def _nearest(row: Row) -> str:
    line = row["line"]
    reached = reached_text(line["state"], row["counted_flop"], line["value_flop"])
    share = "" if reached == "-" else f"{reached} of {line['id']}, "
    above = f", above {', '.join(row['above'])}" if row["above"] else ""
    return f"{row['model']['model']} {share}{standing_text(line)}{above}"


def _rate(flop_per_s: int | None) -> str:
    return "-" if flop_per_s is None else str(round_flop(flop_per_s))


def _firing(now: Row) -> int:
    return sum(1 for row in now.get("alerts", ()) if row["status"] == "firing")


def _open(now: Row) -> int:
    return sum(1 for row in now.get("reviews", ()) if row["determination"] is None)


def _best(row: Row) -> int:
    return int(row["compute_flop_str"]["best"])


def _instant(row: Row) -> datetime.datetime:
    return datetime.datetime.fromisoformat(row["as_of"])
