"""The collector's side of the wire: streams of reports, and batches of relays.

Owns: the calls of IngestService, and which status a fault of the sender is answered with.
May touch: generated messages and the gRPC context of one call.
Called by grpc.aio, which server.py sets up.
Explained in docs/adr/0005-delivery-and-durability.md.

Requests arrive as bytes and are parsed here: gRPC answers a message it cannot parse with
INTERNAL, as if the fault were ours. Every stream has one message at a time in its hands; what
a sender sends beyond that waits in HTTP/2's flow control, so no queue can grow.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import grpc.aio

from flopmeter_collector.answers import Answers
from flopmeter_collector.calls import Context, abort, checked_version, host_of, status_of
from flopmeter_collector.doubts import Listener
from flopmeter_collector.identity import Holder, Identities
from flopmeter_collector.intake import Intake
from flopmeter_collector.known import KnownKeys
from flopmeter_collector.large import (
    BYTES_PER_WORK,
    LARGE_REPORT,
    LargeReports,
    is_large,
)
from flopmeter_collector.limits import Pace, Places
from flopmeter_collector.receive import (
    LEARNT_AT_ONCE,
    NEW_KEY_WORK,
    in_slices,
    merge_claims,
    merge_hours,
    merge_report,
)
from flopmeter_collector.refusals import RefusedOnce
from flopmeter_collector.relay.forwarder import Forwarder
from flopmeter_collector.relay.outbox import Watch
from flopmeter_collector.relay.roots import Roots
from flopmeter_collector.relay.serving import RelayCalls
from flopmeter_collector.turns import Pause, Turns
from flopmeter_collector.waits import Waits
from flopmeter_core.errors import FlopmeterError, StorageError, WireError
from flopmeter_core.reports import Hello, LedgerPosition
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.doubts import spelled_doubts
from flopmeter_proto.wire.known import KnownReader, KnownReport, known_answer
from flopmeter_proto.wire.parsing import parse_long_reports, parse_reports
from flopmeter_proto.wire.stream import StreamReader

SERVICE_NAME = "flopmeter.ingest.v1.IngestService"

HELLO_DEADLINE_S = 30
"""How long a stream may stay without its first message."""

LONGEST_REST_S = 30
"""Who would have to wait longer for its address' work to be paid off is refused instead."""

STREAM_WORK = 20
"""To open a stream costs as much as so many vectors."""


@dataclass(frozen=True, slots=True)
class _Sender:
    """What is known of an agent's stream."""

    address: str
    reader: StreamReader
    hello: Hello
    watch: Watch
    holder: Holder
    listener: Listener
    known: KnownKeys = field(default_factory=KnownKeys)


