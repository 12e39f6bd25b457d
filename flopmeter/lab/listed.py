"""Runs and models as short rows: which ones, in which order, and the few things told of each.

Owns: the filters, the order and the columns of `flopmeter run list` and `model list`.
May touch: nothing; makes rows and listings of a totals document.
Called by the command line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flopmeter.lab.figure_text import best_text, range_text, reached_text
from flopmeter.lab.listing import Column, Listing
from flopmeter_core.errors import UsageError
from flopmeter_core.patterns import check_pattern, fits

Row = dict[str, Any]


def run_rows(
    document: Row,
    *,
    match: str | None,
    model: str | None,
    undeclared: bool,
    waiting: bool,
    sort: str,
) -> list[Row]:
    """The runs that a person asked for.

    Args:
        document: the totals document.
        match: only runs one of whose names fits this pattern, or whose id in metrics it is.
        model: only runs of this model.
        undeclared: only runs without a declared format, or with unlabelled work.
        waiting: only runs of which something waits for people.
        sort: ``flop``, the largest first, or ``name``.

    Raises:
        UsageError: no run is of that model.
        DataError: a pattern that nobody could check.
    """
    rows = [_run_row(run) for run in document["runs"]]
    if model is not None and not any(row["model"] == model for row in rows):
        raise UsageError(f"no run is of model {model!r}; `flopmeter model list` lists the models")
    if match is not None:
        check_pattern(match)
    found = [
        row
        for row in rows
        if _fits(row, match, "run", "name")
        and model in (None, row["model"])
        and (not undeclared or row["format"] is None or "unlabelled" in row["activities"])
        and (not waiting or row["waiting"])
    ]
    return _sorted(found, "run", sort)


def model_rows(
    document: Row,
    *,
    match: str | None,
    line: str | None,
    state: str | None,
    waiting: bool,
    sort: str,
) -> list[Row]:
    """The models that a person asked for, each against one line.

    Args:
        document: the totals document.
        match: only models whose name fits this pattern, or whose id in metrics it is.
        line: id of the line; for each model the one it is nearest to, or furthest above, when
            None.
        state: only models in this state against it.
        waiting: only models of which something waits for people.
        sort: ``flop``, the largest first, or ``name``.

    Raises:
        UsageError: no model is held against that line, or in no state of that name.
        DataError: a pattern that nobody could check.
    """
    lines = {each["id"] for model in document["models"] for each in model["thresholds"]}
    if line is not None and line not in lines:
        raise UsageError(
            f"no model is held against a line {line!r}; the lines are "
            f"{', '.join(sorted(lines)) or 'none'}"
        )
    if match is not None:
        check_pattern(match)
    pending = {row["declaration"] for row in document["lowerings"] if row["state"] == "pending"}
    rows = [_model_row(model, line, pending) for model in document["models"]]
    states = sorted({row["state"] for row in rows if row["state"]})
    if state is not None and state not in states:
        raise UsageError(f"no model is {state!r}; there are {', '.join(states) or 'no states'}")
    found = [
        row
        for row in rows
        if _fits(row, match, "model")
        and state in (None, row["state"])
        and (not waiting or row["waiting"])
    ]
    return _sorted(found, "model", sort)


def _run_row(run: Row) -> Row:
    return {
        "run": run["run"],
        "name": run["name"],
        "metrics_id": run.get("metrics_id"),
        "model": run["model"] or run["run"],
        "simulated": run["simulated"],
        "compute_flop_str": run["compute_flop_str"],
        "format": run["declared"]["format"],
        "activities": sorted({part["activity"] for part in run["parts"]}),
        "waiting": run["waiting_labels"],
    }


def _model_row(model: Row, line: str | None, pending: set[int]) -> Row:
    held = [each for each in model["thresholds"] if line in (None, each["id"])]
    nearest = max(held, key=lambda each: (each["ratio"]["best"], each["id"]), default=None)
    return {
        "model": model["model"],
        "metrics_id": model.get("metrics_id"),
        "simulated": model["simulated"],
        "runs": len(model["runs"]),
        "inherited_runs": len(model["inherited_runs"]),
        "compute_flop_str": model["compute_flop_str"],
        "line": nearest["id"] if nearest else None,
        "ratio": nearest["ratio"]["best"] if nearest else None,
        "counted_flop_str": nearest["counted_flop_str"]["best"] if nearest else None,
        "value_flop_str": nearest["value_flop_str"] if nearest else None,
        "state": nearest["state"] if nearest else None,
        "waiting": len(pending & set(model["lowerings"])),
    }


def _fits(row: Row, match: str | None, *names: str) -> bool:
    """Whether a pattern fits one of the names, or is the whole id in metrics and alerts.

    An id is random letters: a pattern for names would fit some ids by chance.
    """
    if match is None or match == row["metrics_id"]:
        return True
    return any(fits(row[name], match) for name in names if row[name])


def _sorted(rows: Iterable[Row], name: str, sort: str) -> list[Row]:
    by_name = sorted(rows, key=lambda row: str(row[name]))
    if sort == "name":
        return by_name
    return sorted(by_name, key=lambda row: -int(row["compute_flop_str"]["best"]))


def runs_listing(rows: Iterable[Row]) -> Listing:
    """One row a run."""
    listing = Listing(
        "run",
        Column("model", aside=5),
        Column("FLOP", right=True),
        "likely range",
        Column("format", aside=4),
        Column("label", aside=3),
        Column("waits", aside=2, right=True),
        Column("in metrics", aside=1),
    )
    for row in rows:
        name = row["run"] if row["name"] == row["run"] else f"{row['run']} ({row['name']})"
        listing.add(
            name,
            row["model"],
            *_figures(row),
            row["format"] or "undeclared",
            ", ".join(row["activities"]) or "-",
            str(row["waiting"] or "-"),
            row["metrics_id"] or "-",
        )
    return listing


def models_listing(rows: Iterable[Row]) -> Listing:
    """One row a model."""
    listing = Listing(
        "model",
        Column("runs", aside=3, right=True),
        Column("FLOP", right=True),
        "likely range",
        Column("nearest line", aside=5),
        Column("of it", aside=6, right=True),
        Column("state", aside=4),
        Column("waits", aside=2, right=True),
        Column("in metrics", aside=1),
    )
    for row in rows:
        inherited = f"+{row['inherited_runs']}" if row["inherited_runs"] else ""
        listing.add(
            row["model"],
            f"{row['runs']}{inherited}",
            *_figures(row),
            row["line"] or "-",
            _of_line(row),
            row["state"] or "-",
            str(row["waiting"] or "-"),
            row["metrics_id"] or "-",
        )
    return listing


def _of_line(row: Row) -> str:
    """The most likely figure against the line's value."""
    if row["line"] is None:
        return "-"
    return reached_text(row["state"], int(row["counted_flop_str"]), int(row["value_flop_str"]))


def _figures(row: Row) -> tuple[str, str]:
    exact = {bound: int(text) for bound, text in row["compute_flop_str"].items()}
    return best_text(exact), range_text(exact)
