"""A report as blocks of text: the one wording behind Markdown and HTML.

Owns: the headings, sentences and tables a person reads, in their order.
May touch: nothing; pure functions of a report's document.
Called by filings.markdown and filings.html, which only spell the blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flopmeter_core.filings import FieldId


@dataclass(frozen=True, slots=True)
class Heading:
    """A title; level 1 is the report's own."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or more; `notice` stands out as a warning, `signed` as somebody's word."""

    text: str
    notice: bool = False
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head; the first column names the row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Points:
    """A list of sentences."""

    items: tuple[str, ...]


Block = Heading | Paragraph | Table | Points

Document = Mapping[str, Any]

DRAFT = "draft for counsel, not legal advice"
"""What every report says until it is filed in a person's name."""

TITLES: Mapping[FieldId, str] = {
    FieldId.COMPUTE: "Amount of computation",
    FieldId.COMPUTE_METHOD: "How it was measured",
    FieldId.TRAINING_TIME: "Training time",
    FieldId.HARDWARE_TIME: "Hardware time",
    FieldId.ENERGY: "Energy",
    FieldId.DEPENDENCIES: "What the model came from",
    FieldId.STANDING: "Against the lines of the law",
    FieldId.EVIDENCE: "What the figures rest on",
}

WITHHELD = "Not told to this recipient."


def blocks(document: Document) -> list[Block]:
    """The whole report, block by block.

    Args:
        document: as `filings.document.build` makes it.
    """
    told: list[Block] = [Heading(1, f"Model {document['model']}: {document['title']}")]
    if document["simulated"]:
        told.append(
            Paragraph("SIMULATED: every figure is made up. No accelerator was measured.", True)
        )
    words = document["standing_words"]
    told.append(Paragraph(_sentence(words), notice=words == DRAFT, signed=words != DRAFT))
    told.append(
        Table(
            ("what", "this report"),
            (
                ("for", document["recipient_name"]),
                ("measured to", document["measured_to"]),
                ("law as of", document["law_as_of"]),
                ("known at", f"declaration {document['known_at']}"),
                ("made at", document["made_at"]),
                (
                    "kept for",
                    f"{document['retention']['years']} years from "
                    f"{document['retention']['from']} ({document['retention']['source']})",
                ),
            ),
        )
    )
    told += _since_filed(document.get("since_filed"))
    for section in document["sections"]:
        field = FieldId(section["field"])
        told.append(Heading(2, TITLES[field]))
        content = section["content"]
        told += [Paragraph(WITHHELD)] if content is None else _SECTIONS[field](content)
        told.append(Paragraph(f"Asked for by: {section['source']}."))
    return told


def _compute(content: Document) -> list[Block]:
    rows = []
    for each in content["profiles"]:
        decided = (("as decided", "reported"),) if each["decision"] else ()
        for name, key in (
            *decided,
            ("all", "everything"),
            ("with permitted exclusions", "with_permitted_exclusions"),
        ):
            figures = each[key]
            rows.append(
                (
                    f"{each['quantity']}, {name}",
                    figures["best"],
                    _range(figures, "lower", "upper"),
                    _range(figures, "floor", "ceiling"),
                )
            )
    told: list[Block] = [
        Table(("quantity", "FLOP", "likely range", "hard bounds"), tuple(rows)),
    ]
    margin = content["margin"]
    if margin is not None:
        told.append(Paragraph(_margin_sentence(margin)))
    if content["unattributed_could_add"] != "0":
        told.append(
            Paragraph(
                "Work that no run is known to have done could add up to "
                f"{content['unattributed_could_add']} FLOP; it is in no figure above."
            )
        )
    return told


def _since_filed(since: Document | None) -> list[Block]:
    """What has changed since the newest filed version."""
    if since is None:
        return []
    return [
        Paragraph(f"Since version {since['version']}, filed by declaration {since['sequence']}:"),
        Table(
            ("quantity", "bound", "filed", "now", "difference in FLOP"),
            tuple(
                (
                    f"{row['profile']}, {row['which'].replace('_', ' ')}",
                    row["bound"],
                    "-" if row["filed"] is None else row["filed"],
                    row["now"],
                    "-" if row["difference_flop_str"] is None else row["difference_flop_str"],
                )
                for row in since["figures"]
            ),
        ),
    ]


_MARGIN_WORDS = {
    "yes": "The whole likely range lies within {percent} % of the figure.",
    "no": "The training scripts' own count contradicts the figure by more than {percent} %.",
    "not_shown": "That the figure is within {percent} % of the truth is not shown.",
}


