"""What a round asks of the ledger before it counts: who leads, and what others wrote.

Owns: the questions and their order, all of them in one step of the ledger's thread.
May touch: the ledger, reading, and asking to lead; the injected clock.
Called by publish, at the begin of each round and where a report needs what others committed.
Explained in docs/adr/0014-postgresql-ledger.md.

One step, because each is a wait for the thread, and a commit may come between two of them: what
was declared and what was committed are of one instant of a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flopmeter_collector.law_memory import LawMemory, newest_memory
from flopmeter_collector.ledger.base import (
    Declaration,
    Delivery,
    Foreign,
    HistoryRow,
    Ledger,
    Transition,
)
from flopmeter_core.pace import WINDOW_H
from flopmeter_core.units import NS_PER_HOUR
from flopmeter_proto.daemon.clock import Clock


@dataclass(frozen=True, slots=True)
class Past:
    """What a collector that begins to lead reads of what was recorded."""

    transitions: tuple[Transition, ...]
    history: tuple[HistoryRow, ...]
    deliveries: tuple[Delivery, ...]
    law: LawMemory | None = None


@dataclass(frozen=True, slots=True)
class Others:
    """What a shared ledger says of the other collectors.

    Attributes:
        foreign: what they committed.
        declarations: what was declared up to the commit that `foreign` goes to, by whomever; none
            where nobody asked.
        leader: who leads, in words; empty where it is this collector, or nobody.
        unsure: whether the server may lack what was committed here.
    """

    foreign: Foreign
    declarations: Sequence[Declaration]
    leader: str
    unsure: bool


@dataclass(frozen=True, slots=True)
class Around:
    """What there is beside this collector's own work.

    Attributes:
        term: for which time this collector leads; 0 where another one does.
        past: what was recorded; None where that is known.
        others: of a shared ledger; None of one that nobody else writes.
    """

    term: int
    past: Past | None
    others: Others | None


def look_around(
    ledger: Ledger, clock: Clock, *, may_lead: bool, term: int, declared_to: int | None
) -> Around:
    """Ask who leads, and what others did.

    Args:
        ledger: on its thread.
        clock: says how far back history is read.
        may_lead: whether this collector knows all registers, so that it may lead.
        term: for which time it led when it last asked; 0 where it did not.
        declared_to: the last declaration it knows; None where it wants to hear of none.

    Raises:
        LedgerBusyError: the ledger could not be read just now; then nothing was taken of the feed.
        StorageError: the ledger failed.
    """
    now = ledger.lead() if may_lead else 0
    # After it is known who leads: who led before may have committed until then.
    past = _read_past(ledger, clock) if now not in (0, term) else None
    if not ledger.shared:
        return Around(now, past, None)
    leader = "" if now else ledger.leader()
    with ledger.consistent():
        declared = [] if declared_to is None else list(ledger.declarations(after=declared_to))
        # Last: what the feed told once it does not tell again, so nothing may fail after it.
        foreign = ledger.foreign()
    return Around(now, past, Others(foreign, declared, leader, ledger.unsure))


def _read_past(ledger: Ledger, clock: Clock) -> Past:
    since_ns = clock.wall_ns() - (WINDOW_H + 24) * NS_PER_HOUR
    return Past(
        tuple(ledger.transitions()),
        tuple(ledger.history(since_ns=since_ns)),
        tuple(ledger.deliveries()),
        newest_memory(ledger),
    )
