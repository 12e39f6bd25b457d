"""Sends reports to a collector over one stream, and brings its answers back.

Owns: connecting, one message in flight, deadlines, back-off and reconnection.
May touch: one gRPC channel; no disk, no clock but the event loop's.
Called by the agent's app, lab.replay and relay_link, which sends batches in the same way;
lab.simulation gives it a channel of its own (`Dial`).
One message is in flight at a time: since vectors are cumulative, whatever changed while an answer
was on its way is in the next one, and an outage of any length costs no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
import grpc.aio

from flopmeter_core.errors import WireError
from flopmeter_core.reports import MAXIMUM_VECTORS_PER_REPORT, Answer, Hello, Report
from flopmeter_proto.daemon.logs import fields
from flopmeter_proto.daemon.trouble import stream_sentence
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.ingest.v1 import ingest_service_pb2_grpc as pb_grpc
from flopmeter_proto.wire.stream import StreamWriter
from flopmeter_proto.wire.values import MAXIMUM_MESSAGE_BYTES

logger = logging.getLogger(__name__)

ANSWER_DEADLINE_S = 30.0
"""A collector that has not answered for this long is treated as gone."""

FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 30.0

_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", MAXIMUM_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAXIMUM_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 60_000),
    # A stream is always open, so that the watch for an idle channel only wakes threads: off.
    ("grpc.client_idle_timeout_ms", 2**31 - 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)

# Statuses that say the sender itself is wrong: sending the same again cannot help.
_FINAL = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
}


class StreamEndedError(Exception):
    """A stream is of no more use.

    Attributes:
        sentence: why, in the collector's own words where it gave any.
        final: whether the sender itself is refused, so that sending the same again cannot help.
    """

    def __init__(self, sentence: str, *, final: bool = False) -> None:
        """Keep the reason."""
        super().__init__(sentence)
        self.sentence = sentence
        self.final = final


class ReportSource(Protocol):
    """Where reports come from and answers go to; the agent's loop."""

    async def next_report(self) -> Report | None:
        """The next report; None when everything is acknowledged."""

    async def acknowledge(self, answer: Answer) -> None:
        """Take an answer."""


class Conversation(Protocol):
    """What is said on one stream, in order; knows messages and no connection."""

    def opening(self) -> Any:
        """The first message."""

    async def following(self) -> Any | None:
        """The next message; None where there is nothing to say now."""

    async def take(self, message: Any) -> None:
        """Take the answer to the last message.

        Raises:
            WireError: it breaks the contract.
        """

    @property
    def more(self) -> bool:
        """Whether the next message need not wait."""

    @property
    def spent(self) -> bool:
        """Whether this stream has to be followed by another."""


class _Reports:
    """An agent's side of a stream."""

    spent = False

    def __init__(self, hello: Hello, source: ReportSource) -> None:
        self._hello = hello
        self._source = source
        self._writer = StreamWriter()
        self.more = False

    def opening(self) -> pb.StreamReportsRequest:
        return self._writer.hello(self._hello)

    async def following(self) -> pb.StreamReportsRequest | None:
        report = await self._source.next_report()
        if report is None:
            return None
        self.more = len(report.vectors) >= MAXIMUM_VECTORS_PER_REPORT
        return self._writer.report(report)

    async def take(self, message: pb.StreamReportsResponse) -> None:
        await self._source.acknowledge(self._writer.answer(message))


@dataclass(slots=True)
class LinkState:
    """What a link says of itself, for metrics and messages.

    Attributes:
        connected: whether a stream is open and its hello was answered.
        refused: whether the other side refused this sender, so that only a person can help.
        reconnections, answers: how often.
        last_error: why the last stream ended; empty once a message is answered.
    """

    connected: bool = False
    refused: bool = False
    reconnections: int = 0
    answers: int = 0
    last_error: str = ""


class Call(Protocol):
    """The few calls a stream makes to its transport; a grpc.aio call is one."""

    async def write(self, request: pb.StreamReportsRequest | pb.StreamBatchesRequest) -> None:
        """Send one message."""

    async def read(self) -> object:
        """The next message, or grpc.aio.EOF when the other side has ended the stream."""

    async def code(self) -> grpc.StatusCode:
        """The status the stream ended with."""

    async def details(self) -> str | None:
        """The sentence beside the status."""

    async def done_writing(self) -> None:
        """End this side of the stream in order."""

    def cancel(self) -> bool:
        """Give the stream up."""


def parse_answer(raw: bytes) -> pb.StreamReportsResponse:
    """An answer as gRPC hands it out, for a transport that carries bytes."""
    return pb.StreamReportsResponse.FromString(raw)


Dial = Callable[[], contextlib.AbstractAsyncContextManager[Call]]
"""Opens one call; leaving the context releases its connection."""


