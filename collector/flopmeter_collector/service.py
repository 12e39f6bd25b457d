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
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from flopmeter_collector.identity import Holder, Identities
from flopmeter_collector.intake import Intake, Refusals
from flopmeter_collector.limits import Pace, Places
from flopmeter_collector.registers import Outcome
from flopmeter_collector.relay.forwarder import Forwarder
from flopmeter_collector.relay.outbox import Watch
from flopmeter_collector.relay.receive import check_path, merge_batch
from flopmeter_core.errors import FlopmeterError, NotPermittedError, StorageError, WireError
from flopmeter_core.registers import Key
from flopmeter_core.reports import (
    Durability,
    Hello,
    KeyedVector,
    LedgerPosition,
    RelayHello,
    Report,
)
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire import DURABILITIES, BatchReader, StreamReader, check_version

logger = logging.getLogger(__name__)

SERVICE_NAME = "flopmeter.ingest.v1.IngestService"

HELLO_DEADLINE_S = 30
"""How long a stream may stay without its first message."""

SLICE = 50
"""Vectors merged before others have their turn: about 1 ms."""

LARGE_REPORT = 200
"""Vectors above which a report is read beside the event loop, waits for other large ones, and is
committed slice by slice: nobody's commit holds more than a slice of it."""

REMEMBERED_REFUSALS = 1_000
"""Refusals of streams that are not logged again; about 300 bytes each."""

NEWEST = (Outcome.NEW, Outcome.ADVANCED, Outcome.DUPLICATE)
"""What becomes of the vectors of a report that says how things stand now."""

Context = grpc.aio.ServicerContext[Any, Any]


class VersionError(WireError):
    """The sender speaks another protocol version; it must be upgraded, or this side."""


class RefusedOnce:
    """Remembers who was refused why: an agent that tries again every second is one line."""

    def __init__(self, limit: int = REMEMBERED_REFUSALS) -> None:
        """Begin with nobody.

        Args:
            limit: pairs of peer and reason remembered; beyond it the oldest is forgotten.
        """
        self._limit = limit
        self._seen: dict[tuple[str, str], None] = {}

    def __len__(self) -> int:
        """How many pairs are remembered."""
        return len(self._seen)

    def first(self, peer: str, reason: str) -> bool:
        """Whether this pair is new; it is remembered from now on."""
        pair = (peer, reason)
        if pair in self._seen:
            return False
        self._seen[pair] = None
        if len(self._seen) > self._limit:
            del self._seen[next(iter(self._seen))]
        return True


