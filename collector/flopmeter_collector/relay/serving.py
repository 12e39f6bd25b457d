"""A relay's calls: its stream of batches, and one batch by itself.

Owns: how a relay's message is read, taken and answered, and what one costs that is none.
May touch: the intake it is given and the gRPC context of one call.
Called by the service, which opens and ends streams and spells faults. Explained in docs/relays.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio

from flopmeter_collector.answers import Answers
from flopmeter_collector.calls import Context, checked_version, host_of
from flopmeter_collector.identity import Identities
from flopmeter_collector.intake import Intake, Refusals
from flopmeter_collector.large import BYTES_PER_WORK, LargeReports
from flopmeter_collector.refusals import RefusedOnce
from flopmeter_collector.relay.known import Received
from flopmeter_collector.relay.outbox import Watch
from flopmeter_collector.relay.receive import Seen, ask_others, check_path, merge_batch
from flopmeter_collector.relay.roots import Roots
from flopmeter_collector.turns import Turns
from flopmeter_core.batches import RelayHello
from flopmeter_core.errors import NotPermittedError, WireError
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.batch import BatchReader
from flopmeter_proto.wire.parsing import (
    parse_batches,
    parse_long_batches,
    parse_long_submitted,
    parse_submitted,
)
from flopmeter_proto.wire.submitted import answer_submitted, read_submitted


class RelayCalls:
    """Serves relays over an intake."""

    def __init__(
        self,
        intake: Callable[[], Intake],
        roots: Roots,
        *,
        turns: Turns,
        large: LargeReports,
        answers: Answers,
        refused: RefusedOnce,
        identities: Identities,
        following: Callable[[Context], Awaitable[Any]],
        charge: Callable[[str, int], int],
    ) -> None:
        """Prepare; all of it is the service's.

        Args:
            intake: gives what takes the vectors.
            roots: what lies behind this ledger.
            turns: lets agents go before relays.
            large: builds messages of many parts in steps.
            answers: writes answers.
            refused: logs what was not taken.
            identities: tells which names a sender may use.
            following: the next message of a stream, or EOF.
            charge: notes work of an address.
        """
        self._opened = intake
        self._roots = roots
        self._turns = turns
        self._large = large
        self._answers = answers
        self._refused = refused
        self._identities = identities
        self._following = following
        self._charge = charge

    @property
    def _intake(self) -> Intake:
        return self._opened()

    async def serve(self, raw: bytes, context: Context, watch: Watch) -> None:
        """Serve one relay's stream until it ends it.

        Raises:
            FlopmeterError: what came may not be taken, or cannot be.
        """
        reader, seen = BatchReader(), Seen(self._intake.rows, self._intake.doubts)
        following: Any = raw
        hello: RelayHello | None = None
        while following is not grpc.aio.EOF:
            try:
                message = await self._large.batch(following, parse_batches, parse_long_batches)
                hello = self._hello(reader, message, context, hello)
                answer = await self._take(reader, hello, message, watch, seen)
            except (WireError, NotPermittedError):
                self._charge_nonsense(context, following)
                raise
            await self._answers.write(context, answer)
            following = await self._following(context)

    async def submit(self, raw: bytes, context: Context) -> pb.SubmitBatchResponse:
        """Take one batch by itself.

        Raises:
            FlopmeterError: what came may not be taken, or cannot be.
        """
        try:
            batch = await self._large.batch(raw, parse_submitted, parse_long_submitted)
            checked_version(batch.protocol_version)
            self._identities.holder(context.auth_context()).check_relay(batch.relay)
            return await self._take_submitted(batch)
        except (WireError, NotPermittedError):
            self._charge_nonsense(context, raw)
            raise

    def _charge_nonsense(self, context: Context, raw: bytes) -> None:
        """A relay may send as much as it has; what cannot be taken costs its address."""
        self._charge(host_of(context.peer()), len(raw) // BYTES_PER_WORK)

    def _hello(
        self,
        reader: BatchReader,
        message: pb.StreamBatchesRequest,
        context: Context,
        known: RelayHello | None,
    ) -> RelayHello:
        """Who sends: of the first message, and of none after it."""
        if known is not None:
            if message.HasField("hello"):
                raise WireError("hello may stand in the first message of a stream only")
            return known
        if message.HasField("hello"):
            checked_version(message.hello.protocol_version)
        hello = reader.hello(message)
        self._identities.holder(context.auth_context()).check_relay(hello.relay)
        self._intake.check_sender(simulated=hello.simulated, sender=f"relay {hello.relay}")
        return hello

    async def _take(
        self,
        reader: BatchReader,
        hello: RelayHello,
        message: pb.StreamBatchesRequest,
        watch: Watch,
        seen: Seen,
    ) -> pb.StreamBatchesResponse:
        intake, forwarder = self._intake, self._roots.forwarder
        received = Received(reader, message, seen.known)
        batch = received.batch
        check_path(intake.ledger_id, batch.ledger_ids, hello.relay)
        if forwarder is not None and batch.ledger_ids:
            forwarder.stands_below(watch, batch.ledger_ids)
        await intake.know(batch.records, batch.vectors, batch.hours)
        await intake.count_hours(batch.records, batch.hours)
        batch = received.grow(intake)
        merged = await merge_batch(intake, batch, self._turns.give_way, seen)
        received.learn(intake, merged.taken)
        position = await intake.durable(len(merged.taken) + received.grown)
        self._refused.vectors(hello.relay, merged.refused, merged.quarantined)
        return reader.answer(
            batch,
            received.placed(merged.untaken),
            self._roots.told(position),
            at_root=self._roots.is_here,
            rooted=self._roots.rooted(watch, merged.taken, lambda: received.grown_to(intake)),
            beside={**watch.take_beside(tuple(watch.beside)), **merged.beside},
            doubts=intake.doubts.tell(seen.listener),
            rows=received.rows,
            refused_claims=merged.refused_claims,
            refused_hours=merged.refused_hours,
        )

    async def _take_submitted(self, batch: pb.SubmitBatchRequest) -> pb.SubmitBatchResponse:
        intake = self._intake
        intake.check_sender(simulated=batch.simulated, sender=f"relay {batch.relay}")
        report = read_submitted(batch)
        intake.check_records(report.records.values())
        await intake.know(report.records, report.vectors, ())
        refused: Refusals = {}
        quarantined: Refusals = {}
        # What follows on what nobody can say here: each batch by itself is a stream of its own.
        seen = Seen(intake.rows, intake.doubts)
        for keyed, boot_ns in zip(report.vectors, batch.boot_duration_ns, strict=True):
            record = report.records[keyed.key.record]
            seen.look(keyed.key)
            outcome = intake.merge(
                keyed, record, boot_ns=boot_ns, refused=refused, quarantined=quarantined
            )
            ask_others(intake, keyed, record.node, outcome, seen)
        intake.counts.batches += 1
        for node in {record.node for record in report.records.values()}:
            intake.seen(node)
        position = await intake.durable(len(report.vectors) - len(refused) - len(quarantined))
        self._refused.vectors(batch.relay, refused, quarantined)
        durable = self._roots.durability
        told = self._roots.told(position)
        return answer_submitted(batch, report, refused, quarantined, told, durable)