def _margin_sentence(margin: Document) -> str:
    (key,) = (name for name in margin if name.startswith("meets_"))
    words = _MARGIN_WORDS[margin[key]].format(percent=key.split("_")[1])
    likely = margin["likely_range_of_best"]
    span = f" The likely range is {likely[0]} to {likely[1]} of it." if likely else ""
    return f"{words}{span} ({margin['source']})"


def _compute_method(content: Document) -> list[Block]:
    told: list[Block] = [
        Paragraph(f"Approach: {content['approach']}. Quantity: {content['quantity']}."),
        Paragraph(
            f"Method {content['method_version']}, device table {content['device_table_version']}. "
            f"Number formats: {', '.join(content['number_formats']) or 'none'}."
        ),
    ]
    if content["other_methods"]:
        told.append(
            Table(
                ("run", "claimed by its scripts", "of", "most likely metered", "they"),
                tuple(
                    (
                        each["run"],
                        each["claimed"],
                        each["quantity"],
                        each["metered"].get("best", "-"),
                        each["agreement"],
                    )
                    for each in content["other_methods"]
                ),
            )
        )
    told.append(
        Table(
            ("counting rules", "version", "source", "checked on", "verification"),
            tuple(
                (
                    each["profile"],
                    str(each["version"]),
                    each["source"],
                    each["checked_on"],
                    each["verification"],
                )
                for each in content["counting_rules"]
            ),
        )
    )
    if content["decisions"]:
        told.append(Paragraph("Permitted exclusions that are used:"))
        told.append(Points(tuple(_decided(each) for each in content["decisions"])))
    else:
        told.append(Paragraph("No permitted exclusion is used: everything counts."))
    told += _assumed(content["assumptions"])
    return told


def _decided(used: Document) -> str:
    """A decision to use exclusions, with who stands behind it."""
    people = ", ".join(each["person"] for each in used["approved_by"]) or "nobody"
    evidence = f" Evidence: {used['evidence']}." if used["evidence"] else ""
    return (
        f"{used['profile']}: {used['leaves_out']} left out, decided by {used['author']} on "
        f"{used['date']} (declaration {used['declaration']}): {_sentence(used['reason'])}"
        f"{evidence} Behind it: {people}."
    )


def _assumed(assumptions: Sequence[str]) -> list[Block]:
    if not assumptions:
        return [Paragraph("Nothing had to be assumed beyond the method itself.")]
    return [
        Paragraph("Taken for granted:"),
        Points(tuple(_sentence(each) for each in assumptions)),
    ]


def _training_time(content: Document) -> list[Block]:
    if content["range"] is None:
        return [Paragraph(_sentence(content["note"]))]
    text = _sentence(content["range"])
    if "wall_clock_days" in content:
        text += (
            f" {content['wall_clock_days']} days by the clock, "
            f"from {content['from']} until {content['until']}."
        )
    return [Paragraph(text)]


def _hardware_time(content: Document) -> list[Block]:
    return [
        Table(
            ("accelerator", "devices", "hardware days", "observed days"),
            tuple(
                (
                    use["part"],
                    str(use["device_count"]),
                    use["hardware_days"],
                    use["observed_days"],
                )
                for use in content["devices"]
            ),
        )
    ]


def _energy(content: Document) -> list[Block]:
    if not content["measured"]:
        return [Paragraph("No energy was measured.")]
    return [
        Table(
            ("what the measurement covers", "MWh"),
            tuple((each["scope"], each["energy_mwh"]) for each in content["measured"]),
        ),
        Paragraph(_sentence(content["method"])),
    ]


def _dependencies(content: Document) -> list[Block]:
    told: list[Block] = []
    if content["base_models"]:
        told.append(
            Table(
                ("base model", "by"),
                tuple((each["model"], each["by"]) for each in content["base_models"]),
            )
        )
    else:
        told.append(Paragraph("No base model is declared."))
    if content["external"]:
        told.append(Paragraph("Entered by hand, measured by nobody here:"))
        told.append(
            Table(
                ("entry", "FLOP", "range", "activity", "period", "party", "source"),
                tuple(
                    (
                        each["name"],
                        each["best"],
                        _range(each, "lower", "upper"),
                        each["activity"],
                        each["period"],
                        each["party"],
                        each["source"],
                    )
                    for each in content["external"]
                ),
            )
        )
    told.append(Paragraph(f"Completeness: {_sentence(content['completeness'])}"))
    return told


