"""One agent and one collector as processes of their own, which a fault may hit at any time.

Owns: their starts, ends and folders, the witness file, and the comparison at the end.
May touch: one folder, one port of 127.0.0.1 (or of a network namespace), processes it started.
Called by the cases of ``make faults`` and by tests/integration/test_kills.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from faults.account import Account, Held, Verdict, judge
from flopmeter_collector import backends
from flopmeter_core.errors import FlopmeterError
from support.collector import command
from support.processes import free_port

WITNESS = Path(__file__).with_name("witness.py")
SETTLE_LIMIT_S = 90.0
"""Longer than the link's longest wait for a reconnection, on a machine that has much else to do."""

START_LIMIT_S = 300.0
"""How long a busy machine may take to start a process; no limit of what was promised runs yet."""

STOP_LIMIT_S = 30.0
SAMPLE_PERIOD_S, REPORT_PERIOD_S = 0.1, 0.2
DURATION_S = 8 * 3600

_TOP = """
seed = 11
acceleration = 1
duration_s = {duration_s}
[node]
count = 1
devices = 2
part = "h100-sxm5-80gb"
sm_count = 132
max_sm_clock_mhz = 1980
"""

_RUN = """
[[run]]
name = "{name}"
start_s = {start_s}
stop_s = {stop_s}
nodes = ["n0"]
tensor_activity = {activity}
clock_mhz = {clock_mhz}
power_w = 650
"""


def busy_scenario(duration_s: int = DURATION_S) -> str:
    """Three runs in turn, a pause after every second one: users change every few seconds."""
    text, at_s, number = _TOP.format(duration_s=duration_s), 1, 0
    # Within the first minutes; one more run lasts to the end, so that a reading stays cheap.
    while at_s + 7 < min(duration_s, 600):
        name = "abc"[number % 3]
        text += _RUN.format(
            name=name, start_s=at_s, stop_s=at_s + 7, activity=0.4 + number % 3 / 10, clock_mhz=1700
        )
        at_s += 7 + 2 * (number % 2)
        number += 1
    return text + _RUN.format(
        name="d", start_s=at_s, stop_s=duration_s, activity=0.5, clock_mhz=1650
    )


def steady_scenario(duration_s: int = DURATION_S) -> str:
    """One run from beginning to end."""
    return _TOP.format(duration_s=duration_s) + _RUN.format(
        name="a", start_s=0, stop_s=duration_s, activity=0.45, clock_mhz=1700
    )


