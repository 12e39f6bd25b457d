"""The rule of the merge: what two vectors of one key leave, and the branches of a fork.

Owns: that rule, and nothing that changes.
May touch: nothing; pure functions of vectors.
Called by the register table, and by whoever joins what two ledgers hold (PostgreSQL's commit, the
lab's totals).
Explained in docs/adr/0003-newest-vector-merge.md.

The rule. Of two vectors of one key the one with the higher sequence follows the other when it
is nowhere below it, and then wins whole. Where neither follows the other (the same sequence
with other content, a higher sequence that is somewhere lower, or other marks in the sequences)
two writers used one key: a fork, and both are kept. What the table holds of a key is thus the set
of vectors that no other one follows. That set is the same for every order, repetition and grouping
of the messages, which is what makes a total independent of the network.

Two writers may look like one: the second did more, under a higher sequence. So a running agent
names what it wrote, and no vector takes the place of one that its sender does not know
(docs/adr/0030-two-writers-of-one-incarnation.md).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from flopmeter_collector.held_rows import Branches
from flopmeter_collector.ledger.base import StoredVector
from flopmeter_core.kernels.merge import ABOVE, APART, BELOW, EQUAL, compare
from flopmeter_core.registers import Vector
from flopmeter_core.reports import Held, HourlyVector, KeyedVector
from flopmeter_core.writers import fingerprint, is_among, mark_of, unmarked

MAXIMUM_BRANCHES = 8
"""Branches kept of one key. One clone makes two; a sender that makes more is broken or hostile,
and without a limit it could fill the memory. The greatest stay (`_rank`), whoever came first."""


class Outcome(enum.StrEnum):
    """What became of one vector; texts, because they are counted for each and hash fast."""

    NEW = "new"
    ADVANCED = "advanced"
    DUPLICATE = "duplicate"
    LATE = "late"
    FORK = "fork"
    REFUSED_FORK = "refused_fork"
    CONTESTED = "contested"


def join_branches(held: Branches, coming: Branches) -> Branches:
    """The branches that two tables' branches of one key leave together.

    Args:
        held: all branches of the key in one table.
        coming: all branches of the same key in the other.

    Returns:
        `held` itself where the others add nothing to it.
    """
    if len(coming) == 1 and not coming[0].branch and len(held) < 2:
        # The usual case: one writer, whose vectors follow each other.
        order = _order(coming[0], held[0]) if held else ABOVE
        if order != APART:
            return coming if order == ABOVE else held
    for stored in coming:
        keyed = KeyedVector(stored.key, stored.sequence, stored.vector, stored.boot_ns)
        held = _merge_many(held, keyed)[1]
    return held


def holds(newest: StoredVector, hourly: HourlyVector) -> bool:
    """Whether the newest vector follows the hourly one, or is it."""
    relation = compare(newest.vector, hourly.vector)
    if newest.sequence == hourly.sequence:
        return relation == EQUAL
    if mark_of(newest.sequence) not in (0, mark_of(hourly.sequence)):
        # A writer that was told of another one marked its vector, and no hour of before.
        return unmarked(newest.sequence) >= unmarked(hourly.sequence) and relation in (ABOVE, EQUAL)
    return newest.sequence > hourly.sequence and relation in (ABOVE, EQUAL)


def _order(keyed: KeyedVector | StoredVector, stored: StoredVector) -> int:
    """How a vector stands to a branch: ABOVE follows it, BELOW is followed by it."""
    relation = compare(keyed.vector, stored.vector)
    if keyed.sequence == stored.sequence:
        return EQUAL if relation == EQUAL else APART
    if mark_of(keyed.sequence) != mark_of(stored.sequence):
        return APART
    if keyed.sequence > stored.sequence:
        return ABOVE if relation in (ABOVE, EQUAL) else APART
    return BELOW if relation in (BELOW, EQUAL) else APART


def _is_unknown(order: int, stored: StoredVector, keyed: KeyedVector) -> bool:
    """Whether a vector would take the place of one that its process, by its own word, never wrote.

    One that stands below what is held is as strange: a running process has written nothing newer.
    """
    if not keyed.follows:
        return False
    if order == ABOVE:
        return not is_among(stored.sequence, stored.vector, keyed.follows)
    return order == BELOW


def beside(held: Branches, keyed: KeyedVector) -> Held | None:
    """What is held that stands above a vector, or was not to be replaced by it."""
    for stored in held:
        order = _order(keyed, stored)
        if order == BELOW or _is_unknown(order, stored, keyed):
            return Held(stored.sequence, fingerprint(stored.sequence, stored.vector))
    return None


_QUIET = {EQUAL: Outcome.DUPLICATE, BELOW: Outcome.LATE}


def merge(held: Branches, keyed: KeyedVector) -> tuple[Outcome, Branches]:
    """Take one vector of a key.

    Args:
        held: all branches of the key; none of a new one.
        keyed: the vector.

    Returns:
        What became of it, and the branches there are now.
    """
    if not held:
        return Outcome.NEW, _numbered((), keyed)
    return _merge_one(held, keyed) if len(held) == 1 else _merge_many(held, keyed)


def _merge_one(held: Branches, keyed: KeyedVector) -> tuple[Outcome, Branches]:
    """The usual case: one branch."""
    order = _order(keyed, held[0])
    if _is_unknown(order, held[0], keyed):
        return Outcome.CONTESTED, held
    if order == ABOVE:
        return Outcome.ADVANCED, _numbered((), keyed)
    if order == APART:
        return Outcome.FORK, _numbered(held, keyed)
    return _QUIET[order], held


def _merge_many(held: Branches, keyed: KeyedVector) -> tuple[Outcome, Branches]:
    """After a fork: the vector replaces every branch it follows, or becomes one more."""
    orders = [_order(keyed, stored) for stored in held]
    if any(_is_unknown(order, each, keyed) for order, each in zip(orders, held, strict=True)):
        return Outcome.CONTESTED, held
    for order, outcome in _QUIET.items():
        if order in orders:
            return outcome, held
    kept = tuple(stored for stored, order in zip(held, orders, strict=True) if order == APART)
    if len(kept) == MAXIMUM_BRANCHES:
        least = min(kept, key=_rank)
        if _rank(keyed) < _rank(least):
            return Outcome.REFUSED_FORK, held
        return Outcome.FORK, _numbered([stored for stored in kept if stored is not least], keyed)
    advanced = len(kept) < len(held)
    return Outcome.ADVANCED if advanced else Outcome.FORK, _numbered(kept, keyed)


def _rank(of: KeyedVector | StoredVector) -> tuple[Vector, int]:
    """Which branches stay where there are too many: the greatest vectors.

    A vector that follows another ranks above it. A meter in doubt must not under-report, so what
    goes is the least; and its rank is in its content, so the same eight of a set of branches stay
    in whatever order they came.
    """
    return of.vector, of.sequence


def _numbered(kept: Sequence[StoredVector], keyed: KeyedVector) -> Branches:
    """Branches numbered by content: the same set has the same numbers however it came in."""
    if not kept:
        return (StoredVector(keyed.key, 0, keyed.sequence, keyed.vector, keyed.boot_ns),)
    both: list[StoredVector | KeyedVector] = [*kept, keyed]
    rows = sorted(both, key=lambda row: (row.sequence, row.vector))
    return tuple(
        StoredVector(keyed.key, branch, row.sequence, row.vector, row.boot_ns)
        for branch, row in enumerate(rows)
    )
