"""Recordings with known truth, replayed through real agents, real gRPC and a real ledger."""

from __future__ import annotations

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flopmeter.lab.importers.table import load_recording
from flopmeter.lab.replay import replay, replayed, totals_of
from flopmeter_core.errors import DataError

DATA = Path(__file__).parents[1] / "data" / "mlperf-training-v4.0-smc"
TRUTH = {run["path"]: run for run in tomllib.loads((DATA / "truth.toml").read_text())["run"]}
GPT3 = next(path for path in TRUTH if "result_5848" in path)
LORA = [path for path in TRUTH if "result_4951" in path]

# What a test of every recording needs of time: the two 64-node ones take the longest.
SMALL = [path for path in TRUTH if "64xSMC" not in path]

UNDECLARED_WIDTH = 20
DECLARED_WIDTH = 5
SAMPLING_PERIOD_S = 2.005


@pytest.fixture(scope="module")
def gpt3(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """The 64-node GPT-3 run with nothing declared, and once its format and workload are."""
    recording = load_recording(DATA / GPT3)

    async def twice() -> tuple[dict[str, Any], dict[str, Any]]:
        async with replayed(recording, {}, tmp_path_factory.mktemp("gpt3")) as collector:
            undeclared = await totals_of(collector)
            late = {"format": "fp8", "workload": "dense-transformer"}
            await collector.declare(recording.run, late, author="ada", source="cli")
            return undeclared, await totals_of(collector)

    return asyncio.run(twice())


@pytest.fixture(scope="module")
def gpt3_undeclared(gpt3: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """Totals of the GPT-3 run before anybody said what it was."""
    return gpt3[0]


@pytest.fixture(scope="module")
def gpt3_declared(gpt3: tuple[dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    """Totals of the same readings, declared as fp8 and a dense transformer."""
    return gpt3[1]


def only_run(document: dict[str, Any]) -> dict[str, Any]:
    """The one run of a replay."""
    (run,) = document["runs"]
    return dict(run)


def contains_truths(run: dict[str, Any], truth: dict[str, Any]) -> bool:
    """Whether model and executed FLOP both lie in lower..upper."""
    figure = run["compute_flop"]
    return all(
        figure["lower"] <= truth[name] <= figure["upper"]
        for name in ("model_flop", "executed_flop")
    )


def test_declared_gpt3_is_close_to_the_truth(gpt3_declared: dict[str, Any]) -> None:
    """fp8 and dense-transformer declared: best within 0.6-1.4, both truths in, width <= 5."""
    run, truth = only_run(gpt3_declared), TRUTH[GPT3]
    figure = run["compute_flop"]
    assert 0.6 <= figure["best"] / truth["model_flop"] <= 1.4
    assert contains_truths(run, truth)
    assert figure["upper"] / figure["lower"] <= DECLARED_WIDTH


def test_undeclared_gpt3_still_contains_the_truth(gpt3_undeclared: dict[str, Any]) -> None:
    """Nothing declared: both truths in, width <= 20, and lower is above nothing."""
    run = only_run(gpt3_undeclared)
    figure = run["compute_flop"]
    assert contains_truths(run, TRUTH[GPT3])
    assert figure["lower"] > 0
    assert figure["upper"] / figure["lower"] <= UNDECLARED_WIDTH


def test_floor_and_ceiling_are_physics(
    gpt3_undeclared: dict[str, Any], gpt3_declared: dict[str, Any]
) -> None:
    """No declaration moves them; the ceiling is every SM at 1980 MHz in fp8 the whole time."""
    seconds = 3412.7
    physics = 512 * seconds * 132 * 8192 * 1980e6
    for document in (gpt3_undeclared, gpt3_declared):
        figure = only_run(document)["compute_flop"]
        assert figure["floor"] == 0
        assert figure["ceiling"] == pytest.approx(physics, rel=1e-3)


def test_energy_time_and_evidence_are_accounted_for(gpt3_declared: dict[str, Any]) -> None:
    """Energy is the submitter's within 0.1 %, unobserved time the log's own within 1 %."""
    run = only_run(gpt3_declared)
    assert run["energy_kwh"] == pytest.approx(408.44, rel=1e-3)
    assert run["energy_scope"] == "node"
    assert run["unobserved_device_seconds"] == pytest.approx(967, rel=1e-2)
    assert (run["nodes"], run["devices"]) == (64, 512)
    assert run["evidence"] == [{"level": "energy", "share": 1.0}]
    assert run["simulated"] is False


def test_a_replayed_run_is_a_model_of_one(gpt3_undeclared: dict[str, Any]) -> None:
    """Without a declared model the run itself is held against the laws."""
    run = only_run(gpt3_undeclared)
    (model,) = gpt3_undeclared["models"]
    assert run["model"] is None
    assert model["model"] == run["run"]
    standings = {row["id"]: row for row in model["thresholds"]}
    assert {"eu-ai-act-51-2", "ca-sb53"} <= set(standings)
    assert "demo-line" not in standings
    assert standings["eu-ai-act-51-2"]["state"] == "below"
    assert standings["eu-ai-act-51-2"]["decided"] is True
    assert standings["eu-ai-act-51-2"]["value_flop"] == 10**25


@pytest.mark.parametrize("path", SMALL)
def test_every_recording_holds_its_truth(path: str) -> None:
    """Undeclared, with constants no recording was fitted to: truths in, width <= 20."""
    truth = TRUTH[path]
    run = only_run(replay(DATA / path))
    figure = run["compute_flop"]
    assert figure["lower"] > 0
    assert figure["upper"] / figure["lower"] <= UNDECLARED_WIDTH
    if "model_flop" in truth:
        assert contains_truths(run, truth)
    # The two periods that straddle begin and end are boundaries and belong to no run.
    duration_s = (truth["run_stop_unix_ms"] - truth["run_start_unix_ms"]) / 1000
    boundary = 2 * SAMPLING_PERIOD_S / duration_s
    assert run["energy_kwh"] == pytest.approx(truth["energy_kwh"], rel=boundary + 1e-3)


@pytest.mark.parametrize(("path", "seconds"), list(zip(LORA, (900, 891, 583), strict=True)))
def test_holes_are_unobserved_in_whole(path: str, seconds: float) -> None:
    """Spacings above two sampling periods add to unobserved time, and to nothing else."""
    run = only_run(replay(DATA / path))
    assert run["unobserved_device_seconds"] == pytest.approx(seconds, rel=1e-2)


def test_any_cadence_of_reports_gives_the_same_totals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A report after each reading or after a hundred: the same integers."""
    documents = []
    for readings in (7, 100):
        monkeypatch.setattr("flopmeter.lab.replay.READINGS_PER_REPORT", readings)
        documents.append(only_run(replay(DATA / SMALL[0]))["compute_flop_str"])
    assert documents[0] == documents[1]


def test_a_run_can_be_renamed_and_given_to_a_model() -> None:
    """The name and the model of the declaration are the ones of the totals."""
    document = replay(DATA / SMALL[0], run="mine", model="big")
    assert only_run(document)["run"] == "mine"
    assert only_run(document)["model"] == "big"
    assert document["models"][0]["model"] == "big"


def test_what_is_no_recording_is_one_sentence(tmp_path: Path) -> None:
    """A path that is nothing flopmeter knows names the formats it does know."""
    with pytest.raises(DataError, match="known formats"):
        replay(tmp_path)
