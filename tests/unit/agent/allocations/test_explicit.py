"""Runs that name themselves: whose word a run file is, and for how long."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_agent.allocations import explicit
from flopmeter_agent.allocations.explicit import (
    MAXIMUM_FILE_BYTES,
    MAXIMUM_FILES_PER_USER,
    ExplicitSource,
    flock_holders,
)
from flopmeter_agent.procfs import ProcessFacts
from flopmeter_core.run_file import RunFile
from support.proc_tree import ProcTree


class Node:
    """A folder of run files, and the processes that hold them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "runs"
        self.folder.mkdir()
        self.tree = ProcTree(folder / "proc")
        self.users = {os.getpid(): os.getuid()}
        self.source = ExplicitSource(self.folder, self.users.get, proc=self.tree.folder)
        self.held: dict[str, int] = {}
        self.said: list[str] = []
        self.source.started = lambda said: self.said.append(said.run)

    def write(self, name: str, text: str, *, locked: bool = True, pid: int | None = None) -> Path:
        """Leave a file as `flopmeter exec` does; this process stands for the command."""
        path = self.folder / f"{name}.run"
        path.write_text(text)
        if locked:
            self.held[name] = os.open(path, os.O_RDONLY)
            fcntl.flock(self.held[name], fcntl.LOCK_EX)
            if pid != 0:
                self.tree.hold(path, os.getpid() if pid is None else pid)
        return path

    def let_go(self, name: str) -> None:
        """Let the command end."""
        os.close(self.held.pop(name))

    def run_of(self, *lineage: int) -> str | None:
        """The run of a process with these ancestors."""
        self.source.look()
        return self.source.of_process(ProcessFacts(lineage[0], ("/",), lineage))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node without a run."""
    made = Node(tmp_path)
    yield made
    made.source.close()
    for name in list(made.held):
        made.let_go(name)


def test_process_and_descendants(node: Node) -> None:
    """A run has the process that holds its lock, and what that started, and nobody else."""
    node.write("a", RunFile("atlas").text)
    me = os.getpid()
    assert node.run_of(me, 1) == "run.exec:atlas"
    assert node.run_of(77, 76, me, 1) == "run.exec:atlas"
    assert node.run_of(78, 1) is None
    assert node.said == ["atlas"]
    assert node.source.descriptors


def test_end(node: Node) -> None:
    """A run ends with its lock, and its file is cleared away."""
    path = node.write("a", RunFile("atlas").text)
    assert node.run_of(os.getpid())
    node.let_go("a")
    assert node.run_of(os.getpid()) is None
    assert not path.exists()
    assert node.source.descriptors == ()


def test_file_without_a_process(node: Node) -> None:
    """A file whose lock is free, such as one that was copied, says nothing."""
    path = node.write("a", RunFile("atlas").text, locked=False)
    assert node.run_of(os.getpid()) is None
    assert not path.exists()


def test_another_users_lock(node: Node) -> None:
    """Whoever holds the lock of another user's file puts no work under that run."""
    node.users[os.getpid()] = os.getuid() + 1
    node.write("a", RunFile("atlas").text)
    assert node.run_of(os.getpid()) is None
    assert "holds it" in node.source.counters.problem
    assert node.source.of_job("42", os.getuid()) == ()


def test_process_that_cannot_be_seen(node: Node) -> None:
    """Without sight of the process a run is taken for its own user's job only."""
    node.write("a", RunFile("atlas", job="42").text, pid=0)
    assert node.run_of(os.getpid()) is None
    assert node.source.of_job("42", os.getuid()) == ("run.exec:atlas",)
    assert node.source.of_job("42", os.getuid(), hidden=True) == ("run.exec:atlas",)
    assert node.source.of_job("42", os.getuid() + 1) == ()
    assert node.source.of_job("43", os.getuid()) == ()
    assert node.source.of_job("42", None) == node.source.of_job("", os.getuid()) == ()


def test_job_of_a_process_in_sight(node: Node) -> None:
    """Where the process is seen, its job is taken for its run while no process is listed."""
    node.write("a", RunFile("atlas", job="42").text)
    node.source.look()
    assert node.source.of_job("42", os.getuid()) == ("run.exec:atlas",)
    assert node.source.of_job("42", os.getuid(), hidden=True) == ()


