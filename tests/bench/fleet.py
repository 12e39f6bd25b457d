"""Measures a collector with a whole fleet connected, beside a bare gRPC echo of the same messages.

Owns: the cases of a fleet, build/fleet.json, and their part of docs/scaling.md.
May touch: child processes and sockets on loopback, a temporary folder, build/ and docs/scaling.md.
Called by ``make bench-fleet``; ``AGENTS=1000`` makes the fleet a tenth, for a try.

10,000 agents are really connected; the other 20,000 of the fleet have streams of their own on 500
connections. Collector and load have a core each, at a priority above other work where they may;
what other work does to single seconds is taken out by medians of seconds. Processor time is that of
the collector's process, all threads.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from bench.collector_cases import DEVICES, ECHO, processor_s  # noqa: E402
from bench.fleet_load import Plan  # noqa: E402
from bench.result import Result, table  # noqa: E402
from support.certificates import Authority  # noqa: E402
from support.collector import command  # noqa: E402
from support.page_part import put  # noqa: E402

AGENTS = int(os.environ.get("AGENTS", "10000"))
PERIOD_S = 10.0
SECONDS = 15.0
ENROLMENT_LIMIT_S = 180.0
TLS_AGENTS = max(100, AGENTS // 10)
PRIORITY = -15
CORE_OF_SERVER, CORE_OF_LOAD = 0, 1

SHARE_OF_A_CORE = 0.75
"""What a collector may take of a core for its fleet; what a report may take follows from it."""

LIMITS = (
    "--maximum-streams",
    "100000",
    "--maximum-streams-per-address",
    "100000",
    "--maximum-work-per-address-s",
    "0",
)
"""All agents of this machine have one address."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves, and where."""

    pid: int
    port: int
    http: str = ""

    @property
    def rss_kib(self) -> int:
        """Its resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def metric(self, name: str) -> float:
        """A metric without labels."""
        found = re.search(rf"^{name} (\S+)$", self.scrape(), re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def scrape(self) -> str:
        """The exposition."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=60) as response:
            text: str = response.read().decode()
            return text


