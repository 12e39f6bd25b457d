"""A ledger of each kind for a test: a file, or a database on a server.

Owns: the choice between them.
May touch: a folder of the test; the shared PostgreSQL server of the tests.
Called by the contract of ledgers, and by the integration tests of what people declare.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from support.postgres import shared_server

KINDS = ("sqlite", "postgresql")


def new_ledger(kind: str, folder: Path) -> str:
    """The URL of a ledger that does not exist yet.

    Args:
        kind: one of `KINDS`.
        folder: where the file is.
    """
    if kind == "postgresql":
        return shared_server().create(f"ledger_{secrets.token_hex(8)}")
    return str(folder / "ledger.db")
