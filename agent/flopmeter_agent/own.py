"""What this process wrote and showed of its registers, by fingerprint.

Owns: the fingerprints of the states that were journaled, and of the vectors that were sent.
May touch: memory only; nothing of it outlives the process.
Called by delivery, under the loop's lock.
Explained in docs/adr/0030-two-writers-of-one-incarnation.md.

A ledger holds of a running incarnation what its process sent, or what lay in its journal when the
disk was copied. Anything else is another process' work: of a machine that was copied with this one.
Where the fingerprints no longer reach back that far, a vector is believed to be an own one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flopmeter_core.registers import Key, Register
from flopmeter_core.reports import Held, KeyedVector
from flopmeter_core.writers import NOTHING, fingerprint, is_before, mark_of

REMEMBERED_STATES = 512
"""Journaled states of a register that are remembered: four hours at a sample every 30 s. About 130
bytes each, so that eight devices take half a megabyte."""

NAMED = 16
"""Fingerprints a vector names at most; where a ledger holds an older one, it asks."""


@dataclass(slots=True)
class _Trail:
    """What was written of one register.

    Attributes:
        states: fingerprints of journaled states by sequence, oldest first.
        shown: those of the newest vector acknowledged, and of all sent since.
    """

    states: dict[int, int] = field(default_factory=dict)
    shown: list[int] = field(default_factory=list)


class OwnStates:
    """Fingerprints of the registers of the running incarnation, and of the one before it."""

    def __init__(self) -> None:
        """Begin with nothing written."""
        self._trails: dict[Key, _Trail] = {}
        self._ended: dict[Key, _Trail] = {}

    def journaled(self, registers: Mapping[Key, Register]) -> None:
        """Note what the journal holds of registers that changed, or may hold from now on."""
        for key, register in registers.items():
            trail = self._trails.get(key)
            if trail is None:
                trail = self._trails[key] = _Trail()
            if register.sequence not in trail.states:
                trail.states[register.sequence] = fingerprint(register.sequence, register.units)
                if len(trail.states) > REMEMBERED_STATES:
                    del trail.states[next(iter(trail.states))]

    def shown(self, keyed: KeyedVector) -> None:
        """Note that a vector leaves."""
        trail = self._of(keyed.key)
        if trail is None:
            return
        own = trail.states.get(keyed.sequence)
        if own is None:
            own = fingerprint(keyed.sequence, keyed.vector)
        if own not in trail.shown:
            trail.shown.append(own)
            del trail.shown[:-NAMED]

    def acknowledged(self, key: Key, sequence: int) -> None:
        """Forget what was sent before a vector that a collector has."""
        trail = self._of(key)
        if trail is not None and trail.shown:
            after = [each for each in trail.shown if not is_before(each, sequence)]
            trail.shown = after or trail.shown[-1:]

    def proven(self, key: Key, held: Held) -> None:
        """Name from now on what a ledger holds: it is this process'."""
        trail = self._of(key)
        if trail is not None and held.fingerprint not in trail.shown:
            trail.shown.insert(0, held.fingerprint)

    def follows(self, key: Key) -> tuple[int, ...]:
        """What a vector of this process is to name; empty for a register of an earlier one."""
        trail = self._of(key)
        return tuple(trail.shown or (NOTHING,)) if trail is not None else ()

    def is_own(self, key: Key, sequence: int, held: Held) -> bool:
        """Whether this process, or the one it goes on from, may have written what a ledger holds.

        Args:
            key: the register's.
            sequence: how far it has come: nothing of it can stand above.
            held: what the ledger holds.
        """
        if mark_of(held.sequence) != mark_of(sequence) or held.sequence > sequence:
            return False
        trail = self._of(key)
        if trail is None or not trail.states or held.sequence < next(iter(trail.states)):
            return True
        return trail.states.get(held.sequence) == held.fingerprint

    def renew(self) -> None:
        """Another incarnation begins; of the one before it a collector may still ask."""
        self._ended, self._trails = self._trails, {}

    def _of(self, key: Key) -> _Trail | None:
        return self._trails.get(key) or self._ended.get(key)
