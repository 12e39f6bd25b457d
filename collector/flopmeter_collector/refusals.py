"""What was refused, said once: who tries again every second is one line of the log.

Owns: which pairs of sender and reason were logged.
May touch: the log; memory only.
Called by the service.
"""

from __future__ import annotations

import logging

from flopmeter_collector.intake import Refusals
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

REMEMBERED_REFUSALS = 1_000
"""Refusals of streams that are not logged again; about 300 bytes each."""


class RefusedOnce:
    """Remembers who was refused why: an agent that tries again every second is one line."""

    def __init__(self, limit: int = REMEMBERED_REFUSALS) -> None:
        """Begin with nobody.

        Args:
            limit: pairs of peer and reason remembered; beyond it the oldest is forgotten.
        """
        self._limit = limit
        self._seen: dict[tuple[str, str], None] = {}

    def __len__(self) -> int:
        """How many pairs are remembered."""
        return len(self._seen)

    def stream(self, peer: str, reason: str) -> None:
        """Log a stream that was refused."""
        if self.first(peer, reason):
            logger.warning("stream refused", extra=fields(peer=peer, reason=reason))

    def vectors(self, sender: str, refused: Refusals, quarantined: Refusals) -> None:
        """Log what was not taken of a report.

        Args:
            sender: name of the node or relay.
            refused: by key, why each was refused.
            quarantined: by key, why each is kept apart.
        """
        for event, rows in (("vectors refused", refused), ("vectors quarantined", quarantined)):
            if rows:
                key, reason = next(iter(rows.items()))
                if self.first(sender, reason):
                    told = fields(sender=sender, count=len(rows), device=key.device, reason=reason)
                    logger.warning(event, extra=told)

    def first(self, peer: str, reason: str) -> bool:
        """Whether this pair is new; it is remembered from now on."""
        pair = (peer, reason)
        if pair in self._seen:
            return False
        self._seen[pair] = None
        if len(self._seen) > self._limit:
            del self._seen[next(iter(self._seen))]
        return True
