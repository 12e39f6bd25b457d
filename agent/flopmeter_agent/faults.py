"""Which file of the state folder a fault lies in.

Owns: the sentence that names the file, and the one that says what to do about a damaged one.
May touch: nothing; it renames what others raise.
Called by app and claim_report, which open the journals of an agent's memory.
Explained in docs/adr/0012-agent-memory.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from flopmeter_core.errors import DataError, StorageError

START_AGAIN = (
    "move the state folder away and start again: closed work that was acknowledged is safe in the "
    "collector's ledger"
)
"""What to do about a record that cannot be read."""


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say of a fault in a file which one it is.

    Args:
        path: the file that is read meanwhile.

    Raises:
        StorageError, DataError: as raised inside, with the file's name before it.
    """
    try:
        yield
    except (StorageError, DataError) as error:
        raise type(error)(f"{path}: {error}") from error
