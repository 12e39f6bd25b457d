"""Batches on a stream: the messages of a relay in columns, and the answers to them.

Owns: the columns of a batch and of its answer, and how many keys a relay may state.
May touch: generated messages; no socket, no clock.
Called by link (sending side) and the collector's service (receiving side).
Explained in docs/relays.md. Columns, because a message object a vector costs several times what
its numbers do, at both ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from flopmeter_core.batches import MAXIMUM_VECTORS_PER_BATCH, RelayBatch, RelayHello
from flopmeter_core.claims import Claim, ClaimKey
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import WireError
from flopmeter_core.registers import COMPONENT_COUNT, Key, Vector
from flopmeter_core.reports import (
    Acknowledgement,
    Answer,
    Doubt,
    Durability,
    Held,
    KeyedVector,
    LedgerPosition,
)
from flopmeter_core.units import REGISTER_LIMIT
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.claims import (
    DURABILITIES,
    DURABILITIES_BACK,
    ReceivedClaim,
    acknowledge_claims,
    claim_answers,
    claims_in,
    claims_out,
)
from flopmeter_proto.wire.columns import KnownBatch, batch_rows
from flopmeter_proto.wire.doubts import doubts_in, doubts_out
from flopmeter_proto.wire.held import held_in, held_out
from flopmeter_proto.wire.hours import acknowledge_hours, hour_answers, hours_in, hours_out
from flopmeter_proto.wire.numbering import SentNumbers, StatedNumbers
from flopmeter_proto.wire.relaying import (
    ledgers_in,
    nodes_in,
    nodes_out,
    relay_hello_in,
    relay_hello_out,
)
from flopmeter_proto.wire.values import check_sequence

MAXIMUM_KEYS_PER_RELAY = 2_000_000
"""Keys on one stream of a relay: 30,000 nodes of 8 devices state 240,000, and as many with each
restart of their agents. A relay that has stated so many begins a new stream."""

MAXIMUM_RECORDS_PER_RELAY = 1_000_000

BatchMessage: TypeAlias = pb.StreamBatchesRequest
"""One message of a relay, for who hands it on unread."""

_AT_ROOT = DURABILITIES[Durability.AT_ROOT]
_DURABLE = {_AT_ROOT, DURABILITIES[Durability.HERE]}


@dataclass
class BatchWriter:
    """Turns batches into messages of one stream; each key and record is spelled out once."""

    _numbers: SentNumbers = field(default_factory=SentNumbers)
    _claims: tuple[Claim, ...] = ()

    @property
    def full(self) -> bool:
        """Whether the stream's numbers are used up: a new stream has to begin."""
        return len(self._numbers) > MAXIMUM_KEYS_PER_RELAY - 2 * MAXIMUM_VECTORS_PER_BATCH

    def hello(self, hello: RelayHello) -> pb.StreamBatchesRequest:
        """The first message of the stream."""
        return pb.StreamBatchesRequest(hello=relay_hello_out(hello), ledger_ids=hello.ledger_ids)

    def batch(self, batch: RelayBatch) -> pb.StreamBatchesRequest:
        """One batch; keys and records this stream has not stated yet come first."""
        message = pb.StreamBatchesRequest(ledger_ids=batch.ledger_ids)
        vectors, number = batch.vectors, self._numbers.number
        message.key_numbers.extend([number(message, keyed.key, batch.records) for keyed in vectors])
        message.sequences.extend([keyed.sequence for keyed in vectors])
        message.boot_duration_ns.extend([keyed.boot_ns or 0 for keyed in vectors])
        for column in zip(*[keyed.vector for keyed in vectors], strict=True):
            # A component that no device of the batch measures takes two bytes.
            message.columns.add(component_values=column if any(column) else ())
        hours_out(message, batch.hours, self._numbers, batch.records)
        self._claims = batch.claims
        claims_out(message, batch.claims)
        nodes_out(message, batch.nodes)
        message.doubts.extend(doubts_out(batch.doubts))
        return message

    def answer(self, message: pb.StreamBatchesResponse) -> Answer:
        """Read an answer of this stream.

        Raises:
            WireError: an acknowledgement for a key this stream never stated, or columns that do
                not fit together.
        """
        if not len(message.key_numbers) == len(message.sequences) == len(message.durabilities):
            raise WireError("the columns of the collector's answer have different lengths")
        key, back = self._numbers.key, DURABILITIES_BACK
        beside = {key(ack.key_number): held_in(ack) for ack in message.beside}
        acknowledgements = [
            Acknowledgement(
                key(number),
                sequence,
                back.get(durability, Durability.REFUSED),
                held=beside.get(key(number)) if beside else None,
            )
            for number, sequence, durability in zip(
                message.key_numbers, message.sequences, message.durabilities, strict=True
            )
            if durability in _DURABLE
        ]
        acknowledgements += [
            Acknowledgement(
                key(ack.key_number),
                ack.sequence,
                back.get(ack.durability, Durability.REFUSED),
                ack.reason,
            )
            for ack in message.refusals
        ]
        return Answer(
            tuple(acknowledgements),
            LedgerPosition(message.ledger_id, message.ledger_generation, message.commit_number),
            claim_answers(message.claim_acknowledgements, self._claims),
            hour_answers(message.hourly_acknowledgements, self._numbers),
            doubts=doubts_in(message),
        )


