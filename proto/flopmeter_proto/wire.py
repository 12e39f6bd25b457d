"""The only translator between wire messages and the plain values of core.

Owns: numbering of keys and records on a stream, and every limit on what may come in.
May touch: generated messages; no socket, no clock.
Called by link (sending side) and the collector's service (receiving side).
Everything received is checked here for shape and size; what a value may be on its content is
the collector's `admit`. Limits: docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from flopmeter_core.allocations import MAXIMUM_LENGTH
from flopmeter_core.claims import Claim, ClaimKey
from flopmeter_core.devices import DeviceRecord, EnergyScope
from flopmeter_core.errors import WireError
from flopmeter_core.registers import COMPONENT_COUNT, INSTANCE_MARK, Evidence, Key, Vector
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
from flopmeter_proto.wire_claims import (
    DURABILITIES,
    DURABILITIES_BACK,
    ReceivedClaim,
    acknowledge_claims,
    claim_answers,
    claims_in,
    claims_out,
)
from flopmeter_proto.wire_claims import (
    MAXIMUM_CLAIMS_PER_MESSAGE as MAXIMUM_CLAIMS_PER_MESSAGE,
)

MAXIMUM_MESSAGE_BYTES = 4 * 1024 * 1024
MAXIMUM_TEXT_LENGTH = 256
MAXIMUM_KEYS_PER_STREAM = 100_000
MAXIMUM_RECORDS_PER_STREAM = 10_000
MAXIMUM_HOURS_PER_MESSAGE = 1_000
"""Hourly vectors in one message: about 0.2 MB."""
INCARNATION_BYTES = 16

_SCOPES = {
    EnergyScope.NONE: pb.ENERGY_SCOPE_UNSPECIFIED,
    EnergyScope.GPU: pb.ENERGY_SCOPE_GPU,
    EnergyScope.MODULE: pb.ENERGY_SCOPE_MODULE,
    EnergyScope.NODE: pb.ENERGY_SCOPE_NODE,
}
_SCOPES_BACK = {number: scope for scope, number in _SCOPES.items()}


# --- the sending side ----------------------------------------------------------------------------


@dataclass
class StreamWriter:
    """Turns reports into messages of one stream; each key and record is spelled out once."""

    _keys: dict[Key, int] = field(default_factory=dict)
    _keys_back: list[Key] = field(default_factory=list)
    _records: dict[str, int] = field(default_factory=dict)
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
                key_number=self._number(message, keyed.key, report.records),
                sequence=keyed.sequence,
                component_values=keyed.vector,
            )
        for hourly in report.hours:
            added = message.hourly_vectors.add(
                key_number=self._number(message, hourly.key, report.records),
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
                key=self._sent_key(ack.key_number),
                sequence=ack.sequence,
                durability=DURABILITIES_BACK.get(ack.durability, Durability.REFUSED),
                reason=ack.reason,
            )
            for ack in message.acknowledgements
        )
        hours = tuple(
            HourlyAcknowledgement(
                key=self._sent_key(hour_ack.key_number),
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

    def _sent_key(self, number: int) -> Key:
        if not 0 <= number < len(self._keys_back):
            raise WireError(f"the collector acknowledged key {number}, never sent")
        return self._keys_back[number]

    def _number(
        self, message: pb.StreamReportsRequest, key: Key, records: Mapping[str, DeviceRecord]
    ) -> int:
        number = self._keys.get(key)
        return self._state_key(message, key, records[key.record]) if number is None else number

    def _state_key(self, message: pb.StreamReportsRequest, key: Key, record: DeviceRecord) -> int:
        if key.record not in self._records:
            self._records[key.record] = len(self._records)
            message.device_records.append(_record_out(record, self._records[key.record]))
        number = len(self._keys_back)
        self._keys[key] = number
        self._keys_back.append(key)
        message.keys.append(_key_out(key, number, self._records[key.record]))
        return number


def _key_out(key: Key, number: int, record_number: int) -> pb.KeyDescriptor:
    return pb.KeyDescriptor(
        key_number=number,
        record_number=record_number,
        incarnation=bytes.fromhex(key.incarnation),
        allocation=key.allocation,
        phase=key.phase,
        evidence=cast(pb.Evidence, key.evidence.value),
    )


def _record_out(record: DeviceRecord, number: int) -> pb.DeviceRecord:
    return pb.DeviceRecord(
        record_number=number,
        node=record.node,
        device=record.device,
        vendor=record.vendor,
        product_name=record.product_name,
        pci_device_id=record.pci_device_id,
        part=record.part,
        sm_count=record.sm_count,
        max_sm_clock_mhz=record.max_sm_clock_mhz,
        memory_mib=record.memory_mib,
        driver_version=record.driver_version,
        device_count=record.device_count,
        energy_scope=_SCOPES[record.energy_scope],
        tensor_classes=record.tensor_classes,
        simulated=record.simulated,
    )


# --- the receiving side --------------------------------------------------------------------------


@dataclass
class StreamReader:
    """Turns the messages of one stream back into reports, refusing what breaks the contract."""

    _keys: dict[int, Key] = field(default_factory=dict)
    _numbers: dict[Key, int] = field(default_factory=dict)
    _records: dict[int, DeviceRecord] = field(default_factory=dict)
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
            node=_text(hello.node, "node"),
            incarnation=_incarnation(hello.incarnation),
            simulated=hello.simulated,
            cluster=_text(hello.cluster, "cluster", required=False),
            agent_version=_text(hello.agent_version, "agent_version", required=False),
            method_version=_text(hello.method_version, "method_version", required=False),
            boot_id=_text(hello.boot_id, "boot_id", required=False),
            sensor=_text(hello.sensor, "sensor", required=False),
            sensor_reason=_text(hello.sensor_reason, "sensor_reason", required=False),
        )

    def report(self, message: pb.StreamReportsRequest) -> Report:
        """Read one report.

        Raises:
            WireError: a key or record that was never stated, a number out of range, a value
                outside 0 .. 2^62 - 1, too many keys, or a text that is too long.
        """
        self._take_records(message.device_records)
        self._take_keys(message.keys)
        vectors = tuple(
            KeyedVector(
                key=self.key(vector.key_number),
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
            records={r.record_id: r for r in self._records.values() if r.record_id in used},
            vectors=vectors,
            boot_ns=boot_ns,
            wall_ns=message.observe_time.seconds * NS_PER_S + message.observe_time.nanos,
            display_flop={
                _text(display.allocation, "allocation", limit=MAXIMUM_LENGTH): _digits(
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
                key=self.key(hourly.key_number),
                sequence=check_sequence(hourly.sequence),
                vector=check_values(tuple(hourly.component_values)),
                first_hour=_first_hour(hourly),
                boot_ns=hourly.boot_duration.ToNanoseconds(),
                wall_ns=hourly.observe_time.seconds * NS_PER_S + hourly.observe_time.nanos,
            )
            for hourly in message.hourly_vectors
        )

    def key(self, number: int) -> Key:
        """The key a number stands for on this stream.

        Raises:
            WireError: the number was never stated.
        """
        try:
            return self._keys[number]
        except KeyError:
            raise WireError(f"key number {number} was never stated on this stream") from None

    def answer(
        self,
        report: Report,
        refused: Mapping[Key, str],
        position: LedgerPosition,
        *,
        at_root: bool,
        refused_claims: Mapping[ClaimKey, str] | None = None,
        refused_hours: Mapping[tuple[Key, int], str] | None = None,
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
        """
        response = pb.StreamReportsResponse(
            ledger_id=position.ledger_id,
            ledger_generation=position.generation,
            commit_number=position.commit_number,
        )
        durable = Durability.AT_ROOT if at_root else Durability.HERE
        for keyed in report.vectors:
            reason = refused.get(keyed.key, "")
            response.acknowledgements.add(
                key_number=self._numbers[keyed.key],
                sequence=keyed.sequence,
                durability=DURABILITIES[Durability.REFUSED if reason else durable],
                reason=reason,
            )
        if refused_claims is not None:
            acknowledge_claims(response, self._claims, refused_claims, durable)
        for hourly in report.hours:
            reason = (refused_hours or {}).get((hourly.key, hourly.hour), "")
            response.hourly_acknowledgements.add(
                key_number=self._numbers[hourly.key],
                hour=hourly.hour,
                sequence=hourly.sequence,
                durability=DURABILITIES[Durability.REFUSED if reason else durable],
                reason=reason,
            )
        return response

    def _take_records(self, records: Iterable[pb.DeviceRecord]) -> None:
        for message in records:
            if len(self._records) >= MAXIMUM_RECORDS_PER_STREAM:
                raise WireError(f"more than {MAXIMUM_RECORDS_PER_STREAM} device records")
            record = _record_in(message)
            if self._records.setdefault(message.record_number, record) != record:
                raise WireError(
                    f"device record {message.record_number} was stated before as another"
                )

    def _take_keys(self, keys: Iterable[pb.KeyDescriptor]) -> None:
        for message in keys:
            if len(self._keys) >= MAXIMUM_KEYS_PER_STREAM:
                raise WireError(f"more than {MAXIMUM_KEYS_PER_STREAM} keys on one stream")
            record = self._records.get(message.record_number)
            if record is None:
                raise WireError(f"device record {message.record_number} was never stated")
            key = Key(
                device=record.device,
                incarnation=_incarnation(message.incarnation),
                allocation=_text(message.allocation, "allocation", limit=MAXIMUM_LENGTH),
                phase=_number(message.phase, "phase"),
                evidence=_evidence(message.evidence),
                record=record.record_id,
            )
            if self._keys.setdefault(message.key_number, key) != key:
                raise WireError(f"key number {message.key_number} was stated before as another")
            if self._numbers.setdefault(key, message.key_number) != message.key_number:
                raise WireError(f"key number {message.key_number} states a key that has another")


