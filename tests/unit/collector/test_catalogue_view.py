"""The catalogue as JSON: the fields a program may rely on, and what they say on a day."""

from __future__ import annotations

import datetime
import json
from typing import Any

from flopmeter_collector.catalogue_view import full_document, list_document, thresholds_document
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.threshold_files import parse_catalogue

ROWS = parse_catalogue(builtin_thresholds())
BY_ID = {row.id: row for row in ROWS}
FIELDS = {
    "id", "jurisdiction", "instrument", "kind", "binding", "quantity", "value", "unit",
    "value_flop", "operator", "conditions", "counting_profile", "status", "in_force_from",
    "in_force_until", "entered_into_force", "enforceable_from", "transition_until", "supersedes",
    "verification", "source", "checked_on", "projected",
}  # fmt: skip


def on(day: str) -> dict[str, Any]:
    """The list of a day, by id."""
    date = datetime.date.fromisoformat(day)
    rows = json.loads(json.dumps(list_document(ROWS, lambda _: date)))
    return {row["id"]: row for row in rows}


def test_exactly_the_fields() -> None:
    """A row has the fields that are promised, and no other."""
    assert all(set(row) == FIELDS for row in on("2026-11-30").values())


def test_absent_before_the_first_event() -> None:
    """A law nobody had heard of is not there; what is no law never is."""
    assert set(on("2023-12-01")) == {"us-eo14110", "us-eo14110-biology", "us-eo14110-cluster"}
    assert "demo-line" not in on("2026-11-30")
    assert len(on("2027-01-02")) == len(ROWS) - 1


def test_dates_of_the_ai_act() -> None:
    """Each of the dates people ask for stands in its own field."""
    row = on("2025-01-15")["eu-ai-act-51-2"]
    assert (row["status"], row["kind"], row["binding"]) == ("adopted", "statute", True)
    assert row["entered_into_force"] == "2024-08-01"
    assert row["in_force_from"] == "2025-08-02"
    assert row["enforceable_from"] == "2026-08-02"
    assert row["transition_until"] == "2027-08-02"
    assert row["in_force_until"] is None
    assert (row["value"], row["value_flop"], row["unit"]) == ("10^25", 10**25, "FLOP")


def test_until_and_unknown() -> None:
    """An end has its day; a day nobody could settle is `unknown`."""
    assert on("2025-01-19")["us-eo14110"]["in_force_until"] == "2025-01-20"
    assert on("2026-11-30")["kr-ai-basic-act"]["enforceable_from"] == "unknown"


def test_other_units() -> None:
    """Money and ratios have their own unit and no FLOP; a fraction in FLOP has a whole number."""
    rows = on("2026-11-30")
    assert (rows["ca-sb53-large"]["unit"], rows["ca-sb53-large"]["value_flop"]) == ("USD", None)
    assert (rows["eu-modification"]["unit"], rows["eu-modification"]["value"]) == ("ratio", "1/3")
    assert rows["us-eo14110-cluster"]["unit"] == "FLOP/s"
    assert rows["eu-modification-systemic-fallback"]["value_flop"] == 10**25 // 3


def test_projected() -> None:
    """A day after the row was checked is a forecast."""
    assert not on("2026-11-21")["ca-sb53"]["projected"]
    assert on("2026-11-22")["ca-sb53"]["projected"]


def test_conditions() -> None:
    """What else a law asks for is told: the EU's modality, Korea's two other tests."""
    rows = on("2026-11-30")
    assert [c["id"] for c in rows["eu-gpai-indicative"]["conditions"]] == ["modality"]
    korea = rows["kr-ai-basic-act"]["conditions"]
    assert [c["role"] for c in korea] == ["required", "required"]


def test_full_document() -> None:
    """A row shows its history with sources, and its notice."""
    shown = full_document(BY_ID["eu-ai-act-51-2"], datetime.date(2026, 11, 30))
    loaded = json.loads(json.dumps(shown))
    assert [event["event"] for event in loaded["events"]][:3] == [
        "adopted",
        "published",
        "entered_into_force",
    ]
    assert all(event["citation"] for event in loaded["events"])
    assert (loaded["notice"]["weeks"], loaded["notice"]["calendar"]) == (2, "eu-institutions")
    korea = full_document(BY_ID["kr-ai-basic-act"], datetime.date(2026, 11, 30))
    unknown = json.loads(json.dumps(korea))["events"][0]
    assert unknown["date"] == "unknown" and unknown["reason"]


def test_thresholds_document() -> None:
    """The whole catalogue is told with its exact values, and which rows models are held against."""
    told = thresholds_document(ROWS, lambda row: row.checked_on)
    rows = {row["id"]: row for row in json.loads(json.dumps(told))["thresholds"]}
    assert set(rows) == set(BY_ID)
    assert rows["ca-sb53"]["value_flop_str"] == "1" + "0" * 26
    assert rows["ca-sb53-large"]["value_flop_str"] is None
    assert rows["ca-sb53"]["held"] and not rows["us-eo14110"]["held"]
