"""Dropped calibrations are scored by themselves, and a simulated one is never taken for hardware.

The committed one is scripted. After a change of the recorder's format or of the workloads, look at
the difference and run
`FLOPMETER_GOLDEN=write .venv/bin/pytest tests/integration/test_calibrations.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flopmeter.lab.calibrate import RECORDING, SCORE, TRUTH, calibrate
from flopmeter.lab.calibrations import FITTED, FOLDER, Calibration, score_calibrations
from flopmeter.lab.findings import Finding
from flopmeter.lab.importers.recording import load_recorded
from flopmeter.lab.replay import replay
from flopmeter.lab.scoreboard import Board, page
from flopmeter.lab.truths import parse_truths
from flopmeter.lab.workloads.table import SUITE
from flopmeter_core.errors import DataError
from support.requirements import ROOT
from support.scripted_runner import Script, ScriptedRunner, tensor_flop_per_s
from support.totals import table

SPEC_OF = {spec.name: spec for spec in SUITE}
NAME = "simulated-h100"
COMMITTED = ROOT / FOLDER / NAME

SCRIPTS = {
    "idle": Script(),
    "fp64-8192": Script({2: 99, 5: 60, 8: 60}, 650, tensor_flop_per_s(60, 256)),
    "tf32-8192": Script({2: 99, 5: 70, 7: 70}, 650, tensor_flop_per_s(70, 2048)),
    "bf16-8192": Script({2: 99, 5: 80, 7: 80}, 700, tensor_flop_per_s(80, 4096)),
    "fp8-8192": Script({2: 99, 5: 75, 7: 75}, 700, tensor_flop_per_s(75, 8192)),
    "int8-8192": Script({2: 99, 5: 75, 9: 75}, 600, 0, tensor_flop_per_s(75, 8192)),
    "copy": Script({2: 90}, 400, 0),
}


def write(folder: Path, *, simulated: bool = True) -> None:
    """Calibrate on scripts into `folder`/out."""
    runner = ScriptedRunner(folder, SCRIPTS, counters=True, simulated=simulated)
    try:
        calibrate(
            [SPEC_OF[name] for name in SCRIPTS],
            runner,
            folder / "out",
            seconds=2.0,
            record=runner.record,
            probe_access=lambda: Finding("access", "not asked: scripted"),
            tell=lambda line: None,
        )
    finally:
        runner.driver.close()


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated calibration, made now."""
    folder = tmp_path_factory.mktemp("scripted")
    write(folder)
    if os.environ.get("FLOPMETER_GOLDEN") == "write":
        shutil.rmtree(COMMITTED, ignore_errors=True)
        shutil.copytree(folder / "out", COMMITTED)
    return folder / "out"


@pytest.fixture
def dropped(tmp_path: Path, fresh: Path) -> Path:
    """A tree in which that calibration was dropped."""
    shutil.copytree(fresh, tmp_path / FOLDER / "some-h100")
    (tmp_path / FOLDER / FITTED).write_text("")
    return tmp_path


def scored(root: Path) -> list[Calibration]:
    """What `make score` makes of a tree."""
    return score_calibrations(root, table(), told=lambda path: None)


def board(calibrations: list[Calibration]) -> Board:
    """A scoreboard of nothing else."""
    return Board(rows=[], parts_seen=[], calibrations=calibrations, published=[], parts=table())


def test_committed_is_what_the_recorder_writes(fresh: Path) -> None:
    """The fixture has the truth and the readings that recorder and suite make today."""
    for name in (TRUTH, SCORE):
        assert (COMMITTED / name).read_text() == (fresh / name).read_text()
    old, new = load_recorded(COMMITTED / RECORDING), load_recorded(fresh / RECORDING)
    assert old.header.simulated
    assert len(old.rounds) == len(new.rounds)


