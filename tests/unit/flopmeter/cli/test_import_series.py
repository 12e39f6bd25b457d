"""`flopmeter import`: where it imports to, what it says, and what it says of series refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab.bulk import importing
from flopmeter.lab.bulk.load import Loaded


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is imported; nothing is."""
    found: list[dict[str, Any]] = []

    def nothing(paths: tuple[Path, ...], **words: Any) -> Loaded:
        found.append({"paths": paths, **words})
        return made(**found[0].get("loaded", {}))

    monkeypatch.setattr(importing, "import_series", nothing)
    return found


def made(**changes: Any) -> Loaded:
    """How an import ended."""
    loaded = Loaded()
    loaded.series, loaded.skipped, loaded.rows, loaded.doubted = 2, 1, 40, 3
    for name, amount in changes.items():
        setattr(loaded, name, amount)
    return loaded


def test_into_a_ledger(
    asked: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says how much; what was imported is noted beside the series."""
    assert main(["import", str(tmp_path), "--ledger", "x.db", "--author", "ada"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "2 series imported, 1 were there already; 40 readings, 3 of them looked at one by one\n"
    )
    assert err == "", "no bar where nobody watches"
    (said,) = asked
    assert (said["ledger"], said["collector"], said["author"]) == ("x.db", "", "ada")
    assert said["done_file"].parent == tmp_path


def test_into_a_collector(
    asked: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Devices that report no more are missed there from now on, and that is said."""
    series = tmp_path / "GPU-1.series"
    assert main(["import", str(series), "--collector", "127.0.0.1:8425"]) == 0
    assert "flopmeter device retire" in capsys.readouterr().err
    assert asked[0]["done_file"].parent == tmp_path
    assert main(["import", str(series), "--collector", "127.0.0.1:8425", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["series"], document["readings"], document["refused"]) == (2, 40, {})
    assert document["looked_at_one_by_one"] == 3


def test_what_was_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first one is named with its reason, and the exit code says so."""
    loaded = made(refused={"GPU-1": "it is quarantined", "GPU-2": "x"})
    monkeypatch.setattr(importing, "import_series", lambda paths, **_: loaded)
    assert main(["import", str(tmp_path), "--ledger", "x.db"]) == 65
    err = capsys.readouterr().err
    assert "did not take all of 2 series; of GPU-1: it is quarantined" in err


@pytest.mark.parametrize("words", [(), ("--ledger", "x.db", "--collector", "c:1")])
def test_one_place(words: tuple[str, ...], asked: list[Any], tmp_path: Path) -> None:
    """A ledger or a collector, not both and not none."""
    assert main(["import", str(tmp_path), *words]) == 64
    assert asked == []
