"""`flopmeter pack`: its options become what the text does not say, and wrong ones are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flopmeter.cli import main
from flopmeter.lab.bulk.metering import meter_file
from support.telemetry import DEVICE, rows_of, text_of

H100 = ["--part", "h100-sxm5-80gb", "--sm-count", "132"]


def text_file(folder: Path) -> Path:
    """A text of one device."""
    path = folder / "rows.csv"
    path.write_text("\n".join(text_of({DEVICE: rows_of(1, 20)})) + "\n")
    return path


def test_packs_and_says_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The series have the part, the mark and the numbers that the options say."""
    out = str(tmp_path / "series")
    arguments = [*H100, "--max-sm-clock-mhz", "1980", "--simulated", "--json"]
    assert main(["pack", str(text_file(tmp_path)), "--out", out, *arguments]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["readings"], said["incomplete"]) == (20, 0)
    record = meter_file(Path(said["series"][DEVICE])).head.record
    assert (record.part, record.sm_count, record.vendor) == ("h100-sxm5-80gb", 132, "nvidia")
    assert record.simulated


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--part", "h100-sxm5-80gb"], 64, "--sm-count"),
        (["--part", "no-such-part", "--sm-count", "1"], 64, "device list"),
        ([*H100, "--evidence", "guess"], 64, "no rung"),
        ([*H100, "--evidence", "cycles"], 65, "which a series cannot hold"),
        ([*H100, "--period-s", "30"], 65, "below 2.1 s"),
    ],
)
def test_wrong_options_are_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    """One sentence and the exit code of its kind."""
    out = str(tmp_path / "series")
    assert main(["pack", str(text_file(tmp_path)), "--out", out, *arguments]) == code
    assert said in capsys.readouterr().err


def test_what_is_no_text_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are no UTF-8, and a file that is not there."""
    other = tmp_path / "rows.csv"
    other.write_bytes(b"\xff\xfe")
    assert main(["pack", str(other), "--out", str(tmp_path / "o"), *H100]) == 65
    assert main(["pack", str(tmp_path / "none"), "--out", str(tmp_path / "o"), *H100]) == 64
    err = capsys.readouterr().err
    assert "rows.csv is no UTF-8 text" in err and "none cannot be read: No such file" in err


def test_says_how_much(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for people, with what was left out."""
    out = tmp_path / "series"
    assert main(["pack", str(text_file(tmp_path)), "--out", str(out), *H100]) == 0
    assert capsys.readouterr().out == (
        f"{out}: 1 series of 20 readings; 0 rows lacked a number and were left out\n"
    )
