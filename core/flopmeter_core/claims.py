"""What training processes claim: registers of their own, how they merge, and how they add up.

Owns: the claim register (key, counts), its merge rule, the totals of a run's claims, and the
comparison of those totals with what the meter says.
May touch: nothing; exact integers.
Called by the agent (keeps and journals registers), wire (translates) and the collector (adds up).
A claim is never merged into a metered figure and never averaged with one: docs/sdk.md.

A register is a stretch of steps that one process went through once, in ascending order, with
running counts; so the newest message holds all the older ones said. Two states of one register
merge by the larger of each count, which gives the same result for any order, repetition and loss
of messages. Inside a stretch every step has an equal share of its FLOP.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from flopmeter_core.allocations import check_name
from flopmeter_core.claim_limits import CLAIMED_FLOP_LIMIT
from flopmeter_core.errors import DataError
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.interval import Interval
from flopmeter_core.recompute import Factor, model_flop
from flopmeter_core.units import REGISTER_LIMIT

MAXIMUM_RANK = 10_000_000
MAXIMUM_PASS = 10_000
MAXIMUM_LABEL_LENGTH = 100
"""Characters of an attempt, a format mix or an activity."""

_ACTIVITY = re.compile(r"[a-z][a-z_]{0,39}")
_WRITER = re.compile(r"[0-9a-f]{32}")

DEFAULT_CLAIM_BOUND = 1.25
"""Claim and meter are shown as contradicting beyond this factor, like held against like: what is
left is convention (attention full, causal or left out; padding, evaluation), not recomputation."""

_SCALE_BITS = 128
"""A step's share is held in FLOP / 2^128: over 2^62 steps and 2^40 claims its rounding stays far
below half a FLOP, so that the total of whole stretches is exact."""


class ClaimScope(enum.IntEnum):
    """What a claimed figure covers; the numbers are the wire's."""

    GLOBAL = 1
    """The whole run, whoever says it: claims of the same step are the same work."""
    RANK = 2
    """The work of one rank: claims of several ranks add up."""


class ClaimQuantity(enum.IntEnum):
    """Which FLOP a claim counts; the numbers are the wire's, and 0 there means MODEL."""

    MODEL = 1
    """By a formula of the network: what it needs, whatever is recomputed."""
    EXECUTED = 2
    """Counted as operations ran, such as by PyTorch's FlopCounterMode: recomputation included."""

    @property
    def text(self) -> str:
        """As people and JSON name it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class ClaimKey:
    """Whose claim it is, and where its stretch of steps begins.

    Attributes:
        run: the run's name.
        attempt: names one start of the run; a requeue or restart is another one.
        scope: what the figure covers.
        rank: the claiming rank; 0 for a global claim.
        writer: 32 hexadecimal digits that the agent gives the process, whatever it says itself.
        pass_number: how often the process went back to an earlier step before, 0 at first.
        first_step: the first step of the stretch.
        model, format_mix, activity: what the process says the run is; empty where it does not.
        quantity: which FLOP are claimed.
    """

    run: str
    attempt: str
    scope: ClaimScope
    rank: int
    writer: str
    pass_number: int
    first_step: int
    model: str = ""
    format_mix: str = ""
    activity: str = ""
    quantity: ClaimQuantity = ClaimQuantity.MODEL


@dataclass(frozen=True, slots=True)
class ClaimCounts:
    """Running counts of a stretch: the last step, and what all of it took."""

    last_step: int
    step_count: int
    token_count: int
    compute_flop: int

    def joined(self, other: ClaimCounts) -> ClaimCounts:
        """The larger of each count: what both states of one register say at most."""
        return ClaimCounts(
            max(self.last_step, other.last_step),
            max(self.step_count, other.step_count),
            max(self.token_count, other.token_count),
            max(self.compute_flop, other.compute_flop),
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim register.

    Attributes:
        sequence: grows with each change at its sender; acknowledgements name it, nothing else
            depends on it.
    """

    key: ClaimKey
    counts: ClaimCounts
    sequence: int = 1

    @property
    def labels_only(self) -> bool:
        """Whether it says what the run is and counts nothing, as ``flopmeter exec`` does."""
        counts = self.counts
        nothing = (counts.last_step, counts.step_count, counts.token_count, counts.compute_flop)
        return not any(nothing) and 0 < self.sequence < REGISTER_LIMIT


@dataclass(frozen=True, slots=True)
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


def check_claim(claim: Claim) -> None:
    """Refuse a claim that no honest process can make; a mere lie passes.

    Raises:
        DataError: with the field that is wrong.
    """
    key, counts = claim.key, claim.counts
    check_key(key)
    if not 0 <= key.pass_number <= MAXIMUM_PASS:
        raise DataError(f"the pass of a claim lies outside 0 to {MAXIMUM_PASS}")
    if not 0 <= key.first_step <= counts.last_step < REGISTER_LIMIT:
        raise DataError("the steps of a claim must ascend and lie in 0 to 2^62 - 1")
    if claim.labels_only:
        return
    if not 1 <= counts.step_count <= counts.last_step - key.first_step + 1:
        raise DataError("a claim counts at least one step, and no more than its stretch has")
    if not 0 <= counts.token_count < REGISTER_LIMIT:
        raise DataError("the tokens of a claim lie outside 0 to 2^62 - 1")
    if not 0 <= counts.compute_flop < CLAIMED_FLOP_LIMIT:
        raise DataError("the FLOP of a claim are negative or beyond 10^32")
    if not 1 <= claim.sequence < REGISTER_LIMIT:
        raise DataError("the sequence of a claim lies outside 1 to 2^62 - 1")