@contextlib.contextmanager
def collector(folder: str, *flags: str) -> Iterator[Server]:
    """A collector as it is installed, with a ledger in a folder."""
    arguments = ["collector", "--ledger", f"{folder}/ledger.db", "--grpc-listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        command(*arguments, "--http-listen", "127.0.0.1:0", *LIMITS, *flags),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: _prefer(CORE_OF_SERVER),
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if found := re.search(r"collector serves .*?grpc=\S+:(\d+) http=(\S+)", line):
                break
        else:
            raise AssertionError(f"the collector ended with {process.wait()}")
        # A full pipe of log lines would hold the collector up.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield Server(process.pid, int(found[1]), found[2])
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def echo() -> Iterator[Server]:
    """A bare gRPC server that reads the same messages and answers each with none."""
    process = subprocess.Popen(
        [sys.executable, "-c", ECHO],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: _prefer(CORE_OF_SERVER),
    )
    try:
        assert process.stdout is not None
        yield Server(process.pid, int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(60)


def _prefer(core: int) -> None:
    """Take a core and a priority above other work, where that is allowed."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {core})
    with contextlib.suppress(PermissionError):
        os.nice(PRIORITY)


class Load:
    """The process of the agents."""

    def __init__(self, plan: Plan) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.fleet_load", json.dumps(asdict(plan))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
            preexec_fn=lambda: _prefer(CORE_OF_LOAD),
        )

    def does(self, line: str) -> Any:
        """Let it do something, and wait for what it says."""
        self.begin(line)
        return self.done()

    def begin(self, line: str) -> None:
        """Let it do something meanwhile."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def done(self) -> Any:
        """What it says in the end."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said, "the load ended; what it wrote on standard error says why"
        return json.loads(said)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)


@contextlib.contextmanager
def load(plan: Plan) -> Iterator[Load]:
    """Agents that are gone at the end."""
    started = Load(plan)
    try:
        yield started
    finally:
        started.close()


def fleet(port: int) -> Plan:
    """Three times as many nodes as are really connected, each reporting every ten seconds."""
    return Plan(port, AGENTS, 2 * AGENTS, max(1, AGENTS // 20), period_s=PERIOD_S)


def connected(server: Server, agents: Load, nodes: int) -> tuple[float, float]:
    """Connect everybody; gives memory in KiB and processor time in ms a connection."""
    rss_kib, spent_s = server.rss_kib, processor_s(server.pid)
    agents.does("hello")
    return (
        (server.rss_kib - rss_kib) / nodes,
        (processor_s(server.pid) - spent_s) / nodes * 1e3,
    )


@dataclass(frozen=True, slots=True)
class Paced:
    """A fleet that reports."""

    report_us: float
    busy: float
    p99_ms: float
    all_p99_ms: float
    rate: float


def paced(server: Server, agents: Load, seconds: float = SECONDS) -> Paced:
    """Let everybody report for a while."""
    before_s, began = processor_s(server.pid), time.monotonic()
    waits = agents.does(f"report {seconds}")
    spent_s, took_s = processor_s(server.pid) - before_s, time.monotonic() - began
    return Paced(
        spent_s / waits["answered"] * 1e6,
        spent_s / took_s,
        waits["second_p99_ms"],
        waits["p99_ms"],
        waits["answered"] / waits["took_s"],
    )


def enrolled(server: Server, agents: Load, nodes: int) -> None:
    """Connect everybody, and wait until the totals have the whole fleet.

    What a fleet costs the first time, it costs once: 240,000 registers take some rounds.
    """
    connected(server, agents, nodes)
    agents.does("state")
    deadline = time.monotonic() + ENROLMENT_LIMIT_S
    while server.metric("flopmeter_enrolled_devices") < DEVICES * nodes:
        assert time.monotonic() < deadline, "the totals never had the whole fleet"
        time.sleep(1.0)


def connected_fleet() -> list[Result]:
    """10,000 agents on connections of their own; scraped; and all of them come back at once."""
    plan = partial(Plan, direct=AGENTS, period_s=PERIOD_S)
    with echo() as server, load(plan(server.port)) as agents:
        connected(server, agents, AGENTS)
        bare = paced(server, agents)
    with tempfile.TemporaryDirectory() as folder, collector(folder) as server:
        with load(plan(server.port)) as agents:
            enrolled(server, agents, AGENTS)
            agents.does(f"report {PERIOD_S}")
            ours = paced(server, agents)
            scraped = _beside_scrapes(server, agents)
        silent = server.metric("flopmeter_silent_devices")
        storm_s = _storm(server)
        silent = max(silent, server.metric("flopmeter_silent_devices"))
    return [
        *_lines(AGENTS, ", each connected", ours, bare),
        Result(
            "the same beside a scrape a second: p99 of the answer",
            scraped.p99_ms,
            "ms",
            ours.p99_ms,
            "without",
            1.2 * ours.p99_ms,
        ),
        Result(
            f"{AGENTS} agents come back at once: until all are answered",
            storm_s,
            "s",
            60,
            "budget",
            60,
        ),
        Result("devices said to be silent meanwhile", silent, "devices", 1, "one", 0),
    ]


def whole_fleet() -> list[Result]:
    """30,000 nodes, of which 10,000 have connections of their own."""
    with echo() as server, load(fleet(server.port)) as agents:
        connected(server, agents, AGENTS)
        bare = paced(server, agents)
    with (
        tempfile.TemporaryDirectory() as folder,
        collector(folder) as server,
        load(fleet(server.port)) as agents,
    ):
        enrolled(server, agents, 3 * AGENTS)
        agents.does(f"report {PERIOD_S}")
        ours = paced(server, agents)
    return _lines(3 * AGENTS, "", ours, bare)


def _lines(nodes: int, how: str, ours: Paced, bare: Paced) -> list[Result]:
    name = f"{nodes} nodes every {PERIOD_S:.0f} s{how}"
    return [
        Result(
            f"{name}: processor time a report",
            ours.report_us,
            "us",
            bare.report_us,
            "echo",
            SHARE_OF_A_CORE * 1e6 * PERIOD_S / nodes,
        ),
        Result(f"{name}: of a core", ours.busy, "cores", bare.busy, "echo", SHARE_OF_A_CORE),
        Result(
            f"{name}: reports answered a second", ours.rate, "a second", bare.rate, "echo", None
        ),
        Result(f"{name}: p99 of the answer", ours.p99_ms, "ms", bare.p99_ms, "echo", 50),
        Result(
            f"{name}: p99 of all seconds together",
            ours.all_p99_ms,
            "ms",
            bare.all_p99_ms,
            "echo",
            50,
        ),
    ]


def _beside_scrapes(server: Server, agents: Load) -> Paced:
    """The same reports, while Prometheus asks each second."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(1.0):
            server.scrape()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        return paced(server, agents, SECONDS / 2)
    finally:
        over.set()
        asking.join(60)


def _storm(server: Server) -> float:
    """Every agent connects anew and states what it has; gives the time that takes in s."""
    plan = Plan(server.port, AGENTS, opening=AGENTS, period_s=PERIOD_S)
    with load(plan) as agents:
        return float(agents.does("open"))


def memory() -> list[Result]:
    """What a connected agent takes before it reports anything, plain and with TLS both ways."""
    results = []
    with echo() as server, load(Plan(server.port, AGENTS)) as agents:
        bare_kib, bare_ms = connected(server, agents, AGENTS)
    with (
        tempfile.TemporaryDirectory() as folder,
        collector(folder) as server,
        load(Plan(server.port, AGENTS)) as agents,
    ):
        kib, spent_ms = connected(server, agents, AGENTS)
        rss_kib = server.rss_kib
        agents.does("state")
        keys_kib = (server.rss_kib - rss_kib) / AGENTS
    results += [
        Result("memory a connection, plain", kib, "KiB", bare_kib, "echo", 45),
        Result("processor time a connection, plain", spent_ms, "ms", bare_ms, "echo", 3),
        Result("memory of a node's 8 registers beside it", keys_kib, "KiB", bare_kib, "echo", 40),
    ]
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder), "authority")
        own, agent = authority.sign("collector"), authority.sign("agent")
        flags = (
            f"--tls-cert={own.certificate}",
            f"--tls-key={own.key}",
            f"--tls-client-ca={authority.certificate}",
            "--no-node-names-from-certificates",
        )
        shown = (str(authority.certificate), str(agent.certificate), str(agent.key))
        with (
            collector(folder, *flags) as server,
            load(Plan(server.port, TLS_AGENTS, tls=shown)) as agents,
        ):
            kib, spent_ms = connected(server, agents, TLS_AGENTS)
    results += [
        Result("memory a connection, TLS both ways", kib, "KiB", bare_kib, "plain echo", 100),
        Result("processor time a connection, TLS", spent_ms, "ms", bare_ms, "plain echo", 6),
    ]
    return results


