"""Reports on a stream: the messages of an agent, and the answers to them.

Owns: the spelling of a report and of its answer, and the limit on hours in a message.
May touch: generated messages; no socket, no clock.
Called by link (sending side) and the collector's service (receiving side).
Explained in docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flopmeter_core.allocations import MAXIMUM_LENGTH
from flopmeter_core.claims import Claim, ClaimKey
from flopmeter_core.errors import WireError
from flopmeter_core.registers import Key
from flopmeter_core.reports import (
    PROTOCOL_VERSION,
    Acknowledgement,
    Answer,
    Durability,
    Hello,
    HourlyAcknowledgement,
    HourlyVector,
    KeyedVector,
    LedgerPosition,
    Report,
)
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S, REGISTER_LIMIT
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
from flopmeter_proto.wire.numbering import SentNumbers, StatedNumbers
from flopmeter_proto.wire.values import (
    check_digits,
    check_sequence,
    check_text,
    check_values,
    check_version,
    incarnation_in,
)

MAXIMUM_HOURS_PER_MESSAGE = 1_000
"""Hourly vectors in one message: about 0.2 MB."""


# --- the sending side ----------------------------------------------------------------------------


@dataclass
class StreamWriter:
    """Turns reports into messages of one stream; each key and record is spelled out once."""

    _numbers: SentNumbers = field(default_factory=SentNumbers)
    _claims: tuple[Claim, ...] = ()

    def hello(self, hello: Hello) -> pb.StreamReportsRequest:
        """The first message of the stream."""
        return pb.StreamReportsRequest(
            hello=pb.Hello(
                protocol_version=PROTOCOL_VERSION,
                node=hello.node,
                cluster=hello.cluster,
                agent_version=hello.agent_version,
                method_version=hello.method_version,
                incarnation=bytes.fromhex(hello.incarnation),
                boot_id=hello.boot_id,
                simulated=hello.simulated,
                sensor=hello.sensor,
                sensor_reason=hello.sensor_reason,
            )
        )

    def report(self, report: Report) -> pb.StreamReportsRequest:
        """One report; keys and records this stream has not stated yet come first."""
        message = pb.StreamReportsRequest()
        for keyed in report.vectors:
            message.vectors.add(
                key_number=self._numbers.number(message, keyed.key, report.records),
                sequence=keyed.sequence,
                component_values=keyed.vector,
            )
        for hourly in report.hours:
            added = message.hourly_vectors.add(
                key_number=self._numbers.number(message, hourly.key, report.records),
                sequence=hourly.sequence,
                component_values=hourly.vector,
                first_hour=hourly.first_hour,
            )
            added.boot_duration.FromNanoseconds(hourly.boot_ns)
            added.observe_time.FromNanoseconds(hourly.wall_ns)
        for allocation, flop in report.display_flop.items():
            message.display_estimates.add(allocation=allocation, compute_flop=str(flop))
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
            )
            for ack in message.acknowledgements
        )
        hours = tuple(
            HourlyAcknowledgement(
                key=self._numbers.key(hour_ack.key_number),
                hour=hour_ack.hour,
                sequence=hour_ack.sequence,
                durability=DURABILITIES_BACK.get(hour_ack.durability, Durability.REFUSED),
                reason=hour_ack.reason,
            )
            for hour_ack in message.hourly_acknowledgements
        )
        position = LedgerPosition(
            message.ledger_id, message.ledger_generation, message.commit_number
        )
        claims = claim_answers(message.claim_acknowledgements, self._claims)
        return Answer(acknowledgements, position, claims, hours)


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
        hello = message.hello
        check_version(hello.protocol_version)
        return Hello(
            node=check_text(hello.node, "node"),
            incarnation=incarnation_in(hello.incarnation),
            simulated=hello.simulated,
            cluster=check_text(hello.cluster, "cluster", required=False),
            agent_version=check_text(hello.agent_version, "agent_version", required=False),
            method_version=check_text(hello.method_version, "method_version", required=False),
            boot_id=check_text(hello.boot_id, "boot_id", required=False),
            sensor=check_text(hello.sensor, "sensor", required=False),
            sensor_reason=check_text(hello.sensor_reason, "sensor_reason", required=False),
        )

    def report(self, message: pb.StreamReportsRequest) -> Report:
        """Read one report.

        Raises:
            WireError: a key or record that was never stated, a number out of range, a value
                outside 0 .. 2^62 - 1, too many keys, or a text that is too long.
        """
        self._stated.take(message.device_records, message.keys)
        vectors = tuple(
            KeyedVector(
                key=self._stated.key(vector.key_number),
                sequence=check_sequence(vector.sequence),
                vector=check_values(tuple(vector.component_values)),
            )
            for vector in message.vectors
        )
        boot_ns = message.boot_duration.ToNanoseconds()
        if boot_ns < 0:
            raise WireError("boot_duration is negative")
        self._claims = claims_in(message.claims)
        hours = self._hours(message)
        used = {vector.key.record for vector in vectors} | {hour.key.record for hour in hours}
        return Report(
            records=self._stated.records(used),
            vectors=vectors,
            boot_ns=boot_ns,
            wall_ns=message.observe_time.seconds * NS_PER_S + message.observe_time.nanos,
            display_flop={
                check_text(display.allocation, "allocation", limit=MAXIMUM_LENGTH): check_digits(
                    display.compute_flop
                )
                for display in message.display_estimates
            },
            claims=tuple(each.claim for each in self._claims if each.claim is not None),
            hours=hours,
        )

    def _hours(self, message: pb.StreamReportsRequest) -> tuple[HourlyVector, ...]:
        if len(message.hourly_vectors) > MAXIMUM_HOURS_PER_MESSAGE:
            raise WireError(
                f"a message has at most {MAXIMUM_HOURS_PER_MESSAGE} hourly vectors, not "
                f"{len(message.hourly_vectors)}"
            )
        return tuple(
            HourlyVector(
                key=self._stated.key(hourly.key_number),
                sequence=check_sequence(hourly.sequence),
                vector=check_values(tuple(hourly.component_values)),
                first_hour=_first_hour(hourly),
                boot_ns=hourly.boot_duration.ToNanoseconds(),
                wall_ns=hourly.observe_time.seconds * NS_PER_S + hourly.observe_time.nanos,
            )
            for hourly in message.hourly_vectors
        )

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
        """
        held = quarantined or {}
        response = pb.StreamReportsResponse(
            ledger_id=position.ledger_id,
            ledger_generation=position.generation,
            commit_number=position.commit_number,
        )
        durable = Durability.AT_ROOT if at_root else Durability.HERE
        for keyed in report.vectors:
            reason = refused.get(keyed.key, "")
            found = Durability.REFUSED if reason else durable
            if keyed.key in held:
                reason, found = held[keyed.key], Durability.QUARANTINED
            response.acknowledgements.add(
                key_number=self._stated.number(keyed.key),
                sequence=keyed.sequence,
                durability=DURABILITIES[found],
                reason=reason,
            )
        if refused_claims is not None:
            acknowledge_claims(response, self._claims, refused_claims, durable)
        for hourly in report.hours:
            reason = (refused_hours or {}).get((hourly.key, hourly.hour), "")
            response.hourly_acknowledgements.add(
                key_number=self._stated.number(hourly.key),
                hour=hourly.hour,
                sequence=hourly.sequence,
                durability=DURABILITIES[Durability.REFUSED if reason else durable],
                reason=reason,
            )
        return response


def _first_hour(hourly: pb.HourlyVector) -> int:
    """Refuse an hour that no boot can have, or that lies after the vector's own."""
    boot_ns = hourly.boot_duration.ToNanoseconds()
    if not 0 <= hourly.first_hour <= boot_ns // NS_PER_HOUR or boot_ns >= REGISTER_LIMIT:
        raise WireError(
            f"an hourly vector stands for the hours {hourly.first_hour} to "
            f"{boot_ns // NS_PER_HOUR}, which no boot has"
        )
    if abs(hourly.observe_time.seconds) >= REGISTER_LIMIT // NS_PER_S:
        raise WireError("observe_time of an hourly vector lies centuries away; check the clock")
    return int(hourly.first_hour)