@dataclass
class Site:
    """A folder with an agent's state, a collector's ledger and what was witnessed.

    Attributes:
        folder: holds everything.
        host: the collector's address.
        state: the agent's state folder; `ledger` the collector's file.
        agent_prefix, collector_prefix: words before the command: strace, ip netns exec, unshare.
        system_clock: readings are stamped with the host's clocks, not with the scenario's.
    """

    folder: Path
    scenario: str = field(default_factory=busy_scenario)
    host: str = "127.0.0.1"
    agent_prefix: Sequence[str] = ()
    collector_prefix: Sequence[str] = ()
    system_clock: bool = False
    state: Path = Path()
    ledger: Path = Path()
    kills: int = 0
    restarts: int = 0
    acked_lost: int = 0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lay the folder out; nothing runs yet."""
        self.state = self.folder / "agent" if self.state == Path() else self.state
        if self.ledger == Path():
            self.ledger = self.folder / "ledger" / "ledger.db"
        self.ledger.parent.mkdir(exist_ok=True)
        (self.folder / "scenario.toml").write_text(self.scenario)
        self.port = free_port()
        self._epoch_ns = time.time_ns()
        self._witness = self.folder / "witness.jsonl"
        self._read_bytes = 0
        self._starts_before = 0
        self._served_before = 0
        self.account = Account()
        self.agent: subprocess.Popen[bytes] | None = None
        self.collector: subprocess.Popen[bytes] | None = None

    def start_agent(self) -> None:
        """Start the agent, as its service manager would."""
        flags = ["--sensor", "simulated", "--scenario", str(self.folder / "scenario.toml")]
        flags += ["--scenario-epoch", str(self._epoch_ns), "--node", "n0", "--claims-socket", ""]
        flags += ["--state", str(self.state), "--collector", f"{self.host}:{self.port}"]
        flags += ["--sample-period-s", str(SAMPLE_PERIOD_S)]
        flags += ["--report-period-s", str(REPORT_PERIOD_S), "--allow-plaintext"]
        clock = "system" if self.system_clock else "scenario"
        # One that is killed before its first line never shows: count from what is written now.
        self.read_witness()
        self._starts_before = self.account.starts
        words = [sys.executable, str(WITNESS), str(self._witness), clock, "agent", *flags]
        self.agent = self._start([*self.agent_prefix, *words], "agent.log")

    def start_collector(self) -> None:
        """Start the collector, at the same address each time."""
        flags = ["--ledger", str(self.ledger), "--grpc-listen", f"{self.host}:{self.port}"]
        words = command("collector", *flags, "--http-listen", "", "--simulated")
        if self.host != "127.0.0.1":
            words.append("--allow-plaintext")
        self._served_before = self._served()
        self.collector = self._start([*self.collector_prefix, *words], "collector.log")

    def kill_agent(self) -> None:
        """SIGKILL, and start the next one."""
        self.kills += self._kill(self.agent)
        self.restarts += 1
        self.start_agent()

    def kill_collector(self) -> None:
        """SIGKILL, compare what it acknowledged with what it left on the disk, start the next."""
        self.kills += self._kill(self.collector)
        time.sleep(0.05)  # an answer on its way still counts as given
        self.check_acknowledged()
        self.restarts += 1
        self.start_collector()

    def wait_rounds(self, number: int, limit_s: float = 30.0) -> bool:
        """Until the newest agent has read so many rounds; whether it has."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self.read_witness()
            begun = self.account.starts > self._starts_before
            if begun and self.account.rounds_since_start >= number:
                return True
            if self.agent is None or self.agent.poll() is not None:
                return False
            time.sleep(0.02)
        return False

    def wait_until_served(self) -> None:
        """Until the newest collector serves and the newest agent reads, or one of them has ended.

        Only then does the clock of what follows begin: how long a process takes to start is the
        machine's, which may have much else to do.
        """
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            self.read_witness()
            ended = any(
                process is None or process.poll() is not None
                for process in (self.collector, self.agent)
            )
            reads = self.account.starts > self._starts_before
            if ended or (reads and self._served() > self._served_before):
                return
            time.sleep(0.02)

    def _served(self) -> int:
        """How many collectors have said that they serve."""
        log = self.folder / "collector.log"
        return log.read_text(errors="replace").count("collector serves") if log.exists() else 0

    def check_acknowledged(self) -> None:
        """While no collector runs: all that was acknowledged is in the ledger, and true."""
        self.read_witness()
        # Its readings may be newer than what the journal held when it is killed; not so its acks.
        verdict = judge(self.account, self.held())
        if verdict.acked_lost:
            self.acked_lost += verdict.acked_lost
            self.problems.append(f"{verdict.acked_lost} acknowledged keys not in the ledger")

    def read_witness(self) -> None:
        """Bring the account to now."""
        if not self._witness.exists():
            return
        with self._witness.open("rb") as file:
            file.seek(self._read_bytes)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        self.account.take(whole.decode().splitlines())

    def held(self) -> Held:
        """What the ledger holds."""
        if not self.ledger.exists():
            return {}
        try:
            with contextlib.closing(backends.read(str(self.ledger))) as ledger:
                return {
                    (row.key.device, row.key.incarnation, row.key.allocation): (
                        row.sequence,
                        row.vector,
                    )
                    for row in ledger.vectors()
                }
        except FlopmeterError as error:
            # Killed before its ledger was whole: nothing of it can have been acknowledged.
            self.problems += [f"the ledger cannot be read: {error}"] * bool(
                self.account.acknowledged
            )
            return {}

    def settle(self) -> Verdict:
        """With every fault gone: let them run, stop the agent in order, and compare.

        An agent that could not hand over its last readings in time is started once more, and so is
        one that has not yet metered any work; its next readings are part of the account too.
        """
        deadline: float | None = None
        while True:
            for process, start in (
                (self.collector, self.start_collector),
                (self.agent, self.start_agent),
            ):
                if process is None or process.poll() is not None:
                    start()
            self.wait_until_served()
            if deadline is None:
                deadline = time.monotonic() + SETTLE_LIMIT_S
            self._wait_for_answer(deadline)
            self.end_in_order(self.agent, "agent")
            self.read_witness()
            verdict = judge(self.account, self.held())
            compared = verdict.equal and verdict.truth["busy_ns"]
            if compared or verdict.exceeding or time.monotonic() > deadline:
                break
        self.end_in_order(self.collector, "collector")
        return judge(self.account, self.held())

    def result(self, verdict: Verdict) -> Result:
        """All figures, once settled."""
        if not verdict.truth["busy_ns"]:
            self.problems.append("nothing was metered, so nothing is shown")
        for name, cycles in self.account.missing_work().items():
            self.problems.append(f"{cycles} cycles of {name} in no register")
        return Result(
            kills=self.kills,
            restarts=self.restarts,
            acked_lost=self.acked_lost + verdict.acked_lost,
            double_counted=sum(verdict.exceeding.values()),
            in_flight_lost=self.account.dropped,
            longest_in_flight=self.account.longest_drop,
            missing=verdict.lacking,
            refused=len(self.account.refusals),
            problems=[*self.problems, *self.account.problems, *self.account.refusals[:5]],
            truth=verdict.truth,
            ledger=verdict.ledger,
            equal=verdict.equal,
        )

    def _wait_for_answer(self, deadline: float) -> None:
        """Until the newest agent was answered, or the time is over."""
        self.read_witness()
        starts, before = self.account.starts, None
        while time.monotonic() < deadline:
            self.read_witness()
            told = sum(self.account.acknowledged.values())
            if self.account.starts >= starts and before is not None and told > before:
                return
            if self.agent is not None and self.agent.poll() is not None:
                return
            before = told if before is None else before
            time.sleep(0.1)

    def _start(self, words: Sequence[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as output:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            return subprocess.Popen(words, stdout=output, stderr=output, env=environment)

    def end_in_order(self, process: subprocess.Popen[bytes] | None, who: str) -> None:
        """SIGTERM; one that does not end of itself is a problem."""
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(_program(process), signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.problems.append(f"the {who} did not end at SIGTERM")
            self._kill(process)

    @staticmethod
    def _kill(process: subprocess.Popen[bytes] | None) -> bool:
        """SIGKILL it; whether it was running."""
        if process is None or process.poll() is not None:
            return False
        process.kill()
        process.wait()
        return True

    def end(self) -> None:
        """Leave no process behind."""
        self._kill(self.agent)
        self._kill(self.collector)


def _program(process: subprocess.Popen[bytes]) -> int:
    """The process that a signal is meant for: unshare stays the parent of what it started."""
    if process.poll() is None and str(process.args[0]) == "unshare":  # type: ignore[index]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(children[0]) if children else process.pid
    return process.pid


@contextlib.contextmanager
def site(folder: Path, **settings: object) -> Iterator[Site]:
    """A site of which nothing runs on when the block ends."""
    made = Site(folder, **settings)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.end()


@dataclass(frozen=True)
class Result:
    """How a case ended.

    Attributes:
        kills: processes that ran and were ended by SIGKILL.
        restarts: processes started in their place.
        acked_lost: values told durable that a ledger lacked.
        double_counted: units the ledger has above the truth.
        in_flight_lost: rounds of readings that were not journaled when the agent ended; their
            work is in the next difference, for the counters are cumulative.
        longest_in_flight: most of them at one end.
        missing: units the ledger has below the truth, by component.
        refused: true vectors a collector did not take.
        problems: whatever else must not be.
        truth, ledger: units by component.
        equal: whether ledger and truth agree for every owner in every component.
    """

    kills: int
    restarts: int
    acked_lost: int
    double_counted: int
    in_flight_lost: int
    longest_in_flight: int
    missing: Mapping[str, int]
    refused: int
    problems: Sequence[str]
    truth: Mapping[str, int]
    ledger: Mapping[str, int]
    equal: bool

    @property
    def kept(self) -> bool:
        """Whether what is promised held."""
        return (
            self.equal
            and self.acked_lost == 0
            and self.double_counted == 0
            and self.refused == 0
            and not self.problems
        )

    def line(self, **more: object) -> str:
        """One line of JSON."""
        return json.dumps({**more, **asdict(self)})

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Lines of the page: what, measured, promised."""
        yield "processes ended by SIGKILL", str(self.kills), ""
        yield "processes started in their place", str(self.restarts), ""
        yield "acknowledged values missing", str(self.acked_lost), "0"
        yield "units counted twice", str(self.double_counted), "0"
        yield "units missing", str(sum(self.missing.values())), "0"
        yield "true values refused", str(self.refused), "0"
        yield "rounds of readings in flight, found by the next", str(self.in_flight_lost), ""
        yield "most of them at one end of an agent", str(self.longest_in_flight), ""
        yield "other problems", str(len(self.problems)), "0"
        yield "ledger equals truth in every component", "yes" if self.equal else "no", "yes"


def joined(results: Sequence[Result]) -> Result:
    """The sum over several sites."""
    return Result(
        kills=sum(each.kills for each in results),
        restarts=sum(each.restarts for each in results),
        acked_lost=sum(each.acked_lost for each in results),
        double_counted=sum(each.double_counted for each in results),
        in_flight_lost=sum(each.in_flight_lost for each in results),
        longest_in_flight=max((each.longest_in_flight for each in results), default=0),
        missing=_summed([each.missing for each in results]),
        refused=sum(each.refused for each in results),
        problems=[problem for each in results for problem in each.problems],
        truth=_summed([each.truth for each in results]),
        ledger=_summed([each.ledger for each in results]),
        equal=all(each.equal for each in results),
    )


def _summed(amounts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for each in amounts for name in each)
    return {name: sum(each.get(name, 0) for each in amounts) for name in names}
