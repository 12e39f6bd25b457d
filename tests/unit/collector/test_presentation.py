"""The JSON contract: its fields, its types, its exactness."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no annotations
import pytest

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.presentation import (
    energy_scope_text,
    thresholds_document,
    totals_document,
    unmeasured_share,
    utc_text,
)
from flopmeter_collector.totals import Totals
from flopmeter_core.devices import EnergyScope
from flopmeter_core.registers import Component
from support.totals import (
    AS_OF_NS,
    busy_vector,
    feed,
    h100,
    key_of,
    scenario,
    table,
    thresholds,
    vector_of,
)

BOUNDS = ["floor", "lower", "best", "upper", "ceiling"]


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of these fields."""
    return {"type": "object", "required": list(properties), "properties": properties}


INTEGERS = closed({key: {"type": "integer", "minimum": 0} for key in BOUNDS})
STRINGS = closed({key: {"type": "string", "pattern": "^[0-9]+$"} for key in BOUNDS})
RATIO = closed({key: {"type": "number", "minimum": 0} for key in ["lower", "best", "upper"]})
TEXT = {"type": "string", "minLength": 1}
SECONDS = {"type": "number", "minimum": 0}
FIGURES = {
    "simulated": {"type": "boolean"},
    "quantity": {"const": "executed"},
    "compute_flop": INTEGERS,
    "compute_flop_str": STRINGS,
    "coverage": {"const": 0.95},
    "energy_kwh": {"type": "number", "minimum": 0},
    "energy_scope": {"enum": ["gpu", "module", "node", "mixed", "none"]},
    "busy_device_seconds": SECONDS,
    "idle_device_seconds": SECONDS,
    "unobserved_device_seconds": SECONDS,
    "nodes": {"type": "integer"},
    "devices": {"type": "integer"},
    "evidence": {
        "type": "array",
        "items": closed(
            {
                "level": {"enum": ["cycles", "gpm", "dcgm", "energy", "busy", "allocation"]},
                "share": {"type": "number", "minimum": 0, "maximum": 1},
            }
        ),
    },
}
RUN_THRESHOLD = {
    "id": TEXT,
    "value_flop": {"type": "integer"},
    "scope": {"const": "run_alone"},
    "ratio": RATIO,
}
MODEL_THRESHOLD = {
    "id": TEXT,
    "value_flop": {"type": "integer"},
    "state": {"enum": ["below", "above", "above_by_unobserved_only", "unknown"]},
    "decided": {"type": "boolean"},
    "ratio": RATIO,
}
SCHEMA = closed(
    {
        "schema": {"const": 1},
        "as_of": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
        "method_version": TEXT,
        "runs": {
            "type": "array",
            "minItems": 2,
            "items": closed(
                {
                    "run": TEXT,
                    "model": {"type": ["string", "null"]},
                    **FIGURES,
                    "thresholds": {"type": "array", "minItems": 2, "items": closed(RUN_THRESHOLD)},
                }
            ),
        },
        "models": {
            "type": "array",
            "minItems": 2,
            "items": closed(
                {
                    "model": TEXT,
                    "simulated": {"type": "boolean"},
                    "compute_flop": INTEGERS,
                    "thresholds": {
                        "type": "array",
                        "minItems": 2,
                        "items": closed(MODEL_THRESHOLD),
                    },
                }
            ),
        },
        "unattributed": closed(FIGURES),
    }
)


def document() -> dict[str, Any]:
    """The fixed scenario as a reader of the JSON gets it."""
    text = json.dumps(totals_document(scenario(), thresholds()), allow_nan=False)
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_schema() -> None:
    """Every field of the contract is there, with its type and unit."""
    jsonschema.validate(document(), SCHEMA)


@pytest.mark.parametrize("field", ["runs", "as_of", "unattributed"])
def test_schema_sees_a_missing_field(field: str) -> None:
    """The schema itself refuses a document without a field."""
    spoiled = document()
    del spoiled[field]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spoiled, SCHEMA)


def test_exact_integers_have_string_twins() -> None:
    """Integers survive beyond 2^53 and are repeated as text."""
    for run in document()["runs"]:
        assert run["compute_flop_str"] == {b: str(run["compute_flop"][b]) for b in BOUNDS}
    assert document()["runs"][0]["compute_flop"]["best"] > 2**53


