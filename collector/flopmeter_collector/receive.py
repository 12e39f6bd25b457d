"""Takes an agent's report in, slice by slice.

Owns: what is noted of a report's vectors for its answer.
May touch: the intake it is given.
Called by the collector's service, which commits and answers; `relay.receive` does it for batches.
Explained in docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from flopmeter_collector.branches import Outcome
from flopmeter_collector.doubts import Listener
from flopmeter_collector.intake import Intake, Refusals
from flopmeter_core.claims import Claim, ClaimKey
from flopmeter_core.registers import Key
from flopmeter_core.reports import Held, Hello, KeyedVector, Report

T = TypeVar("T")

GiveWay = Callable[[], Awaitable[None]]
"""Lets others go first, between two slices."""

SLICE = 50
"""Work after which others have their turn, about 0.5 ms: 10 new registers, or 50 that are known. Of
a large report no more is committed at a time."""

NEW_KEY_WORK = 4
"""A key that is stated costs as much as so many vectors of known ones: text, rows, a run."""

LEARNT_AT_ONCE = 400
"""Keys of which a stream notes the row before others have their turn, about 0.3 ms."""

NEWEST = (Outcome.NEW, Outcome.ADVANCED, Outcome.DUPLICATE)
"""What becomes of the vectors of a report that says how things stand now."""

BESIDE = (Outcome.CONTESTED, Outcome.LATE)
"""What becomes of vectors whose sender is told what is held instead."""

OVER = (Outcome.ADVANCED, Outcome.LATE)
"""What becomes of vectors that take another one's place, or leave it to that."""


@dataclass(slots=True)
class MergedReport:
    """What became of a report's vectors, before their commit.

    Attributes:
        taken: those the commit will hold, or holds something that follows them.
        newest: whether they tell how things stand now.
        refused: why vectors were not taken.
        quarantined: why vectors cannot be true.
        contested: keys whose vector was not taken, for what is held of them.
        held: what is held of a key above its vector, or was not to be replaced by it.
    """

    taken: list[KeyedVector] = field(default_factory=list)
    newest: bool = False
    refused: Refusals = field(default_factory=dict)
    quarantined: Refusals = field(default_factory=dict)
    contested: set[Key] = field(default_factory=set)
    held: dict[Key, Held] = field(default_factory=dict)


async def merge_report(
    intake: Intake,
    report: Report,
    hello: Hello,
    strangers: Mapping[str, str],
    give_way: GiveWay,
    listener: Listener,
) -> MergedReport:
    """Admit and merge the vectors of a report; the caller commits and answers.

    Args:
        intake: where to.
        report: what came.
        hello: its sender.
        strangers: by record, why the sender may not report for its node; none where it may.
        give_way: lets others go first, between two slices.
        listener: the stream it came on; others are told what may be somebody else's.
    """
    merged = MergedReport(newest=bool(report.vectors))
    done = 0
    for keyed in report.vectors:
        if done >= SLICE:
            done = 0
            await give_way()
        # Of an agent that does not say when each vector was read: a closed one may be of
        # an earlier boot, whose length nothing here says.
        running = keyed.key.incarnation == hello.incarnation
        outcome = intake.merge(
            keyed,
            report.records[keyed.key.record],
            boot_ns=report.boot_ns if running else None,
            refused=merged.refused,
            quarantined=merged.quarantined,
            stranger=strangers.get(keyed.key.record, ""),
        )
        done += 1 + NEW_KEY_WORK * (outcome is Outcome.NEW)
        merged.newest = merged.newest and outcome in NEWEST
        if outcome in BESIDE and (beside := intake.beside(keyed)) is not None:
            merged.held[keyed.key] = beside
        if outcome in OVER and not keyed.follows and not intake.is_forked(keyed.key):
            # Nobody behind it may be left who could tell what it stands beside.
            node = report.records[keyed.key.record].node
            intake.doubt(keyed, node, listener, late=outcome is Outcome.LATE)
        if outcome is Outcome.CONTESTED:
            merged.contested.add(keyed.key)
        elif outcome is not None:
            merged.taken.append(keyed)
    return merged


async def merge_hours(
    intake: Intake,
    report: Report,
    hello: Hello,
    strangers: Mapping[str, str],
    give_way: GiveWay,
) -> dict[tuple[Key, int], str]:
    """Take the hours of a report, after its vectors; arguments as of `merge_report`.

    Returns:
        By key and hour, why some were not taken.
    """
    refused: dict[tuple[Key, int], str] = {}
    if not report.hours:
        return refused
    await intake.count_hours(report.records, report.hours)
    async for hours in in_slices(report.hours, SLICE, give_way):
        for hourly in hours:
            running = hourly.key.incarnation == hello.incarnation
            intake.merge_hour(
                hourly,
                report.records[hourly.key.record],
                boot_ns=report.boot_ns if running else None,
                refused=refused,
                stranger=strangers.get(hourly.key.record, ""),
            )
    return refused


async def merge_claims(
    intake: Intake, claims: Sequence[Claim], give_way: GiveWay
) -> dict[ClaimKey, str]:
    """Take what training processes claim; returns why claims were not taken."""
    refused: dict[ClaimKey, str] = {}
    async for some in in_slices(claims, SLICE, give_way):
        refused |= intake.merge_claims(some)
    return refused


async def in_slices(items: Sequence[T], size: int, give_way: GiveWay) -> AsyncIterator[Sequence[T]]:
    """Items, so many at a time, others going first between two slices."""
    for start in range(0, len(items), size):
        if start:
            await give_way()
        yield items[start : start + size]
