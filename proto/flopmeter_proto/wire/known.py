"""A report of keys that were stated, as rows of integers: the usual message, without objects.

Owns: which messages are usual in shape, their rows, and the answer to one that was taken whole.
May touch: generated messages; no socket, no clock.
Called by the collector's service, which reads every other message with `StreamReader.report`.
Explained in docs/adr/0039-registers-in-rows.md.

Only the shape is looked at here; that every number can be one is the kernel's to see. Compiled, a
message is read from its bytes in one pass; interpreted that costs more than what protobuf makes.
"""

from __future__ import annotations

import functools
import struct
from array import array
from collections.abc import Mapping, Sequence

from google.protobuf.message import DecodeError

from flopmeter_core.kernels import known_wire
from flopmeter_core.kernels.known_rows import CAME_SEQUENCE, CAME_WIDTH
from flopmeter_core.kernels.known_wire import (
    ACKNOWLEDGEMENT_BYTES,
    BOOT,
    FINGERPRINT_BYTES,
    SHOWN,
    SPAN_WIDTH,
    TOLD_WIDTH,
    read_report,
    spell_answer,
)
from flopmeter_core.registers import COMPONENT_COUNT
from flopmeter_core.reports import Durability, LedgerPosition
from flopmeter_core.units import NS_PER_S
from flopmeter_core.values import value_class
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.claims import DURABILITIES
from flopmeter_proto.wire.hello import displays_in
from flopmeter_proto.wire.parsing import parse_reports
from flopmeter_proto.wire.stream import MAXIMUM_FOLLOWED

COMPILED = hasattr(known_wire, "SOURCE_SHA256")

USUAL_SHOWN = 64
"""Estimates for display of a usual message."""

_WORD_BYTES = 8
_AT_ROOT = DURABILITIES[Durability.AT_ROOT]


@value_class(frozen=True, slots=True)
class KnownReport:
    """A report of nothing but vectors of keys stated before.

    Attributes:
        numbers: of each vector the number of its key on the stream.
        came: its row (`known_rows.CAME_WIDTH`), one after the other.
        follows: of each vector, by its place, the fingerprints it names; of those that name some.
        boot_ns: time since boot at the sender.
        display_flop: the sender's own best estimate by allocation.
    """

    numbers: array[int]
    came: array[int]
    follows: Mapping[int, Sequence[int]]
    boot_ns: int
    display_flop: Mapping[str, int]

    @property
    def sequences(self) -> array[int]:
        """The sequence of each vector."""
        return self.came[CAME_SEQUENCE::CAME_WIDTH]


def known_report(message: pb.StreamReportsRequest) -> KnownReport | None:
    """Read a usual message; None for any other one, which nothing was read of.

    Raises:
        WireError: an estimate for display that is none.
    """
    if message.keys or message.device_records or message.claims or message.hourly_vectors:
        return None
    numbers: list[int] = []
    came: list[int] = []
    follows: dict[int, Sequence[int]] = {}
    for place, vector in enumerate(message.vectors):
        components = vector.component_values[:]
        if len(components) != COMPONENT_COUNT:
            return None
        numbers.append(vector.key_number)
        came.append(vector.sequence)
        came.append(vector.boot_duration_ns)
        came += components
        named = vector.follows_fingerprints
        if named:
            if len(named) > MAXIMUM_FOLLOWED:
                return None
            follows[place] = tuple(named)
    boot = message.boot_duration
    boot_ns = boot.seconds * NS_PER_S + boot.nanos
    if not numbers or boot_ns < 0:
        return None
    shown = displays_in(message.display_estimates) if message.display_estimates else {}
    return KnownReport(array("q", numbers), array("q", came), follows, boot_ns, shown)


class KnownReader:
    """Reads usual messages from their bytes. One thread."""

    def __init__(self, most: int) -> None:
        """Make room.

        Args:
            most: vectors of a message; one with more is not usual.
        """
        self._numbers = _room(most)
        self._came = _room(most * CAME_WIDTH)
        self._follows = _room(most * SPAN_WIDTH)
        self._shown = _room(USUAL_SHOWN * SPAN_WIDTH)
        self._told = _room(TOLD_WIDTH)

    def read(self, raw: bytes) -> KnownReport | None:
        """Read a usual message; None for any other one, which nothing was read of.

        Raises:
            WireError: an estimate for display that is none, or bytes that are no message.
        """
        if not COMPILED:
            message = parse_reports(raw)
            known = None if message.HasField("hello") else known_report(message)
            return known if known and len(known.numbers) <= len(self._numbers) else None
        told = self._told
        count = read_report(raw, self._numbers, self._came, self._follows, self._shown, told)
        if not count:
            return None
        shown: Mapping[str, int] = {}
        if told[SHOWN]:
            try:
                shown = displays_in(
                    pb.DisplayEstimate.FromString(raw[at : at + length])
                    for at, length in _spans(self._shown, told[SHOWN])
                )
            except DecodeError:
                return None
        follows = {
            place: struct.unpack_from(f"<{length // FINGERPRINT_BYTES}Q", raw, at)
            for place, (at, length) in enumerate(_spans(self._follows, count))
            if length
        }
        came = self._came[: count * CAME_WIDTH]
        return KnownReport(self._numbers[:count], came, follows, told[BOOT], shown)


def _room(integers: int) -> array[int]:
    return array("q", bytes(_WORD_BYTES * integers))


def _spans(block: array[int], count: int) -> zip[tuple[int, int]]:
    """Where the first so many of something lie, and how long each is."""
    end = count * SPAN_WIDTH
    return zip(block[0:end:SPAN_WIDTH], block[1:end:SPAN_WIDTH], strict=True)


def known_answer(
    numbers: array[int], sequences: array[int], position: LedgerPosition, *, fold_users: bool
) -> bytes:
    """The answer to a report whose every vector is committed, with no ledger behind this one.

    Args:
        numbers: of the keys.
        sequences: of their vectors.
        position: where the ledger stands after the commit.
        fold_users: as in `StreamReader.answer`.

    Returns:
        A `StreamReportsResponse`, as it is sent.
    """
    out = bytearray(len(numbers) * ACKNOWLEDGEMENT_BYTES)
    written = spell_answer(numbers, sequences, _AT_ROOT, out)
    # Fields may stand in any order, and one message after the other is both in one.
    return _head(position, fold_users) + out[:written]


@functools.lru_cache(maxsize=16)
def _head(position: LedgerPosition, fold_users: bool) -> bytes:
    """What all answers to one commit have in common."""
    return pb.StreamReportsResponse(
        ledger_id=position.ledger_id,
        ledger_generation=position.generation,
        commit_number=position.commit_number,
        fold_users=fold_users,
    ).SerializeToString()
