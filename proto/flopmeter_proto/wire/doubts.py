"""Vectors of which nobody here knows who wrote them: the part of a message that asks.

Owns: their spelling, in answers and in a relay's batches, and how many a message may have.
May touch: generated messages; no socket, no clock.
Called by stream and batch. Explained in docs/adr/0049-who-else-is-asked.md.

A doubt is a word and no figure: one that cannot be read is left out, and nothing else with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Protocol

from flopmeter_core.errors import WireError
from flopmeter_core.reports import MAXIMUM_DOUBTS_PER_MESSAGE, Doubt, Held
from flopmeter_core.writers import KEY_DIGEST_BYTES
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from flopmeter_proto.wire.values import check_sequence, check_text


class _Asking(Protocol):
    """A message that may hold doubts."""

    @property
    def doubts(self) -> Iterable[pb.Doubt]: ...


def doubts_out(doubts: Iterable[Doubt]) -> list[pb.Doubt]:
    """Spell doubts out."""
    return [
        pb.Doubt(
            node=doubt.node,
            key_digest=doubt.key_digest,
            held_sequence=doubt.held.sequence,
            held_fingerprint=doubt.held.fingerprint,
        )
        for doubt in doubts
    ]


def doubts_in(message: _Asking) -> tuple[Doubt, ...]:
    """Read the doubts of a message, as many as one may have."""
    found = []
    for each in itertools.islice(message.doubts, MAXIMUM_DOUBTS_PER_MESSAGE):
        try:
            found.append(_read(each))
        except WireError:
            continue
    return tuple(found)


def spelled_doubts(doubts: Iterable[Doubt]) -> bytes:
    """Doubts behind an answer that is spelled already: one message after the other is both."""
    return pb.StreamReportsResponse(doubts=doubts_out(doubts)).SerializeToString()


def _read(message: pb.Doubt) -> Doubt:
    """Read one.

    Raises:
        WireError: it names what no node, key or vector can be.
    """
    if len(message.key_digest) != KEY_DIGEST_BYTES:
        raise WireError(f"a key's digest has {KEY_DIGEST_BYTES} bytes")
    held = Held(check_sequence(message.held_sequence), message.held_fingerprint)
    return Doubt(check_text(message.node, "node"), message.key_digest, held)
