"""What agents and collectors say to each other, free of any encoding.

Owns: the messages as plain values: hello, report, acknowledgement, ledger position.
May touch: nothing; pure data.
Called by the agent's loop (makes reports), the collector (takes them) and wire (translates).
Explained in docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import field

from flopmeter_core.claims import Claim
from flopmeter_core.devices import DeviceRecord
from flopmeter_core.registers import Key, Vector
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_core.values import value_class

PROTOCOL_VERSION = 1

MAXIMUM_VECTORS_PER_REPORT = 5_000
"""Vectors in one report: with their keys stated, at about 210 bytes each, far below 4 MiB."""


@value_class(frozen=True, slots=True)
class Hello:
    """Who sends on a stream; labels only, nothing here enters a figure except `simulated`."""

    node: str
    incarnation: str
    simulated: bool
    cluster: str = ""
    agent_version: str = ""
    method_version: str = ""
    boot_id: str = ""
    sensor: str = ""
    sensor_reason: str = ""


@value_class(frozen=True, slots=True)
class KeyedVector:
    """The newest cumulative vector of one key.

    Attributes:
        key: whose register.
        sequence: grows with each change of the register.
        vector: cumulative values.
        boot_ns: time since boot, suspend included, up to which it was read, in the boot it was
            read in; it goes with the vector over every way. None where its writer did not say.
        follows: on the way from its writer only: fingerprints (`writers`) of vectors of the key
            that its process wrote before, one of which a ledger that has the key should hold;
            empty where it does not say.
    """

    key: Key
    sequence: int
    vector: Vector
    boot_ns: int | None = None
    follows: tuple[int, ...] = field(default=(), compare=False)


@value_class(frozen=True, slots=True)
class HourlyVector:
    """The cumulative vector of one key at the end of an hour of boot time.

    It never enters a total by itself: it only says when the newest vector's content came about,
    for declarations that hold for a part of the time.

    Attributes:
        key: whose register.
        sequence: sequence of the register at that instant.
        vector: cumulative values, nowhere above the key's newest vector.
        first_hour: all that was added since the key's previous hourly vector was read in the
            hours `first_hour` to `hour`; below `hour` where hours were thinned or refused.
        boot_ns: time since boot of the last reading in the hour, suspend included.
        wall_ns: Unix time in ns beside it: a label, by which dated declarations find the hour.
    """

    key: Key
    sequence: int
    vector: Vector
    first_hour: int
    boot_ns: int
    wall_ns: int

    @property
    def hour(self) -> int:
        """The number of the hour, counted from 0 at the boot of the key's incarnation."""
        return self.boot_ns // NS_PER_HOUR


@value_class(frozen=True, slots=True)
class Report:
    """The newest vectors of the keys that changed.

    Attributes:
        records: the device records the keys refer to, by record id.
        vectors: the vectors.
        boot_ns: time since boot at the sender, suspend included; no vector covers more.
        wall_ns: Unix time at the sender in ns: a label.
        display_flop: the sender's own best estimate by allocation, for display only.
        claims: what training processes claim, as far as it is not acknowledged.
        hours: hourly vectors not acknowledged yet, oldest first.
    """

    records: Mapping[str, DeviceRecord]
    vectors: tuple[KeyedVector, ...]
    boot_ns: int
    wall_ns: int
    display_flop: Mapping[str, int] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    hours: tuple[HourlyVector, ...] = ()


class Durability(enum.Enum):
    """Where an acknowledged vector is safe."""

    HERE = "durable_here"
    AT_ROOT = "durable_at_root"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    CONTESTED = "contested"


@value_class(frozen=True, slots=True)
class Held:
    """A vector that a ledger holds of a key beside or above one that came in."""

    sequence: int
    fingerprint: int


@value_class(frozen=True, slots=True)
class Doubt:
    """A vector that stands below another one of its key, or took its place, on ways of their own.

    It may be a late one of the same writer, or another writer's: who wrote the other one can tell.

    Attributes:
        node: whose agents may know.
        key_digest: of the key of both vectors (`writers.key_digest`).
        held: the vector in doubt.
    """

    node: str
    key_digest: bytes
    held: Held


@value_class(frozen=True, slots=True)
class Acknowledgement:
    """What became of one (key, sequence).

    Attributes:
        key: whose vector.
        sequence: the vector's.
        durability: where it is safe, or why it is not.
        reason: set when no figure holds it.
        held: what the ledger holds in its place; None where that is the vector itself, and of a
            collector that does not say it.
    """

    key: Key
    sequence: int
    durability: Durability
    reason: str = ""
    held: Held | None = None


@value_class(frozen=True, slots=True)
class ClaimAcknowledgement:
    """What became of one claim; `reason` is set when it was refused."""

    claim: Claim
    durability: Durability
    reason: str = ""


@value_class(frozen=True, slots=True)
class HourlyAcknowledgement:
    """What became of one hourly vector; `reason` is set when it was refused."""

    key: Key
    hour: int
    sequence: int
    durability: Durability
    reason: str = ""


@value_class(frozen=True, slots=True)
class LedgerPosition:
    """Where a ledger stands; an older position than before means it was restored."""

    ledger_id: str
    generation: int
    commit_number: int

    def went_back(self, before: LedgerPosition) -> bool:
        """Whether this is another ledger, or one that stands before an earlier position."""
        return (
            self.ledger_id != before.ledger_id
            or self.generation != before.generation
            or self.commit_number < before.commit_number
        )


@value_class(frozen=True, slots=True)
class Answer:
    """The collector's answer to one report.

    Attributes:
        acknowledgements: of its vectors.
        position: of the ledger that has them.
        claims, hours: what became of its claims and hourly vectors.
        fold_users: whether further users of the node are to share `overflow`: the collector is near
            its limit of what it tells apart.
        doubts: vectors of this sender's nodes that somebody else may have written.
    """

    acknowledgements: tuple[Acknowledgement, ...]
    position: LedgerPosition
    claims: tuple[ClaimAcknowledgement, ...] = ()
    hours: tuple[HourlyAcknowledgement, ...] = ()
    fold_users: bool = False
    doubts: tuple[Doubt, ...] = ()


MAXIMUM_DOUBTS_PER_MESSAGE = 512
"""Doubts told at a time, about 50 bytes each; the others wait for the next message."""