def test_ranks_are_one_run(node: Node) -> None:
    """Eight processes of one run are one allocation."""
    for rank in range(8):
        node.write(f"r{rank}", RunFile("atlas", job="42").text)
    node.source.look()
    assert node.source.of_job("42", os.getuid()) == ("run.exec:atlas",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "flopmeter-run 2\nrun a\n",
        "flopmeter-run 1\nmodel m\n",
        "flopmeter-run 1\nrun a(b\n",
        "flopmeter-run 1\nrun " + "x" * 201 + "\n",
        "flopmeter-run 1\nrun a\x1b[2J\n",
        "flopmeter-run 1\nrun a\n" + "y" * MAXIMUM_FILE_BYTES,
    ],
)
def test_bad_file(node: Node, text: str) -> None:
    """A file that says what none may is refused once, and stays its owner's."""
    path = node.write("a", text)
    assert node.run_of(os.getpid()) is None
    node.source.look()
    assert node.source.counters.failures == 1
    assert path.exists()


def test_no_regular_file(node: Node) -> None:
    """A link and a pipe are not opened."""
    target = node.folder.parent / "secret"
    target.write_text(RunFile("atlas").text)
    (node.folder / "a.run").symlink_to(target)
    os.mkfifo(node.folder / "b.run")
    assert node.run_of(os.getpid()) is None
    assert target.exists() and node.source.counters.failures == 2


def test_flood(node: Node) -> None:
    """One user's files are bounded, and those beyond are told."""
    for number in range(MAXIMUM_FILES_PER_USER + 3):
        node.write(f"f{number}", RunFile("atlas").text)
    node.source.look()
    assert len(node.source.descriptors) == MAXIMUM_FILES_PER_USER
    assert "has 256 run files already" in node.source.counters.problem


def test_locks_of_procfs() -> None:
    """Only locks for writing of files that are held, with a holder in sight, are read."""
    text = (
        "1: POSIX  ADVISORY  WRITE 7 00:1b:5 0 EOF\n"
        "2: FLOCK  ADVISORY  WRITE 8 00:1b:386 0 EOF\n"
        "2: -> FLOCK  ADVISORY  WRITE 9 00:1b:386 0 EOF\n"
        "3: FLOCK  ADVISORY  READ 10 00:1b:387 0 EOF\n"
        "4: FLOCK  ADVISORY  WRITE -1 fd:00:388 0 EOF\n"
        "5: FLOCK  ADVISORY  WRITE 11 fd:0a:389 0 EOF\n"
        "6: FLOCK  ADVISORY  WRITE x y 0 EOF\n"
    )
    assert flock_holders(text) == {(0, 0x1B, 386): 8, (0xFD, 0x0A, 389): 11}


@pytest.mark.parametrize(
    ("ranges", "overflow", "told"),
    [
        ("         0          0 4294967295\n", "65534\n", None),
        ("0 100000 65536\n", "65534\n", 65_534),
        ("0 0 1\n1 100000 65535\n", "60000\n", 60_000),
        ("0 100000 65536\n", "many\n", None),
        ("", "65534\n", 65_534),
    ],
)
def test_users_that_look_alike(
    ranges: str, overflow: str, told: int | None, tmp_path: Path
) -> None:
    """In a user namespace one number stands for all strangers; outside every user is known."""
    (tmp_path / "self").mkdir()
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "self/uid_map").write_text(ranges)
    (tmp_path / "sys/kernel/overflowuid").write_text(overflow)
    assert explicit._user_of_strangers(tmp_path) == told


def test_a_process_that_ended_meanwhile() -> None:
    """There is nothing to watch."""
    assert explicit._pidfd(2**22 + 1) == -1
    assert explicit._pidfd(2**32 - 1) == -1  # no process can have it


def test_more_files_than_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest waits, and that is said of the source."""
    monkeypatch.setattr(explicit, "MAXIMUM_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.run").write_text("")
    source = explicit.ExplicitSource(tmp_path, lambda pid: None)
    assert len(source._names()) == 3
    assert f"more than 3 files in {tmp_path}" in source.counters.problem
    source.close()


def test_others_files_end_no_run(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run goes on, and keeps its file, however many files somebody else makes beside it."""
    path = node.write("a", RunFile("atlas").text)
    assert node.run_of(os.getpid()) == "run.exec:atlas"
    monkeypatch.setattr(explicit, "MAXIMUM_FILES", 3)
    for number in range(50):
        (node.folder / f"junk{number}").write_text("")
    monkeypatch.setattr(node.source, "_names", lambda: {"0.run": 1, "1.run": 2, "2.run": 3})
    assert node.run_of(os.getpid()) == "run.exec:atlas"
    assert path.exists()
    path.rename(node.folder / "b")  # as its owner may: then it says nothing any more
    assert node.run_of(os.getpid()) is None
