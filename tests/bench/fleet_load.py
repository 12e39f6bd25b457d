"""A fleet of agents in one process: ``python -m bench.fleet_load PLAN``, told by lines what to do.

Owns: the nodes' messages, when each is due, and how long its answer took.
May touch: connections to the collector it is given; standard input and output.
Called by fleet (``make bench-fleet``), which reads what the collector costs meanwhile.

Every node has a stream of its own with one report in flight, as an agent has. The first nodes have
a connection of their own too; the others share some, so that a machine with few file descriptors
can speak for a large fleet.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import random
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from bench.collector_cases import Node  # noqa: E402
from bench.raw_streams import RawConnection, RawStream, connect  # noqa: E402
from flopmeter_core.reports import Hello  # noqa: E402
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb  # noqa: E402
from flopmeter_proto.link import FIRST_BACKOFF_S, LONGEST_BACKOFF_S  # noqa: E402
from flopmeter_proto.wire.stream import StreamWriter  # noqa: E402

METHOD = "/flopmeter.ingest.v1.IngestService/StreamReports"
TICK_S = 0.002
NODE = b"node-000000"
INCARNATION = bytes(range(16))


@dataclass(frozen=True, slots=True)
class Plan:
    """A fleet.

    Attributes:
        port: of the collector, on 127.0.0.1.
        direct: nodes with a connection of their own.
        shared: nodes that share connections.
        shared_connections: how many those share.
        period_s: between two reports of a node.
        live_keys: of a device.
        opening: connections opened at a time.
        answers: whether a server answers with reports' acknowledgements; a bare echo does not.
        tls: PEM files of the authority, the certificate and its key; none speaks plaintext.
    """

    port: int
    direct: int
    shared: int = 0
    shared_connections: int = 1
    period_s: float = 10.0
    live_keys: int = 1
    opening: int = 64
    answers: bool = True
    tls: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Waits:
    """What a while of reports gave; waits in ms from the write of a report to its answer.

    Attributes:
        answered: reports answered.
        skipped: reports that were due while the one before was not answered.
        took_s: how long it went on.
        p50_ms, p99_ms, p999_ms: of all waits.
        second_p99_ms: the median of the p99 of each second: what other work on the machine did
            to a few seconds does not show in it.
        late_p99_ms: how late this process itself was to write what was due.
    """

    answered: int
    skipped: int
    took_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    second_p99_ms: float
    late_p99_ms: float


class Messages:
    """The bytes of every node's messages; they differ in names alone, all of one length."""

    def __init__(self, live_keys: int, period_s: float) -> None:
        """Spell out those of one node."""
        self._step_ms = int(period_s * 1e3)
        self._writer = StreamWriter()
        self._node = Node(NODE.decode(), live_keys)
        greeting = Hello(node=NODE.decode(), incarnation=INCARNATION.hex(), simulated=False)
        self._hello = self._writer.hello(greeting).SerializeToString()
        first = self._writer.report(self._node.report(1, self._step_ms))
        for key in first.keys:
            key.incarnation = INCARNATION
        self._first = first.SerializeToString()
        self.following = functools.lru_cache(maxsize=64)(self._following)

    def hello(self, number: int) -> bytes:
        """The first message of a node's stream."""
        return _named(self._hello, number)

    def first(self, number: int) -> bytes:
        """The report that states a node's keys."""
        return _named(self._first, number)

    def _following(self, sequence: int) -> bytes:
        return self._writer.report(self._node.report(sequence, self._step_ms)).SerializeToString()


def _named(raw: bytes, number: int) -> bytes:
    name = b"node-%06d" % number
    return raw.replace(NODE, name).replace(INCARNATION, number.to_bytes(16, "big"))


class Agent:
    """One node's side of its stream."""

    __slots__ = ("_answers", "_messages", "_stream", "number", "sent_s", "sequence", "told")

    def __init__(self, number: int, messages: Messages, waits: list[tuple[float, float]]) -> None:
        """Prepare."""
        self.number = number
        self.sequence = 0
        self.sent_s = 0.0
        """When the report in flight was written; 0 while none is."""
        self.told: asyncio.Future[bytes] | None = None
        self._messages = messages
        self._answers = waits
        self._stream: RawStream | None = None

    def answered(self, raw: bytes) -> None:
        """Take an answer."""
        now = time.monotonic()
        if self.told is not None and not self.told.done():
            self.told.set_result(raw)
        elif self.sent_s:
            self._answers.append((now, now - self.sent_s))
        self.sent_s = 0.0

    async def open(self, connection: RawConnection, *, first: bool) -> None:
        """Open the stream, say hello and, if asked to, state every key."""
        self._stream = connection.open(self.answered)
        await self._say(self._messages.hello(self.number))
        if first:
            await self.state()

    async def state(self) -> None:
        """State every key."""
        raw = await self._say(self._messages.first(self.number))
        self.sequence = 1
        if not raw:
            return
        refused = [
            ack.reason
            for ack in pb.StreamReportsResponse.FromString(raw).acknowledgements
            if ack.reason
        ]
        assert not refused, refused[0]

    def report(self, now: float) -> bool:
        """Send the next report; False where the one before is not answered."""
        if self.sent_s:
            return False
        assert self._stream is not None
        self.sequence += 1
        self.sent_s = now
        self._stream.send(self._messages.following(self.sequence))
        return True

    async def _say(self, raw: bytes) -> bytes:
        assert self._stream is not None
        self.told = asyncio.get_running_loop().create_future()
        self._stream.send(raw)
        try:
            return await self.told
        finally:
            self.told = None


