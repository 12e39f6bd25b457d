"""Writes a checked declaration into a ledger, while a collector may be serving it.

Owns: the check before the write: the ledger is append-only, so nothing wrong may enter it.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by `flopmeter run declare` and the demo.
"""

from __future__ import annotations

from collections.abc import Mapping

from flopmeter_collector import backends
from flopmeter_collector.declarations import RUN_KIND, parse_run_declaration
from flopmeter_collector.ledger.base import Declaration
from flopmeter_proto.daemon.clock import Clock


def declare_run(
    url: str, run: str, body: Mapping[str, str], *, author: str, source: str, clock: Clock
) -> Declaration:
    """Declare what a run is.

    Args:
        url: the ledger, a path or ``sqlite:///`` URL.
        run: the run's name.
        body: ``model``, ``format``, ``workload``, ``activity``, each optional.
        author: who states it.
        source: how it came in: ``cli``, ``scenario``, ``recording``.
        clock: dates it.

    Returns:
        The declaration with its place in the ledger.

    Raises:
        DataError: a field, format or class nobody knows; nothing is written.
        UsageError, StorageError: the ledger does not exist or cannot be written.
    """
    parse_run_declaration(run, body)
    return backends.declare(
        url,
        Declaration(
            sequence=0,
            declared_at_ns=clock.wall_ns(),
            author=author,
            source=source,
            kind=RUN_KIND,
            subject=run,
            body=dict(body),
        ),
    )