class IngestService:
    """Implements IngestService over an intake."""

    def __init__(
        self,
        intake: Callable[[], Intake],
        *,
        places: Places,
        pace: Pace,
        clock: Clock,
        identities: Identities,
        forwarder: Callable[[], Forwarder | None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            intake: gives what takes the vectors: an address is bound before the ledger is
                opened, and calls come after both.
            places: how many streams are served at a time; one more is refused with a sentence.
            pace: holds back a node that sends more than its share.
            clock: tells the pace.
            identities: tells which names a sender may use.
            forwarder: knows what has reached the root; gives None where this ledger is the root's.
        """
        self._opened = intake
        self._places = places
        self._pace = pace
        self._clock = clock
        self._identities = identities
        self._opened_forwarder = forwarder
        self._refused = RefusedOnce()
        self._large = asyncio.Lock()

    @property
    def _intake(self) -> Intake:
        return self._opened()

    @property
    def _forwarder(self) -> Forwarder | None:
        return self._opened_forwarder()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The calls, for a gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {
                "StreamReports": grpc.stream_stream_rpc_method_handler(
                    self.stream_reports,
                    request_deserializer=None,
                    response_serializer=pb.StreamReportsResponse.SerializeToString,
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
        await self._serve(context, self._serve_relay)

    async def _serve(
        self, context: Context, speak: Callable[[bytes, Context, Watch], Awaitable[None]]
    ) -> None:
        # Counted before hello: who connects and says nothing takes a place too.
        address = _host(context.peer())
        reason = self._places.take(address)
        if reason:
            self._note_refusal(context, reason)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, reason)
        watch = self._forwarder.outbox.open_watch() if self._forwarder is not None else Watch()
        try:
            raw = await _first(context)
            if raw is not grpc.aio.EOF:
                await speak(raw, context, watch)
        except FlopmeterError as error:
            if not isinstance(error, StorageError):
                self._note_refusal(context, str(error))
            await _abort(context, error)
        finally:
            self._places.leave(address)
            if self._forwarder is not None:
                self._forwarder.close(watch)

    async def submit_batch(self, raw: bytes, context: Context) -> pb.SubmitBatchResponse:
        """Take one batch of a relay."""
        try:
            batch = _parse_batch(raw)
            self._identities.holder(context.auth_context()).check_relay(batch.relay)
            return await self._take_batch(batch)
        except FlopmeterError as error:
            await _abort(context, error)

    def _note_refusal(self, context: Context, reason: str) -> None:
        """Count a refused stream, and log it where it is the first of its kind."""
        self._intake.counts.refused_streams += 1
        peer = _host(context.peer())
        if self._refused.first(peer, reason):
            logger.warning("stream refused", extra=fields(peer=peer, reason=reason))

    def _log_refusals(self, sender: str, refused: Refusals, quarantined: Refusals) -> None:
        """Log what was not taken of a report, where it is the first of its kind."""
        for event, rows in (("vectors refused", refused), ("vectors quarantined", quarantined)):
            if rows:
                key, reason = next(iter(rows.items()))
                if self._refused.first(sender, reason):
                    told = fields(sender=sender, count=len(rows), device=key.device, reason=reason)
                    logger.warning(event, extra=told)

    async def _serve_agent(self, raw: bytes, context: Context, watch: Watch) -> None:
        reader = StreamReader()
        message = _parse_stream(raw)
        hello = _read_hello(reader, message)
        holder = self._identities.holder(context.auth_context())
        holder.check_node(hello.node)
        following: Any
        self._intake.open_stream(hello)
        try:
            while True:
                # Who reads no answer is waited for here, and nothing more of it is read meanwhile.
                answer = await self._take_turn(reader, hello, message, watch, holder)
                await context.write(answer)
                await self._hold_back(hello.node, message)
                following = await context.read()
                if following is grpc.aio.EOF:
                    return
                message = _parse_stream(following)
                if message.HasField("hello"):
                    raise WireError("hello may stand in the first message of a stream only")
        finally:
            self._intake.close_stream(hello)

    async def _serve_relay(self, raw: bytes, context: Context, watch: Watch) -> None:
        reader = BatchReader()
        message = _parse_batches(raw)
        if message.HasField("hello"):
            _check_version(message.hello.protocol_version)
        hello = reader.hello(message)
        self._identities.holder(context.auth_context()).check_relay(hello.relay)
        self._intake.check_sender(simulated=hello.simulated, sender=f"relay {hello.relay}")
        following: Any
        while True:
            await context.write(await self._take_relayed(reader, hello, message, watch))
            following = await context.read()
            if following is grpc.aio.EOF:
                return
            message = _parse_batches(following)
            if message.HasField("hello"):
                raise WireError("hello may stand in the first message of a stream only")

    async def _take_relayed(
        self, reader: BatchReader, hello: RelayHello, message: pb.StreamBatchesRequest, watch: Watch
    ) -> pb.StreamBatchesResponse:
        batch = reader.batch(message)
        check_path(self._intake.ledger_id, batch.ledger_ids, hello.relay)
        if self._forwarder is not None and batch.ledger_ids:
            self._forwarder.stands_below(watch, batch.ledger_ids)
        await self._intake.know(batch.vectors, batch.hours)
        await self._intake.count_hours(batch.records, batch.hours)
        merged = merge_batch(self._intake, batch)
        position = await self._intake.durable(len(merged.taken))
        self._log_refusals(hello.relay, merged.refused, merged.quarantined)
        return reader.answer(
            batch,
            merged.untaken,
            self._told(position),
            at_root=self._forwarder is None,
            rooted=self._rooted(watch, merged.taken),
            refused_claims=merged.refused_claims,
            refused_hours=merged.refused_hours,
        )

    def _told(self, position: LedgerPosition) -> LedgerPosition:
        """What senders are told of the ledger's position."""
        return position if self._forwarder is None else self._forwarder.position(position)

    def _rooted(self, watch: Watch, taken: Iterable[KeyedVector]) -> dict[Key, int]:
        """What a stream is told to have reached the root beyond this collector."""
        return {} if self._forwarder is None else self._forwarder.rooted(watch, taken)

    async def _hold_back(self, node: str, message: pb.StreamReportsRequest) -> None:
        """Let a node that sends more than its share wait; meanwhile its sender is held by TCP."""
        work = len(message.vectors) + len(message.hourly_vectors) + len(message.claims)
        pause_ns = self._pace.pause_ns(node, work, self._clock.monotonic_ns())
        if pause_ns:
            await asyncio.sleep(pause_ns / NS_PER_S)

    async def _take_turn(
        self,
        reader: StreamReader,
        hello: Hello,
        message: pb.StreamReportsRequest,
        watch: Watch,
        holder: Holder,
    ) -> pb.StreamReportsResponse:
        """Take a report; of large ones one at a time, so that no commit holds many of them."""
        if len(message.vectors) + len(message.hourly_vectors) <= LARGE_REPORT:
            return await self._take_report(reader, hello, message, watch, holder)
        async with self._large:
            return await self._take_report(reader, hello, message, watch, holder)

    async def _take_report(
        self,
        reader: StreamReader,
        hello: Hello,
        message: pb.StreamReportsRequest,
        watch: Watch,
        holder: Holder,
    ) -> pb.StreamReportsResponse:
        intake = self._intake
        if len(message.vectors) + len(message.hourly_vectors) > LARGE_REPORT:
            report = await asyncio.to_thread(reader.report, message)
        else:
            report = reader.report(message)
        intake.check_records(report.records.values())
        await intake.know(report.vectors, report.hours)
        refused: Refusals = {}
        quarantined: Refusals = {}
        large = len(report.vectors) + len(report.hours) > LARGE_REPORT
        strangers = {name: holder.refusal(record.node) for name, record in report.records.items()}
        newest = bool(report.vectors)
        for number, keyed in enumerate(report.vectors, start=1):
            if number % SLICE == 0:
                await self._let_others(large=large)
            # Of an agent that does not say when each vector was read: a closed one may be of
            # an earlier boot, whose length nothing here says.
            running = keyed.key.incarnation == hello.incarnation
            outcome = intake.merge(
                keyed,
                report.records[keyed.key.record],
                boot_ns=report.boot_ns if running else None,
                refused=refused,
                quarantined=quarantined,
                stranger=strangers[keyed.key.record],
            )
            newest = newest and outcome in NEWEST
        if newest:
            intake.note_live(hello, report.boot_ns)
        refused_hours = await self._merge_hours(report, hello, strangers)
        refused_claims = intake.merge_claims(report.claims)
        intake.counts.reports += 1
        intake.seen(hello.node, report.display_flop)
        position = await intake.durable(len(report.vectors) - len(refused) - len(quarantined))
        self._log_refusals(hello.node, refused, quarantined)
        taken = [
            keyed
            for keyed in report.vectors
            if keyed.key not in refused and keyed.key not in quarantined
        ]
        return reader.answer(
            report,
            refused,
            self._told(position),
            at_root=self._forwarder is None,
            rooted=self._rooted(watch, taken),
            refused_hours=refused_hours,
            refused_claims=refused_claims,
            quarantined=quarantined,
        )

    async def _merge_hours(
        self, report: Report, hello: Hello, strangers: Mapping[str, str]
    ) -> dict[tuple[Key, int], str]:
        """Take the hours of a report, after its vectors; returns why some were not taken."""
        refused: dict[tuple[Key, int], str] = {}
        large = len(report.vectors) + len(report.hours) > LARGE_REPORT
        await self._intake.count_hours(report.records, report.hours)
        for number, hourly in enumerate(report.hours, start=1):
            if number % SLICE == 0:
                await self._let_others(large=large)
            running = hourly.key.incarnation == hello.incarnation
            self._intake.merge_hour(
                hourly,
                report.records[hourly.key.record],
                boot_ns=report.boot_ns if running else None,
                refused=refused,
                stranger=strangers[hourly.key.record],
            )
        return refused

    async def _let_others(self, *, large: bool) -> None:
        """Give others their turn between two slices; of a large report, in the ledger too."""
        if large:
            await self._intake.durable(0)
        else:
            await asyncio.sleep(0)

    async def _take_batch(self, batch: pb.SubmitBatchRequest) -> pb.SubmitBatchResponse:
        intake = self._intake
        intake.check_sender(simulated=batch.simulated, sender=f"relay {batch.relay}")
        report = _read_batch(batch)
        intake.check_records(report.records.values())
        refused: Refusals = {}
        quarantined: Refusals = {}
        for keyed, boot_ns in zip(report.vectors, batch.boot_duration_ns, strict=True):
            record = report.records[keyed.key.record]
            intake.merge(keyed, record, boot_ns=boot_ns, refused=refused, quarantined=quarantined)
        intake.counts.batches += 1
        for node in {record.node for record in report.records.values()}:
            intake.seen(node)
        position = await intake.durable(len(report.vectors) - len(refused) - len(quarantined))
        self._log_refusals(batch.relay, refused, quarantined)
        durable = Durability.AT_ROOT if self._forwarder is None else Durability.HERE
        told = self._told(position)
        return _batch_answer(batch, report, refused, quarantined, told, durable)


async def _first(context: Context) -> Any:
    """The first message of a stream, or EOF.

    Raises:
        WireError: none came in time.
    """
    try:
        return await asyncio.wait_for(context.read(), HELLO_DEADLINE_S)
    except TimeoutError:
        raise WireError(f"no hello came within {HELLO_DEADLINE_S} s") from None


def _parse_batches(raw: bytes) -> pb.StreamBatchesRequest:
    try:
        return pb.StreamBatchesRequest.FromString(raw)
    except DecodeError as error:
        raise WireError("the message is no StreamBatchesRequest; check the sender") from error


def _parse_stream(raw: bytes) -> pb.StreamReportsRequest:
    try:
        return pb.StreamReportsRequest.FromString(raw)
    except DecodeError as error:
        raise WireError("the message is no StreamReportsRequest; check the sender") from error


def _parse_batch(raw: bytes) -> pb.SubmitBatchRequest:
    try:
        batch = pb.SubmitBatchRequest.FromString(raw)
    except DecodeError as error:
        raise WireError("the message is no SubmitBatchRequest; check the sender") from error
    _check_version(batch.protocol_version)
    return batch


def _read_hello(reader: StreamReader, message: pb.StreamReportsRequest) -> Hello:
    if message.HasField("hello"):
        _check_version(message.hello.protocol_version)
    return reader.hello(message)


def _check_version(version: int) -> None:
    try:
        check_version(version)
    except WireError as error:
        raise VersionError(str(error)) from error


def _read_batch(batch: pb.SubmitBatchRequest) -> Report:
    """Read a batch as if its rows had come on a stream, so that the same code checks them.

    Raises:
        WireError: columns that do not fit together, or as `StreamReader.report`.
    """
    count = len(batch.keys)
    lengths = {len(column.component_values) for column in batch.columns}
    lengths |= {len(batch.sequences), len(batch.boot_duration_ns)}
    if lengths != {count}:
        raise WireError(f"every column of a batch must have one entry for each of its {count} keys")
    if not batch.columns:
        raise WireError("a batch must have at least one column")
    if len({key.key_number for key in batch.keys}) != count:
        raise WireError("a key number stands twice in the batch")
    message = pb.StreamReportsRequest(device_records=batch.device_records, keys=batch.keys)
    rows = zip(*(column.component_values for column in batch.columns), strict=True)
    for key, sequence, row in zip(batch.keys, batch.sequences, rows, strict=True):
        message.vectors.add(key_number=key.key_number, sequence=sequence, component_values=row)
    if any(boot_ns < 0 for boot_ns in batch.boot_duration_ns):
        raise WireError("a boot_duration_ns of the batch is negative")
    return StreamReader().report(message)


def _batch_answer(
    batch: pb.SubmitBatchRequest,
    report: Report,
    refused: Refusals,
    quarantined: Refusals,
    position: LedgerPosition,
    durable: Durability,
) -> pb.SubmitBatchResponse:
    response = pb.SubmitBatchResponse(
        ledger_id=position.ledger_id,
        ledger_generation=position.generation,
        commit_number=position.commit_number,
    )
    for key, keyed in zip(batch.keys, report.vectors, strict=True):
        durability = DURABILITIES[durable]
        if keyed.key in refused:
            durability = pb.DURABILITY_REFUSED
        elif keyed.key in quarantined:
            durability = pb.DURABILITY_QUARANTINED
        response.acknowledgements.add(
            key_number=key.key_number,
            sequence=keyed.sequence,
            durability=durability,
            reason=refused.get(keyed.key) or quarantined.get(keyed.key, ""),
        )
    return response


def _host(peer: str) -> str:
    """A gRPC peer without its port, which is another with every connection."""
    kind, _, rest = peer.partition(":")
    return peer.rpartition(":")[0] if kind in ("ipv4", "ipv6") and rest else peer


def _status(error: FlopmeterError) -> grpc.StatusCode:
    match error:
        case VersionError():
            return grpc.StatusCode.FAILED_PRECONDITION
        case WireError():
            return grpc.StatusCode.INVALID_ARGUMENT
        case NotPermittedError():
            return grpc.StatusCode.PERMISSION_DENIED
        case StorageError():
            # A retry at another collector, or at this one once it works again, helps.
            return grpc.StatusCode.UNAVAILABLE
    return grpc.StatusCode.INTERNAL


async def _abort(context: Context, error: FlopmeterError) -> NoReturn:
    await context.abort(_status(error), str(error))
    raise AssertionError("abort raises")