class IngestService:
    """Implements IngestService over an intake."""

    def __init__(
        self,
        intake: Callable[[], Intake],
        *,
        places: Places,
        pace: Pace,
        address_pace: Pace,
        turns: Turns,
        clock: Clock,
        identities: Identities,
        forwarder: Callable[[], Forwarder | None] = lambda: None,
        share_port: bool = False,
    ) -> None:
        """Prepare.

        Args:
            intake: gives what takes the vectors: an address is bound before the ledger is
                opened, and calls come after both.
            places: how many streams are served at a time; one more is refused with a sentence.
            pace: holds back a node that sends more than its share.
            address_pace: the same for an address, whatever names are used there.
            turns: lets small reports go before large ones.
            clock: tells the pace.
            identities: tells which names a sender may use.
            forwarder: knows what has reached the root; gives None where this ledger is the root's.
            share_port: whether other processes of the same user that say so too may listen where
                this one does; the kernel then gives each new connection to one of them.
        """
        self.share_port = share_port
        self._opened = intake
        self._places = places
        self._pace = pace
        self._address_pace = address_pace
        self._turns = turns
        self._clock = clock
        self._identities = identities
        self._refused = RefusedOnce()
        self._waits = Waits()
        self._large = LargeReports(turns, address_pace, clock, self._waits)
        self._open: set[asyncio.Task[Any]] = set()
        self._answers = Answers()
        self._usual = KnownReader(LARGE_REPORT)
        self._roots = Roots(forwarder)
        self._relays = RelayCalls(
            intake,
            self._roots,
            turns=turns,
            large=self._large,
            answers=self._answers,
            refused=self._refused,
            identities=identities,
            following=self._next,
            charge=self._charge,
        )

    @property
    def streams_per_address(self) -> int:
        """How many streams one address may have open."""
        return self._places.per_address

    @property
    def _intake(self) -> Intake:
        return self._opened()

    async def end_streams(self, limit_s: float) -> None:
        """End every open stream with a sentence: its sender connects again, here or elsewhere.

        Left to the server, each would wait for the end of its grace and be a warning in the log.

        Args:
            limit_s: how long to wait until the last one is ended.
        """
        self._waits.end()
        if self._open:
            await asyncio.wait(self._open, timeout=limit_s)

    def handlers(self) -> grpc.GenericRpcHandler:
        """The calls, for a gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "StreamReports": grpc.stream_stream_rpc_method_handler(
                    self.stream_reports,
                    request_deserializer=None,
                    response_serializer=_spelled,
                ),
                "StreamBatches": grpc.stream_stream_rpc_method_handler(
                    self.stream_batches,
                    request_deserializer=None,
                    response_serializer=pb.StreamBatchesResponse.SerializeToString,
                ),
                "SubmitBatch": grpc.unary_unary_rpc_method_handler(
                    self.submit_batch,
                    request_deserializer=None,
                    response_serializer=pb.SubmitBatchResponse.SerializeToString,
                ),
            },
        )

    async def stream_reports(self, _requests: object, context: Context) -> None:
        """Serve one agent's stream until it ends it."""
        await self._serve(context, self._serve_agent)

    async def stream_batches(self, _requests: object, context: Context) -> None:
        """Serve one relay's stream until it ends it."""
        await self._serve(context, self._relays.serve)

    async def _serve(
        self, context: Context, speak: Callable[[bytes, Context, Watch], Awaitable[None]]
    ) -> None:
        # Counted before hello: who connects and says nothing takes a place too.
        address = host_of(context.peer())
        reason = self._refusal(address) or self._places.take(address)
        if reason:
            self._note_refusal(context, reason)
            await abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
            return
        watch = self._roots.open_watch()
        own = asyncio.current_task()
        assert own is not None, "a call is a task"
        self._open.add(own)
        own.add_done_callback(self._open.discard)
        try:
            try:
                await self._rest(self._charge(address, STREAM_WORK))
                raw = await self._first(context)
                if raw is not grpc.aio.EOF:
                    await speak(raw, context, watch)
            finally:
                self._places.leave()
                self._roots.close(watch)
        except FlopmeterError as error:
            if not isinstance(error, StorageError):
                self._note_refusal(context, str(error))
            # Where an answer lies unread the status waits behind it until the sender goes away:
            # what gRPC holds of the stream until then counts against its address alone.
            await abort(context, status_of(error), str(error))
        finally:
            self._places.forget(address)

    async def submit_batch(self, raw: bytes, context: Context) -> pb.SubmitBatchResponse:
        """Take one batch of a relay."""
        try:
            reason = self._refusal(host_of(context.peer()))
            if reason:
                await abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
                return pb.SubmitBatchResponse()
            return await self._relays.submit(raw, context)
        except FlopmeterError as error:
            await abort(context, status_of(error), str(error))
            return pb.SubmitBatchResponse()

    def _note_refusal(self, context: Context, reason: str) -> None:
        """Count a refused stream, and log it where it is the first of its kind."""
        self._intake.counts.refused_streams += 1
        self._refused.stream(host_of(context.peer()), reason)

    def _refusal(self, address: str) -> str:
        """Why no stream of an address is taken just now, in one sentence; empty where one is."""
        if self._address_pace.owed_ns(address, self._clock.monotonic_ns()) <= (
            LONGEST_REST_S * NS_PER_S
        ):
            return ""
        return (
            "this address has sent more than its share for long; try again later, or raise "
            "maximum_work_per_address_s where many agents speak through it"
        )

    def _charge(self, address: str, work: int) -> int:
        """Note work of an address; returns how long it has to rest for that, in ns."""
        return self._address_pace.pause_ns(address, work, self._clock.monotonic_ns())

    async def _rest(self, pause_ns: int) -> None:
        """Let a sender wait; meanwhile it is held by HTTP/2's flow control.

        Raises:
            StorageError: this collector is stopping.
        """
        if pause_ns:
            with self._waits.until_stop():
                await asyncio.sleep(pause_ns / NS_PER_S)

    async def _next(self, context: Context) -> Any:
        """The next message of a stream, or EOF.

        Raises:
            StorageError: this collector is stopping.
        """
        with self._waits.until_stop():
            return await context.read()

    async def _first(self, context: Context) -> Any:
        """The first message of a stream, or EOF.

        Raises:
            WireError: none came in time.
            StorageError: this collector is stopping.
        """
        try:
            return await asyncio.wait_for(self._next(context), HELLO_DEADLINE_S)
        except TimeoutError:
            raise WireError(f"no hello came within {HELLO_DEADLINE_S} s") from None

    async def _serve_agent(self, raw: bytes, context: Context, watch: Watch) -> None:
        address = host_of(context.peer())
        reader = StreamReader()
        message = await self._parsed(raw, address)
        hello = _read_hello(reader, message)
        holder = self._identities.holder(context.auth_context())
        holder.check_node(hello.node)
        listener = self._intake.doubts.listen((hello.node,))
        sender = _Sender(address, reader, hello, watch, holder, listener)
        following: Any
        self._intake.open_stream(hello)
        try:
            await self._take_turn(context, sender, message, charged=len(raw) // BYTES_PER_WORK)
            work = work_of(message)
            while True:
                now_ns = self._clock.monotonic_ns()
                pause_ns = self._pace.pause_ns(hello.node, work, now_ns)
                await self._rest(max(pause_ns, self._address_pace.owed_ns(address, now_ns)))
                following = await self._next(context)
                if following is grpc.aio.EOF:
                    return
                work = await self._take_following(context, sender, following)
        finally:
            self._intake.close_stream(hello)

    async def _parsed(self, raw: bytes, address: str) -> pb.StreamReportsRequest:
        """The first message of a stream, whose address is charged for it."""
        if not is_large(raw):
            self._charge(address, len(raw) // BYTES_PER_WORK)
            return parse_reports(raw)
        async with self._large.turn(address, len(raw) // BYTES_PER_WORK):
            return await self._large.beside(functools.partial(parse_long_reports, raw))

    async def _take_turn(
        self, context: Context, sender: _Sender, message: pb.StreamReportsRequest, *, charged: int
    ) -> None:
        """Answer a report: a small one before all else, large ones one at a time."""
        work = work_of(message)
        if work <= LARGE_REPORT:
            if work > charged:
                self._large.charge(sender.address, work - charged)
            with self._turns.answering():
                answer = await self._take_report(sender, message)
        else:
            async with self._large.turn(sender.address, max(0, work - charged)):
                answer = await self._take_report(sender, message, large=True)
        # Nothing more of it is read meanwhile.
        await self._answers.write(context, answer)

    async def _take_following(self, context: Context, sender: _Sender, raw: bytes) -> int:
        """Answer a further report of a stream, as rows where all of it is usual.

        Returns:
            How much work it was.

        Raises:
            WireError: what came is none.
        """
        size = len(raw) // BYTES_PER_WORK
        report = self._usual.read(raw)
        if report is not None and sender.known.take(self._intake, report, sender.hello):
            self._charge(sender.address, size)
            with self._turns.answering():
                position = await self._intake.durable(len(report.numbers))
                answer = self._known_answer(sender, report, position)
            await self._answers.write(context, answer)
            return len(report.numbers)
        if is_large(raw):
            return await self._take_large(context, sender, raw)
        self._charge(sender.address, size)
        message = parse_reports(raw)
        _check_following(message)
        await self._take_turn(context, sender, message, charged=size)
        return work_of(message)

    async def _take_large(self, context: Context, sender: _Sender, raw: bytes) -> int:
        """Answer a further report that is long, in its turn; returns how much work it was."""
        size = len(raw) // BYTES_PER_WORK
        async with self._large.turn(sender.address, size):
            message = await self._large.beside(functools.partial(parse_long_reports, raw))
            _check_following(message)
            work = work_of(message)
            self._large.charge(sender.address, max(0, work - size))
            answer = await self._take_report(sender, message, large=True)
        await self._answers.write(context, answer)
        return work

    def _known_answer(self, sender: _Sender, report: KnownReport, position: LedgerPosition) -> Any:
        """The answer to a report that was taken as rows."""
        fold = self._intake.is_nearly_full(sender.hello.node)
        doubts = self._intake.doubts.tell(sender.listener)
        if self._roots.is_here:
            usual = known_answer(report.numbers, report.sequences, position, fold_users=fold)
            return usual + spelled_doubts(doubts) if doubts else usual
        said, watch = sender.known.said(self._intake, report), sender.watch
        rooted = self._roots.rooted(watch, said.vectors)
        return sender.reader.answer(
            said,
            {},
            self._roots.told(position),
            at_root=False,
            rooted=rooted,
            beside=watch.take_beside([*rooted, *(keyed.key for keyed in said.vectors)]),
            doubts=doubts,
            fold_users=fold,
        )

    async def _take_report(
        self, sender: _Sender, message: pb.StreamReportsRequest, *, large: bool = False
    ) -> pb.StreamReportsResponse | bytes:
        reader, hello, watch = sender.reader, sender.hello, sender.watch
        intake = self._intake
        give_way = functools.partial(self._let_others, large=large)
        report = (
            await self._large.beside(functools.partial(reader.report, message))
            if large
            else reader.report(message)
        )
        intake.check_records(report.records.values())
        await intake.know(report.records, report.vectors, report.hours)
        strangers = sender.holder.strangers(report.records.values())
        merged = await merge_report(intake, report, hello, strangers, give_way, sender.listener)
        async for taken in in_slices(merged.taken, LEARNT_AT_ONCE, give_way):
            sender.known.learn(intake, taken, reader.number)
        if merged.newest:
            intake.note_live(hello, report.boot_ns)
        if merged.contested:
            # Nobody can say yet whose hours these are; they are offered again.
            left = tuple(hourly for hourly in report.hours if hourly.key not in merged.contested)
            report = replace(report, hours=left)
        refused_hours = await merge_hours(intake, report, hello, strangers, give_way)
        refused_claims = await merge_claims(intake, report.claims, give_way)
        intake.counts.reports += 1
        intake.seen(hello.node, report.display_flop)
        position = await intake.durable(len(merged.taken))
        self._refused.vectors(hello.node, merged.refused, merged.quarantined)
        rooted = self._roots.rooted(watch, merged.taken)
        answer = functools.partial(
            reader.answer,
            report,
            merged.refused,
            self._roots.told(position),
            at_root=self._roots.is_here,
            rooted=rooted,
            beside=watch.take_beside([*rooted, *(keyed.key for keyed in merged.taken)]),
            doubts=intake.doubts.tell(sender.listener),
            contested=merged.contested,
            held=merged.held,
            refused_hours=refused_hours,
            refused_claims=refused_claims,
            quarantined=merged.quarantined,
            fold_users=intake.is_nearly_full(hello.node),
        )
        if not large:
            return answer()
        spelled = await self._large.beside(functools.partial(_spell, answer))
        gone = list(report.vectors)
        del report, merged, answer
        await self._large.let_go(gone, give_way)
        return spelled

    async def _let_others(self, *, large: bool) -> None:
        """Give others their turn between two slices; of a large report, in the ledger too."""
        if large:
            await self._turns.give_way()
            await self._intake.durable(0)
        else:
            # To wait until nobody is being answered would be to wait for itself.
            await asyncio.sleep(0)


def _spelled(answer: pb.StreamReportsResponse | bytes) -> bytes:
    """An answer as it is sent; that to a usual report is spelled already."""
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


def _spell(answer: Callable[..., pb.StreamReportsResponse], pause: Pause) -> bytes:
    """A large answer, in a thread."""
    return answer(pause=pause).SerializeToString()


def _check_following(message: pb.StreamReportsRequest) -> None:
    if message.HasField("hello"):
        raise WireError("hello may stand in the first message of a stream only")


def _read_hello(reader: StreamReader, message: pb.StreamReportsRequest) -> Hello:
    if message.HasField("hello"):
        checked_version(message.hello.protocol_version)
    return reader.hello(message)


def work_of(message: pb.StreamReportsRequest) -> int:
    """How much is to do for a message, in vectors that are known already."""
    rows = len(message.vectors) + len(message.hourly_vectors) + len(message.claims)
    return rows + NEW_KEY_WORK * (len(message.keys) + len(message.device_records))
