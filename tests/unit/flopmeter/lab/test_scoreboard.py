"""`make score`: what it prints is what it writes, and a page that cannot be written is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flopmeter.lab import scoreboard
from flopmeter_core.errors import DataError, StorageError
from support.totals import table


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without recordings."""
    board = scoreboard.Board(
        rows=[], parts_seen=[], calibrations=[], published=["nothing published"], parts=table()
    )

    def scored(_: Path, *, told: Callable[[str], object]) -> scoreboard.Board:
        told("a recording")
        return board

    monkeypatch.setattr(scoreboard, "score_all", scored)
    return tmp_path


def test_page(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page and standard output are the same; progress is told beside them."""
    (root / scoreboard.PAGE).parent.mkdir()
    assert scoreboard.main(root) == 0
    out, err = capsys.readouterr()
    assert (root / scoreboard.PAGE).read_text() == out
    assert "nothing published" in out
    assert err == "scoring a recording\n"


def test_a_page_that_cannot_be_written(root: Path) -> None:
    """It is named, with the reason."""
    with pytest.raises(StorageError, match="cannot be written: No such file or directory"):
        scoreboard.main(root)


def test_every_recording_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the list of truths, and each is told before."""
    scored: list[Path] = []
    truths = {"b/2": {"path": "b/2"}, "a/1": {"path": "a/1"}}

    def score(root: Path, truth: dict[str, str], parts: object, *, seen: set[str]) -> list[str]:
        scored.append(root / truth["path"])
        seen.add(f"part {truth['path']}")
        return []

    monkeypatch.setattr(scoreboard, "mlperf_truths", lambda root: truths)
    monkeypatch.setattr(scoreboard, "score_mlperf", score)
    monkeypatch.setattr(scoreboard, "score_calibrations", lambda root, parts, told: [])
    told: list[str] = []
    repository = Path(__file__).parents[4]
    monkeypatch.setattr(scoreboard, "PUBLISHED", repository / scoreboard.PUBLISHED)
    board = scoreboard.score_all(tmp_path, told=told.append)
    assert told == ["b/2", "a/1"] and scored == [tmp_path / "b/2", tmp_path / "a/1"]
    assert board.parts_seen == ["part a/1", "part b/2"]


def test_a_list_that_is_none(tmp_path: Path) -> None:
    """A list of truths that is missing or damaged is said."""
    with pytest.raises(DataError, match="is no list of runs with their truth"):
        scoreboard.mlperf_truths(tmp_path)
