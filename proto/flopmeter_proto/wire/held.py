"""What a ledger holds beside a vector that came in: the part of an answer that says it.

Owns: its spelling.
May touch: generated messages; no socket, no clock.
Called by stream and batch. Explained in docs/adr/0030-two-writers-of-one-incarnation.md.
"""

from __future__ import annotations

from flopmeter_core.reports import Held
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb


def held_out(acknowledgement: pb.Acknowledgement, held: Held) -> None:
    """Say beside an acknowledgement what the ledger holds instead."""
    acknowledgement.held_sequence = held.sequence
    acknowledgement.held_fingerprint = held.fingerprint


def held_in(acknowledgement: pb.Acknowledgement) -> Held | None:
    """What the ledger holds instead, where an acknowledgement says it."""
    if acknowledgement.held_sequence <= 0:
        return None
    return Held(acknowledgement.held_sequence, acknowledgement.held_fingerprint)
