"""The phase each run of this node is in, as its training processes say.

Owns: which phase is in force for which run, how many there may be, and which processes count.
May touch: nothing; no socket, no clock, no disk. The loop journals `state` and takes it back.
Called by claims (processes speak), claim_socket (processes go) and the loop (a phase for a key).
Explained in docs/adr/0010-phases.md.

A phase is a small number that tells work of one number format from work of another. It moves no
FLOP between runs and makes none: it only says under which declared format a register is read.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flopmeter_core.allocations import NONE, named_run
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

GREATEST_PHASE = 63
LAST_PHASE = GREATEST_PHASE + 1
"""Where every phase beyond the greatest is counted, so that no client makes keys without end."""

MAXIMUM_CHANGES = 1_024
"""Of one run's phase in one life of an agent. Each puts one sampling period into a boundary; who
changes more often is left in LAST_PHASE, so that nobody hides a run's work in boundaries."""

MAXIMUM_RUNS = 64
MAXIMUM_ATTEMPTS = 64
"""Of a run, with a process each; where no launcher says one, each process is its own."""

LATE_NS = 2 * NS_PER_S
"""A change that is heard of later than this is said: the work since then is in the old phase."""


@dataclass(slots=True)
class _Attempt:
    """One start of a run: the highest phase it named, and the connections that spoke for it."""

    phase: int = 0
    connections: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Run:
    """A run whose processes named a phase above 0 at some time."""

    attempts: dict[str, _Attempt] = field(default_factory=dict)
    phase: int = 0
    changes: int = 0
    said: bool = False


class PhaseBook:
    """The phases of a node's runs. Safe to use from several threads."""

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        """Start with every run in phase 0.

        Args:
            changed: told after each change of a phase that is in force, to take a reading at once.
        """
        self._changed = changed
        self._runs: dict[str, _Run] = {}
        self._held: frozenset[str] = frozenset()
        self._full_said = False
        self._lock = threading.Lock()

    def state_phase(
        self, run: str, attempt: str, phase: int, *, connection: int, user: int, age_ns: int = 0
    ) -> None:
        """Take what a process says of its run's phase.

        Within an attempt the highest phase stays. Attempts with a connected process count
        together; one whose processes have all gone gives way to the next that speaks.

        Args:
            run: its run.
            attempt: its start of the run.
            phase: 0 or more; above GREATEST_PHASE it is LAST_PHASE.
            connection: of the process, until `gone`.
            user: the process' user id, for the log.
            age_ns: how long ago the process entered the phase.
        """
        with self._lock:
            known = self._runs.get(run)
            if known is None:
                if not phase or not self._room(run):
                    return
                known = self._runs[run] = _Run()
            for each in known.attempts.values():
                each.connections.discard(connection)  # it speaks for one attempt at a time
            live = {
                name: each
                for name, each in known.attempts.items()
                if each.connections or name == attempt
            }
            if attempt not in live and len(live) >= MAXIMUM_ATTEMPTS:
                return
            mine = live.setdefault(attempt, _Attempt())
            mine.phase = max(mine.phase, min(phase, LAST_PHASE))
            mine.connections.add(connection)
            known.attempts = live
            acts = self._enter(run, known, max(each.phase for each in live.values()), user, age_ns)
        if acts:
            self._changed()

    def gone(self, connection: int) -> None:
        """Forget a connection; the phases it named stay in force until another attempt speaks."""
        with self._lock:
            for known in self._runs.values():
                for attempt in known.attempts.values():
                    attempt.connections.discard(connection)

    def in_force(self) -> Mapping[str, int]:
        """The phases above 0 now, by run: a copy."""
        with self._lock:
            return {run: known.phase for run, known in self._runs.items() if known.phase}

    def hold(self, allocations: Iterable[str]) -> None:
        """Note which allocations have devices here, so that another run's phase is told apart."""
        with self._lock:
            self._held = frozenset(allocations)

    def state(self) -> dict[str, Any]:
        """What the journal keeps: by run the phase in force and the attempts' own."""
        with self._lock:
            return {
                run: {
                    "phase": known.phase,
                    "attempts": {name: each.phase for name, each in known.attempts.items()},
                }
                for run, known in self._runs.items()
            }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take back what an earlier agent kept in the same boot.

        Raises:
            KeyError, TypeError, ValueError: nothing that `state` made.
        """
        with self._lock:
            for run, kept in state.items():
                attempts = {name: _Attempt(int(p)) for name, p in kept["attempts"].items()}
                self._runs[run] = _Run(attempts, int(kept["phase"]))

    # --- inside -----------------------------------------------------------------------------------

    def _enter(self, run: str, known: _Run, phase: int, user: int, age_ns: int) -> bool:
        """Put a phase in force; returns whether devices here change theirs."""
        if known.changes >= MAXIMUM_CHANGES:
            phase = LAST_PHASE
        if phase == known.phase:
            return False
        what = {"run": run, "before": known.phase, "after": phase, "user": user}
        known.phase = phase
        if not self._is_held(run):
            if not known.said:
                known.said = True
                users = ", ".join(sorted(self._held - {NONE})) or "nobody"
                logger.warning(
                    "a process names a phase of a run that no device here is allocated to; it "
                    "acts on no register until one is",
                    extra=fields(**what, devices_of=users),
                )
            return False
        known.changes += 1
        if phase == LAST_PHASE:
            logger.warning(
                "a run names more phases than are told apart; from here on all are counted as the "
                "last one, so declare its format for that",
                extra=fields(**what),
            )
        elif age_ns > LATE_NS:
            logger.warning(
                "a run's phase was heard of late; what it did since is in the phase before",
                extra=fields(**what, late_s=round(age_ns / NS_PER_S, 1)),
            )
        else:
            logger.info("a run enters another phase", extra=fields(**what))
        return True

    def _is_held(self, run: str) -> bool:
        return any(named_run(allocation) == run for allocation in self._held)

    def _room(self, run: str) -> bool:
        """Make room for one run more, of those without a process; a device's run comes first."""
        if len(self._runs) < MAXIMUM_RUNS:
            return True
        first = self._is_held(run)
        for name, known in self._runs.items():
            speaks = any(attempt.connections for attempt in known.attempts.values())
            if not self._is_held(name) and (first or not speaks):
                del self._runs[name]
                return True
        if not self._full_said:
            self._full_said = True
            logger.warning(
                "more runs name phases than are kept; those of further runs are not taken",
                extra=fields(limit=MAXIMUM_RUNS),
            )
        return False


def phase_of(phases: Mapping[str, int], allocation: str) -> int:
    """The phase of an allocation's run; 0 where nobody named one, and for no run."""
    return phases.get(named_run(allocation) or "", 0) if phases else 0
