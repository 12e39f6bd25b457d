"""A report of keys that were stated, as rows of integers: the usual message, without objects.

Owns: which messages are usual in shape, their rows, and the answer to one that was taken whole.
May touch: generated messages; no socket, no clock.
Called by the collector's service, which reads every other message with `StreamReader.report`.
Explained in docs/adr/0039-registers-in-rows.md.

Only the shape is looked at here; that every number can be one is the kernel's to see.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flopmeter_core.kernels.known_rows import CAME_SEQUENCE, CAME_WIDTH
from flopmeter_core.registers import COMPONENT_COUNT
from flopmeter_core.reports import Durability, LedgerPosition
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.claims import DURABILITIES
from flopmeter_proto.wire.hello import displays_in
from flopmeter_proto.wire.stream import MAXIMUM_FOLLOWED


@dataclass(frozen=True, slots=True)
class KnownReport:
    """A report of nothing but vectors of keys stated before.

    Attributes:
        numbers: of each vector the number of its key on the stream.
        came: its row (`known_rows.CAME_WIDTH`), one after the other.
        follows: of each vector, by its place, the fingerprints it names; of those that name some.
        boot_ns: time since boot at the sender.
        display_flop: the sender's own best estimate by allocation.
    """

    numbers: list[int]
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
            follows[place] = named[:]
    boot = message.boot_duration
    boot_ns = boot.seconds * NS_PER_S + boot.nanos
    if not numbers or boot_ns < 0:
        return None
    shown = displays_in(message.display_estimates) if message.display_estimates else {}
    return KnownReport(numbers, array("q", came), follows, boot_ns, shown)


@dataclass(slots=True)
class KnownAnswers:
    """Answers to usual messages of one stream: one message, in which sequences change."""

    _numbers: list[int] = field(default_factory=list)
    _answer: pb.StreamReportsResponse = field(default_factory=pb.StreamReportsResponse)

    def answer(
        self,
        numbers: list[int],
        sequences: Sequence[int],
        position: LedgerPosition,
        *,
        fold_users: bool,
    ) -> pb.StreamReportsResponse:
        """The answer to a report whose every vector is committed, with no ledger behind this one.

        Args:
            numbers: of the keys.
            sequences: of their vectors.
            position: where the ledger stands after the commit.
            fold_users: as in `StreamReader.answer`.

        Returns:
            A message that holds until the next one is asked for.
        """
        answer = self._answer
        if numbers != self._numbers:
            del answer.acknowledgements[:]
            durable = DURABILITIES[Durability.AT_ROOT]
            for number in numbers:
                answer.acknowledgements.add(key_number=number, durability=durable)
            self._numbers = numbers
        for acknowledgement, sequence in zip(answer.acknowledgements, sequences, strict=True):
            acknowledgement.sequence = sequence
        answer.ledger_id = position.ledger_id
        answer.ledger_generation = position.generation
        answer.commit_number = position.commit_number
        answer.fold_users = fold_users
        return answer
