"""`flopmeter exec` as real processes: what it becomes, what it leaves, and what it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from flopmeter.entry import main
from flopmeter.sdk.execute import parse
from flopmeter_agent.allocations.explicit import ExplicitSource
from flopmeter_agent.procfs import Processes
from flopmeter_core.errors import UsageError

FLOPMETER = Path(sys.executable).with_name("flopmeter")

HERE = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}

MOST_MS = 50
"""From the start of the process to the command, of processor time."""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder of run files, as an agent makes it."""
    folder = tmp_path / "runs"
    folder.mkdir(mode=0o777)
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def source(runs: Path) -> Iterator[tuple[ExplicitSource, Processes]]:
    """The agent's side of it, on the real /proc."""
    from flopmeter_proto.daemon.clock import SystemClock

    processes = Processes(SystemClock())
    made = ExplicitSource(runs, processes.user_of)
    yield made, processes
    made.close()
    processes.close()


def start(runs: Path | str, *words: str, **named: str) -> subprocess.Popen[str]:
    """Start `flopmeter exec`."""
    environment = HERE | {"FLOPMETER_RUNS": str(runs)} | named
    return subprocess.Popen(
        [FLOPMETER, "exec", *words],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(runs: Path | str, *words: str, **named: str) -> tuple[int, str, str]:
    """Exit code and what was printed."""
    process = start(runs, *words, **named)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def settled(source: tuple[ExplicitSource, Processes], pid: int, seconds: float = 30) -> str | None:
    """The run of a process, as soon as it has one."""
    explicit, processes = source
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        explicit.look()
        processes.keep([])
        found = explicit.of_process(processes.of(pid))
        if found:
            return found
        time.sleep(0.02)
    return None


def test_command_in_its_place(runs: Path) -> None:
    """The command is the same process, with its exit code, and knows its run."""
    process = start(
        runs, "--run", "atlas", "--model=m", "--", "sh", "-c", "echo $$ $FLOPMETER_RUN; exit 7"
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (7, "")
    assert out.split() == [str(process.pid), "atlas"]


def test_signals(runs: Path) -> None:
    """A signal to the process is the command's, and what Python ignores is not ignored."""
    process = start(runs, "--run", "a", "--", sys.executable, "-c", "print(1, flush=True); input()")
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    code, out, _ = outcome(runs, "--run", "a", "--", "grep", "SigIgn", "/proc/self/status")
    ignored = int(out.split()[1], 16)
    assert code == 0 and not ignored & (1 << (signal.SIGPIPE - 1))


def test_agent_sees_it(runs: Path, source: tuple[ExplicitSource, Processes]) -> None:
    """The agent finds the process and what it starts, until it ends."""
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "input()\n"
        "child.communicate(b'\\n')\n"
    )
    process = start(runs, "--run", "atlas", "--", sys.executable, "-c", program)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert settled(source, process.pid) == "run.exec:atlas"
    assert settled(source, child) == "run.exec:atlas"
    explicit, processes = source
    assert explicit.of_process(processes.of(os.getpid())) is None
    (file,) = runs.iterdir()
    assert file.stat().st_mode & 0o777 == 0o644
    process.communicate("\n", timeout=60)
    explicit.look()
    assert explicit.of_process(processes.of(child)) is None
    assert list(runs.iterdir()) == []


def test_ranks(runs: Path, source: tuple[ExplicitSource, Processes]) -> None:
    """Eight ranks are one run; a killed one leaves nothing alive."""
    ranks = [start(runs, "--run", "atlas", "--", "cat") for _ in range(8)]
    assert {settled(source, rank.pid) for rank in ranks} == {"run.exec:atlas"}
    ranks[0].kill()
    ranks[0].communicate()
    explicit, _ = source
    explicit.look()
    assert len(list(runs.iterdir())) == 7
    for rank in ranks[1:]:
        rank.communicate(timeout=60)


def test_without_an_agent(tmp_path: Path) -> None:
    """Without a folder, and with one that cannot be written, the command starts all the same."""
    for folder in (tmp_path / "missing", Path("/proc")):
        code, out, err = outcome(folder, "--run", "a", "--", "echo", "started")
        assert (code, out) == (0, "started\n")
        assert err.startswith("flopmeter: the node's agent is not told of this run (")
        assert err.count("\n") == 1
    assert outcome("", "--run", "a", "--", "echo", "x") == (0, "x\n", "")


@pytest.mark.parametrize("name", ["a(b", "x" * 300, "a\nb", ""])
def test_name_that_cannot_be(runs: Path, name: str) -> None:
    """A run that cannot be named so is said, and the command starts."""
    code, out, err = outcome(runs, "--run", name, "--", "echo", "started")
    assert (code, out) == (0, "started\n") and "not told of this run" in err
    assert list(runs.iterdir()) == []


def test_run_from_the_environment(runs: Path) -> None:
    """The run may be named where the job is described."""
    code, out, err = outcome(
        runs,
        "--",
        "sh",
        "-c",
        "cat $FLOPMETER_RUNS/*.run",
        FLOPMETER_RUN="atlas",
        SLURM_JOB_ID="42",
    )
    assert (code, err) == (0, "")
    assert {"run atlas", "job 42", "attempt 42"} <= set(out.splitlines())


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--run", "a"],
        ["--run", "a", "--"],
        ["--run", "--", "x"],
        ["--nonsense", "a", "--", "x"],
        ["x"],
    ],
)
def test_no_command(words: Sequence[str], runs: Path) -> None:
    """Words that name no command are refused in one sentence."""
    with pytest.raises(UsageError):
        parse(words)
    code, out, err = outcome(runs, *words)
    assert (code, out) == (64, "") and err.startswith("flopmeter: ") and err.count("\n") == 1


