"""Opaque names of runs and models, for places that anybody in the house may read.

Owns: how an id is made of a name, and whether the name may stand beside it.
May touch: nothing; a keyed hash.
Called by the collector's metrics and alerts, which leave the house, and by presentation and the
page, where the id stands beside the name. Explained in ADR 30 and docs/metrics.md.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass

from flopmeter_core.reports import LedgerPosition

_DIGITS = 12
"""Of base 32: 60 bits, so that two of a million names share an id once in two million ledgers."""

_DIGEST_BYTES = 8

REMEMBERED_IDS = 10_000
"""Ids kept from scrape to scrape: of the runs and models that have series of their own."""


@dataclass(frozen=True, slots=True)
class MetricIds:
    """The ids of one ledger.

    Attributes:
        ledger_id: the key: other ledgers give the same name another id, and nobody without it can
            try names out.
        named: whether the operator wants names beside the ids.
    """

    ledger_id: str
    named: bool = False

    def run(self, name: str) -> str:
        """The id of a run, from its own name, which never changes: ``r-`` and 12 characters."""
        return _drawn(self.ledger_id, "r", name)

    def model(self, name: str) -> str:
        """The id of a model, from its name: ``m-`` and 12 characters."""
        return _drawn(self.ledger_id, "m", name)

    def shown(self, own_id: str, name: str) -> str:
        """What stands as a name: the name where names are wanted, the id again where not."""
        return name if self.named else own_id


@functools.lru_cache(maxsize=REMEMBERED_IDS)
def _drawn(ledger_id: str, kind: str, name: str) -> str:
    drawn = hashlib.blake2b(
        name.encode("utf-8", "surrogatepass"),
        digest_size=_DIGEST_BYTES,
        key=ledger_id.encode()[: hashlib.blake2b.MAX_KEY_SIZE],
        person=kind.encode(),
    ).digest()
    return f"{kind}-{base64.b32encode(drawn).decode()[:_DIGITS].lower()}"


def ids_of(position: LedgerPosition | None, *, named: bool = False) -> MetricIds:
    """The ids of the ledger with this position; None where there is no ledger, as in a replay."""
    return MetricIds(position.ledger_id if position else "", named=named)
