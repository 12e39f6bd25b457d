"""What a witness file says the ledger must hold, component by component.

Owns: a plain account of readings by device and user, and the comparison with a ledger.
May touch: nothing; integers and the text of a witness file.
Called by tests/faults/site.py.

It shares no code with the agent's accumulator, only the rules of docs/estimation.md for counters
that are cumulative: the difference of two readings belongs to the user seen at both, or to the
boundary between two users; the time between them is busy where an SM worked.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flopmeter_core.registers import (
    COMPONENT_COUNT,
    SUBUNITS,
    SUBUNITS_PER_MEGACYCLE,
    SUBUNITS_PER_MJ,
    Component,
)

CYCLE_SUBUNITS = SUBUNITS_PER_MEGACYCLE // 1_000_000

Owner = tuple[str, str]
"""A device and its user."""

KeyName = tuple[str, str, str]
"""A device, an incarnation and a user: all that tells two keys of a witnessed agent apart."""

KEPT_ROUNDS = 4096
"""Rounds an agent may have to go back over: many only while its disk fails."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One reading of a device, as written down."""

    device: str
    monotonic_ns: int
    boottime_ns: int
    allocation: str
    energy_mj: int
    cycles: Mapping[int, int]

    @classmethod
    def parse(cls, told: Sequence[Any]) -> Seen:
        """Read one from a line."""
        device, at_ns, boot_ns, allocation, energy_mj, cycles = told
        counts = {int(component): count for component, count in cycles.items()}
        return cls(device, at_ns, boot_ns, allocation, energy_mj, counts)


@dataclass(slots=True)
class State:
    """An account after one round.

    Attributes:
        amounts: sub-units by owner.
        last: the newest reading of each device.
    """

    amounts: dict[Owner, tuple[int, ...]] = field(default_factory=dict)
    last: dict[str, Seen] = field(default_factory=dict)

    def copy(self) -> State:
        """A copy; what it holds is immutable."""
        return State(dict(self.amounts), dict(self.last))

    def take(self, seen: Seen) -> None:
        """Add one reading."""
        before = self.last.get(seen.device)
        if before is not None and seen.monotonic_ns >= before.monotonic_ns:
            allocation = before.allocation
            if seen.allocation != allocation:
                allocation = f"boundary({allocation},{seen.allocation})"
            owner = seen.device, allocation
            held = self.amounts.get(owner, (0,) * COMPONENT_COUNT)
            more = _difference(before, seen)
            self.amounts[owner] = tuple(map(sum, zip(held, more, strict=True)))
        self.last[seen.device] = seen

    def holds(self, baselines: Mapping[str, Seen]) -> bool:
        """Whether the newest readings are these; a journal keeps their users elsewhere."""
        newest = {device: (seen.monotonic_ns, seen.cycles) for device, seen in self.last.items()}
        return newest == {
            device: (seen.monotonic_ns, seen.cycles) for device, seen in baselines.items()
        }


def _difference(before: Seen, after: Seen) -> list[int]:
    amounts = [0] * COMPONENT_COUNT
    boot_ns = after.boottime_ns - before.boottime_ns
    awake_ns = min(after.monotonic_ns - before.monotonic_ns, boot_ns)
    amounts[Component.SUSPENDED_NS] = boot_ns - awake_ns
    if awake_ns == 0:
        return amounts
    active = False
    for component, count in after.cycles.items():
        cycles = count - before.cycles[component]
        amounts[component] = cycles * CYCLE_SUBUNITS
        active |= cycles > 0 and component != Component.SM_ELAPSED_MEGACYCLES
    amounts[Component.ENERGY_MJ] = (after.energy_mj - before.energy_mj) * SUBUNITS_PER_MJ
    amounts[Component.BUSY_NS if active else Component.IDLE_NS] = awake_ns
    return amounts


