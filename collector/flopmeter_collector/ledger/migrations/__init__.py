"""The ledger's schema, as numbered steps that only go forward.

Owns: the explicit list of migrations; the SQL files beside this module are their text.
May touch: the package's own files, read-only.
Called by the ledger backends, which run the steps; docs/adr/0005-delivery-and-durability.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: from schema `version` - 1 to `version`."""

    version: int
    sql: str


_FILES = (
    "0001_initial.sql",
    "0002_hourly_vectors.sql",
    "0003_claims.sql",
    "0004_audit.sql",
    "0005_ledger_operations.sql",
    "0006_several_collectors.sql",
    "0007_claim_quantity.sql",
    "0008_coverage.sql",
    "0009_relay.sql",
    "0010_long_names.sql",
    "0011_no_gaps.sql",
    "0012_history_and_deliveries.sql",
    "0013_by_node.sql",
)


def load() -> tuple[Migration, ...]:
    """Read all steps, oldest first."""
    folder = resources.files(__name__)
    return tuple(
        Migration(version=int(name.partition("_")[0]), sql=folder.joinpath(name).read_text())
        for name in _FILES
    )
