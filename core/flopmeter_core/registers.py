"""The register vector: what is stored of a device under one key, and how it grows.

Owns: the components with their units, the key, exact accumulation with carry, and dominance.
May touch: nothing; pure integers, no clock, no I/O.
Called by the agent (which grows registers), the wire translator, the collector and the ledger.
Explained in docs/adr/0002-registers-and-number-type.md.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from flopmeter_core.errors import invariant
from flopmeter_core.kernels.replay import grow
from flopmeter_core.units import REGISTER_LIMIT
from flopmeter_core.values import value_class


class Component(enum.IntEnum):
    """One cumulative quantity of a register vector; the number is its place on the wire.

    Places are only ever appended, so that an older reader understands a newer vector's start.
    Megacycles of an SM are summed over the SMs of the device: an H100 at 1980 MHz adds
    132 x 1980 of them a second.
    """

    SM_ELAPSED_MEGACYCLES = 0
    SM_ACTIVE_MEGACYCLES = 1
    TENSOR_MEGACYCLES = 2
    HMMA_MEGACYCLES = 3
    IMMA_MEGACYCLES = 4
    DMMA_MEGACYCLES = 5
    DFMA_MEGACYCLES = 6
    FP64_MEGACYCLES = 7
    FP32_MEGACYCLES = 8
    FP16_MEGACYCLES = 9
    INT_MEGACYCLES = 10
    BUSY_MEGACYCLES = 11
    ENERGY_MJ = 12
    BUSY_NS = 13
    IDLE_NS = 14
    SUSPENDED_NS = 15
    UNOBSERVED_NS = 16
    SUSPECT_NS = 17


COMPONENT_COUNT = len(Component)

SM_CYCLE_COMPONENTS = tuple(Component)[: Component.BUSY_MEGACYCLES]
"""The components counted in mega-SM-cycles: each is at most SMs x maximum clock x time."""

_TIME = slice(int(Component.BUSY_NS), Component.SUSPECT_NS + 1)

TIME_COMPONENTS = tuple(Component)[_TIME]
"""The components that classify time: every nanosecond a key covers is in exactly one of them."""

# Sub-units: an increment is an integer number of these, so that nothing is rounded on the way.
# ppm x SMs x kHz x ns = 10^-6 x 10^3 x 10^-9 = 10^-12 cycles = 10^-18 megacycles.
SUBUNITS_PER_MEGACYCLE = 10**18
# (mW + mW) / 2 x ns = 10^-9 mJ / 2.
SUBUNITS_PER_MJ = 2 * 10**9

SUBUNITS: tuple[int, ...] = tuple(
    SUBUNITS_PER_MEGACYCLE
    if component <= Component.BUSY_MEGACYCLES
    else SUBUNITS_PER_MJ
    if component == Component.ENERGY_MJ
    else 1
    for component in Component
)
"""How many sub-units make one unit of each component; the carry stays below this."""

Vector = tuple[int, ...]
"""COMPONENT_COUNT cumulative values in the units of `Component`, each in 0 .. 2^62 - 1."""

ZERO_VECTOR: Vector = (0,) * COMPONENT_COUNT


INSTANCE_MARK = "/gi"
"""Parts a GPU's UUID from the number of its MIG instance in the name of a device instance."""


class Evidence(enum.IntEnum):
    """How time was observed, best first: the rung of the ladder (docs/estimation.md).

    `CYCLES`, `GPM` and `ENERGY` integrate: the hardware itself covers the whole period between
    two readings. The others sample, and are their own level because a sample can miss.
    """

    CYCLES = 1
    GPM = 2
    DCGM_SAMPLED = 3
    ENERGY = 4
    POWER_SAMPLED = 5
    BUSY_SAMPLED = 6
    ALLOCATION = 7

    @property
    def integrates(self) -> bool:
        """Whether the hardware covers the whole period, so that a late reading loses nothing."""
        return self in (Evidence.CYCLES, Evidence.GPM, Evidence.ENERGY)

    @property
    def level(self) -> str:
        """The name used in totals: cycles, gpm, dcgm, energy, busy or allocation."""
        return _LEVEL_NAMES[self]