@dataclass
class Account:
    """A whole witness file.

    Attributes:
        state: where the readings stand that the agents' journals held.
        starts: agents that started.
        rounds, rounds_since_start: rounds of readings that were written down; of the newest agent.
        dropped: rounds that were read, and not in the journal the next agent found.
        longest_drop: most of them at one start.
        acknowledged: newest sequence told durable, by key.
        refusals: vectors the collector did not take, with its reasons.
        problems: what a witness file must never say.
    """

    state: State = field(default_factory=State)
    starts: int = 0
    rounds: int = 0
    rounds_since_start: int = 0
    dropped: int = 0
    longest_drop: int = 0
    acknowledged: dict[KeyName, int] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    first: dict[str, Seen] = field(default_factory=dict)
    _rounds: deque[State] = field(default_factory=lambda: deque(maxlen=KEPT_ROUNDS))
    _resumed: bool = True

    def take(self, lines: Iterable[str]) -> None:
        """Read on; only whole lines."""
        for line in lines:
            what, told = json.loads(line)
            match what:
                case "start":
                    self.starts += 1
                    self.rounds_since_start = 0
                    self._resumed = False
                case "resume":
                    self._resume({device: Seen.parse(seen) for device, seen in told.items()})
                case "round":
                    self._round([Seen.parse(seen) for seen in told])
                case "answer":
                    for device, incarnation, allocation, sequence in told[0]:
                        key = device, incarnation, allocation
                        newest = max(sequence, self.acknowledged.get(key, 0))
                        self.acknowledged[key] = newest
                    self.refusals += told[1]

    def _round(self, readings: Sequence[Seen]) -> None:
        self.rounds += 1
        self.rounds_since_start += 1
        if not self._resumed:
            # An agent that found no memory at all: whatever was read before is gone.
            self._drop(len(self._rounds))
            self.state = State()
            self._rounds.clear()
            self.first.clear()
            self._resumed = True
        for seen in readings:
            self.first.setdefault(seen.device, seen)
            self.state.take(seen)
        self._rounds.append(self.state.copy())

    def _resume(self, baselines: Mapping[str, Seen]) -> None:
        self._resumed = True
        dropped = 0
        while self._rounds and not self._rounds[-1].holds(baselines):
            self._rounds.pop()
            dropped += 1
        if not self._rounds:
            self.problems.append("an agent resumed from readings nobody made, or far too old ones")
            return
        self.state = self._rounds[-1].copy()
        self._drop(dropped)

    def _drop(self, rounds: int) -> None:
        self.dropped += rounds
        self.longest_drop = max(self.longest_drop, rounds)

    def missing_work(self) -> dict[str, int]:
        """What the counters moved by from first to last reading and the account lacks, in cycles.

        Zero in every component however often an agent was killed: the counters are cumulative.
        """
        missing: dict[str, int] = {}
        for device, last in self.state.last.items():
            first = self.first[device]
            for component, count in last.cycles.items():
                held = sum(
                    amount[component]
                    for owner, amount in self.state.amounts.items()
                    if owner[0] == device
                )
                lacking = count - first.cycles[component] - held // CYCLE_SUBUNITS
                if lacking:
                    missing[f"{device} {Component(component).name.lower()}"] = lacking
        return missing


@dataclass(frozen=True)
class Verdict:
    """A ledger held against an account.

    Attributes:
        truth, ledger: units by component, over all devices and users.
        lacking, exceeding: units by component that the ledger has too little or too much of, summed
            over owners, so that one owner's loss cannot hide another's surplus.
        acked_lost: keys whose acknowledged sequence the ledger does not hold.
    """

    truth: dict[str, int]
    ledger: dict[str, int]
    lacking: dict[str, int]
    exceeding: dict[str, int]
    acked_lost: int

    @property
    def equal(self) -> bool:
        """Whether the two say the same of every owner and component."""
        return not self.lacking and not self.exceeding


Held = Mapping[KeyName, tuple[int, Sequence[int]]]
"""What a ledger holds: sequence and vector by key."""


def judge(account: Account, held: Held) -> Verdict:
    """Compare, owner by owner and component by component."""
    found: dict[Owner, list[int]] = {}
    for (device, _, allocation), (_, vector) in held.items():
        sums = found.setdefault((device, allocation), [0] * COMPONENT_COUNT)
        for place, units in enumerate(vector):
            sums[place] += units
    names = [component.name.lower() for component in Component]
    truth, ledger = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    lacking, exceeding = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for owner in sorted({*found, *account.state.amounts}):
        true = account.state.amounts.get(owner, (0,) * COMPONENT_COUNT)
        have = found.get(owner, [0] * COMPONENT_COUNT)
        for name, subunits, each, units in zip(names, true, SUBUNITS, have, strict=True):
            truth[name] += subunits // each
            ledger[name] += units
            lacking[name] += max(0, subunits // each - units)
            exceeding[name] += max(0, units - subunits // each)
    lost = sum(
        key not in held or held[key][0] < sequence for key, sequence in account.acknowledged.items()
    )
    return Verdict(truth, ledger, _only(lacking), _only(exceeding), lost)


def _only(amounts: Mapping[str, int]) -> dict[str, int]:
    return {name: amount for name, amount in amounts.items() if amount}
