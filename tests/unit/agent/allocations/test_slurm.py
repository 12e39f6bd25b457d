"""Slurm: what a prolog wrote of a device, and whose job a process is in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flopmeter_agent.allocations.slurm import MAXIMUM_FILES, SlurmSource, job_of, parse_line
from flopmeter_agent.procfs import ProcessFacts, cgroup_paths
from flopmeter_core.errors import DataError
from support.proc_tree import LAYOUTS, layout


def source(folder: Path) -> SlurmSource:
    """A source that has looked once."""
    made = SlurmSource(folder, "c1")
    made.look()
    return made


def write(folder: Path, device: str, text: str, mode: int = 0o644) -> Path:
    """A file as a prolog puts it in place."""
    new = folder / ".new"
    new.write_text(text)
    new.chmod(mode)
    return new.rename(folder / device)


def test_prolog_file(tmp_path: Path) -> None:
    """A line makes a job with its start, known by its number, its SLUID and its owner."""
    write(tmp_path, "GPU-a", "slurm job=42 restart=2 uid=1001 cluster=big sluid=s5K1KKYAYG5D00\n")
    (statement,) = source(tmp_path).statements()["GPU-a"]
    assert statement.allocation == "slurm:big/42.2"
    assert (statement.job, statement.user) == ("42", 1001)
    # Processes are named by the agent's own cluster: a job's cgroup names none.
    assert statement.aliases == {"slurm:big/42.2", "slurm:c1/42", "slurm:c1/s5K1KKYAYG5D00"}


def test_changes_are_seen(tmp_path: Path) -> None:
    """A new file, another job and an epilog are each seen at the next look."""
    made = source(tmp_path)
    assert made.statements() == {}
    write(tmp_path, "GPU-a", "slurm job=1\n")
    made.look()
    assert made.statements()["GPU-a"][0].allocation == "slurm:c1/1"
    write(tmp_path, "GPU-a", "slurm job=1\nslurm job=2 restart=0 future=word\n")
    made.look()
    assert [each.allocation for each in made.statements()["GPU-a"]] == ["slurm:c1/1", "slurm:c1/2"]
    (tmp_path / "GPU-a").unlink()
    made.look()
    assert made.statements() == {}


def test_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    """A look costs a stat a device, not a read."""
    write(tmp_path, "GPU-a", "slurm job=1\n")
    made = source(tmp_path)
    before = made.statements()
    made.look()
    assert made.statements() is before


def test_what_others_could_have_written(tmp_path: Path) -> None:
    """A file that others may write, a link and a device file are not believed."""
    write(tmp_path, "GPU-a", "slurm job=1\n", mode=0o666)
    write(tmp_path, "GPU-b", "slurm job=1\n")
    (tmp_path / "GPU-c").symlink_to(tmp_path / "GPU-b")
    os.mkfifo(tmp_path / "GPU-d")
    write(tmp_path, "GPU-e", "slurm job=1\n" * 2000)
    made = source(tmp_path)
    assert set(made.statements()) == {"GPU-b"}
    assert made.counters.failures >= 3
    assert made.counters.said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_file(tmp_path: Path) -> None:
    """A file of a user who is neither root nor the agent is not believed."""
    os.chown(write(tmp_path, "GPU-a", "slurm job=1\n"), 12345, -1)
    made = source(tmp_path)
    assert made.statements() == {}
    assert "user 12345 owns it" in made.counters.problem


def test_good_lines_stay(tmp_path: Path) -> None:
    """A line that is none takes no other with it."""
    write(tmp_path, "GPU-a", "slurm job=1\npbs job=7\nslurm job=x\n\nslurm job=2\n")
    found = source(tmp_path).statements()["GPU-a"]
    assert [each.job for each in found] == ["1", "2"]


def test_folder_of_thousands(tmp_path: Path) -> None:
    """However many files there are, a look is bounded."""
    for number in range(MAXIMUM_FILES + 50):
        (tmp_path / f"GPU-{number}").write_text("slurm job=1\n")
    made = source(tmp_path)
    assert len(made.statements()) <= MAXIMUM_FILES
    assert "more than" in made.counters.problem


@pytest.mark.parametrize(
    "line",
    [
        "slurm",
        "slurm job=",
        "slurm job=-1",
        "slurm job=" + "9" * 21,
        "slurm job=1 restart=x",
        "slurm job=1 uid=root",
        "slurm job=1 cluster=a/b",
        "slurm job=\u0661",
        "other job=1",
    ],
)
def test_bad_line(line: str) -> None:
    """What Slurm does not make is refused in one sentence."""
    with pytest.raises(DataError):
        parse_line(line, cluster="c1")


EXPECTED = {
    "slurm-v1": "4242",
    "slurm-v1-multiple-slurmd": "4242",
    "slurm-v2": "4242",
    "slurm-v2-multiple-slurmd": "4242",
    "slurm-v2-slice": "4242",
    "slurm-26.05-sluid": "s5K1KKYAYG5D00",
}
"""Layout -> job; every other layout is none of Slurm's, the pretended one included."""


@pytest.mark.parametrize("name", sorted(p.name for p in LAYOUTS.iterdir() if p.name != "README.md"))
def test_layouts(name: str) -> None:
    """A job is told where Slurm makes its cgroup, in each layout, and nowhere else."""
    assert job_of(cgroup_paths(layout(name))) == EXPECTED.get(name, "")


@pytest.mark.parametrize(
    "path",
    [
        "/docker/abc/slurm/uid_1/job_7",
        "/slurm/job_7",
        "/slurm/uid_1/job_x",
        "/slurm",
        "/",
        "/system.slice/slurmstepd.scope/job_7x/step_0",
        "/system.slice/slurmstepd.scope/s5k1kkyayg5d00",
        "/system.slice/x.service/slurmstepd.scope/job_7",
        "/../../user.slice/user-1.slice/slurmstepd.scope/job_7",
        "/../docker-x.scope/slurmstepd.scope/job_7",
        "/..",
    ],
)
def test_no_job(path: str) -> None:
    """A path that only looks like a job's is none."""
    assert job_of((path,)) == ""


@pytest.mark.parametrize(
    "path",
    ["/../../../system.slice/slurmstepd.scope/job_7/step_0", "/../slurm/uid_1/job_7/step_0"],
)
def test_agent_in_a_cgroup_namespace(path: str) -> None:
    """A job is told by an agent in a container too."""
    assert job_of((path,)) == "7"


def test_process(tmp_path: Path) -> None:
    """A process in a job's cgroup is that job, seen by its process."""
    facts = ProcessFacts(7, cgroup_paths(layout("slurm-v2")), (7,))
    assert source(tmp_path).of_process(facts) == "slurm.pids:c1/4242"
    assert source(tmp_path).of_process(ProcessFacts(7, ("/",), (7,))) is None
    assert (
        SlurmSource(tmp_path, "my cluster, (a)").of_process(facts) == "slurm.pids:myclustera/4242"
    )
