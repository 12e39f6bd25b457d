"""Claims on the wire: the part of `wire` that translates them.

Owns: the spelling of a claim and of its acknowledgement, and the limit on claims in a message.
May touch: generated messages; no socket, no clock.
Called by wire.stream and wire.batch. What a claim may hold is core's `check_claim`. A claim that
breaks a rule is refused alone: whatever a process says, the meter's vectors beside it are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from flopmeter_core.claims import (
    Claim,
    ClaimCounts,
    ClaimKey,
    ClaimQuantity,
    ClaimScope,
    check_claim,
)
from flopmeter_core.errors import DataError, WireError
from flopmeter_core.reports import ClaimAcknowledgement, Durability
from flopmeter_core.values import value_class
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.values import MAXIMUM_DIGITS, paused

MAXIMUM_CLAIMS_PER_MESSAGE = 4_096

DURABILITIES = {
    Durability.HERE: pb.DURABILITY_HERE,
    Durability.AT_ROOT: pb.DURABILITY_AT_ROOT,
    Durability.REFUSED: pb.DURABILITY_REFUSED,
    Durability.QUARANTINED: pb.DURABILITY_QUARANTINED,
    Durability.CONTESTED: pb.DURABILITY_CONTESTED,
}
DURABILITIES_BACK = {number: durability for durability, number in DURABILITIES.items()}


@value_class(frozen=True, slots=True)
class ReceivedClaim:
    """A claim as it came: its number and sequence, and either the claim or why it is none."""

    number: int
    sequence: int
    claim: Claim | None
    reason: str = ""


def claims_out(
    message: pb.StreamReportsRequest | pb.StreamBatchesRequest, claims: Sequence[Claim]
) -> None:
    """Add claims to a message, numbered by their places."""
    for number, claim in enumerate(claims):
        key, counts = claim.key, claim.counts
        message.claims.add(
            claim_number=number,
            sequence=claim.sequence,
            run=key.run,
            attempt=key.attempt,
            scope=cast(pb.ClaimScope, key.scope.value),
            rank=key.rank,
            writer=bytes.fromhex(key.writer),
            pass_number=key.pass_number,
            first_step=key.first_step,
            model=key.model,
            format_mix=key.format_mix,
            activity=key.activity,
            last_step=counts.last_step,
            step_count=counts.step_count,
            token_count=counts.token_count,
            compute_flop=str(counts.compute_flop),
            quantity=cast(pb.ClaimQuantity, key.quantity.value),
        )


def claims_in(
    messages: Sequence[pb.Claim], pause: Callable[[], None] | None = None
) -> tuple[ReceivedClaim, ...]:
    """Read the claims of a message.

    Args:
        messages: they.
        pause: called after each, where they may be many.

    Raises:
        WireError: too many of them.
    """
    if len(messages) > MAXIMUM_CLAIMS_PER_MESSAGE:
        raise WireError(f"more than {MAXIMUM_CLAIMS_PER_MESSAGE} claims in one message")
    return tuple(map(_claim_in, paused(messages, pause)))


def acknowledge_claims(
    response: pb.StreamReportsResponse | pb.StreamBatchesResponse,
    received: Iterable[ReceivedClaim],
    refused: Mapping[ClaimKey, str],
    durable: Durability,
) -> None:
    """Answer each claim of a message.

    Args:
        response: gets the answers.
        received: the claims as they came.
        refused: why claims were not taken.
        durable: where the others are safe.
    """
    for each in received:
        reason = each.reason if each.claim is None else refused.get(each.claim.key, "")
        response.claim_acknowledgements.add(
            claim_number=each.number,
            sequence=each.sequence,
            durability=DURABILITIES[Durability.REFUSED if reason else durable],
            reason=reason,
        )


def claim_answers(
    acknowledgements: Iterable[pb.ClaimAcknowledgement], sent: Sequence[Claim]
) -> tuple[ClaimAcknowledgement, ...]:
    """Read the answers to the claims of the last message.

    Raises:
        WireError: an answer to a claim that was not in it.
    """
    answers = []
    for ack in acknowledgements:
        if not 0 <= ack.claim_number < len(sent):
            raise WireError(f"the collector acknowledged claim {ack.claim_number}, never sent")
        claim = sent[ack.claim_number]
        if ack.sequence == claim.sequence:
            durability = DURABILITIES_BACK.get(ack.durability, Durability.REFUSED)
            answers.append(ClaimAcknowledgement(claim, durability, ack.reason))
    return tuple(answers)


def _claim_in(message: pb.Claim) -> ReceivedClaim:
    try:
        key = ClaimKey(
            run=message.run,
            attempt=message.attempt,
            scope=ClaimScope(message.scope),
            rank=message.rank,
            writer=message.writer.hex(),
            pass_number=message.pass_number,
            first_step=message.first_step,
            model=message.model,
            format_mix=message.format_mix,
            activity=message.activity,
            quantity=ClaimQuantity(message.quantity or ClaimQuantity.MODEL),
        )
        counts = ClaimCounts(
            last_step=message.last_step,
            step_count=message.step_count,
            token_count=message.token_count,
            compute_flop=_digits(message.compute_flop),
        )
        claim = Claim(key, counts, message.sequence)
        check_claim(claim)
    except ValueError:
        reason = f"claim scope {message.scope} or quantity {message.quantity} is not known"
        return ReceivedClaim(message.claim_number, message.sequence, None, reason)
    except DataError as error:
        return ReceivedClaim(message.claim_number, message.sequence, None, str(error))
    return ReceivedClaim(message.claim_number, message.sequence, claim)


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAXIMUM_DIGITS):
        raise DataError("the FLOP of a claim must be decimal digits")
    return int(text)
