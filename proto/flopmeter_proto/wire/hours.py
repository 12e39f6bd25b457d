"""Hourly vectors on the wire: the part that reports and batches share.

Owns: the spelling of an hourly vector and of its acknowledgement, and the limit on them.
May touch: generated messages; no socket, no clock.
Called by wire.stream and wire.batch. Explained in docs/adr/0007-hourly-vectors-and-splits.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import WireError
from flopmeter_core.registers import Key
from flopmeter_core.reports import Durability, HourlyAcknowledgement, HourlyVector
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S, REGISTER_LIMIT
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.claims import DURABILITIES, DURABILITIES_BACK
from flopmeter_proto.wire.numbering import SentNumbers, StatedNumbers
from flopmeter_proto.wire.values import check_sequence, components_in, paused

MAXIMUM_HOURS_PER_MESSAGE = 1_000
"""Hourly vectors in one message: about 0.2 MB."""


def hours_out(
    message: pb.StreamReportsRequest | pb.StreamBatchesRequest,
    hours: Iterable[HourlyVector],
    numbers: SentNumbers,
    records: Mapping[str, DeviceRecord],
) -> None:
    """Add hourly vectors to a message, which states their keys where they are new."""
    for hourly in hours:
        added = message.hourly_vectors.add(
            key_number=numbers.number(message, hourly.key, records),
            sequence=hourly.sequence,
            component_values=hourly.vector,
            first_hour=hourly.first_hour,
        )
        added.boot_duration.FromNanoseconds(hourly.boot_ns)
        added.observe_time.FromNanoseconds(hourly.wall_ns)


def hours_in(
    messages: Sequence[pb.HourlyVector],
    stated: StatedNumbers,
    pause: Callable[[], None] | None = None,
) -> tuple[HourlyVector, ...]:
    """Read the hourly vectors of a message.

    Args:
        messages: they.
        stated: the keys of the stream.
        pause: called after each, where they may be many.

    Raises:
        WireError: too many, a key that was never stated, or an hour that no boot has.
    """
    if len(messages) > MAXIMUM_HOURS_PER_MESSAGE:
        raise WireError(
            f"a message has at most {MAXIMUM_HOURS_PER_MESSAGE} hourly vectors, not {len(messages)}"
        )
    return tuple(
        HourlyVector(
            key=stated.key(hourly.key_number),
            sequence=check_sequence(hourly.sequence),
            vector=components_in(hourly.component_values),
            first_hour=_first_hour(hourly),
            boot_ns=hourly.boot_duration.ToNanoseconds(),
            wall_ns=hourly.observe_time.seconds * NS_PER_S + hourly.observe_time.nanos,
        )
        for hourly in paused(messages, pause)
    )


def acknowledge_hours(
    response: pb.StreamReportsResponse | pb.StreamBatchesResponse,
    hours: Iterable[HourlyVector],
    stated: StatedNumbers,
    refused: Mapping[tuple[Key, int], str],
    durable: Durability,
) -> None:
    """Answer each hourly vector of a message.

    Args:
        response: gets the answers.
        hours: as they came.
        stated: the numbers of their keys.
        refused: why each refused one (key, hour) was not taken.
        durable: where the others are safe.
    """
    for hourly in hours:
        reason = refused.get((hourly.key, hourly.hour), "")
        response.hourly_acknowledgements.add(
            key_number=stated.number(hourly.key),
            hour=hourly.hour,
            sequence=hourly.sequence,
            durability=DURABILITIES[Durability.REFUSED if reason else durable],
            reason=reason,
        )


def hour_answers(
    acknowledgements: Iterable[pb.HourlyAcknowledgement], numbers: SentNumbers
) -> tuple[HourlyAcknowledgement, ...]:
    """Read the answers to hourly vectors.

    Raises:
        WireError: an answer to a key this stream never stated.
    """
    return tuple(
        HourlyAcknowledgement(
            key=numbers.key(ack.key_number),
            hour=ack.hour,
            sequence=ack.sequence,
            durability=DURABILITIES_BACK.get(ack.durability, Durability.REFUSED),
            reason=ack.reason,
        )
        for ack in acknowledgements
    )


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