def check_key(key: ClaimKey) -> None:
    """Refuse names, labels and ranks that no honest process has.

    Raises:
        DataError: with the field that is wrong.
    """
    check_name(key.run, what="run")
    if key.model:
        check_name(key.model, what="model")
    _check_labels(key)
    if (key.scope is ClaimScope.GLOBAL and key.rank) or not 0 <= key.rank <= MAXIMUM_RANK:
        raise DataError(f"a claim has rank 0 to {MAXIMUM_RANK}, and 0 when it is global")


def _check_labels(key: ClaimKey) -> None:
    if not key.attempt or len(key.attempt) > MAXIMUM_LABEL_LENGTH or not key.attempt.isprintable():
        raise DataError(
            f"the attempt of a claim has 1 to {MAXIMUM_LABEL_LENGTH} printable characters"
        )
    if not _WRITER.fullmatch(key.writer):
        raise DataError("the writer of a claim has 32 hexadecimal digits")
    if key.format_mix:
        if len(key.format_mix) > MAXIMUM_LABEL_LENGTH or not key.format_mix.isprintable():
            raise DataError(
                f"the format of a claim has at most {MAXIMUM_LABEL_LENGTH} printable characters"
            )
        parse_format_mix(key.format_mix)
    if key.activity and not _ACTIVITY.fullmatch(key.activity):
        raise DataError("the activity of a claim is one word in small letters")


# --- adding up -----------------------------------------------------------------------------------

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


# --- comparing with the meter --------------------------------------------------------------------


class Agreement(enum.StrEnum):
    """How a run's claims stand to what was metered of it."""

    AGREES = "agrees"
    """Within the bound of the likely range."""
    ABOVE = "above"
    """More is claimed than the upper figure times the bound."""
    BELOW = "below"
    """Less is claimed than the lower figure over the bound."""
    IMPOSSIBLE = "impossible"
    """More is claimed than the devices could execute."""
    UNMEASURED = "unmeasured"
    """Nothing was metered that a claim could be held against."""
    UNCLAIMED = "unclaimed"
    """Labels, steps or tokens are claimed, and no FLOP."""

    @property
    def alerts(self) -> bool:
        """Whether a person has to look."""
        return self in (Agreement.ABOVE, Agreement.BELOW, Agreement.IMPOSSIBLE)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A run's claims of one quantity beside the meter's figure of it; neither changes the other.

    Attributes:
        totals: what the claims add up to.
        metered: the meter's figure of the same quantity, in FLOP.
        factor: executed / model FLOP that `metered` was divided by; None for executed FLOP.
        agreement: how they stand to each other.
        ratio: claimed over the most likely metered FLOP; None where one of the two is nothing.
        bound: the factor beyond which they contradict each other.
    """

    totals: ClaimTotals
    metered: Interval
    factor: Factor | None
    agreement: Agreement
    ratio: Fraction | None
    bound: float


def reconcile(
    totals: ClaimTotals, executed: Interval, *, factor: Factor, bound: float
) -> Reconciliation:
    """Hold claims against the metered figure of the same quantity.

    Args:
        totals: a run's claims of one quantity.
        executed: what was metered of the run, unobserved time included in the upper side.
        factor: executed / model FLOP of the run; only model FLOP are divided by it.
        bound: at least 1; docs/sdk.md.
    """
    models = totals.quantity is ClaimQuantity.MODEL
    metered = model_flop(executed, factor) if models else executed
    claimed, tolerance = totals.executed_flop, Fraction(bound)
    if not claimed:
        agreement = Agreement.UNCLAIMED
    elif metered.ceiling and claimed > metered.ceiling:
        agreement = Agreement.IMPOSSIBLE
    elif not metered.best:
        agreement = Agreement.UNMEASURED
    elif claimed > metered.upper * tolerance:
        agreement = Agreement.ABOVE
    elif claimed * tolerance < metered.lower:
        agreement = Agreement.BELOW
    else:
        agreement = Agreement.AGREES
    return Reconciliation(
        totals=totals,
        metered=metered,
        factor=factor if models else None,
        agreement=agreement,
        ratio=Fraction(claimed, metered.best) if claimed and metered.best else None,
        bound=bound,
    )


_WORST_FIRST = (
    Agreement.IMPOSSIBLE,
    Agreement.ABOVE,
    Agreement.BELOW,
    Agreement.UNMEASURED,
    Agreement.AGREES,
    Agreement.UNCLAIMED,
)


def worst(reconciliations: Iterable[Reconciliation]) -> Agreement:
    """How a run's claims stand to its meter, all quantities together: at their worst.

    Args:
        reconciliations: at least one.
    """
    found = {each.agreement for each in reconciliations}
    return next(agreement for agreement in _WORST_FIRST if agreement in found)