def check_version(version: int) -> None:
    """Refuse a protocol this collector does not speak.

    Raises:
        WireError: with the version this side speaks.
    """
    if version != PROTOCOL_VERSION:
        raise WireError(
            f"protocol version {version} is not spoken here; "
            f"this collector speaks {PROTOCOL_VERSION}: upgrade the older side"
        )


def check_values(values: tuple[int, ...]) -> Vector:
    """Refuse vectors a register cannot hold; a shorter one is filled with zeros.

    Raises:
        WireError: too long, or a component outside 0 .. 2^62 - 1.
    """
    if not 0 < len(values) <= COMPONENT_COUNT:
        raise WireError(f"a vector has 1 to {COMPONENT_COUNT} components, not {len(values)}")
    if min(values) < 0 or max(values) >= REGISTER_LIMIT:
        raise WireError("a component lies outside 0 .. 2^62 - 1")
    return values + (0,) * (COMPONENT_COUNT - len(values))


def check_sequence(sequence: int) -> int:
    """Refuse a sequence that no register can have.

    Raises:
        WireError: below 1 or too large.
    """
    if not 1 <= sequence < REGISTER_LIMIT:
        raise WireError(f"sequence {sequence} lies outside 1 .. 2^62 - 1")
    return sequence


def _record_in(message: pb.DeviceRecord) -> DeviceRecord:
    scope = _SCOPES_BACK.get(message.energy_scope)
    if scope is None:
        raise WireError(f"energy scope {message.energy_scope} is not known")
    if INSTANCE_MARK in message.device:
        if message.device_count != 0 or scope is not EnergyScope.NONE:
            raise WireError("a MIG instance has device_count 0 and no energy: they are its GPU's")
    elif not 1 <= message.device_count <= MAXIMUM_DEVICES_PER_NODE:
        raise WireError(f"device_count must be 1 to {MAXIMUM_DEVICES_PER_NODE}")
    return DeviceRecord(
        node=_text(message.node, "node"),
        device=_text(message.device, "device"),
        vendor=_text(message.vendor, "vendor", required=False),
        product_name=_text(message.product_name, "product_name", required=False),
        pci_device_id=_number(message.pci_device_id, "pci_device_id"),
        part=_text(message.part, "part", required=False),
        sm_count=_number(message.sm_count, "sm_count"),
        max_sm_clock_mhz=_number(message.max_sm_clock_mhz, "max_sm_clock_mhz"),
        memory_mib=_number(message.memory_mib, "memory_mib"),
        driver_version=_text(message.driver_version, "driver_version", required=False),
        device_count=message.device_count,
        energy_scope=scope,
        tensor_classes=message.tensor_classes,
        simulated=message.simulated,
    )


MAXIMUM_DEVICES_PER_NODE = 1_024


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


def _evidence(number: int) -> Evidence:
    try:
        return Evidence(number)
    except ValueError:
        raise WireError(f"evidence level {number} is not known") from None


def _incarnation(raw: bytes) -> str:
    if len(raw) != INCARNATION_BYTES:
        raise WireError(f"an incarnation has {INCARNATION_BYTES} bytes, not {len(raw)}")
    return raw.hex()


def _number(number: int, name: str) -> int:
    if number < 0:
        raise WireError(f"{name} is negative")
    return number


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 40):
        raise WireError("compute_flop of a display estimate must be decimal digits")
    return int(text)


def _text(text: str, name: str, *, required: bool = True, limit: int = MAXIMUM_TEXT_LENGTH) -> str:
    """Refuse a text that is missing, too long, or holds characters a log cannot show."""
    if required and not text:
        raise WireError(f"{name} is empty")
    if len(text) > limit:
        raise WireError(f"{name} has {len(text)} characters; at most {limit} are allowed")
    if text and not text.isprintable():
        raise WireError(f"{name} holds control characters")
    return text
