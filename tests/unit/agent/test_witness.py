"""A state folder that is put back in the same boot: nothing that left since is added up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flopmeter_agent.witness import FileWitness, MemoryWitness, Shown, stands
from flopmeter_core.allocations import OVERFLOW
from flopmeter_core.reports import Acknowledgement, Answer, Durability, LedgerPosition
from support.counting_node import CountingNode


@pytest.mark.parametrize(
    ("seen", "kept", "new", "said"),
    [
        (None, (0, 0, 0), True, True),
        (None, (0, 0, 0), False, False),
        (None, (3, 3, 3), False, False),
        ((2, 3, 5), (2, 3, 5), False, True),
        ((2, 3, 5), (4, 4, 6), False, True),
        ((2, 3, 5), (1, 3, 5), False, False),
        ((2, 3, 5), (2, 2, 5), False, False),
        ((2, 3, 5), (2, 3, 4), False, False),
        ((2, 3, 5), (0, 0, 0), True, False),
    ],
)
def test_what_stands(seen: Shown | None, kept: Shown, new: bool, said: bool) -> None:
    """Journals may be ahead of what lies outside of them, and never behind it."""
    witness = MemoryWitness()
    if seen is not None:
        witness.show(seen)
    assert stands(witness, kept, new=new) is said


def test_a_file_lasts_as_long_as_the_boot(tmp_path: Path) -> None:
    """The next process of the same boot and folder reads it, and nobody else."""
    state = tmp_path / "state"
    FileWitness(state, "boot", [tmp_path]).show((1, 2, 3))
    FileWitness(state, "boot", [tmp_path]).show((3, 4, 5))
    assert FileWitness(state, "boot", [tmp_path]).shown() == (3, 4, 5)
    assert FileWitness(state, "another boot", [tmp_path]).shown() is None
    assert FileWitness(tmp_path / "copy", "boot", [tmp_path]).shown() is None
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Damaged, out of the way, or no place at all: nothing is known, and nothing fails."""
    witness = FileWitness(tmp_path / "state", "boot", [tmp_path])
    witness.show((1, 2, 3))
    (path,) = tmp_path.iterdir()
    path.write_text("boot 1 2")
    assert witness.shown() is None
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("boot 5 5 5")
    assert witness.shown() is None
    path.with_suffix(".new").mkdir()
    witness.show((3, 4, 5))
    assert not path.exists()
    assert "nothing outside the state folder" in caplog.text
    nowhere = FileWitness(tmp_path / "state", "boot", [tmp_path / "missing"])
    nowhere.show((1, 2, 3))
    assert nowhere.shown() is None


def work(node: CountingNode, users: range) -> None:
    """A sample for each user; an incarnation closes now and then."""
    for number in users:
        node.sensor.allocation = f"run:{number}"
        node.step()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CountingNode:
    """A node in a small room that closed an incarnation and was killed; nothing was reported."""
    monkeypatch.setattr("flopmeter_agent.closed.SLOT_BYTES", 64 * 1024)
    (tmp_path / "state").mkdir()
    node = CountingNode(tmp_path / "state", devices=2)
    node.start()
    node.step()
    work(node, range(100))
    return node


def filled(node: CountingNode) -> None:
    """Until users are given up for want of room."""
    loop = node.loop
    assert loop is not None
    for number in range(100, 2_000):
        work(node, range(number, number + 1))
        if loop.closed_summary().room_made["overflow"]:
            return
    raise AssertionError("there was always room")


@pytest.mark.parametrize("lost", [False, True])
def test_what_left_is_not_added_up(node: CountingNode, tmp_path: Path, lost: bool) -> None:
    """A copy from before the first report knows of none: its vectors stay what they were."""
    shutil.copytree(node.folder, tmp_path / "copy")
    report = node.start().report()
    assert report is not None and len(report.vectors) > 100
    assert len({keyed.key.incarnation for keyed in report.vectors}) > 1
    for name in ("journal", "closed", "hours"):
        shutil.copy(tmp_path / "copy" / name, node.folder / name)
    if lost:  # such as a container that was made anew
        node.witness = MemoryWitness()
    loop = node.start()
    filled(node)
    left = {keyed.key: keyed.vector for keyed in report.vectors}
    assert left.keys() <= loop.held().keys()
    assert {key: tuple(loop.held()[key].units) for key in left} == left


def test_what_stands_where_it_was_is_added_up(node: CountingNode) -> None:
    """Any number of starts in one boot are added up all the same."""
    loop = node.start()
    before = set(loop.held())
    filled(node)
    assert not before & loop.held().keys()
    assert any(key.allocation == OVERFLOW for key in loop.held())


def test_a_restart_after_it_adds_up_no_more(node: CountingNode, tmp_path: Path) -> None:
    """That it was put back is kept: the process after next does not take it for its own."""
    shutil.copytree(node.folder, tmp_path / "copy")
    report = node.start().report()
    assert report is not None
    for name in ("journal", "closed", "hours"):
        shutil.copy(tmp_path / "copy" / name, node.folder / name)
    node.start()
    node.start()
    loop = node.start()
    filled(node)
    assert {keyed.key for keyed in report.vectors} <= loop.held().keys()


def test_what_the_collector_refuses_stays(node: CountingNode) -> None:
    """It may have a place later, or elsewhere: no room is made of work that nobody has."""
    loop = node.start()
    report = loop.report()
    assert report is not None
    refused = tuple(
        Acknowledgement(keyed.key, keyed.sequence, Durability.REFUSED, "too many keys")
        for keyed in report.vectors
    )
    loop.acknowledge(Answer(refused, LedgerPosition("L", 1, 1)))
    filled(node)
    assert {keyed.key for keyed in report.vectors} <= loop.held().keys()
    assert loop.closed_summary().room_made["let_go_early"] == 0


@pytest.mark.parametrize("put_back", [False, True])
def test_a_copy_of_between_two_marks(tmp_path: Path, put_back: bool) -> None:
    """Nothing new left since, but more of the same: what the copy holds is not all there was."""
    (tmp_path / "state").mkdir()
    node = CountingNode(tmp_path / "state", devices=2)
    loop = node.start()
    for _ in range(3):
        node.step()
    assert loop.report() is not None
    shutil.copytree(node.folder, tmp_path / "copy")
    node.step()
    report = loop.report()
    assert report is not None
    if put_back:
        for name in ("journal", "closed", "hours"):
            shutil.copy(tmp_path / "copy" / name, node.folder / name)
    closed = node.start()._closed
    found = {closed.final_sequence(keyed.key) for keyed in report.vectors}
    assert found == ({0} if put_back else {keyed.sequence for keyed in report.vectors})