def test_command_that_is_none(runs: Path) -> None:
    """A command that cannot be started ends as a shell's would."""
    code, _, err = outcome(runs, "--run", "a", "--", "/nonexistent/train")
    assert code == 127 and "is not found" in err
    code, _, err = outcome(runs, "--run", "a", "--", "/etc/passwd")
    assert code == 126 and "cannot be started" in err


def test_arguments_are_the_commands(runs: Path) -> None:
    """What stands behind -- is handed on letter by letter, help and options included."""
    code, out, _ = outcome(runs, "--run", "a", "--", "echo", "--help", "--run", "b", "--", "x y")
    assert (code, out) == (0, "--help --run b -- x y\n")


def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Help is the command line's."""
    monkeypatch.setattr(sys, "argv", ["flopmeter", "exec", "--help"])
    assert main() == 0
    assert "Tell the node's agent which run COMMAND is" in capsys.readouterr().out


def test_cost(runs: Path) -> None:
    """From the start to the command it takes little processor time, whatever the machine does."""
    took = []
    for _ in range(5):
        words = [str(FLOPMETER), "exec", "--run", "a", "--", "/bin/true"]
        environment = HERE | {"FLOPMETER_RUNS": str(runs)}
        pid = os.posix_spawn(words[0], words, environment)
        _, status, usage = os.wait4(pid, 0)
        assert status == 0
        took.append((usage.ru_utime + usage.ru_stime) * 1e3)
    assert min(took) < MOST_MS


def test_light_imports(runs: Path) -> None:
    """Nothing is loaded that costs: neither the command line's libraries nor typing, re or json."""
    program = (
        "import sys; before = set(sys.modules)\n"
        "import os\n"
        "def show(*words):\n"
        "    print(*sorted(set(sys.modules) - before), flush=True)\n"
        "    os._exit(0)\n"
        "os.execvpe = show\n"
        "sys.argv = ['flopmeter', 'exec', '--run', 'a', '--', 'true']\n"
        "from flopmeter.entry import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=HERE | {"FLOPMETER_RUNS": str(runs)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    loaded = set(done.stdout.split())
    assert "flopmeter.sdk.execute" in loaded
    heavy = {
        "click",
        "rich",
        "typing",
        "re",
        "json",
        "logging",
        "subprocess",
        "asyncio",
        "dataclasses",
    }
    assert not loaded & heavy
