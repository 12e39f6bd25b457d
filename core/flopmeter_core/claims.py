"""What training processes claim: registers of their own, and how they merge.

Owns: the claim register (key, counts), its merge rule, and what no honest process can claim.
May touch: nothing; exact integers.
Called by the agent (keeps and journals registers), wire (translates) and the collector, which adds
them up (claim_sums) and holds them against the meter (claim_agreement).
A claim is never merged into a metered figure and never averaged with one: docs/sdk.md.

A register is a stretch of steps that one process went through once, in ascending order, with
running counts; so the newest message holds all the older ones said. Two states of one register
merge by the larger of each count, which gives the same result for any order, repetition and loss
of messages. Inside a stretch every step has an equal share of its FLOP.
"""

from __future__ import annotations

import enum
import re

from flopmeter_core.allocations import check_name
from flopmeter_core.claim_limits import CLAIMED_FLOP_LIMIT
from flopmeter_core.errors import DataError
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.units import REGISTER_LIMIT
from flopmeter_core.values import value_class

MAXIMUM_RANK = 10_000_000
MAXIMUM_PASS = 10_000
MAXIMUM_LABEL_LENGTH = 100
"""Characters of an attempt, a format mix or an activity."""

_ACTIVITY = re.compile(r"[a-z][a-z_]{0,39}")
_WRITER = re.compile(r"[0-9a-f]{32}")


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


@value_class(frozen=True, slots=True)
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


@value_class(frozen=True, slots=True)
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


@value_class(frozen=True, slots=True)
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