def test_committed_replays_as_simulated() -> None:
    """`flopmeter replay` takes it under its recording's mark, devices included."""
    document = replay(COMMITTED / RECORDING, formats="bf16=1")
    (run,) = [each for each in document["runs"] if each["run"] == "recording"]
    assert run["simulated"]


def test_committed_is_simulated_and_not_counted() -> None:
    """It is printed as simulated, its rows stand apart, and no share has it."""
    (found,) = [each for each in scored(ROOT) if each.name == NAME]
    assert (found.name, found.simulated, found.workloads) == (NAME, True, 7)
    text = page(board([found]))
    assert board([found]).counted == []
    assert f"| `{NAME}` | none: simulated (NVIDIA H100" in text
    assert "No counter of any GPU has been held to work of known FLOP yet." in text
    counted, _, apart = text.partition(f"## Simulated: {NAME}")
    assert "bf16-8192" not in counted
    assert "**Simulated, on no hardware" in apart
    assert "| bf16-8192 | bf16=1 | cycles |" in apart


def test_a_real_one_is_counted(tmp_path: Path) -> None:
    """A recording whose header says it is real fills the rungs, without a line of code."""
    write(tmp_path, simulated=False)
    (tmp_path / FOLDER).mkdir(parents=True)
    shutil.copytree(tmp_path / "out", tmp_path / FOLDER / "h100-580")
    (tmp_path / FOLDER / FITTED).write_text("")
    (found,) = scored(tmp_path)
    text = page(board([found]))
    assert "| cycles | nothing | 3 | 3 of 3 | 3 of 3 |" in text
    assert "| cycles | something | 4 | 4 of 4 | 4 of 4 | 1 |" in text
    assert "No counter of any GPU" not in text
    assert "Simulated" not in text


def test_a_family_that_set_a_constant_is_no_test(tmp_path: Path, dropped: Path) -> None:
    """Its rows are shown and counted nowhere."""
    write(tmp_path, simulated=False)
    shutil.rmtree(dropped / FOLDER / "some-h100")
    shutil.copytree(tmp_path / "out", dropped / FOLDER / "h100-580")
    (dropped / FOLDER / FITTED).write_text('[calibration.h100-580]\nfamilies = ["matmul"]\n')
    (found,) = scored(dropped)
    names = {row.truth.workload for row in board([found]).counted}
    assert names == {"idle", "int8-8192", "copy"}
    text = page(board([found]))
    counted, _, apart = text.partition("## Set constants: h100-580")
    assert "| bf16-8192 |" not in counted
    assert "| bf16-8192 |" in apart


def cut(path: str) -> Callable[[Path], object]:
    """Remove a file."""
    return lambda folder: (folder / path).unlink()


def typed(path: str, text: str) -> Callable[[Path], object]:
    """Write a file."""
    return lambda folder: (folder / path).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (cut(f"some-h100/{TRUTH}"), "has no truth.toml; commit the whole folder"),
        (cut(f"some-h100/{RECORDING}"), "has no recording.fmrec; commit the whole folder"),
        (typed(f"some-h100/{SCORE}", "[]"), "is no score of a calibration"),
        (typed(FITTED, "[calibration.other]\nfamilies = []"), "names other, which is no folder"),
        (typed(FITTED, '[calibration.some-h100]\nfamilies = ["x"]'), "names the family x"),
        (typed(FITTED, "calibration = 3"), "is no list of families"),
        (cut(FITTED), "cannot be read"),
    ],
)
def test_refused(dropped: Path, spoil: Callable[[Path], object], sentence: str) -> None:
    """A folder that is not whole is one sentence, never left out in silence."""
    spoil(dropped / FOLDER)
    with pytest.raises(DataError, match=sentence) as error:
        scored(dropped)
    assert "\n" not in str(error.value)


def test_a_workload_is_a_known_one() -> None:
    """The committed truth names workloads of the suite."""
    truths = parse_truths((COMMITTED / TRUTH).read_text(), name=TRUTH)
    assert {truth.workload for truth in truths} <= SPEC_OF.keys()
