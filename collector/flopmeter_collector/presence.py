"""What all devices' enrolled time adds up to, without looking at each of them each time.

Owns: the sum over the devices that go on reporting, and which devices have to be looked at.
May touch: memory only; no clock: the instant comes with each question.
Called by residual, which keeps the devices and tells which of them changed.
Explained in docs/adr/0035-collector-at-its-limits.md.

A device that reported lately misses nothing yet, so what it adds does not move with time: it is
added once, and taken out when it changes or has been silent for too long. When that will be is
known beforehand, so a round looks at the devices that are silent or ended, and at those whose
time has come; of a fleet that reports they are few.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flopmeter_collector.timeline import Division, classes_at


@dataclass(frozen=True, slots=True)
class Charge:
    """What is charged to one user or to the remainder: device time in ns, and FLOP at most."""

    residual_ns: int = 0
    flop: int = 0
    simulated: bool = False

    def __add__(self, other: Charge) -> Charge:
        """Add charge to charge."""
        return Charge(
            self.residual_ns + other.residual_ns,
            self.flop + other.flop,
            self.simulated or other.simulated,
        )


NO_CHARGE = Charge()

NEVER = 1 << 63
"""Until a report or a declaration changes it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one device.

    Attributes:
        division: of its enrolled time.
        device_count: accelerators behind it.
        ceiling_flop_per_ns: what they could do at most.
        simulated: whether its readings are made up.
    """

    division: Division
    device_count: int
    ceiling_flop_per_ns: int
    simulated: bool


@dataclass(slots=True)
class _Sum:
    """What some devices add up to; charges in ns and FLOP, and how many simulated devices."""

    down_ns: int = 0
    silent: int = 0
    enrolled: int = 0
    doubled: int = 0
    doubled_ns: int = 0
    charged: dict[str | None, list[int]] = field(default_factory=dict)

    def add(self, part: _Part, sign: int = 1) -> None:
        """Add what one device adds, or take it out."""
        self.down_ns += sign * part.down_ns
        self.silent += sign * part.silent
        self.enrolled += sign * part.enrolled
        self.doubled += sign * bool(part.doubled_ns)
        self.doubled_ns += sign * part.doubled_ns
        for user, missing_ns, flop in part.charged:
            held = self.charged.setdefault(user, [0, 0, 0, 0])
            held[0] += sign * missing_ns
            held[1] += sign * flop
            held[2] += sign * part.simulated
            held[3] += sign
            if not held[3]:
                del self.charged[user]

    def copy(self) -> _Sum:
        """A sum of its own."""
        charged = {user: list(held) for user, held in self.charged.items()}
        return _Sum(
            self.down_ns, self.silent, self.enrolled, self.doubled, self.doubled_ns, charged
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """What one device adds; the same until `due_ns`, None where it is looked at each time."""

    due_ns: int | None
    down_ns: int = 0
    silent: int = 0
    enrolled: int = 0
    doubled_ns: int = 0
    charged: tuple[tuple[str | None, int, int], ...] = ()
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Present:
    """All devices at one instant; see `residual.Residual`."""

    charges: Mapping[str | None, Charge]
    down_ns: int
    silent: int
    enrolled: int
    doubled: int
    doubled_ns: int


class Presence:
    """Adds devices up. One thread at a time."""

    def __init__(self, silence_ns: int, standing: Callable[[str], Standing | None]) -> None:
        """Start with none.

        Args:
            silence_ns: a device silent for less misses nothing yet.
            standing: what is known of a device now; None where its time was never divided.
        """
        self._silence_ns = silence_ns
        self._standing = standing
        self._sum = _Sum()
        self._parts: dict[str, _Part] = {}
        self._due: list[tuple[int, str]] = []
        self._queued: dict[str, int] = {}
        self._looked_at: set[str] = set()

    def changed(self, device: str) -> None:
        """Note that more than the newest report's time may have changed of a device."""
        part = self._parts.pop(device, None)
        if part is not None:
            self._sum.add(part, -1)
        self._looked_at.add(device)

    def at(self, as_of_ns: int) -> Present:
        """All devices.

        Args:
            as_of_ns: Unix time in ns.
        """
        while self._due and self._due[0][0] <= as_of_ns:
            due_ns, device = heapq.heappop(self._due)
            if self._queued.get(device) == due_ns:
                del self._queued[device]
            self.changed(device)
        moving = _Sum()
        for device in list(self._looked_at):
            part = self._part(device, as_of_ns)
            if part.due_ns is None:
                moving.add(part)
                continue
            self._looked_at.discard(device)
            self._parts[device] = part
            self._sum.add(part)
            if part.due_ns != NEVER and part.due_ns < self._queued.get(device, part.due_ns + 1):
                # One that comes sooner looks at it too, and asks again.
                self._queued[device] = part.due_ns
                heapq.heappush(self._due, (part.due_ns, device))
        both = self._sum.copy()
        for user, (missing_ns, flop, simulated, count) in moving.charged.items():
            held = both.charged.setdefault(user, [0, 0, 0, 0])
            both.charged[user] = [
                held[0] + missing_ns,
                held[1] + flop,
                held[2] + simulated,
                held[3] + count,
            ]
        return Present(
            {user: Charge(held[0], held[1], held[2] > 0) for user, held in both.charged.items()},
            both.down_ns + moving.down_ns,
            both.silent + moving.silent,
            both.enrolled + moving.enrolled,
            both.doubled + moving.doubled,
            both.doubled_ns + moving.doubled_ns,
        )

    def _part(self, device: str, as_of_ns: int) -> _Part:
        """What a device adds at an instant."""
        known = self._standing(device)
        if known is None:
            return _Part(NEVER)
        division, count = known.division, known.device_count
        doubled_ns = sum(division.doubled_ns.values()) * count
        if division.tail_from_ns is None:
            return _Part(NEVER, doubled_ns=doubled_ns)
        going_on = division.tail_until_ns is None or division.tail_until_ns > as_of_ns
        present = going_on and as_of_ns - division.tail_from_ns < self._silence_ns
        if present:
            down_ns, residual_ns = division.declared_down_ns, division.residual_ns
        else:
            classes = classes_at(division, as_of_ns, silence_ns=self._silence_ns)
            down_ns, residual_ns = classes.declared_down_ns, dict(classes.residual_ns)
        steady = present and division.tail_until_ns is None
        return _Part(
            due_ns=division.tail_from_ns + self._silence_ns if steady else None,
            down_ns=down_ns * count,
            silent=count * (going_on and not present),
            enrolled=count * going_on,
            doubled_ns=doubled_ns,
            charged=tuple(
                (user, missing_ns * count, missing_ns * known.ceiling_flop_per_ns)
                for user, missing_ns in residual_ns.items()
            ),
            simulated=known.simulated,
        )
