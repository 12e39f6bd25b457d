"""`flopmeter thresholds`: the commands end to end, with the exit codes that are promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter_core.data import builtin_thresholds
from support.law_keys import key_pair

ROW = builtin_thresholds()["ca-sb53.toml"]
CHECKED = "checked_on = 2026-11-21"
OWN = ROW.replace('id = "ca-sb53"', 'id = "own"')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder of a site's own files."""
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    code = main(["thresholds", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def listed(capsys: pytest.CaptureFixture[str], folder: Path, day: str) -> dict[str, Any]:
    """The list of a day, by id."""
    code, out, err = said(capsys, "list", "--as-of", day, "--json", "--thresholds-dir", str(folder))
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert isinstance(rows, list)
    return {row["id"]: row for row in rows}


def test_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A day's list has that day's statuses; a site's own row is among them."""
    (folder / "own.toml").write_text(OWN)
    assert "eu-ai-act-51-2" not in listed(capsys, folder, "2023-12-01")
    rows = listed(capsys, folder, "2027-01-02")
    assert rows["ny-raise-2026"]["status"] == "in_force"
    assert rows["ny-raise-2025"]["status"] == "superseded"
    assert rows["own"]["status"] == "in_force" and rows["own"]["projected"]
    code, out, _ = said(capsys, "list", "--thresholds-dir", str(folder))
    assert code == 0 and "own" in out


def test_a_number_is_told_with_all_its_digits(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A site's line of 1.254e23 is not listed as one of 1e23."""
    (folder / "own.toml").write_text(OWN.replace('"10^26"', '"1254*10^20"'))
    _, out, _ = said(capsys, "list", "--thresholds-dir", str(folder))
    assert "above 1.254e23 FLOP" in out and "above 1e26 FLOP" in out


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row is shown with its history; an unknown one is named."""
    where = ("--thresholds-dir", str(folder))
    code, out, _ = said(capsys, "show", "kr-ai-basic-act", "--as-of", "2026-11-30", *where)
    assert code == 0 and "state-of-the-art" in out and "unknown (at least one year" in out
    assert all(line == line.rstrip() for line in out.splitlines()), "grep sees no padding"
    code, out, _ = said(capsys, "show", "eu-ai-act-51-2", "--json", *where)
    assert json.loads(out)["notice"]["weeks"] == 2
    code, _, err = said(capsys, "show", "eu", *where)
    assert code == 64 and "no threshold has the id 'eu'" in err


@pytest.mark.parametrize("day", ["2026-13-01", "soon", "2026-11-30T00:00:00", "", "99999-01-01"])
def test_bad_day(day: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A day that is none is a wrong use of the command."""
    code, out, err = said(capsys, "list", "--as-of", day, "--thresholds-dir", str(folder))
    assert (code, out) == (64, "") and "as-of" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "--as-of", "1900-01-01"), "lies before the first law of the catalogue, of 2023"),
        (("list", "--as-of", "1900-01-01", "--json"), "give a later day"),
        (("list", "--as-of", "9000-01-01"), "lies too far ahead"),
        (("diff", "--from", "1800-01-01", "--to", "2026-01-01"), "--from 1800-01-01 lies before"),
    ],
)
def test_a_day_without_law(
    words: tuple[str, ...], sentence: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A day before every law, or that nobody can mean, gets one sentence and no empty table."""
    code, out, err = said(capsys, *words, "--thresholds-dir", str(folder))
    assert (code, out) == (64, "")
    assert sentence in err and err.count("\n") == 1


def test_check(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old row is a negative answer, and every listing warns of it on standard error."""
    code, out, _ = said(capsys, "check", "--thresholds-dir", str(folder))
    assert code == 0 and "37 rows" in out
    (folder / "own.toml").write_text(
        OWN.replace("checked_on = 2026-11-21", "checked_on = 2020-01-01")
    )
    code, out, _ = said(capsys, "check", "--json", "--thresholds-dir", str(folder))
    assert code == 1 and json.loads(out)["stale"] == ["own"]
    code, out, err = said(capsys, "list", "--json", "--thresholds-dir", str(folder))
    assert code == 0 and json.loads(out)
    assert "1 threshold row was last checked more than 90 days ago" in err


def test_lint(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file that is wrong is named at once; then what does not fit together."""
    assert said(capsys, "lint", str(folder)) == (0, "nothing to mend\n", "")
    (folder / "a.toml").write_text(OWN.replace('"above"', '"over"'))
    (folder / "b.toml").write_text(OWN.replace("source", "sauce"))
    (folder / "profiles").mkdir()
    (folder / "profiles" / "p.toml").write_text("id = 1")
    code, out, _ = said(capsys, "lint", str(folder))
    assert code == 65
    assert [name for name in ("a.toml", "b.toml", "p.toml") if name in out] == [
        "a.toml",
        "b.toml",
        "p.toml",
    ]
    (folder / "a.toml").write_text(OWN)
    code, out, _ = said(capsys, "lint", str(folder / "a.toml"), "--json")
    assert (code, json.loads(out)["findings"]) == (0, [])
    (folder / "b.toml").write_text(ROW)
    (folder / "profiles" / "p.toml").unlink()
    code, out, _ = said(capsys, "lint", str(folder))
    assert code == 65 and "ca-sb53 is built in" in out
    code, _, err = said(capsys, "lint", str(folder / "none.toml"))
    assert code == 64 and "none.toml cannot be read" in err


def test_diff_of_days(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two days differ by statuses."""
    where = ("--thresholds-dir", str(folder))
    days = ("--from", "2025-01-19", "--to", "2025-01-20")
    code, out, _ = said(capsys, "diff", *days, "--json", *where)
    told = json.loads(out)["changes"]
    assert code == 0 and {(c["id"], c["after"]) for c in told} == {
        (row, "repealed") for row in ("us-eo14110", "us-eo14110-biology", "us-eo14110-cluster")
    }
    assert said(capsys, "diff", "--from", "2026-11-29", "--to", "2026-11-30", *where)[1] == (
        "nothing differs\n"
    )
    assert said(capsys, "diff", *where)[0] == 64
    assert said(capsys, "diff", "p", *where)[0] == 64


def test_update(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An update is packed, shown, and takes effect only when it is applied."""
    private, public = key_pair(1)
    (tmp_path / "key").write_bytes(private)
    (tmp_path / "key.pub").write_bytes(public)
    (tmp_path / "other.pub").write_bytes(key_pair(2)[1])
    source = tmp_path / "source"
    source.mkdir()
    later = ROW.replace('"10^26"', '"10^27"').replace(
        "checked_on = 2026-11-21", "checked_on = 2026-12-01"
    )
    (source / "ca-sb53.toml").write_text(later)
    package = str(tmp_path / "p")
    key = ("--key", str(tmp_path / "key"))
    code, out, _ = said(capsys, "pack", str(source), *key, "--output", package)
    assert code == 0 and "1 rows" in out
    assert said(capsys, "pack", str(source), *key, "--output", package)[0] == 74

    trusted = ("--key", str(tmp_path / "key.pub"), "--thresholds-dir", str(folder))
    code, out, _ = said(capsys, "update", package, *trusted, "--json")
    told = json.loads(out)
    assert code == 0 and not told["applied"]
    assert {"what": "threshold", "id": "ca-sb53", "field": "value", "before": "10^26",
            "after": "10^27"} in told["changes"]  # fmt: skip
    assert list(folder.iterdir()) == []
    code, out, _ = said(capsys, "diff", package, *trusted)
    assert code == 0 and "10^27" in out
    stranger = ("--key", str(tmp_path / "other.pub"), "--thresholds-dir", str(folder))
    code, _, err = said(capsys, "update", package, *stranger, "--apply")
    assert code == 65 and "not signed by this key" in err
    assert list(folder.iterdir()) == []

    code, out, _ = said(capsys, "update", package, *trusted, "--apply")
    assert code == 0 and "installed as" in out
    assert listed(capsys, folder, "2026-12-02")["ca-sb53"]["value_flop"] == 10**27
    assert said(capsys, "update", package, *trusted)[1].startswith("nothing differs")
