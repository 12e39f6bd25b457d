"""Counts the doubts about readings, and tells a person when they change.

Owns: the count of each check, and which checks each device failed last.
May touch: the log.
Called by the loop with what sensors and accumulator doubted; shown by exposition.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from flopmeter_core.suspicion import Check, Suspicion
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)


class Suspects:
    """The doubts of one agent since its start."""

    def __init__(self) -> None:
        """Start without a doubt."""
        self.counts = dict.fromkeys(Check, 0)
        self._doubted: dict[str, frozenset[Check]] = {}

    def forget(self, device: str) -> None:
        """Let go of a device that is gone."""
        self._doubted.pop(device, None)

    def note(self, judged: Iterable[str], suspicions: Iterable[Suspicion]) -> None:
        """Take one round.

        Args:
            judged: the devices that had a reading in it.
            suspicions: every doubt of the round.
        """
        doubts = list(suspicions)
        if not doubts and not self._doubted:
            return
        found: dict[str, dict[Check, str]] = {device: {} for device in judged}
        for suspicion in doubts:
            self.counts[suspicion.check] += 1
            found.setdefault(suspicion.device, {})[suspicion.check] = suspicion.detail
        for device, details in found.items():
            before = self._doubted.get(device, frozenset())
            if details:
                self._doubted[device] = frozenset(details)
            else:
                self._doubted.pop(device, None)
            if details.keys() - before:
                logger.warning(
                    "readings are suspect; the bounds widen",
                    extra=fields(
                        device=device,
                        checks=",".join(sorted(details)),
                        reason="; ".join(details[check] for check in sorted(details)),
                    ),
                )
            elif before and not details:
                logger.info("readings are believed again", extra=fields(device=device))