class Fleet:
    """All agents."""

    def __init__(self, plan: Plan) -> None:
        """Prepare."""
        self._plan = plan
        self._tls = _context(plan.tls) if plan.tls else None
        self._messages = Messages(plan.live_keys, plan.period_s)
        self._answers: list[tuple[float, float]] = []
        self._connections: list[RawConnection] = []
        self.agents = [
            Agent(number, self._messages, self._answers)
            for number in range(plan.direct + plan.shared)
        ]
        self.faults: list[str] = []
        self.retries = 0
        self._epoch_s = 0.0

    async def open(self, *, first: bool) -> float:
        """Connect everybody; gives the time it took in s."""
        began = time.monotonic()
        plan, agents = self._plan, self.agents
        groups = [[agent] for agent in agents[: plan.direct]]
        others = agents[plan.direct :]
        groups += [
            others[start :: plan.shared_connections]
            for start in range(min(plan.shared_connections, len(others)))
        ]
        waiting = iter(groups)

        async def work() -> None:
            for group in waiting:
                backoff_s = FIRST_BACKOFF_S
                while not await self._opened(group, first=first):
                    # As an agent's link does.
                    self.retries += 1
                    await asyncio.sleep(backoff_s * (0.5 + random.random()))
                    backoff_s = min(2 * backoff_s, LONGEST_BACKOFF_S)

        await self._watched(asyncio.gather(*(work() for _ in range(plan.opening))))
        return time.monotonic() - began

    async def state(self) -> float:
        """State everybody's keys; gives the time it took in s."""
        began = time.monotonic()
        waiting = iter(self.agents)

        async def work() -> None:
            for agent in waiting:
                await agent.state()

        await self._watched(asyncio.gather(*(work() for _ in range(self._plan.opening))))
        return time.monotonic() - began

    async def report(self, seconds: float) -> Waits:
        """Let each node report at its own phase of the period, for so long."""
        self._answers.clear()
        agents, period_s = self.agents, self._plan.period_s
        lags: list[float] = []
        skipped = 0
        began = time.monotonic()
        # Phases go on from call to call: a node that came sooner would have a clock that runs fast.
        self._epoch_s = self._epoch_s or began
        sent = math.ceil((began - self._epoch_s) / period_s * len(agents))
        while (now := time.monotonic()) - began < seconds:
            self._check()
            due = int((now - self._epoch_s) / period_s * len(agents))
            while sent < due:
                lags.append(now - self._epoch_s - sent * period_s / len(agents))
                skipped += not agents[sent % len(agents)].report(now)
                sent += 1
            await asyncio.sleep(TICK_S)
        await asyncio.sleep(min(2.0, period_s / 2))
        return _summary(self._answers, lags, skipped, time.monotonic() - began)

    def close(self) -> None:
        """End every connection."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    async def _opened(self, group: list[Agent], *, first: bool) -> bool:
        """Open a connection and its agents' streams; False where the collector had no room."""

        def ended(reason: str) -> None:
            waiting = [agent.told for agent in group if agent.told and not agent.told.done()]
            for told in waiting:
                told.set_exception(ConnectionError(reason))
            if not waiting:
                self.faults.append(reason)

        try:
            connection = await connect("127.0.0.1", self._plan.port, METHOD, ended, self._tls)
        except ConnectionError:
            return False  # a full queue of the listening socket shows so
        try:
            for agent in group:
                await agent.open(connection, first=first)
        except ConnectionError:
            connection.close()
            return False
        self._connections.append(connection)
        return True

    async def _watched(self, work: asyncio.Future[Any]) -> None:
        while not (await asyncio.wait({work}, timeout=0.5))[0]:
            self._check()
        await work

    def _check(self) -> None:
        assert not self.faults, f"{len(self.faults)} streams ended: {self.faults[0]}"


def _context(tls: tuple[str, str, str]) -> ssl.SSLContext:
    authority, certificate, key = tls
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    return context


def quantile(sorted_values: list[float], share: float) -> float:
    """The value that so many do not exceed."""
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


def _summary(
    answers: list[tuple[float, float]], lags: list[float], skipped: int, took_s: float
) -> Waits:
    waits = sorted(wait for _, wait in answers)
    seconds: dict[int, list[float]] = {}
    for at, wait in answers:
        seconds.setdefault(int(at), []).append(wait)
    p99s = sorted(quantile(sorted(each), 0.99) for each in seconds.values())
    p50, p99, p999 = (quantile(waits, share) * 1e3 for share in (0.5, 0.99, 0.999))
    second = quantile(p99s, 0.5) * 1e3
    return Waits(
        len(waits), skipped, took_s, p50, p99, p999, second, quantile(sorted(lags), 0.99) * 1e3
    )


async def _obey(plan: Plan) -> None:
    """Do what lines say, and answer each with a line of JSON."""
    fleet = Fleet(plan)
    does: dict[str, Callable[..., Any]] = {
        "open": lambda: fleet.open(first=True),
        "hello": lambda: fleet.open(first=False),
        "state": fleet.state,
        "report": lambda seconds: fleet.report(float(seconds)),
    }
    while line := await asyncio.to_thread(sys.stdin.readline):
        word, *arguments = line.split()
        if word == "close":
            fleet.close()
            fleet = Fleet(plan)
            found: Any = None
        else:
            found = await does[word](*arguments)
        if isinstance(found, Waits):
            found = asdict(found)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


def main() -> None:
    """PLAN: a `Plan` as JSON."""
    wanted = json.loads(sys.argv[1])
    wanted["tls"] = tuple(wanted["tls"]) if wanted.get("tls") else None
    asyncio.run(_obey(Plan(**wanted)))


if __name__ == "__main__":
    main()
