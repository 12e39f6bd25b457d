"""One run or one model in words: its figures, what they are made of, and what stands beside them.

Owns: the lines, and their order.
May touch: nothing; makes text of a totals document.
Called by `flopmeter run show` and `flopmeter model show`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.markup import escape

from flopmeter.lab.figure_text import best_text, counted_of, range_text, reached_text, standing_text
from flopmeter_collector.rounding import Rounding, round_flop

Row = Mapping[str, Any]


def run_view(run: Row, *, could_add: int, lowerings: Iterable[Row]) -> Iterator[str]:
    """A run.

    Args:
        run: its row of the totals document.
        could_add: FLOP that unattributed work could add.
        lowerings: statements that lower a legal total of it.
    """
    yield from _mark(run)
    name = f" ({run['name']})" if run["name"] != run["run"] else ""
    yield escape(f"run {run['run']}{name}, model {run['model'] or run['run']}")
    yield f"in metrics {run['metrics_id']}"
    yield _figures("executed", run["compute_flop_str"])
    declared = {field: text for field, text in run["declared"].items() if text}
    yield escape("declared: " + (", ".join(f"{f} {t}" for f, t in declared.items()) or "nothing"))
    if run["merged"]:
        yield escape("with the work of: " + ", ".join(run["merged"]))
    yield from _parts(run["parts"])
    yield from _lowerings(lowerings)
    yield from (escape(sentence) for sentence in run["warnings"])
    yield _remainder(could_add)
    yield "a run alone decides nothing: laws test models"


def model_view(model: Row, *, could_add: int, lowerings: Iterable[Row]) -> Iterator[str]:
    """A model.

    Args:
        model: its row of the totals document.
        could_add: FLOP that unattributed work could add.
        lowerings: statements that lower a legal total of it.
    """
    yield from _mark(model)
    yield escape(f"model {model['model']}: {len(model['runs'])} own runs")
    yield f"in metrics {model['metrics_id']}"
    yield _figures("executed", model["compute_flop_str"])
    if model["parents"]:
        parents = ", ".join(f"{row['model']} ({row['edge']})" for row in model["parents"])
        yield escape(f"came from {parents}: {len(model['inherited_runs'])} inherited runs")
        yield _figures("of it own work", model["own_flop_str"])
    for entry in model["externals"]:
        yield escape(
            f"external {entry['entry']} by {entry['party']}, declared, {entry['from'][:10]} to "
            f"{entry['until'][:10]}, source {entry['source']} {entry['source_sha256'][:12]}: "
            + _range(entry["compute_flop_str"])
        )
    for row in model["modifications"]:
        yield escape(_modification(row))
        for line in row["lines"]:
            met = {True: "met", False: "not met", None: "not known"}[line["number_met"]]
            doubt = "" if line["decided"] else ", the likely range leaves a doubt"
            yield escape(f"  {line['id']} ({line['value']} {line['unit']}): number {met}{doubt}")
            yield from _conditions(line, "    ")
    yield from _standings(model)
    if model["planned"]:
        plan = model["planned"]
        yield escape(f"planned until {plan['until'][:10]}: " + _range(plan["compute_flop_str"]))
    for row in model["parties"]:
        yield escape(f"{row['role']}: {row['party']}")
    said = model["completeness"]
    yield escape(
        f"complete: {said['complete']} ({said['author']}: {said['statement']})"
        if said
        else "complete: nobody stated whether this is everything"
    )
    yield from _parts(model["parts"] or ())
    yield from _lowerings(lowerings)
    yield _remainder(could_add)


def _mark(row: Row) -> Iterator[str]:
    if row["simulated"]:
        yield "SIMULATED: every figure here is made up"


def _standings(model: Row) -> Iterator[str]:
    """How it stands to each line, with what else the law asks for, and the exclusions in use."""
    for row in model["thresholds"]:
        best = counted_of(model, row)["best"]
        reached = reached_text(row["state"], best, int(row["value_flop_str"]))
        known = "" if reached == "-" else f"{reached}, "
        yield escape(f"{row['id']}: {known}{standing_text(row)}")
        yield from _conditions(row, "  ")
    for used in model.get("decisions", ()):
        yield escape(
            f"left out under {used['profile']}: {used['leaves_out']}, decided by {used['author']} "
            f"on {used['date']} (declaration {used['declaration']}): {used['reason']}; behind it: "
            f"{_people(used)}"
        )
        rows = [r for r in model["thresholds"] if r["counting_profile"] == used["profile"]]
        for row in rows[:1]:
            yield "  counted: " + _range(row["counted_flop_str"])
            yield "  all: " + _range(row["everything_flop_str"])
            yield "  with permitted exclusions: " + _range(row["permitted_flop_str"])


def _conditions(row: Row, indent: str) -> Iterator[str]:
    """What else a law asks for, and what was declared of it."""
    for each in row.get("declared_conditions", ()):
        said = "unknown, nobody declared it"
        if each["state"] != "unknown":
            said = (
                f"declared {each['state'].replace('_', ' ')} by {each['author']} on "
                f"{each['date']}: {each['reason']}"
            )
            said += f" (evidence: {each['evidence']})" if each["evidence"] else ""
            said += f"; behind it: {_people(each)}" if each["approved_by"] else ""
        yield escape(f"{indent}{each['id']} ({each['text']}): {said}")


def _people(row: Row) -> str:
    return ", ".join(each["person"] for each in row["approved_by"]) or "nobody"


def _parts(parts: Iterable[Row]) -> Iterator[str]:
    for part in parts:
        whose = part["external"] or part["run"] or "between runs"
        way = f", from {part['from_model']}" if part["from_model"] else ""
        label = f"{part['activity']}, {part['disposition']}, data {part['data_visibility']}"
        yield escape(f"  {whose}{way}: {label}: " + _range(part["compute_flop_str"]))


def _lowerings(lowerings: Iterable[Row]) -> Iterator[str]:
    for row in lowerings:
        people = ", ".join(each["person"] for each in row["people"]) or "nobody"
        place = f" ({row['place']})" if row["place"] else ""
        yield escape(
            f"  declaration {row['declaration']}, {row['subject']}: {row['label']}{place} is "
            f"{row['state']}; behind it: {people}"
        )
        for rule in row["rules"]:
            since, until = rule["from"] or "the beginning", rule["until"] or "no end"
            yield escape(
                f"    work to come is under it by the rule {rule['match']} of run {rule['run']}, "
                f"from {since} to {until}"
            )


def _modification(row: Row) -> str:
    if not row["original_known"]:
        return (
            f"own work over that of {row['original']} ({row['edge']}): unknown, because nothing of "
            "the original was metered, and two people stand behind no entry; the guidelines' "
            "fallback lines take its place"
        )
    bounds = row["ratio"]
    shown = ["?" if bounds[b] is None else f"{bounds[b]:.3g}" for b in ("lower", "best", "upper")]
    return (
        f"own work over that of {row['original']} ({row['edge']}): {shown[1]} "
        f"(likely {shown[0]}..{shown[2]})"
    )


def _figures(what: str, bounds: Mapping[str, str]) -> str:
    return f"{what}: {_range(bounds)}"


def _range(bounds: Mapping[str, str]) -> str:
    exact = {name: int(text) for name, text in bounds.items()}
    return f"{best_text(exact)} FLOP (likely {range_text(exact)})"


def _remainder(could_add: int) -> str:
    if not could_add:
        return "no work is unattributed"
    return f"unattributed work could add up to {round_flop(could_add, rounding=Rounding.UP)} FLOP"
