"""The JSON contract: its fields, its types, its exactness."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no annotations
import pytest

from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.presentation import (
    energy_scope_text,
    totals_document,
    unmeasured_share,
    utc_text,
)
from flopmeter_collector.totals import Totals
from flopmeter_core.devices import EnergyScope
from flopmeter_core.registers import Component, Evidence
from support.totals import (
    AS_OF_NS,
    POSITION,
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
    "compute_flop_without_unobserved_str": STRINGS,
    "boundary_flop_str": closed(
        {key: {"type": "string", "pattern": "^[0-9]+$"} for key in ("upper", "ceiling")}
    ),
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


def only_run(totals: Totals) -> dict[str, Any]:
    """The one run of these totals as a reader of the JSON gets it."""
    text = json.dumps(totals_document(totals.snapshot(AS_OF_NS, POSITION), thresholds()))
    (run,) = json.loads(text)["runs"]
    return dict(run)


def test_a_total_says_what_it_rests_on() -> None:
    """Evidence shares of a mixed run add up to 1, and each addend of upper can be told apart."""
    totals = Totals(table())
    record = h100()
    feed(totals, key_of(record), record, busy_vector(30))
    feed(totals, key_of(record, evidence=Evidence.CYCLES), record, busy_vector(90))
    feed(totals, key_of(record, "boundary(run:alpha,none)"), record, busy_vector(10))
    gap = vector_of({Component.UNOBSERVED_NS: 10**9})
    feed(totals, key_of(record, phase=1), record, gap)
    run = only_run(totals)
    assert run["evidence"] == [{"level": "cycles", "share": 0.75}, {"level": "gpm", "share": 0.25}]
    assert run["unobserved_device_seconds"] == 1
    upper, bare = (
        int(run[name]["upper"])
        for name in ("compute_flop_str", "compute_flop_without_unobserved_str")
    )
    boundary = int(run["boundary_flop_str"]["upper"])
    assert upper - bare == 2141062000000000
    observed = totals.snapshot(AS_OF_NS, POSITION).runs[0].account.figures.observed
    assert bare - boundary == observed.upper
    assert boundary > 0
    assert int(run["boundary_flop_str"]["ceiling"]) > boundary


@pytest.mark.parametrize("evidence", [Evidence.CYCLES, Evidence.GPM, Evidence.POWER_SAMPLED])
def test_a_fleet_is_as_uncertain_as_one_device(evidence: Evidence) -> None:
    """What is wrong of one device is wrong of all: bounds of eight are eight times those of one."""
    bounds = []
    for count in (1, 8):
        totals = Totals(table())
        for place in range(count):
            record = h100(f"GPU-{place}")
            feed(totals, key_of(record, evidence=evidence), record, busy_vector(100))
        run = only_run(totals)
        assert run["devices"] == count
        bounds.append(run["compute_flop"])
    assert bounds[1] == {bound: 8 * flop for bound, flop in bounds[0].items()}
    assert bounds[0]["upper"] > bounds[0]["lower"] > 0


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


def test_overflow_stands_apart() -> None:
    """A reader finds what of the remainder belongs to users nobody could tell apart."""
    totals = Totals(table())
    feed(totals, key_of(h100(), "overflow"), h100(), busy_vector(30))
    told = totals_document(totals.snapshot(AS_OF_NS, POSITION), ())
    overflow, rest = (json.loads(json.dumps(told[name])) for name in ("overflow", "unattributed"))
    assert (overflow["device_seconds"], overflow["devices"], overflow["nodes"]) == (30, 1, 1)
    assert overflow["compute_flop_str"] == rest["compute_flop_str"]
    assert int(overflow["compute_flop_str"]["best"]) > 0
    assert document()["overflow"]["device_seconds"] == 0


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
