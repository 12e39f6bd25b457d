"""What the kernel says of a process, and when it is asked again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flopmeter_agent.procfs import (
    MAXIMUM_ANCESTORS,
    REFRESH_NS,
    Processes,
    cgroup_paths,
    lineage_of,
    parent_of,
)
from flopmeter_core.units import NS_PER_S
from support.manual_clock import ManualClock
from support.proc_tree import ProcTree, layout


def test_facts(tmp_path: Path) -> None:
    """A process is known by its cgroups, its ancestors and its name."""
    tree = ProcTree(tmp_path / "proc")
    tree.start(10, parent=1)
    tree.start(20, layout("slurm-v1"), parent=10, name="a (b) c")
    processes = Processes(ManualClock(), tree.folder)
    facts = processes.of(20)
    assert facts.lineage == (20, 10, 1)
    assert facts.visible and facts.name == "a (b) c"
    assert facts.cgroups[0] == "/slurm/uid_1001/job_4242/step_0/task_0"
    assert processes.user_of(20) == 1001


def test_unseen(tmp_path: Path) -> None:
    """A process that procfs does not show is a number and nothing else."""
    tree = ProcTree(tmp_path / "proc")
    processes = Processes(ManualClock(), tree.folder)
    facts = processes.of(99)
    assert not facts.visible
    assert (facts.lineage, facts.cgroups, facts.name) == ((99,), (), "")
    assert processes.user_of(99) is None


def test_looked_at_once(tmp_path: Path) -> None:
    """What was read is believed for a while, and read anew after that."""
    tree, clock = ProcTree(tmp_path / "proc"), ManualClock()
    tree.start(20, layout("slurm-v2"))
    processes = Processes(clock, tree.folder)
    first = processes.of(20)
    (tree.folder / "20/cgroup").write_text(layout("user-session"))  # it was moved
    clock.advance(REFRESH_NS / NS_PER_S - 1)
    assert processes.of(20) == first
    clock.advance(1)
    assert processes.of(20).cgroups == ("/user.slice/user-1001.slice/session-7.scope",)


def test_left_out(tmp_path: Path) -> None:
    """A process that no device lists is forgotten."""
    tree = ProcTree(tmp_path / "proc")
    tree.start(20, layout("slurm-v2"))
    processes = Processes(ManualClock(), tree.folder)
    processes.of(20)
    processes.keep([])
    tree.start(20, layout("user-session"))
    assert processes.of(20).cgroups == ("/user.slice/user-1001.slice/session-7.scope",)


def test_number_used_again() -> None:
    """A process that ends is forgotten at once: its number may be another's."""
    processes = Processes(ManualClock())
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert processes.of(child.pid).lineage[1] == os.getpid()
    (descriptor,) = processes.descriptors
    processes.keep([child.pid])
    assert processes.descriptors == (descriptor,)
    child.communicate(b"\n")
    processes.keep([child.pid])
    assert not processes.descriptors
    assert not processes.of(child.pid).visible
    processes.close()


def test_number_used_again_without_a_descriptor(tmp_path: Path) -> None:
    """Where a process cannot be followed, its start tells it from the one that had its number."""
    tree = ProcTree(tmp_path / "proc")
    processes = Processes(ManualClock(), tree.folder)
    tree.start(20, layout("slurm-v2"))
    first = processes.of(20)
    processes.keep([20])
    assert processes.of(20) is first
    tree.end(20)
    tree.start(20, layout("user-session"))
    processes.keep([20])
    assert processes.of(20).cgroups == ("/user.slice/user-1001.slice/session-7.scope",)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("0::/a/b\n", ("/a/b",)),
        ("3:cpu:/a\n2:memory:/a\n0::/u\n", ("/a", "/u")),
        ("3:cpu:/a\n0::/\n", ("/a", "/")),
        ("1:name=systemd:/x:y\n", ("/x:y",)),
        ("", ()),
        ("garbage\n:::\n0::relative\n", ()),
    ],
)
def test_cgroup_paths(text: str, paths: tuple[str, ...]) -> None:
    """Version 1 first, the unified hierarchy last, none twice, and no line that is none."""
    assert cgroup_paths(text) == paths


def test_lineage_is_bounded() -> None:
    """A tree that never ends, or turns back on itself, is left after a while."""
    assert len(lineage_of(1, lambda pid: pid + 1)) == MAXIMUM_ANCESTORS
    assert lineage_of(5, lambda pid: 11 - pid) == (5, 6)
    assert parent_of("12 (x) S") == parent_of("") == parent_of("1 (x) S -1 0") == 0


def test_number_no_process_can_have() -> None:
    """What a driver gives for a process it cannot number is nobody, and no error."""
    processes = Processes(ManualClock())
    assert not processes.of(2**32 - 1).visible
    processes.keep([2**32 - 1])
    processes.close()