class Link:
    """One agent's way to one collector."""

    _method = "StreamReports"
    _refused = "the collector refuses this agent"
    _away = "the collector cannot be reached"
    _prefix = ""

    def __init__(
        self,
        address: str,
        hello: Callable[[], Hello],
        source: ReportSource,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        jitter: Callable[[], float] = lambda: 0.5,
        longest_backoff_s: float = LONGEST_BACKOFF_S,
        dial: Dial | None = None,
    ) -> None:
        """Prepare a link; nothing is connected yet.

        Args:
            address: ``host:port`` of the collector.
            hello: gives the first message of each stream.
            source: gives reports and takes answers.
            credentials: TLS credentials; None sends in plaintext.
            jitter: a random number in 0..1, drawn before each wait for a reconnection.
            longest_backoff_s: longest mean wait for a reconnection.
            dial: opens a call in place of a gRPC channel to `address`.
        """
        self.state = LinkState()
        self._address = address
        self._begin: Callable[[], Conversation] = lambda: _Reports(hello(), source)
        self._credentials = credentials
        self._jitter = jitter
        self._longest_backoff_s = longest_backoff_s
        self._dial = dial if dial is not None else self._dial_grpc

    async def run(self, *, wait: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        """Report until `stop` is set, over any number of connections.

        Args:
            wait: awaited between two reports, after everything was acknowledged or not.
            stop: ends the link after a last report.
        """
        backoff_s = FIRST_BACKOFF_S
        while not stop.is_set():
            answered = self.state.answers
            try:
                async with self.connect() as stream:
                    while not stop.is_set() and not stream.spent:
                        await stream.exchange_all()
                        await wait()
                    await stream.exchange_all()
            except StreamEndedError as error:
                self._note(error)
                if error.final:
                    backoff_s = self._longest_backoff_s
                elif self.state.answers > answered:
                    # Only an answered report shows that the collector works; a hello does not.
                    backoff_s = FIRST_BACKOFF_S
                self.state.reconnections += 1
                delay_s = backoff_s * (0.5 + self._jitter())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), delay_s)
                backoff_s = min(2 * backoff_s, self._longest_backoff_s)

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Stream]:
        """Open one stream and say hello; yields a `Stream`."""
        async with self._dial() as call:
            stream = Stream(call, self._begin(), self.state)
            try:
                await self._greet(stream)
                yield stream
                await call.done_writing()
            finally:
                self.state.connected = False
                call.cancel()

    async def _greet(self, stream: Stream) -> None:
        """Say hello; where no collector ever spoke, say what that comes from."""
        try:
            await stream.say_hello()
        except StreamEndedError as error:
            if error.final:
                raise
            sentence = stream_sentence(
                error.sentence,
                address=self._address,
                tls=self._credentials is not None,
                prefix=self._prefix,
            )
            raise StreamEndedError(sentence) from error

    @contextlib.asynccontextmanager
    async def _dial_grpc(self) -> AsyncIterator[Call]:
        """Open one call over a gRPC channel of its own."""
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(self._address, options=_CHANNEL_OPTIONS)
        else:
            channel = grpc.aio.secure_channel(
                self._address, self._credentials, options=_CHANNEL_OPTIONS
            )
        async with channel:
            yield getattr(pb_grpc.IngestServiceStub(channel), self._method)(wait_for_ready=False)

    def _note(self, error: StreamEndedError) -> None:
        """Log why a stream ended, once for each new reason."""
        self.state.refused = error.final
        if error.sentence == self.state.last_error:
            return
        self.state.last_error = error.sentence
        extra = fields(collector=self._address, reason=error.sentence)
        if error.final:
            logger.error(self._refused, extra=extra)
        else:
            logger.warning(self._away, extra=extra)


class Stream:
    """One open stream."""

    def __init__(self, call: Call, conversation: Conversation, state: LinkState) -> None:
        """Take over an open call."""
        self._call = call
        self._conversation = conversation
        self._state = state

    @property
    def spent(self) -> bool:
        """Whether another stream has to follow this one."""
        return self._conversation.spent

    async def say_hello(self) -> None:
        """Send the first message and take its answer.

        Raises:
            StreamEndedError: the collector cannot be reached or refuses this sender.
        """
        # The answer says where the ledger stands: it may have gone back since.
        await self._exchange(self._conversation.opening())
        self._state.connected = True
        self._state.refused = False

    async def exchange_all(self) -> None:
        """Send messages until one is not full: a backlog does not wait for the next period.

        Raises:
            StreamEndedError: the stream is of no more use.
        """
        while await self.exchange() and self._conversation.more and not self.spent:
            pass

    async def exchange(self) -> bool:
        """Send one message and take its answer; False when there was nothing to send.

        Raises:
            StreamEndedError: the stream is of no more use.
        """
        message = await self._conversation.following()
        if message is None:
            return False
        await self._exchange(message)
        self._state.answers += 1
        self._state.last_error = ""
        return True

    async def _exchange(self, request: Any) -> None:
        message = await self._answer_to(request)
        try:
            await self._conversation.take(message)
        except WireError as error:
            raise StreamEndedError(str(error), final=True) from error

    async def _answer_to(self, request: Any) -> Any:
        details: str | None
        try:
            await self._call.write(request)
            message = await asyncio.wait_for(self._call.read(), ANSWER_DEADLINE_S)
            if message is not grpc.aio.EOF:
                return message
            code, details = await self._call.code(), await self._call.details()
        except grpc.aio.AioRpcError as error:
            code, details = error.code(), error.details() or ""
        except asyncio.InvalidStateError:  # a write on a call that the collector has ended
            code, details = await self._call.code(), await self._call.details()
        except TimeoutError:
            raise StreamEndedError("the collector did not answer in time") from None
        sentence = details or f"the collector ended the stream ({code.name.lower()})"
        raise StreamEndedError(sentence, final=code in _FINAL)
