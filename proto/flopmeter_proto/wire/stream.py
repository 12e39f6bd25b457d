"""Reports on a stream: the messages of an agent, and the answers to them.

Owns: the spelling of a report and of its answer, and the limit on hours in a message.
May touch: generated messages; no socket, no clock.
Called by link (sending side) and the collector's service (receiving side).
Explained in docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from flopmeter_core.claims import Claim, ClaimKey
from flopmeter_core.errors import WireError
from flopmeter_core.registers import Key
from flopmeter_core.reports import (
    Acknowledgement,
    Answer,
    Doubt,
    Durability,
    Held,
    Hello,
    KeyedVector,
    LedgerPosition,
    Report,
)
from flopmeter_core.units import NS_PER_S
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
from flopmeter_proto.wire.doubts import doubts_in, doubts_out
from flopmeter_proto.wire.held import held_in, held_out
from flopmeter_proto.wire.hello import displays_out, hello_in, hello_out, shown_in
from flopmeter_proto.wire.hours import acknowledge_hours, hour_answers, hours_in, hours_out
from flopmeter_proto.wire.numbering import SentNumbers, StatedNumbers
from flopmeter_proto.wire.values import (
    check_number,
    check_sequence,
    components_in,
    paused,
)

MAXIMUM_FOLLOWED = 32
"""Fingerprints read of what a vector follows; an agent names half as many."""

# --- the sending side ----------------------------------------------------------------------------


@dataclass
class StreamWriter:
    """Turns reports into messages of one stream; each key and record is spelled out once."""

    _numbers: SentNumbers = field(default_factory=SentNumbers)
    _claims: tuple[Claim, ...] = ()

    def hello(self, hello: Hello) -> pb.StreamReportsRequest:
        """The first message of the stream."""
        return pb.StreamReportsRequest(hello=hello_out(hello))

    def report(self, report: Report) -> pb.StreamReportsRequest:
        """One report; keys and records this stream has not stated yet come first."""
        message = pb.StreamReportsRequest()
        for keyed in report.vectors:
            message.vectors.add(
                key_number=self._numbers.number(message, keyed.key, report.records),
                sequence=keyed.sequence,
                component_values=keyed.vector,
                boot_duration_ns=keyed.boot_ns or 0,
                follows_fingerprints=keyed.follows,
            )
        hours_out(message, report.hours, self._numbers, report.records)
        displays_out(message, report.display_flop)
        self._claims = report.claims
        claims_out(message, report.claims)
        message.observe_time.FromNanoseconds(report.wall_ns)
        message.boot_duration.FromNanoseconds(report.boot_ns)
        return message

    def answer(self, message: pb.StreamReportsResponse) -> Answer:
        """Read an answer of this stream.

        Raises:
            WireError: an acknowledgement for a key this stream never stated.
        """
        acknowledgements = tuple(
            Acknowledgement(
                key=self._numbers.key(ack.key_number),
                sequence=ack.sequence,
                durability=DURABILITIES_BACK.get(ack.durability, Durability.REFUSED),
                reason=ack.reason,
                held=held_in(ack),
            )
            for ack in message.acknowledgements
        )
        hours = hour_answers(message.hourly_acknowledgements, self._numbers)
        position = LedgerPosition(
            message.ledger_id, message.ledger_generation, message.commit_number
        )
        claims = claim_answers(message.claim_acknowledgements, self._claims)
        doubts = doubts_in(message)
        return Answer(acknowledgements, position, claims, hours, message.fold_users, doubts)


# --- the receiving side --------------------------------------------------------------------------


@dataclass
class StreamReader:
    """Turns the messages of one stream back into reports, refusing what breaks the contract."""

    _stated: StatedNumbers = field(default_factory=StatedNumbers)
    _claims: tuple[ReceivedClaim, ...] = ()

    def hello(self, message: pb.StreamReportsRequest) -> Hello:
        """Read the first message of a stream.

        Raises:
            WireError: no hello, or an unknown protocol version.
        """
        if not message.HasField("hello"):
            raise WireError("the first message of a stream must carry hello")
        return hello_in(message.hello)

    def report(
        self, message: pb.StreamReportsRequest, pause: Callable[[], None] | None = None
    ) -> Report:
        """Read one report.

        Args:
            message: it.
            pause: called after each part of one that is long; None where none is needed.

        Raises:
            WireError: a key or record that was never stated, a number out of range, a value
                outside 0 .. 2^62 - 1, too many keys, or a text that is too long.
        """
        self._stated.take(message.device_records, message.keys, pause)
        vectors: list[KeyedVector] = []
        for vector in paused(message.vectors, pause):
            vectors.append(
                KeyedVector(
                    key=self._stated.key(vector.key_number),
                    sequence=check_sequence(vector.sequence),
                    vector=components_in(vector.component_values),
                    boot_ns=check_number(vector.boot_duration_ns, "boot_duration_ns") or None,
                    follows=tuple(vector.follows_fingerprints[:MAXIMUM_FOLLOWED]),
                )
            )
        boot_ns = message.boot_duration.ToNanoseconds()
        if boot_ns < 0:
            raise WireError("boot_duration is negative")
        self._claims = claims_in(message.claims, pause)
        hours = hours_in(message.hourly_vectors, self._stated, pause)
        used = {vector.key.record for vector in vectors} | {hour.key.record for hour in hours}
        return Report(
            records=self._stated.records(used),
            vectors=tuple(vectors),
            boot_ns=boot_ns,
            wall_ns=message.observe_time.seconds * NS_PER_S + message.observe_time.nanos,
            display_flop=shown_in(message.display_estimates),
            claims=tuple(each.claim for each in self._claims if each.claim is not None),
            hours=hours,
        )

    def number(self, key: Key) -> int:
        """The number of a key that was stated on this stream."""
        return self._stated.number(key)

    def answer(
        self,
        report: Report,
        refused: Mapping[Key, str],
        position: LedgerPosition,
        *,
        at_root: bool,
        refused_claims: Mapping[ClaimKey, str] | None = None,
        refused_hours: Mapping[tuple[Key, int], str] | None = None,
        quarantined: Mapping[Key, str] | None = None,
        rooted: Mapping[Key, int] | None = None,
        fold_users: bool = False,
        beside: Mapping[Key, Held] | None = None,
        contested: Collection[Key] = (),
        held: Mapping[Key, Held] | None = None,
        doubts: Sequence[Doubt] = (),
        pause: Callable[[], None] | None = None,
    ) -> pb.StreamReportsResponse:
        """Build the answer to a report whose accepted vectors are committed.

        Args:
            report: the report as `report` returned it last.
            refused: why each refused key's vector was not taken.
            position: where the ledger stands after the commit.
            at_root: whether no other ledger lies behind this one.
            refused_claims: why claims of well-formed content were not taken; None answers no
                claim, so that the sender keeps them.
            refused_hours: why each refused hourly vector (key, hour) was not taken.
            quarantined: why each quarantined key's vector cannot be true.
            rooted: keys of this stream that are durable at the root since, up to a sequence.
            fold_users: whether the agent is to register further users as one.
            beside: what the root held of keys of this stream that did not come this way.
            contested: keys whose vector was not taken, for what is held of them.
            held: what the ledger holds of a key above its vector, or would have lost to it.
            doubts: vectors of the sender's node that somebody else may have written.
            pause: called after each acknowledgement of a long one; None where none is needed.
        """
        apart, others = quarantined or {}, {**(beside or {}), **(held or {})}
        response = pb.StreamReportsResponse(
            ledger_id=position.ledger_id,
            ledger_generation=position.generation,
            commit_number=position.commit_number,
            fold_users=fold_users,
            doubts=doubts_out(doubts),
        )
        durable = Durability.AT_ROOT if at_root else Durability.HERE
        usual = DURABILITIES[durable]
        for keyed in paused(report.vectors, pause):
            acknowledgement = response.acknowledgements.add(
                key_number=self._stated.number(keyed.key),
                sequence=keyed.sequence,
                durability=usual,
            )
            if keyed.key in others:
                held_out(acknowledgement, others.pop(keyed.key))
            if keyed.key in contested:
                acknowledgement.durability = DURABILITIES[Durability.CONTESTED]
            elif keyed.key in apart:
                acknowledgement.durability = DURABILITIES[Durability.QUARANTINED]
                acknowledgement.reason = apart[keyed.key]
            elif reason := refused.get(keyed.key):
                acknowledgement.durability = DURABILITIES[Durability.REFUSED]
                acknowledgement.reason = reason
        for key, sequence in (rooted or {}).items():
            acknowledgement = response.acknowledgements.add(
                key_number=self._stated.number(key),
                sequence=sequence,
                durability=DURABILITIES[Durability.AT_ROOT],
            )
            if key in others:
                held_out(acknowledgement, others.pop(key))
        if refused_claims is not None:
            acknowledge_claims(response, paused(self._claims, pause), refused_claims, durable)
        hours = paused(report.hours, pause)
        acknowledge_hours(response, hours, self._stated, refused_hours or {}, durable)
        return response
