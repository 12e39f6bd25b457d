"""A file that a person's word rests on: kept by its name and SHA-256, never by its content.

Owns: how such a file is named in a ledger.
May touch: that file, reading.
Called by the lab's legal acts and rulings.
"""

from __future__ import annotations

from pathlib import Path

from flopmeter.lab.modelling import sha256_of
from flopmeter_core.errors import UsageError


def named(path: Path) -> str:
    """Name a file so that it can be known again: its name and the SHA-256 of its content.

    Raises:
        UsageError: there is no such file, or its name cannot be printed.
    """
    if not path.name.isprintable():
        raise UsageError(f"the name of the evidence {path.name!r} cannot be printed; rename it")
    hint = "name one that can be read, or leave --evidence out and say it in --reason"
    return f"{path.name} sha256:{sha256_of(path, what='the evidence', hint=hint)}"
