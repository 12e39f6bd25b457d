"""What all devices' enrolled time adds up to, without looking at each of them each time.

Owns: the sum over the devices that go on reporting, and which devices have to be looked at.
May touch: memory only; no clock: the instant comes with each question.
Called by residual, which keeps the devices and tells which of them changed.
Explained in docs/adr/0035-collector-at-its-limits.md.

A device that reported lately misses nothing yet, so what it adds does not move with time: it is
added once, and taken out when it changes or has been silent for too long. When that will be is
known beforehand. One that is silent misses all time that goes by, one that ended misses no more:
they are added once too, as so much and so much more a ns. So a round looks at those whose time has
come, and at those that are declared down or will end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import add

from flopmeter_collector.timeline import Division, classes_at
from flopmeter_core.values import value_class


@value_class(frozen=True, slots=True)
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

Charges = Mapping[str | None, Charge]


def gathered(charges: Charges, of: Callable[[str | None], str | None]) -> Charges:
    """Charges added up by what `of` makes of each name."""
    found: dict[str | None, Charge] = {}
    for name, charge in charges.items():
        found[of(name)] = found.get(of(name), NO_CHARGE) + charge
    return found


NEVER = 1 << 63
"""Until a report or a declaration changes it."""


@value_class(frozen=True, slots=True)
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
    """By user: ns and FLOP at Unix time 0, simulated devices, devices, and what a ns adds of both.
    """

    def add(self, part: _Part, sign: int = 1) -> None:
        """Add what one device adds, or take it out."""
        self.down_ns += sign * part.down_ns
        self.silent += sign * part.silent
        self.enrolled += sign * part.enrolled
        self.doubled += sign * bool(part.doubled_ns)
        self.doubled_ns += sign * part.doubled_ns
        if part.misses_ns or part.misses_flop:
            held = self._held(None)
            held[4] += sign * part.misses_ns
            held[5] += sign * part.misses_flop
        for user, missing_ns, flop in part.charged:
            held = self._held(user)
            held[0] += sign * missing_ns
            held[1] += sign * flop
            held[2] += sign * part.simulated
            held[3] += sign
            if not held[3]:
                del self.charged[user]

    def _held(self, user: str | None) -> list[int]:
        return self.charged.setdefault(user, [0, 0, 0, 0, 0, 0])

    def at(self, as_of_ns: int) -> dict[str | None, list[int]]:
        """By user: ns, FLOP and how many simulated devices, at an instant."""
        return {
            user: [held[0] + held[4] * as_of_ns, held[1] + held[5] * as_of_ns, held[2]]
            for user, held in self.charged.items()
        }


@value_class(frozen=True, slots=True)
class _Part:
    """What one device adds; the same until `due_ns`, None where it is looked at each time.

    Of one that is silent `charged` is that of Unix time 0, and a ns adds `misses_ns` and
    `misses_flop`, to nobody's; so it is as long as it is silent and no clock goes back.
    """

    due_ns: int | None
    down_ns: int = 0
    silent: int = 0
    enrolled: int = 0
    doubled_ns: int = 0
    charged: tuple[tuple[str | None, int, int], ...] = ()
    simulated: bool = False
    misses_ns: int = 0
    misses_flop: int = 0
    forward_only: bool = False


@value_class(frozen=True, slots=True)
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

    def __init__(
        self,
        silence_ns: int,
        standing: Callable[[str], Standing | None],
        rely: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Start with none.

        Args:
            silence_ns: a device silent for less misses nothing yet.
            standing: what is known of a device now; None where its time was never divided.
            rely: told each device whose silence is relied on from now on (`told_silent`).
        """
        self._silence_ns = silence_ns
        self._standing = standing
        self._rely = rely
        self._sum = _Sum()
        self._parts: dict[str, _Part] = {}
        self._due: list[tuple[int, str]] = []
        self._queued: dict[str, int] = {}
        self._looked_at: set[str] = set()
        self._forward_only: set[str] = set()
        self._latest_ns = 0

    def changed(self, device: str) -> None:
        """Note that more than the newest report's time may have changed of a device."""
        part = self._parts.pop(device, None)
        if part is not None:
            self._sum.add(part, -1)
        self._looked_at.add(device)
        self._forward_only.discard(device)

    def at(self, as_of_ns: int) -> Present:
        """All devices.

        Args:
            as_of_ns: Unix time in ns.
        """
        if as_of_ns < self._latest_ns:
            for device in list(self._forward_only):
                self.changed(device)
        self._latest_ns = as_of_ns
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
            self._keep(device, part)
        charged = self._sum.at(as_of_ns)
        for user, more in moving.at(as_of_ns).items():
            held = charged.get(user)
            charged[user] = more if held is None else list(map(add, held, more))
        return Present(
            {user: Charge(ns, flop, made_up > 0) for user, (ns, flop, made_up) in charged.items()},
            self._sum.down_ns + moving.down_ns,
            self._sum.silent + moving.silent,
            self._sum.enrolled + moving.enrolled,
            self._sum.doubled + moving.doubled,
            self._sum.doubled_ns + moving.doubled_ns,
        )

    def _keep(self, device: str, part: _Part) -> None:
        """Add a device until it is looked at again."""
        self._parts[device] = part
        self._sum.add(part)
        if part.forward_only:
            self._forward_only.add(device)
        due_ns = part.due_ns
        if due_ns is not None and due_ns < min(NEVER, self._queued.get(device, NEVER)):
            # One that comes sooner looks at it too, and asks again.
            self._queued[device] = due_ns
            heapq.heappush(self._due, (due_ns, device))

    def _part(self, device: str, as_of_ns: int) -> _Part:
        """What a device adds at an instant."""
        known = self._standing(device)
        if known is None:
            return _Part(NEVER)
        division, count = known.division, known.device_count
        doubled_ns = sum(division.doubled_ns.values()) * count
        if division.tail_from_ns is None:
            return _Part(NEVER, doubled_ns=doubled_ns)
        from_ns, until_ns = division.tail_from_ns, division.tail_until_ns
        going_on = until_ns is None or until_ns > as_of_ns
        silent_ns = as_of_ns - from_ns
        present = going_on and silent_ns < self._silence_ns
        missing, ceiling = 0, known.ceiling_flop_per_ns
        due_ns: int | None = None
        forward_only = False
        if present:
            down_ns, residual_ns = division.declared_down_ns, division.residual_ns
            if until_ns is None:
                due_ns = from_ns + self._silence_ns
        elif going_on and until_ns is None and silent_ns > 0 and not division.tail_downs:
            down_ns, residual_ns = division.declared_down_ns, dict(division.residual_ns)
            residual_ns[None] = residual_ns.get(None, 0) - from_ns
            division.told_silent = forward_only = True
            self._rely(device)
            due_ns, missing = NEVER, 1
        else:
            classes = classes_at(division, as_of_ns, silence_ns=self._silence_ns)
            down_ns, residual_ns = classes.declared_down_ns, dict(classes.residual_ns)
            if not going_on:
                due_ns, forward_only = NEVER, True
        return _Part(
            due_ns=due_ns,
            down_ns=down_ns * count,
            silent=count * (going_on and not present),
            enrolled=count * going_on,
            doubled_ns=doubled_ns,
            charged=tuple(
                (user, missing_ns * count, missing_ns * ceiling)
                for user, missing_ns in residual_ns.items()
            ),
            simulated=known.simulated,
            misses_ns=missing * count,
            misses_flop=missing * ceiling,
            forward_only=forward_only,
        )