def test_model_and_run_are_told_apart() -> None:
    """A run says its declared model or null; a model its state, a run only a ratio."""
    loaded = document()
    assert [run["model"] for run in loaded["runs"]] == ["atlas", None]
    assert [m["model"] for m in loaded["models"]] == ["atlas", loaded["runs"][1]["run"]]
    assert "state" not in loaded["runs"][0]["thresholds"][0]
    states = {t["id"]: t["state"] for t in loaded["models"][0]["thresholds"]}
    assert states == {"demo-line": "above", "eu-ai-act-51-2": "below", "ca-sb53": "below"}


def test_device_seconds_and_energy() -> None:
    """Times are device-seconds, energy is kWh with its scope."""
    run = document()["runs"][0]
    assert run["busy_device_seconds"] == 800_000.0
    assert run["energy_kwh"] == pytest.approx(2 * 400_000 * 600 / 3_600_000)
    assert (run["energy_scope"], run["nodes"], run["devices"]) == ("gpu", 2, 2)
    other = document()["runs"][1]
    assert other["unobserved_device_seconds"] == 90.0


def test_energy_scopes() -> None:
    """One scope is named, several are mixed, no energy is none."""
    totals = Totals(table())
    totals_empty = Totals(table()).snapshot(AS_OF_NS, None).unattributed
    assert energy_scope_text(totals_empty) == "none"
    gpu = h100()
    node = type(gpu)(
        node="n0",
        device="node:n0",
        vendor="nvidia",
        product_name="H100 server",
        part="h100-sxm5-80gb",
        device_count=8,
        energy_scope=EnergyScope.NODE,
    )
    energy = vector_of({Component.ENERGY_MJ: 5})
    feed(totals, key_of(gpu), gpu, energy)
    feed(totals, key_of(node), node, energy)
    shot = totals.snapshot(AS_OF_NS, None)
    assert energy_scope_text(shot.runs[0].account) == "mixed"


def test_no_ledger_is_null() -> None:
    """A replay without a ledger has no position, and says so."""
    shot = Totals(table()).snapshot(AS_OF_NS, None)
    assert totals_document(shot, thresholds())["ledger"] is None


def test_warnings_reach_the_reader() -> None:
    """A declared format that was set aside is told in the run's warnings."""
    totals = Totals(table())
    totals.declare(parse_run_declaration("alpha", {"format": "fp4"}))
    feed(totals, key_of(h100()), h100(), busy_vector(5))
    shot = totals.snapshot(AS_OF_NS, None)
    loaded = json.loads(json.dumps(totals_document(shot, thresholds())))
    assert "fp4" in loaded["runs"][0]["warnings"][0]


def test_model_flop_only_where_declared() -> None:
    """A declared recompute mode gives a second figure, named as what it is; else it is null."""
    totals = Totals(table())
    totals.declare(
        parse_run_declaration("alpha", {"recompute": "full", "workload": "dense-transformer"})
    )
    for run in ("run:alpha", "run:beta"):
        feed(totals, key_of(h100(), run), h100(), busy_vector(5))
    shot = totals.snapshot(AS_OF_NS, None)
    alpha, beta = json.loads(json.dumps(totals_document(shot, thresholds())))["runs"]
    assert (alpha["quantity"], alpha["model_flop"]["quantity"]) == ("executed", "model")
    assert alpha["compute_flop"] == beta["compute_flop"]
    model, executed = alpha["model_flop"]["compute_flop"], alpha["compute_flop"]
    assert model["best"] == round(executed["best"] * 100 / 132)
    assert model["lower"] < model["best"] < model["upper"] < executed["upper"]
    assert alpha["model_flop"]["recompute_factor"]["standing"] == "extrapolated"
    assert alpha["declared"]["recompute"] == "full"
    assert (beta["model_flop"], beta["declared"]["recompute"]) == (None, None)


def test_unmeasured_share() -> None:
    """The share of time without a usable measurement, 0 where no time is covered at all."""
    shot = scenario()
    assert unmeasured_share(shot.runs[0].account) == 0.0
    assert unmeasured_share(shot.runs[1].account) == pytest.approx(90 / 36_090.5)
    assert unmeasured_share(Totals(table()).snapshot(0, None).unattributed) == 0.0


def test_utc_text() -> None:
    """Times are UTC, whole seconds."""
    assert utc_text(AS_OF_NS + 999_999_999) == "2026-09-21T14:13:20Z"


def test_thresholds_document() -> None:
    """The catalogue is told with its exact values and sources."""
    rows = json.loads(json.dumps(thresholds_document(thresholds())))["thresholds"]
    assert [row["value_flop_str"] for row in rows] == [str(10**p) for p in (20, 25, 26)]
    assert all(row["source"] for row in rows)
