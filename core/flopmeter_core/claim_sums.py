"""How the claims of a run add up.

Owns: the totals of a run's claims: with every pass over a step, and with each step once.
May touch: nothing; exact integers.
Called by the collector; an agent sends claims and adds none up. docs/sdk.md.
Inside a stretch every step has an equal share of its FLOP.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence

from flopmeter_core.claims import Claim, ClaimCounts, ClaimQuantity, ClaimScope
from flopmeter_core.values import value_class

_SCALE_BITS = 128
"""A step's share is held in FLOP / 2^128: over 2^62 steps and 2^40 claims its rounding stays far
below half a FLOP, so that the total of whole stretches is exact."""


@value_class(frozen=True, slots=True)
class ClaimTotals:
    """What a run's claims of one quantity add up to.

    Attributes:
        executed_flop: claimed FLOP with every pass over a step.
        unique_flop: the same with each step once, at its largest.
        executed_token_count, unique_token_count: tokens in the same two ways.
        executed_step_count, unique_step_count: steps in the same two ways.
        attempt_count: attempts that claimed.
        writer_count: processes that claimed.
        models, formats, activities: what the processes said, without repetition, sorted.
        quantity: which FLOP were claimed.
    """

    executed_flop: int
    unique_flop: int
    executed_token_count: int
    unique_token_count: int
    executed_step_count: int
    unique_step_count: int
    attempt_count: int
    writer_count: int
    models: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    activities: tuple[str, ...] = ()
    quantity: ClaimQuantity = ClaimQuantity.MODEL


_Piece = tuple[int, int, int]
"""First step, step after the last, share of each step in 2^-128 of a unit."""


def add_up_each(claims: Iterable[Claim]) -> tuple[ClaimTotals, ...]:
    """Add the claims of one run up, each quantity by itself, model FLOP first."""
    by_quantity: dict[ClaimQuantity, list[Claim]] = {}
    for claim in claims:
        by_quantity.setdefault(claim.key.quantity, []).append(claim)
    return tuple(add_up(by_quantity[quantity]) for quantity in sorted(by_quantity))


def add_up(claims: Iterable[Claim]) -> ClaimTotals:
    """Add the claims of one run and quantity up; the order does not matter.

    Per attempt and pass, claims of one rank (and global claims) of the same step count once, at
    the largest; ranks add up; of a global claim and the sum of ranks the larger counts. Passes
    and attempts add up to the executed figure; the unique one takes the largest of each step.

    Args:
        claims: at least one claim, all of one run and quantity.
    """
    quantity = ClaimQuantity.MODEL
    by_pass: dict[tuple[str, int], list[Claim]] = {}
    attempts, writers, models, formats, activities = set(), set(), set(), set(), set()
    for claim in claims:
        key = claim.key
        by_pass.setdefault((key.attempt, key.pass_number), []).append(claim)
        quantity = key.quantity
        if not claim.labels_only:
            attempts.add(key.attempt)
            writers.add(key.writer)
        models.add(key.model)
        formats.add(key.format_mix)
        activities.add(key.activity)
    groups = list(by_pass.values())
    flop = _both(groups, lambda counts: counts.compute_flop, ranks_add=True)
    tokens = _both(groups, lambda counts: counts.token_count, ranks_add=True)
    steps = _both(groups, lambda counts: counts.step_count, ranks_add=False)
    return ClaimTotals(
        *flop,
        *tokens,
        *steps,
        attempt_count=len(attempts),
        writer_count=len(writers),
        models=tuple(sorted(models - {""})),
        formats=tuple(sorted(formats - {""})),
        activities=tuple(sorted(activities - {""})),
        quantity=quantity,
    )


def _both(
    groups: Sequence[list[Claim]], amount: Callable[[ClaimCounts], int], *, ranks_add: bool
) -> tuple[int, int]:
    """The executed and the unique sum of one kind of count."""
    passes = [_of_pass(group, amount, ranks_add=ranks_add) for group in groups]
    executed = sum(_area(pieces) for pieces in passes)
    unique = executed if len(passes) == 1 else _area(_highest([*itertools.chain(*passes)]))
    return _rounded(executed), _rounded(unique)


def _of_pass(
    claims: Iterable[Claim], amount: Callable[[ClaimCounts], int], *, ranks_add: bool
) -> list[_Piece]:
    """What one pass of one attempt says of each step."""
    world: list[_Piece] = []
    by_rank: dict[int, list[_Piece]] = {}
    for claim in claims:
        first, after = claim.key.first_step, claim.counts.last_step + 1
        piece = (first, after, (amount(claim.counts) << _SCALE_BITS) // (after - first))
        if claim.key.scope is ClaimScope.GLOBAL or not ranks_add:
            world.append(piece)
        else:
            by_rank.setdefault(claim.key.rank, []).append(piece)
    ranks = [piece for pieces in by_rank.values() for piece in _highest(pieces)]
    return _highest(world + _added(ranks))


def _highest(pieces: list[_Piece]) -> list[_Piece]:
    """The largest share of each step among overlapping pieces."""
    if len(pieces) <= 1:
        return pieces
    found: list[_Piece] = []
    live: list[tuple[int, int]] = []
    starts = sorted(pieces)
    edges = sorted({edge for first, after, _ in pieces for edge in (first, after)})
    place = 0
    for edge, following in itertools.pairwise(edges):
        while place < len(starts) and starts[place][0] <= edge:
            heapq.heappush(live, (-starts[place][2], starts[place][1]))
            place += 1
        while live and live[0][1] <= edge:
            heapq.heappop(live)
        if live:
            found.append((edge, following, -live[0][0]))
    return found


def _added(pieces: list[_Piece]) -> list[_Piece]:
    """The sum of overlapping pieces, step by step."""
    if len(pieces) <= 1:
        return pieces
    changes: dict[int, int] = {}
    for first, after, share in pieces:
        changes[first] = changes.get(first, 0) + share
        changes[after] = changes.get(after, 0) - share
    edges = sorted(changes)
    found: list[_Piece] = []
    share = 0
    for edge, following in itertools.pairwise(edges):
        share += changes[edge]
        found.append((edge, following, share))
    return found


def _area(pieces: Iterable[_Piece]) -> int:
    return sum((after - first) * share for first, after, share in pieces)


def _rounded(scaled: int) -> int:
    return (scaled + (1 << (_SCALE_BITS - 1))) >> _SCALE_BITS
