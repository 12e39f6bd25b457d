"""The network between nodes and collectors, as bad as it is told to be.

Owns: streams of messages, what becomes of each message, and which streams are open.
May touch: the simulated loop; serialised messages, never an object of the other side.
Called by the link through its `Dial` seam and by the collector's service through gRPC's context.

TCP hides loss, repetition and disorder from gRPC; nothing hides them from a fleet, where a stream
breaks and an earlier report comes late over another path. So each message may be lost, repeated,
overtaken or held, and a whole stream may be sent again later (`Mail`), as a relay might.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import grpc.aio

from flopmeter.lab.simulation.clock import GROUP, SimulatedLoop, TaskGroup
from flopmeter.lab.simulation.randomness import Randomness
from flopmeter.lab.simulation.versions import Version, between
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.link import parse_answer
from flopmeter_proto.relay_link import parse_batch_answer

Serve = Callable[[Any, Any], Awaitable[None]]
"""`IngestService.stream_reports` or `stream_batches`."""


class Method(enum.Enum):
    """Which call a stream is, with what reads its answers."""

    REPORTS = "reports"
    BATCHES = "batches"


_PARSE = {Method.REPORTS: parse_answer, Method.BATCHES: parse_batch_answer}

USUAL_DELAY_NS = 500_000
KEEPALIVE_NS = 140 * NS_PER_S
"""After how long a server notices that a peer without power is gone (server.py's keepalive)."""

LONGEST_MAIL = 64
"""Messages of one stream that are remembered for sending again."""


@dataclass(slots=True)
class Weather:
    """How bad the network is.

    Attributes:
        loss, repetition: shares of messages.
        longest_delay_ns: messages take up to so long, each by itself.
    """

    loss: float = 0.0
    repetition: float = 0.0
    longest_delay_ns: int = 0


@dataclass(slots=True)
class Mail:
    """A stream as it was sent once, to be delivered once more, to whatever collector."""

    node: str
    method: Method
    messages: list[bytes]


@dataclass(slots=True)
class _Pipe:
    """One direction of a stream."""

    inbox: list[tuple[bytes, int]] = field(default_factory=list)
    ended: bool = False
    waiter: asyncio.Future[None] | None = None
    arrives_ns: int = 0

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def wait(self) -> None:
        self.waiter = asyncio.get_running_loop().create_future()
        await self.waiter


class Network:
    """Every connection of the world."""

    def __init__(
        self,
        loop: SimulatedLoop,
        randomness: Randomness,
        count: Callable[[str], None],
        trace: Callable[..., None],
    ) -> None:
        """Be perfect."""
        self.loop = loop
        self.weather = Weather()
        self.servers: dict[str, tuple[Mapping[Method, Serve], TaskGroup]] = {}
        """The collectors that serve now, by name."""
        self.versions: dict[str, Version] = {}
        self.older: set[str] = set()
        """Who ever was of an earlier version than today's."""
        """Of nodes and collectors that are not of today's."""
        self.cut: set[str] = set()
        self.clogged: dict[str, list[Callable[[], None]]] = {}
        self.mail: list[Mail] = []
        self.keeps_mail = 0.0
        self.commit_index: Callable[[], int] = lambda: 0
        """How many commits were durable; stamped on each answer for the oracle."""
        self.answered: dict[str, tuple[str, int]] = {}
        """Who sent the answer that a node has read last, and that number then."""
        self.trace = trace
        self.count = count
        self._random = randomness
        self._streams: dict[Stream, None] = {}

    @contextlib.asynccontextmanager
    async def dial(
        self, node: str, group: TaskGroup, to: str, method: Method = Method.REPORTS
    ) -> AsyncIterator[ClientCall]:
        """Open a call from a node to a collector; nothing is sent before its first message."""
        stream = Stream(self, node, group, to, method)
        self._streams[stream] = None
        try:
            yield ClientCall(stream)
        finally:
            stream.close_client()

    def serve(self, name: str, serve: Mapping[Method, Serve], group: TaskGroup) -> None:
        """Let a collector take streams."""
        self.servers[name] = (serve, group)

    def stop_serving(self, name: str, *, noticed: bool) -> None:
        """A collector is gone.

        Args:
            name: which.
            noticed: whether its host still tells its peers so; not after a power cut.
        """
        self.servers.pop(name, None)
        for stream in [each for each in self._streams if each.to == name]:
            stream.server_gone(noticed=noticed)

    def node_gone(self, node: str, *, noticed: bool) -> None:
        """A node's process is gone, or all of the node."""
        for stream in [each for each in self._streams if each.node == node]:
            delay_ns = USUAL_DELAY_NS if noticed else KEEPALIVE_NS
            self.loop.after(delay_ns, stream.client_gone)

    def clog(self, node: str) -> None:
        """Hold everything to and from a node."""
        self.clogged.setdefault(node, [])

    def unclog(self, node: str) -> None:
        """Deliver everything that was held for a node."""
        for deliver in self.clogged.pop(node, []):
            self.loop.after(0, deliver)

    def reset(self, name: str) -> None:
        """End the connections of a node or relay: it dials anew."""
        for stream in [each for each in self._streams if each.node == name]:
            stream.end_client(grpc.StatusCode.UNAVAILABLE, "the connection was reset")
            stream.client_gone()

    def heal(self) -> None:
        """Be perfect again, with new connections.

        On an old one answers may stand in line, one for each repetition of a message: TCP knows no
        such line, and a link that waits for one answer would read one that is hours old.
        """
        self.weather = Weather()
        # Today's agents keep hours until somebody takes them; all else goes on between versions.
        self.versions = {
            name: version
            for name, version in self.versions.items()
            if version is not Version.BEFORE_HOURS_AND_CLAIMS
        }
        self.cut.clear()
        self.keeps_mail = 0.0
        for node in list(self.clogged):
            self.unclog(node)
        for name in {stream.node: None for stream in self._streams}:
            self.reset(name)

    def deliver_mail(self) -> None:
        """Send one remembered stream again, to any collector that serves now."""
        if not self.mail or not self.servers:
            return
        mail = self.mail.pop(self._random.below(len(self.mail)))
        to = self._random.choose([*self.servers])
        if to == mail.node:
            return  # no relay gets its own
        self.count("late_stream")
        self.trace("late_stream", mail.node, to, len(mail.messages))
        stream = Stream(self, mail.node, None, to, mail.method)
        stream.is_mail = True
        for message in mail.messages:
            stream.to_server.inbox.append((message, 0))
        stream.to_server.ended = True
        stream.accept()

    def forget(self, stream: Stream) -> None:
        """A stream has ended on both sides."""
        self._streams.pop(stream, None)

    def send(self, node: str, pipe: _Pipe, deliver: Callable[[], None], size: int) -> None:
        """Let one message take its way, or several or none."""
        weather = self.weather
        if node in self.cut:
            self.count("partitioned_message")
            return
        copies = 1
        if weather.loss and self._random.chance(weather.loss):
            self.count("lost_message")
            self.trace("lost", node, size)
            return
        if weather.repetition and self._random.chance(weather.repetition):
            self.count("repeated_message")
            copies = 2
        for _ in range(copies):
            delay_ns = USUAL_DELAY_NS + self._random.below(USUAL_DELAY_NS)
            if weather.longest_delay_ns:
                # Most messages are quick; a few take very long.
                share = self._random.share()
                delay_ns += int(weather.longest_delay_ns * share**8)
                if self.loop.now_ns + delay_ns < pipe.arrives_ns:
                    self.count("overtaken_message")
            else:
                delay_ns = max(delay_ns, pipe.arrives_ns - self.loop.now_ns)
            pipe.arrives_ns = max(pipe.arrives_ns, self.loop.now_ns + delay_ns)
            self.loop.after(delay_ns, self._arrive, node, deliver)

    def _arrive(self, node: str, deliver: Callable[[], None]) -> None:
        if node in self.clogged:
            self.count("clogged_message")
            self.clogged[node].append(deliver)
        elif node in self.cut:
            self.count("partitioned_message")
        else:
            deliver()


class Stream:
    """One bidirectional stream, seen from both sides."""

    def __init__(
        self, network: Network, node: str, client: TaskGroup | None, to: str, method: Method
    ) -> None:
        """Be unconnected."""
        self.network = network
        self.node = node
        self.to = to
        self.method = method
        self.client = client
        self.to_server = _Pipe()
        self.to_client = _Pipe()
        self.status = (grpc.StatusCode.OK, "")
        self.client_open = True
        self.is_mail = False
        self._accepted = False
        self._task: asyncio.Task[Any] | None = None
        self._remembered: list[bytes] = []

    def spoken(self, message: Any, speaker: str, listener: str) -> Any:
        """A message between sides that may be of other versions; relays are all of today's."""
        if self.method is Method.BATCHES or not self.network.versions:
            return message
        versions = self.network.versions
        spoken, heard = (versions.get(name, Version.TODAY) for name in (speaker, listener))
        if spoken is not heard or spoken is not Version.TODAY:
            self.network.count("other_version_message")
        return between(message, spoken, heard)

    def accept(self) -> None:
        """The first message has come: begin to serve."""
        self._accepted = True
        server = self.network.servers.get(self.to)
        if server is None:
            self.end_client(grpc.StatusCode.UNAVAILABLE, "connection refused")
            return
        serve, group = server
        token = GROUP.set(group)
        try:
            self._task = self.network.loop.create_task(self._serve(serve[self.method]))
        finally:
            GROUP.reset(token)

    def end_client(self, code: grpc.StatusCode, details: str) -> None:
        """Tell the client how the stream ended."""
        if not self.to_client.ended:
            self.status = (code, details)
            self.to_client.ended = True
            self.to_client.wake()
        self.network.forget(self)

    def close_client(self) -> None:
        """The client lets go of the stream; a server that can be reached hears of it."""
        if self.client_open:
            self.client_open = False
            if self.client is None or not self.client.dead:
                self.network.send(self.node, self.to_server, self.client_gone, 0)
            self.network.loop.after(KEEPALIVE_NS, self.client_gone)
        self.network.forget(self)

    def client_done(self) -> None:
        """The client sends no more, and waits for the last answer."""
        self.to_server.ended = True
        self.to_server.wake()

    def client_gone(self) -> None:
        """The server hears, or finds out, that nobody is there any more."""
        self.to_server.ended = True
        self.to_server.wake()
        if self._task is not None and not self.is_mail:
            self._task.cancel()

    def server_gone(self, *, noticed: bool) -> None:
        """The server's process is gone."""
        if not self._accepted:
            return
        if noticed:
            self.network.send(
                self.node,
                self.to_client,
                lambda: self.end_client(grpc.StatusCode.UNAVAILABLE, "the connection was reset"),
                0,
            )

    def client_sends(self, message: bytes) -> None:
        """The client has written a message."""
        if self.network.keeps_mail:
            self._remember(message)
        self.network.send(self.node, self.to_server, lambda: self._at_server(message), len(message))

    def server_sends(self, message: bytes) -> None:
        """The server has written a message."""
        index = self.network.commit_index()

        def deliver() -> None:
            if self.client_open and not self.to_client.ended:
                self.to_client.inbox.append((message, index))
                self.to_client.wake()

        if not self.is_mail:
            self.network.send(self.node, self.to_client, deliver, len(message))

    def _at_server(self, message: bytes) -> None:
        if self.to_server.ended:
            return
        self.to_server.inbox.append((message, 0))
        if self._accepted:
            self.to_server.wake()
        else:
            self.accept()

    def _remember(self, message: bytes) -> None:
        if len(self._remembered) >= LONGEST_MAIL:
            return
        self._remembered.append(message)
        network = self.network
        if network._random.chance(network.keeps_mail):
            network.mail.append(Mail(self.node, self.method, list(self._remembered)))

    async def _serve(self, serve: Serve) -> None:
        context = ServerContext(self)
        try:
            await serve(None, context)
        except _AbortedError:
            return
        self._end(grpc.StatusCode.OK, "")

    def _end(self, code: grpc.StatusCode, details: str) -> None:
        if not self.is_mail:
            self.network.send(self.node, self.to_client, lambda: self.end_client(code, details), 0)


class _AbortedError(Exception):
    """A call was aborted with a status."""


class ServerContext:
    """What the collector's service knows of one call, as grpc.aio's ServicerContext."""

    def __init__(self, stream: Stream) -> None:
        """Take over an accepted stream."""
        self._stream = stream

    async def read(self) -> Any:
        """The next message's bytes, or EOF."""
        pipe = self._stream.to_server
        while not pipe.inbox:
            if pipe.ended:
                return grpc.aio.EOF
            await pipe.wait()
        return pipe.inbox.pop(0)[0]

    async def write(self, response: Any) -> None:
        """Send an answer; a large or usual one comes spelled already, as gRPC would take it."""
        stream = self._stream
        if isinstance(response, bytes):
            response = _PARSE[stream.method](response)
        stream.network.trace("answer", stream.node, response.commit_number)
        stream.server_sends(stream.spoken(response, stream.to, stream.node).SerializeToString())

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with a status."""
        self._stream.network.trace("abort", self._stream.node, code.name)
        self._stream._end(code, details)
        raise _AbortedError

    def peer(self) -> str:
        """Who calls."""
        return f"simulated:{self._stream.node}"

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What is known of the caller's certificate: nothing, there is none."""
        return {}


class ClientCall:
    """What the link knows of one call, as `link.Call` asks for it."""

    def __init__(self, stream: Stream) -> None:
        """Take over a new stream."""
        self._stream = stream

    async def write(self, request: Any) -> None:
        """Send a message.

        Raises:
            asyncio.InvalidStateError: the stream has ended.
        """
        if self._stream.to_client.ended:
            raise asyncio.InvalidStateError
        stream = self._stream
        stream.client_sends(stream.spoken(request, stream.node, stream.to).SerializeToString())

    async def read(self) -> Any:
        """The next answer, or EOF."""
        pipe = self._stream.to_client
        while not pipe.inbox:
            if pipe.ended:
                return grpc.aio.EOF
            await pipe.wait()
        message, index = pipe.inbox.pop(0)
        self._stream.network.answered[self._stream.node] = self._stream.to, index
        return _PARSE[self._stream.method](message)

    async def code(self) -> grpc.StatusCode:
        """The status."""
        return self._stream.status[0]

    async def details(self) -> str:
        """The sentence beside it."""
        return self._stream.status[1]

    async def done_writing(self) -> None:
        """End this side."""
        stream = self._stream
        stream.network.send(stream.node, stream.to_server, stream.client_done, 0)

    def cancel(self) -> bool:
        """Give the stream up."""
        self._stream.close_client()
        return True