_LEVEL_NAMES = {
    Evidence.CYCLES: "cycles",
    Evidence.GPM: "gpm",
    Evidence.DCGM_SAMPLED: "dcgm",
    Evidence.ENERGY: "energy",
    Evidence.POWER_SAMPLED: "energy",
    Evidence.BUSY_SAMPLED: "busy",
    Evidence.ALLOCATION: "allocation",
}


@value_class(frozen=True, slots=True, order=True)
class Key:
    """Whose register a vector is: one writer (an agent incarnation), one user of one device.

    Attributes:
        device: GPU UUID, or ``node:<id>`` for a sensor that sees a whole node, or
            ``<GPU UUID>/gi<number>@<MIG UUID>`` for the work of a MIG instance, whose time, energy
            and ceiling are in its GPU's register (docs/adr/0009-mig-instances.md).
        incarnation: 32 hexadecimal digits drawn at random at the agent's start.
        allocation: what the agent can see of the device's user (`flopmeter_core.allocations`).
        phase: a small number the training process may advance; 0 at first.
        evidence: how the time was observed.
        record: identity of the device record the vector was read under.
    """

    device: str
    incarnation: str
    allocation: str
    phase: int
    evidence: Evidence
    record: str
    _hash: int = field(init=False, repr=False, compare=False)
    """Asked for about ten times of each vector that comes in, so it is computed once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self._identity()))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        # Nearly always the same key, made anew of a message: told without making tuples of both.
        if other.__class__ is not Key:
            return NotImplemented
        assert isinstance(other, Key)
        return (
            self.device == other.device
            and self.incarnation == other.incarnation
            and self.allocation == other.allocation
            and self.phase == other.phase
            and self.evidence == other.evidence
            and self.record == other.record
        )

    def __reduce__(self) -> tuple[type[Key], tuple[object, ...]]:
        # Built anew where it is read: the hash of a text is another in every process.
        return Key, self._identity()

    def _identity(self) -> tuple[str, str, str, int, Evidence, str]:
        return (
            self.device,
            self.incarnation,
            self.allocation,
            self.phase,
            self.evidence,
            self.record,
        )


@dataclass(slots=True)
class Register:
    """A cumulative vector with the fraction below a unit carried exactly.

    Attributes:
        units: the vector as it is reported, in the units of `Component`.
        carry: the fraction of each component below one unit, in sub-units.
        sequence: grows by one with each change; the newest vector of a key wins whole.
        boot_ns: time since boot, suspend included, up to which it was read; 0 where nobody noted
            it. It is part of what the vector says of itself: no vector covers more.
    """

    units: list[int] = field(default_factory=lambda: [0] * COMPONENT_COUNT)
    carry: list[int] = field(default_factory=lambda: [0] * COMPONENT_COUNT)
    sequence: int = 0
    boot_ns: int = 0

    def add(self, subunits: Sequence[int]) -> None:
        """Add one increment.

        Args:
            subunits: COMPONENT_COUNT non-negative integers in sub-units (`SUBUNITS`).

        Raises:
            InvariantError: a negative increment, or a register that would pass 2^62.
        """
        invariant(len(subunits) == COMPONENT_COUNT, "an increment has one number a component")
        invariant(min(subunits) >= 0, "a register never decreases")
        largest = grow(self.units, self.carry, SUBUNITS, tuple(subunits))
        invariant(largest < REGISTER_LIMIT, "a register stays below 2^62")
        self.sequence += 1

    @property
    def vector(self) -> Vector:
        """The whole units, as reported."""
        return tuple(self.units)


def covered_ns(vector: Sequence[int]) -> int:
    """Time a vector classifies, in ns of its device's (or node's) time."""
    return sum(vector[_TIME])