def _standing(content: Document) -> list[Block]:
    rows = []
    for line in content["lines"]:
        decided = "yes" if line["decided_by_likely_range"] else "no"
        rows.append(
            (
                f"{line['threshold']} ({line['instrument']})",
                (line["status"] or "not yet proposed").replace("_", " "),
                line["value"],
                line["state_words"],
                decided,
                line["due"] or "-",
            )
        )
    return [
        Paragraph(f"Which requirement: {content['requirement']}."),
        Table(("line", "status", "FLOP", "state", "decided", "due"), tuple(rows)),
        *_modifications(content["modifications"]),
        *_conditions([*content["lines"], *content["modifications"]]),
        *_reviews(content["lines"]),
        Paragraph(_sentence(content["determination"])),
    ]


def _modifications(lines: Sequence[Document]) -> list[Block]:
    """The model's own work over that of each model it came from."""
    if not lines:
        return []
    met = {True: "met", False: "not met", None: "not known"}
    return [
        Paragraph("As a modification of another model, own compute over that model's:"),
        Table(
            ("line", "original", "value", "ratio", "likely range", "number", "decided"),
            tuple(
                (
                    f"{line['threshold']} ({line['instrument']})",
                    f"{line['original']} ({line['by']})",
                    f"{line['value']} {line['unit']}",
                    "-" if line["ratio"] is None else line["ratio"]["best"] or "not known",
                    _ratio_range(line["ratio"]),
                    met[line["number_met"]],
                    "yes" if line["decided_by_likely_range"] else "no",
                )
                for line in lines
            ),
        ),
    ]


def _ratio_range(ratio: Document | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio['lower'] or '?'} to {ratio['upper'] or '?'}"


def _conditions(lines: Sequence[Document]) -> list[Block]:
    """What else a law asks for that no meter sees, and what was declared of it."""
    told = tuple(
        f"{line['threshold']} also asks: {each['text']} ({_declared(each)})"
        for line in lines
        for each in line["declared_conditions"]
    )
    return [Points(told)] if told else []


def _declared(condition: Document) -> str:
    if condition["state"] == "unknown":
        return "unknown: nobody declared it"
    people = ", ".join(each["person"] for each in condition["approved_by"])
    return (
        f"declared {condition['state'].replace('_', ' ')} by {condition['author']} on "
        f"{condition['date']}: {condition['reason']}"
        + (f"; evidence: {condition['evidence']}" if condition["evidence"] else "")
        + (f"; behind it: {people}" if people else "")
    )


def _reviews(lines: Sequence[Document]) -> list[Block]:
    """What is to be determined about a line, or was."""
    told = tuple(
        f"Review {line['review']} of {line['threshold']}: met, or known that it will be, "
        f"arguably from {line['earliest']}; "
        + (line["determination"] or "nobody has determined anything yet.")
        for line in lines
        if line["review"] is not None
    )
    return [Points(told)] if told else []


def _evidence(content: Document) -> list[Block]:
    ledger = content["ledger"]
    told: list[Block] = [
        Paragraph(f"{content['observed_share']} of the device time was measured."),
        Table(
            ("run", "came by", "activity", "format", "FLOP", "likely range", "registers"),
            tuple(
                (
                    run["run"],
                    run["origin"],
                    run["activity"],
                    run["number_format"],
                    run["executed"].get("best", "-"),
                    _range(run["executed"], "lower", "upper"),
                    str(run["register_count"]),
                )
                for run in content["runs"]
            ),
        ),
        Paragraph(
            f"Ledger {ledger['id']}, generation {ledger['generation']}, commit "
            f"{ledger['commit_number']}, declarations up to {ledger['last_declaration']}; "
            f"SHA-256 of all registers read: {ledger['registers_sha256']}."
        ),
    ]
    if content["lowering_declarations"]:
        told.append(Paragraph("Declarations that make a legal total smaller:"))
        told.append(Points(tuple(content["lowering_declarations"])))
    told.append(Paragraph("Outside the meter:"))
    told.append(Points(tuple(_sentence(each) for each in content["outside_the_meter"])))
    return told


_SECTIONS: Mapping[FieldId, Callable[[Document], list[Block]]] = {
    FieldId.COMPUTE: _compute,
    FieldId.COMPUTE_METHOD: _compute_method,
    FieldId.TRAINING_TIME: _training_time,
    FieldId.HARDWARE_TIME: _hardware_time,
    FieldId.ENERGY: _energy,
    FieldId.DEPENDENCIES: _dependencies,
    FieldId.STANDING: _standing,
    FieldId.EVIDENCE: _evidence,
}


def _range(figures: Document, lower: str, upper: str) -> str:
    """Two bounds; an order of magnitude, and what is withheld, has none."""
    return f"{figures[lower]} to {figures[upper]}" if lower in figures else "-"


def _sentence(text: str) -> str:
    """With a capital at its beginning and a stop at its end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