def page(results: Sequence[Result], load_average: float) -> str:
    """The part of docs/scaling.md."""
    day = datetime.datetime.now(datetime.UTC).date()
    return (
        f"Measured {day} by `make bench-fleet` on {os.cpu_count()} cores, load average "
        f"{load_average:.1f} by other work at the start; p99 is the median of the seconds' p99 "
        f"where nothing else is said.\n\n{table(results)}\n"
    )


CASES = {"connected": connected_fleet, "fleet": whole_fleet, "memory": memory}


def _say(results: list[Result]) -> list[Result]:
    """Print lines as they come: a fleet takes minutes."""
    for result in results:
        sys.stderr.write(f"{result.name}: {result.value:.3g} {result.unit}\n")
    return results


def main() -> int:
    """Measure, print, write."""
    began = os.getloadavg()[0]
    wanted = sys.argv[1:] or list(CASES)
    results: list[Result] = []
    for name, cases in CASES.items():
        if name in wanted:
            results += _say(cases())
    text = page(results, began)
    print(text)
    build = TESTS.parent / "build"
    build.mkdir(exist_ok=True)
    rows = [result.to_json() for result in results]
    (build / "fleet.json").write_text(json.dumps(rows, indent=1) + "\n")
    if AGENTS == 10_000 and not sys.argv[1:]:
        put(TESTS.parent / "docs" / "scaling.md", "fleet", text)
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
