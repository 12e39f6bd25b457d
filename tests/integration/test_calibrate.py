"""A calibration end to end: recorder, truth and score, on a driver whose work is known exactly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab import calibrate as module
from flopmeter.lab.calibrate import (
    RECORDING,
    SCORE,
    TRUTH,
    Outcome,
    calibrate,
    only_device,
    probe_access,
    recorder_process,
    score_document,
)
from flopmeter.lab.findings import Finding
from flopmeter.lab.importers.recording import load_recorded
from flopmeter.lab.replay import replay
from flopmeter.lab.rescore import score_truths
from flopmeter.lab.runner import load_torch
from flopmeter.lab.score import ScoreRow
from flopmeter.lab.truths import parse_truths
from flopmeter.lab.workloads.table import SUITE
from flopmeter_core.errors import DataError, StorageError, UnreachableError
from support.fake_nvml import FakeDriver
from support.scripted_runner import SM_COUNT, Script, ScriptedRunner, tensor_flop_per_s
from support.totals import table

SPEC_OF = {spec.name: spec for spec in SUITE}
NAMES = (
    "idle",
    "fp64-8192",
    "tf32-8192",
    "bf16-8192",
    "fp8-8192",
    "int8-8192",
    "copy",
    "bf16-8193",
)
SPECS = tuple(SPEC_OF[name] for name in NAMES)

SCRIPTS = {
    "idle": Script(),
    "fp64-8192": Script({2: 99, 5: 60, 8: 60}, 650, tensor_flop_per_s(60, 256)),
    "tf32-8192": Script({2: 99, 5: 70, 7: 70}, 650, tensor_flop_per_s(70, 2048)),
    "bf16-8192": Script({2: 99, 5: 80, 7: 80}, 700, tensor_flop_per_s(80, 4096)),
    "fp8-8192": Script({2: 99, 5: 75, 7: 75}, 700, tensor_flop_per_s(75, 8192)),
    "int8-8192": Script({2: 99, 5: 75, 9: 75}, 600, 0, tensor_flop_per_s(75, 8192)),
    "copy": Script({2: 90}, 400, 0),
}
"""No script of bf16-8193: it cannot run."""


def answered() -> Finding:
    """An access probe of no interest."""
    return Finding("access", "yes")


def run(folder: Path, **options: Any) -> Outcome:
    """Calibrate on scripts."""
    scripts = options.pop("scripts", SCRIPTS)
    runner = ScriptedRunner(folder, scripts, **options)
    try:
        return calibrate(
            SPECS,
            runner,
            folder / "out",
            seconds=4.0,
            record=runner.record,
            probe_access=answered,
            tell=lambda line: None,
        )
    finally:
        runner.driver.close()


@pytest.fixture(scope="module")
def interval_only(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A calibration on a driver before R595."""
    return run(tmp_path_factory.mktemp("interval"), slowed=0.97)


