"""What was imported is noted durably, and forgotten with the ledger that said so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from flopmeter.lab.bulk.done_file import DoneFile, Extent
from flopmeter_core.errors import StorageError
from flopmeter_core.reports import LedgerPosition

HERE = LedgerPosition("ledger", 1, 10)


IN_LEDGER = {"a": 50, "c": 50}
"""Newest sequences."""


def noted(
    path: Path, position: LedgerPosition, in_ledger: Mapping[str, int] | None = IN_LEDGER
) -> set[Extent]:
    """What a new import would pass over."""
    done = DoneFile(path)
    held = done.at(position, in_ledger)
    done.close()
    return held


def test_a_torn_line_is_none(tmp_path: Path) -> None:
    """A kill in the middle of a line costs that line, and the next one stands on its own."""
    path = tmp_path / "done"
    done = DoneFile(path)
    done.add(("a", 7), HERE, 50)
    done.close()
    path.write_bytes(path.read_bytes() + b'["b", "ledg')
    done = DoneFile(path)
    done.add(("c", 7), HERE, 50)
    done.close()
    assert noted(path, HERE) == {("a", 7), ("c", 7)}


@pytest.mark.parametrize(
    ("position", "held"),
    [
        (LedgerPosition("ledger", 1, 11), {("a", 7)}),
        (LedgerPosition("ledger", 2, 11), {("a", 7)}),
        (LedgerPosition("ledger", 1, 9), set()),
        (LedgerPosition("another", 1, 11), set()),
    ],
)
def test_an_older_or_another_ledger_has_nothing(
    tmp_path: Path, position: LedgerPosition, held: set[Extent]
) -> None:
    """A ledger that stands before an acknowledgement was put back, and is imported to again."""
    done = DoneFile(tmp_path / "done")
    done.add(("a", 7), HERE, 50)
    done.close()
    assert noted(tmp_path / "done", position) == held


def test_a_line_of_an_earlier_version_is_none(tmp_path: Path) -> None:
    """It does not say how far a series went: it is sent once more."""
    (tmp_path / "done").write_text('["a", "ledger", 1, 10]\n["a", "ledger", 1, 10, 7]\n')
    assert noted(tmp_path / "done", HERE) == set()


@pytest.mark.parametrize("in_ledger", [{}, {"a": 49}])
def test_a_ledger_that_holds_less_has_not_got_it(
    tmp_path: Path, in_ledger: Mapping[str, int]
) -> None:
    """One put back from a copy came as far as it was, and has the series with fewer rows."""
    done = DoneFile(tmp_path / "done")
    done.add(("a", 7), HERE, 50)
    done.close()
    later = LedgerPosition("ledger", 2, 99)
    assert noted(tmp_path / "done", later) == {("a", 7)}
    assert noted(tmp_path / "done", later, in_ledger) == set()


def test_without_a_look_into_the_ledger_only_this_life_counts(tmp_path: Path) -> None:
    """A collector that began anew may have begun from a copy with as many commits."""
    done = DoneFile(tmp_path / "done")
    done.add(("a", 7), HERE, 50)
    done.close()
    restarted = LedgerPosition("ledger", 2, 11)
    assert noted(tmp_path / "done", restarted, None) == set()
    assert noted(tmp_path / "done", HERE, None) == {("a", 7)}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The sentence names the way out."""
    with pytest.raises(StorageError, match="--done"):
        DoneFile(tmp_path / "nowhere" / "done")