@dataclass
class BatchReader:
    """Turns the messages of one stream back into batches, refusing what breaks the contract."""

    _stated: StatedNumbers = field(
        default_factory=lambda: StatedNumbers(MAXIMUM_KEYS_PER_RELAY, MAXIMUM_RECORDS_PER_RELAY)
    )
    _claims: tuple[ReceivedClaim, ...] = ()

    def hello(self, message: pb.StreamBatchesRequest) -> RelayHello:
        """Read the first message of a stream.

        Raises:
            WireError: no hello, or an unknown protocol version.
        """
        if not message.HasField("hello"):
            raise WireError("the first message of a stream must carry hello")
        return relay_hello_in(message)

    def batch(self, message: pb.StreamBatchesRequest) -> RelayBatch:
        """Read one batch.

        Raises:
            WireError: columns that do not fit together, or as `StreamReader.report`.
        """
        self.state(message)
        return self.around(message, self.vectors(message))

    def state(self, message: pb.StreamBatchesRequest) -> None:
        """Take what a batch states; once, before anything else of it is read.

        Raises:
            WireError: as `StatedNumbers.take`.
        """
        self._stated.take(message.device_records, message.keys)

    def rows(self, message: pb.StreamBatchesRequest) -> KnownBatch | None:
        """The vectors of a stated batch as rows; None where `batch` has to say what is wrong."""
        found = batch_rows(message)
        return found if found is not None and self._stated.has(found.numbers) else None

    def number(self, key: Key) -> int:
        """The number of a key that was stated on this stream."""
        return self._stated.number(key)

    def keyed(self, rows: KnownBatch, places: Iterable[int]) -> tuple[KeyedVector, ...]:
        """Some vectors of a batch, by their places in it."""
        key = self._stated.key
        return tuple(
            KeyedVector(
                key(rows.numbers[place]),
                rows.sequence(place),
                rows.vector(place),
                rows.boot_ns(place) or None,
            )
            for place in places
        )

    def records(self, vectors: Iterable[KeyedVector]) -> dict[str, DeviceRecord]:
        """The device records that vectors of the stream name."""
        return self._stated.records({keyed.key.record for keyed in vectors})

    def around(
        self, message: pb.StreamBatchesRequest, vectors: tuple[KeyedVector, ...]
    ) -> RelayBatch:
        """A stated batch with these vectors, and all of it but vectors.

        Raises:
            WireError: as `batch`, of what is no vector.
        """
        hours = hours_in(message.hourly_vectors, self._stated)
        self._claims = claims_in(message.claims)
        used = {keyed.key.record for keyed in vectors} | {hour.key.record for hour in hours}
        return RelayBatch(
            ledger_ids=ledgers_in(message),
            records=self._stated.records(used),
            vectors=vectors,
            hours=hours,
            claims=tuple(each.claim for each in self._claims if each.claim is not None),
            nodes=nodes_in(message.nodes),
            doubts=doubts_in(message),
        )

    def answer(
        self,
        batch: RelayBatch,
        untaken: Mapping[int, tuple[Durability, str]],
        position: LedgerPosition,
        *,
        at_root: bool,
        rooted: Mapping[Key, int],
        beside: Mapping[Key, Held],
        doubts: Sequence[Doubt] = (),
        rows: KnownBatch | None = None,
        refused_claims: Mapping[ClaimKey, str],
        refused_hours: Mapping[tuple[Key, int], str],
    ) -> pb.StreamBatchesResponse:
        """Build the answer to a batch whose accepted vectors are committed.

        Args:
            batch: the batch as `batch` returned it last.
            untaken: vectors that no figure holds, by their places in the batch: whether refused
                or quarantined, and why.
            position: where the ledger stands after the commit.
            at_root: whether no other ledger lies behind this one.
            rooted: keys of this stream that are durable at the root since, up to a sequence.
            rows: its vectors where they were taken as rows: the places are then theirs.
            beside: what was held of keys of this stream that did not come this way.
            doubts: vectors of this relay's nodes that somebody else may have written.
            refused_claims: why claims of well-formed content were not taken.
            refused_hours: why each refused hourly vector (key, hour) was not taken.
        """
        durable = Durability.AT_ROOT if at_root else Durability.HERE
        code = DURABILITIES[durable]
        response = pb.StreamBatchesResponse(
            ledger_id=position.ledger_id,
            ledger_generation=position.generation,
            commit_number=position.commit_number,
            doubts=doubts_out(doubts),
        )
        number = self._stated.number
        numbers = rows.numbers if rows else [number(keyed.key) for keyed in batch.vectors]
        sequences = rows.sequences if rows else [keyed.sequence for keyed in batch.vectors]
        response.key_numbers.extend(numbers)
        response.sequences.extend(sequences)
        codes = [code] * len(numbers)
        for place, (found, reason) in untaken.items():
            codes[place] = DURABILITIES[found]
            response.refusals.add(
                key_number=numbers[place],
                sequence=sequences[place],
                durability=DURABILITIES[found],
                reason=reason,
            )
        response.durabilities.extend(codes)
        response.key_numbers.extend([number(key) for key in rooted])
        response.sequences.extend(rooted.values())
        response.durabilities.extend([_AT_ROOT] * len(rooted))
        for key, held in beside.items():
            held_out(response.beside.add(key_number=number(key)), held)
        acknowledge_claims(response, self._claims, refused_claims, durable)
        acknowledge_hours(response, batch.hours, self._stated, refused_hours, durable)
        return response

    def vectors(self, message: pb.StreamBatchesRequest) -> tuple[KeyedVector, ...]:
        """The vectors of a stated batch.

        Raises:
            WireError: columns that do not fit together, or hold what no register can.
        """
        count = len(message.key_numbers)
        if count > MAXIMUM_VECTORS_PER_BATCH:
            raise WireError(f"a batch has at most {MAXIMUM_VECTORS_PER_BATCH} vectors, not {count}")
        if len(message.sequences) != count:
            raise WireError("a batch must have one sequence for each of its vectors")
        if len(message.boot_duration_ns) not in (0, count):
            raise WireError("a batch must have one boot time for each of its vectors, or none")
        times = message.boot_duration_ns or (0,) * count
        if count and min(times) < 0:
            raise WireError("a boot_duration_ns of the batch is negative")
        if not count:
            if message.columns:
                raise WireError("a batch without vectors has columns")
            return ()
        key = self._stated.key
        return tuple(
            KeyedVector(key(number), check_sequence(sequence), values, boot_ns or None)
            for number, sequence, values, boot_ns in zip(
                message.key_numbers,
                message.sequences,
                _rows(message.columns, count),
                times,
                strict=True,
            )
        )


def _rows(columns: Sequence[pb.Column], count: int) -> list[Vector]:
    """The columns as vectors; components that an older sender does not know are 0.

    Raises:
        WireError: a column of another length, too many or none, or a component outside
            0 .. 2^62 - 1.
    """
    if not 0 < len(columns) <= COMPONENT_COUNT:
        raise WireError(f"a batch has 1 to {COMPONENT_COUNT} columns, not {len(columns)}")
    zeros = (0,) * count
    filled: list[Sequence[int]] = []
    for column in columns:
        values = tuple(column.component_values) or zeros
        if len(values) != count:
            raise WireError(f"every column of a batch must have its {count} entries, or none")
        if min(values) < 0 or max(values) >= REGISTER_LIMIT:
            raise WireError("a component lies outside 0 .. 2^62 - 1")
        filled.append(values)
    filled += [zeros] * (COMPONENT_COUNT - len(filled))
    return list(zip(*filled, strict=True))
