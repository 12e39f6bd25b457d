"""Allocations where processes are hidden: private PID and user namespaces, and hidepid.

Each test makes a real one with unshare(1), as root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flopmeter_agent.allocations.explicit import ExplicitSource
from flopmeter_agent.procfs import Processes
from flopmeter_proto.daemon.clock import SystemClock
from support.requirements import ROOT, missing, require

PROGRAM = """
import json, os, sys
from pathlib import Path
from flopmeter_agent.allocations.explicit import ExplicitSource
from flopmeter_agent.privileges import sight_of_processes
from flopmeter_agent.procfs import Processes
from flopmeter_proto.daemon.clock import SystemClock
folder, pid, job, user = sys.argv[1:]
processes = Processes(SystemClock())
source = ExplicitSource(Path(folder), processes.user_of)
source.look()
facts = processes.of(int(pid))
print(json.dumps({
    "sight": sight_of_processes(),
    "visible": facts.visible,
    "run": source.of_process(facts),
    "job": source.of_job(job, int(user)),
    "problem": source.counters.problem,
}))
source.close()
processes.close()
"""

NOBODY = 65534


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder of run files, open to every user."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if os.stat(folder).st_uid == os.geteuid():
            folder.chmod(folder.stat().st_mode | 0o011)
    made = tmp_path / "runs"
    made.mkdir()
    made.chmod(0o1777)
    return made


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's packages where every user may read them."""
    place = tmp_path_factory.mktemp("packages")
    for folder in (place, *place.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    for package in ("core/flopmeter_core", "agent/flopmeter_agent", "proto/flopmeter_proto"):
        shutil.copytree(
            ROOT / package,
            place / Path(package).name,
            ignore=shutil.ignore_patterns("__pycache__", "*.so"),
        )
    return place


def root() -> None:
    """End the test where no namespace can be made."""
    if os.geteuid() != 0:
        missing("only root can make these namespaces; run the tests as root")
    require("unshare", "install util-linux")
    require("setpriv", "install util-linux")


def works(*command: str) -> None:
    """End the test where this kernel or container forbids a namespace."""
    done = subprocess.run([*command, "true"], capture_output=True, text=True)
    if done.returncode != 0:
        missing(f"`{' '.join(command)}` is not allowed here: {done.stderr.strip()}")


@pytest.fixture
def command(runs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process under `flopmeter exec` outside of any namespace, of job 42."""
    process = start([], runs)
    yield process
    process.communicate(b"\n", timeout=60)


def start(namespace: Sequence[str], runs: Path) -> subprocess.Popen[bytes]:
    """Start `flopmeter exec`, in a namespace if any, and wait for its run file."""
    process = subprocess.Popen(
        [
            *namespace,
            Path(sys.executable).with_name("flopmeter"),
            "exec",
            "--run",
            "atlas",
            "--",
            "cat",
        ],
        env={**os.environ, "FLOPMETER_RUNS": str(runs), "SLURM_JOB_ID": "42"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not list(runs.glob("*.run")):
        assert time.monotonic() < end
        time.sleep(0.02)
    return process


def looked(
    packages: Path, runs: Path, pid: int, *within: str, python: str = sys.executable
) -> dict[str, object]:
    """What an agent sees of the command from inside a namespace."""
    import json

    done = subprocess.run(
        [*within, python, "-c", PROGRAM, str(runs), str(pid), "42", str(os.geteuid())],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=90,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_plain(packages: Path, runs: Path, command: subprocess.Popen[bytes]) -> None:
    """Where nothing is hidden the process is found by its lock."""
    root()
    found = looked(packages, runs, command.pid)
    assert (found["run"], found["visible"], found["sight"]) == ("run.exec:atlas", True, "")


def test_private_pid_namespace(
    packages: Path, runs: Path, command: subprocess.Popen[bytes]
) -> None:
    """An agent in a PID namespace of its own sees no process, and takes the run for its job."""
    root()
    within = ("unshare", "--pid", "--fork", "--mount-proc")
    works(*within)
    found = looked(packages, runs, command.pid, *within)
    assert (found["run"], found["visible"]) == (None, False)
    assert found["job"] == ["run.exec:atlas"]
    assert "PID namespace" in str(found["sight"])
    assert list(runs.glob("*.run"))  # alive, so it stays


def test_command_in_a_container(runs: Path) -> None:
    """A command in PID and mount namespaces of its own is found by an agent of the host."""
    root()
    within = ("unshare", "--pid", "--fork", "--mount-proc", "--mount")
    works(*within)
    process = start(within, runs)
    processes = Processes(SystemClock())
    source = ExplicitSource(runs, processes.user_of)
    try:
        source.look()
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        assert source.of_process(processes.of(child)) == "run.exec:atlas"
        assert source.of_process(processes.of(os.getpid())) is None
    finally:
        process.communicate(b"\n", timeout=60)
        source.look()
        assert source.of_job("42", os.geteuid()) == ()
        source.close()
        processes.close()


def test_user_namespace(packages: Path, runs: Path, command: subprocess.Popen[bytes]) -> None:
    """In a user namespace where others are nobody, nobody's file is another's."""
    root()
    within = ("unshare", "--user", "--map-root-user")
    works(*within)
    found = looked(packages, runs, command.pid, *within)
    assert "user namespace" in str(found["sight"])
    assert found["run"] == "run.exec:atlas"  # root's own, and root is known in there
    foreign = ("setpriv", "--reuid=1234", "--clear-groups", "unshare", "--user", "--map-root-user")
    works(*foreign)
    found = looked(packages, runs, command.pid, *foreign, python="/usr/bin/python3")
    # The file's owner and the process' user are both shown as nobody: no proof that they are one.
    assert found["run"] is None


def test_hidepid(packages: Path, runs: Path, command: subprocess.Popen[bytes]) -> None:
    """Where /proc hides other users' processes a run is taken for its job, and doctor says why."""
    root()
    mount = "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 {group}"
    hidden = mount.format(group="--regid=65534 --clear-groups")
    within = ("unshare", "--mount", "sh", "-c", f'{hidden} "$0" "$@"')
    works(*within)
    found = looked(packages, runs, command.pid, *within, python="/usr/bin/python3")
    assert (found["run"], found["visible"]) == (None, False)
    assert found["job"] == ["run.exec:atlas"]
    assert "hidepid" in str(found["sight"])
    # The group of the mount option gid=, which is root's where none is named, sees them all.
    shown = mount.format(group="--regid=0 --clear-groups")
    within = ("unshare", "--mount", "sh", "-c", f'{shown} "$0" "$@"')
    found = looked(packages, runs, command.pid, *within, python="/usr/bin/python3")
    assert (found["run"], found["visible"], found["sight"]) == ("run.exec:atlas", True, "")