@pytest.fixture(scope="module")
def with_counters(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A calibration on a driver with counters since boot, summed over the SMs."""
    return run(tmp_path_factory.mktemp("counters"), counters=True)


def row(outcome: Outcome, workload: str, rung: str) -> ScoreRow:
    """One row of the score."""
    (found,) = [r for r in outcome.rows if (r.truth.workload, r.rung) == (workload, rung)]
    return found


MATRIX = [name for name in NAMES if "8192" in name and name != "int8-8192"]


@pytest.mark.parametrize("workload", MATRIX)
def test_gpm_is_exact(interval_only: Outcome, workload: str) -> None:
    """With the format declared, rung gpm gives the scripted work to within a part in 10^5."""
    scored = row(interval_only, workload, "gpm")
    assert scored.best_over_true == pytest.approx(1.0, abs=1e-5)
    assert scored.likely_held
    assert scored.hard_held


@pytest.mark.parametrize("workload", MATRIX)
def test_cycles_are_exact(with_counters: Outcome, workload: str) -> None:
    """With counters since boot, rung cycles does too."""
    scored = row(with_counters, workload, "cycles")
    assert scored.best_over_true == pytest.approx(1.0, abs=1e-5)
    assert scored.likely_held


def test_every_rung(interval_only: Outcome) -> None:
    """Each workload that ran has each rung; cycles has no evidence before R595."""
    ran = [t.workload for t in interval_only.truths if not t.not_run]
    rungs = ("cycles", "gpm", "energy", "busy", "allocation")
    assert [(r.truth.workload, r.rung) for r in interval_only.rows] == [
        (name, rung) for name in ran for rung in rungs
    ]
    for scored in interval_only.rows:
        assert (scored.interval is None) == (scored.rung == "cycles")
        assert scored.hard_held is not False


def test_no_flop(interval_only: Outcome) -> None:
    """Idleness, a copy and integer work are 0 FLOP, and best on rung gpm says so."""
    for workload in ("idle", "copy", "int8-8192"):
        scored = row(interval_only, workload, "gpm")
        assert scored.interval is not None
        assert scored.interval.best == 0
        assert scored.likely_held


def test_not_run(interval_only: Outcome) -> None:
    """A workload that cannot run is reported with its reason and has no row."""
    document = score_document(interval_only)
    assert document["not_run"] == {"bf16-8193": "there is no script of it"}
    assert not any(r.truth.workload == "bf16-8193" for r in interval_only.rows)


def test_wrong_truth_is_seen(tmp_path: Path) -> None:
    """A truth of twice the work falls out of the likely interval: the score can fail."""
    doubled = Script({2: 99, 5: 80, 7: 80}, 700, tensor_flop_per_s(80, 4096), claimed=2.0)
    outcome = run(tmp_path, scripts={**SCRIPTS, "bf16-8192": doubled})
    scored = row(outcome, "bf16-8192", "gpm")
    assert scored.best_over_true == pytest.approx(0.5, abs=1e-5)
    assert scored.likely_held is False


def test_findings_interval(interval_only: Outcome) -> None:
    """Before R595: no id answers, parity is not answered, HMMA counts TF32 and FP8."""
    found = interval_only.findings
    assert found["cumulative"].answer == "no id answers"
    assert found["parity"].answer.startswith("not answered")
    shares = found["classes"].numbers["shares"]
    assert max(shares["fp8-8192"], key=shares["fp8-8192"].get) == "HMMA"
    assert max(shares["int8-8192"], key=shares["int8-8192"].get) == "IMMA"
    assert max(shares["fp64-8192"], key=shares["fp64-8192"].get) == "DMMA"
    rates = found["rate"].numbers["rates"]
    assert rates["bf16-8192"]["model"] == pytest.approx(4096, rel=1e-4)
    assert rates["fp8-8192"]["model"] == pytest.approx(8192, rel=1e-4)
    assert rates["int8-8192"]["model"] == pytest.approx(8192, rel=1e-4)
    assert found["sample_cost"].numbers["read_ns"]["p99_us"] >= 0
    assert found["tile"].answer == "not answered"


def test_findings_polling(interval_only: Outcome, with_counters: Outcome) -> None:
    """A poller that costs 3 % is seen in paired timing; one that costs nothing is 0."""
    assert "-3.00 %" in interval_only.findings["polling"].answer
    assert "+0.00 %" in with_counters.findings["polling"].answer


@pytest.mark.parametrize(
    ("unit", "words"),
    [(1, "mean of the SMs"), (SM_COUNT, "sum over the SMs"), (4 * SM_COUNT, "sub-cores")],
)
def test_findings_counters(tmp_path: Path, unit: int, words: str) -> None:
    """The unit of the counters is found, whichever it is, and their tensor share is metric 5."""
    found = run(tmp_path, counters=True, counter_unit=unit).findings
    assert words in found["cumulative"].answer
    assert found["cumulative"].numbers["ids"] == [*range(248, 255), *range(257, 261)]
    assert found["parity"].answer.startswith("they differ by 0.00 points in the median")


def test_files(tmp_path: Path) -> None:
    """The folder holds recording, truth and score; scoring them again gives the same rows."""
    outcome = run(tmp_path)
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} == {RECORDING, TRUTH, SCORE}
    truths = parse_truths((folder / TRUTH).read_text(), name=TRUTH)
    assert truths == list(outcome.truths)
    again = score_truths(load_recorded(folder / RECORDING), truths, table(), name=RECORDING)
    assert again == list(outcome.rows)
    document = json.loads((folder / SCORE).read_text())
    assert document == json.loads(json.dumps(score_document(outcome)))
    (replayed,) = replay(folder / RECORDING)["runs"]
    assert replayed["run"] == "recording"


def test_truth_outside_recording(tmp_path: Path) -> None:
    """A workload the recording does not enclose is refused in one sentence."""
    outcome = run(tmp_path)
    recorded = outcome.recorded
    for device, rows in recorded.rows.items():
        recorded.rows[device] = rows[: len(rows) // 2]
    with pytest.raises(DataError, match="both sides of"):
        score_truths(recorded, outcome.truths, table(), name="r")


def test_several_devices(interval_only: Outcome) -> None:
    """Which of several devices did the work has to be known."""
    recorded = interval_only.recorded
    (rows,) = recorded.rows.values()
    two = type(recorded)(recorded.header, recorded.records, recorded.rounds, {"a": rows, "b": rows})
    with pytest.raises(DataError, match="2 devices were recorded"):
        only_device(two, "")
    assert list(only_device(two, "b").rows) == ["b"]


def test_folder_in_use(tmp_path: Path) -> None:
    """An earlier calibration is never overwritten."""
    run(tmp_path)
    with pytest.raises(StorageError, match="is not empty"):
        run(tmp_path)


def test_failing_workload(tmp_path: Path) -> None:
    """A workload that breaks while it runs costs itself and no other."""

    class Breaking(ScriptedRunner):
        def measure(self, prepared: Any, seconds: float) -> Any:
            if prepared.flop_model == round(tensor_flop_per_s(75, 8192) * 0.2):
                raise RuntimeError("CUDA error: an illegal memory access")
            return super().measure(prepared, seconds)

    runner = Breaking(tmp_path, SCRIPTS)
    outcome = calibrate(
        SPECS,
        runner,
        tmp_path / "out",
        seconds=4.0,
        record=runner.record,
        probe_access=answered,
        tell=lambda line: None,
    )
    runner.driver.close()
    reasons = {t.workload: t.not_run for t in outcome.truths}
    assert reasons["fp8-8192"] == "RuntimeError: CUDA error: an illegal memory access"
    assert reasons["bf16-8192"] == ""
    assert row(outcome, "bf16-8192", "gpm").likely_held


# --- processes and the command -------------------------------------------------------------------


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    """A scripted driver that child processes load."""
    made = FakeDriver(tmp_path)
    for name, text in made.environment().items():
        monkeypatch.setenv(name, text)
    yield made
    made.close()


def test_recorder_process(driver: FakeDriver, tmp_path: Path) -> None:
    """The recorder runs beside the work, from before the block until after it."""
    path = tmp_path / "r.fmrec"
    with recorder_process(path, 10.0):
        begin_ns = time.monotonic_ns()
        time.sleep(0.3)
        end_ns = time.monotonic_ns()
        time.sleep(0.2)
    recorded = load_recorded(path)
    assert recorded.cut_at_byte is None
    (rows,) = recorded.rows.values()
    assert rows[0]["monotonic_ns"] < begin_ns < end_ns < rows[-1]["monotonic_ns"]


def test_recorder_without_driver(driver: FakeDriver, tmp_path: Path) -> None:
    """What the recorder says of its failure is the sentence of the calibration."""
    driver.close()
    with (
        pytest.raises(UnreachableError, match="nothing can be recorded: the NVIDIA driver lists"),
        recorder_process(tmp_path / "r.fmrec", 10.0),
    ):
        pass


def test_probe_access(driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root it is tried as nobody; a program out of nobody's reach answers nothing."""
    found = probe_access()
    assert found.answer in ("yes", "not answered")
    monkeypatch.setattr(module, "_record_words", lambda *_: ["/no/such/program"])
    assert probe_access().answer == ("not answered" if os.geteuid() == 0 else "yes")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--suite", "some"], 64, "there is no suite 'some'; use all or quick"),
        (["--seconds-per-kernel", "0"], 64, "is not from 1 to 120"),
        (["--seconds-per-kernel", "nan"], 64, "is not from 1 to 120"),
        ([], 64, "calibration needs PyTorch with CUDA; install it with: pip install '.["),
    ],
)
def test_refused(
    words: list[str],
    code: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each wrong argument, and a missing PyTorch, ends in one sentence."""
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["calibrate", *words]) == code
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_without_cuda(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A PyTorch without CUDA is refused in one sentence."""

    class Cuda:
        @staticmethod
        def is_available() -> bool:
            return False

    class Torch:
        __version__ = "2.13.0+cpu"
        cuda = Cuda

    monkeypatch.setitem(sys.modules, "torch", Torch)
    with pytest.raises(UnreachableError, match=r"PyTorch 2\.13\.0\+cpu finds no CUDA device"):
        load_torch()


def test_light_imports() -> None:
    """A calibration runs where neither gRPC nor an HTTP server is installed."""
    script = (
        "import sys\n"
        "for name in ('grpc', 'google', 'starlette', 'uvicorn', 'cryptography', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "import flopmeter.cli.record, flopmeter.cli.calibrate, flopmeter.lab.calibrate\n"
        "import flopmeter.lab.score_text, flopmeter.lab.workloads.table, flopmeter.lab.recorder\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
