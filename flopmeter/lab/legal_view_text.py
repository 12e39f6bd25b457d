"""Forecasts, alerts and reviews as tables for people.

Owns: which columns there are, and their words.
May touch: nothing; makes rich tables of a totals document, or of a review.
Called by the commands forecast, alert, review and totals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from flopmeter.lab.figure_text import Document, counted_of, reached_text, standing_text
from flopmeter.lab.listing import Column, Listing
from flopmeter_collector.forecast_words import NO_PACE, basis_words, never_words
from flopmeter_collector.reviews import Review
from flopmeter_collector.rounding import Rounding, round_flop, round_range
from flopmeter_core.catalogue import State

_SIMULATED = Text(" SIMULATED ", style="bold black on yellow")


def forecast_text(row: Document) -> str:
    """When a model will be above a line, in one phrase; empty where it is above already."""
    found = row.get("forecast")
    if not found:
        return ""
    shown = found["by_pace"] or found["by_plan"]
    if shown is None:
        return NO_PACE
    if not shown["crosses"]:
        return never_words(paced=bool(found["by_pace"]))
    return f"{_day(shown['likely'])} ({_day(shown['earliest'])} to {_day(shown['latest'])})"


def dated(row: Document) -> bool:
    """Whether there is anything to say of when a model will be above a line."""
    found = row.get("forecast")
    return bool(found and (found["by_pace"] or found["by_plan"]))


def forecast_view(document: Document, models: Sequence[Document]) -> RenderableType:
    """When each model will be above each line, and on what that rests."""
    table = Listing(
        "model",
        "threshold",
        Column("reached", right=True),
        "earliest",
        "likely",
        "latest",
        Column("rests on", aside=1),
        grouped=True,
    )
    for model in models:
        name, said = Text(model["model"], style="bold"), ""
        for row in model["thresholds"]:
            *dates, rests = _dates(row)
            best = counted_of(model, row)["best"]
            reached = reached_text(row["state"], best, row["value_flop"])
            # What every line of a model rests on is said at the first one.
            table.add(name, row["id"], reached, *dates, "" if rests == said else rests)
            name, said = Text(), rests
    return Group(*_head(document), table, Text(_coverage(document), style="dim"))


def _dates(row: Document) -> tuple[str, str, str, str]:
    """Earliest, likely and latest, and what they rest on."""
    found = row.get("forecast")
    if not found:
        reached = row["state"] in (State.ABOVE, State.CONDITIONS_NOT_MET)
        return ("", standing_text(row) if reached else "-", "", "")
    told = []
    for by, word in (("by_pace", "pace"), ("by_plan", "plan")):
        dates = found[by]
        if dates is not None:
            told.append((dates, word))
    if not told:
        return ("", "-", "", f"{NO_PACE}; and no plan that this law counts")
    dates, word = told[0]
    rests = _pace_words(found) if word == "pace" else _plan_words(found)
    if len(told) == 2:
        other = told[1][0]
        planned = _day(other["likely"]) if other["crosses"] else "never"
        rests += f"; {basis_words(paced=False)} {planned}"
    if not dates["crosses"]:
        return (_day(dates["earliest"], "-"), never_words(paced=word == "pace"), "", rests)
    return (_day(dates["earliest"]), _day(dates["likely"]), _day(dates["latest"]), rests)


def _pace_words(found: Document) -> str:
    pace = found["pace"]
    per_day = round_flop(24 * int(pace["flop_per_hour_str"]))
    standing = pace["standing_hours"]
    stopped = f", standing still for {standing} h" if standing else ""
    return f"{per_day} FLOP a day over {pace['history_hours']} h{stopped}"


def _plan_words(found: Document) -> str:
    plan = found["plan"]
    planned = round_flop(int(plan["compute_flop_str"]["best"]))
    return f"plan of {planned} FLOP until {_day(plan['end'])}"


def alerts_view(document: Document, rows: Sequence[Document]) -> RenderableType:
    """One row an alert."""
    if not rows:
        return Group(*_head(document), Text("no alert fires or waits"))
    table = Listing(
        "number",
        Column("alert", aside=3),
        "model",
        "threshold",
        Column("since (UTC)", aside=4),
        "now",
        Column("in metrics", aside=2),
        Column("", aside=1),
    )
    for row in rows:
        style = "bold red" if row["status"] == "firing" else ""
        table.add(
            str(row["number"]),
            row["name"],
            row["model"],
            row["threshold"],
            _minute(row["opened"]),
            Text(row["status"], style=style),
            row["model_metrics_id"],
            row["why"] or "",
        )
    return Group(*_head(document), table)


def reviews_view(document: Document, rows: Sequence[Document]) -> RenderableType:
    """One row a review."""
    if not rows:
        return Group(*_head(document), Text("no review is open"))
    table = Listing(
        "number",
        "model",
        "threshold",
        Column("earliest arguable (UTC)", aside=1),
        "due by the end of",
        Column("determination", aside=2),
    )
    for row in rows:
        determined = row["determination"]
        table.add(
            str(row["number"]),
            row["model"],
            row["threshold"],
            _minute(row["earliest_arguable"]),
            row["due_on"] or "none set",
            Text("open", style="bold red")
            if determined is None
            else f"{determined['determination']} on {determined['date']} by {determined['author']}",
        )
    note = "A person determines, not the meter; dates are a draft for counsel, not legal advice."
    return Group(*_head(document), table, Text(note, style="dim"))


def review_details(review: Review) -> dict[str, Any]:
    """Everything about one review."""
    return {
        "number": review.number,
        "model": review.model,
        "threshold": review.threshold,
        "open": review.open,
        "earliest_arguable": review.earliest,
        "due": review.due or None,
        "due_on": review.due_on or None,
        "transitions": [
            {
                "number": row.sequence,
                "before": row.before,
                "after": row.after,
                "decided": row.decided,
                "occurred_at_ns": row.occurred_at_ns,
                "ledger_commit": row.commit_number,
                "figures": dict(row.figures),
            }
            for row in review.transitions
        ],
        "determinations": [
            {
                "determination": each.finding.value,
                "date": each.on.isoformat(),
                "author": each.author,
                "reason": each.reason,
                "evidence": each.evidence or None,
                "declaration": each.sequence,
            }
            for each in review.determinations
        ],
    }


def review_text(details: Mapping[str, Any]) -> RenderableType:
    """One review as text."""
    lines: list[RenderableType] = [
        Text(
            f"review {details['number']}: model {details['model']} against {details['threshold']}",
            style="bold",
        ),
        Text(
            f"earliest arguable {details['earliest_arguable']}, due by the end of "
            f"{details['due_on'] or '(no period is set)'}"
        ),
    ]
    table = Listing("change", "from", "to", "best FLOP", "likely range", "ledger commit")
    for row in details["transitions"]:
        figures = row["figures"]
        line = [int(figures["threshold_value"])]
        lower, upper = round_range(int(figures["lower"]), int(figures["upper"]), thresholds=line)
        table.add(
            str(row["number"]),
            row["before"],
            row["after"],
            str(round_flop(int(figures["best"]), thresholds=line)),
            f"{lower}..{upper}",
            str(row["ledger_commit"]),
        )
    lines.append(table)
    for each in details["determinations"]:
        lines.append(
            Text(
                f"{each['determination']} on {each['date']}, by {each['author']}: "
                f"{each['reason']}"
                + (f" (evidence: {each['evidence']})" if each["evidence"] else "")
            )
        )
    if details["open"]:
        lines.append(Text("open: no person has determined anything yet", style="bold red"))
    return Group(*lines)


def _coverage(document: Document) -> str:
    upper_flop = int(document["unattributed"]["compute_flop_str"]["upper"])
    could = f"could add up to {round_flop(upper_flop, rounding=Rounding.UP)} FLOP to any model"
    return (
        "Earliest to latest holds the date in 90 % of cases, by pace; by plan it is as good as the "
        f"plan. {f'Unattributed work {could}' if upper_flop else 'No work is unattributed'}."
    )


def _head(document: Document) -> list[RenderableType]:
    return [_SIMULATED] if document["simulated"] else []


def _day(text: str | None, missing: str = "open") -> str:
    return missing if text is None else text[:10]


def _minute(text: str) -> str:
    return text[:16].replace("T", " ")
