"""Writes a checked declaration into a ledger, while a collector may be serving it.

Owns: the check before the write: the ledger is append-only, so nothing wrong may enter it.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by `flopmeter run declare` and the demo.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from flopmeter_collector import backends
from flopmeter_collector.custody import ENDED, OPEN, SEAL_KIND, custody_of, parse_seal
from flopmeter_collector.declarations import RUN_KIND, RunDeclaration, parse_run_declaration
from flopmeter_collector.ledger.base import AuditRow, Declaration
from flopmeter_collector.spans import time_text
from flopmeter_collector.split import first_record_ns
from flopmeter_core.allocations import RUN_PREFIX
from flopmeter_core.errors import DataError, NotPermittedError, UsageError
from flopmeter_proto.daemon.clock import Clock


def declare_run(
    url: str, run: str, body: Mapping[str, str], *, author: str, source: str, clock: Clock
) -> Declaration:
    """Declare what a run is.

    Args:
        url: the ledger, a path or ``sqlite:///`` URL.
        run: the run's name.
        body: fields as `flopmeter_collector.declarations.parse_run_declaration` reads them.
        author: who states it.
        source: how it came in: ``cli``, ``scenario``, ``recording``.
        clock: dates it.

    Returns:
        The declaration with its place in the ledger.

    Raises:
        DataError: a field, format or class nobody knows, a span that overlaps another one or
            begins before the run's first record; nothing is written.
        NotPermittedError: the run was ended.
        UsageError, StorageError: the ledger does not exist or cannot be written.
    """
    declaration = parse_run_declaration(run, body)
    _check_open(url, run)
    if declaration.spans:
        _check_spans(url, declaration)
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


def end_run(
    url: str, run: str, *, ended: bool, author: str, reason: str, clock: Clock
) -> Declaration:
    """Declare that a run is over and closed to declarations, or open again.

    Args:
        url: the ledger.
        run: the run's name.
        ended: whether it is over; otherwise it is opened again.
        author: who states it.
        reason: why.
        clock: dates it.

    Raises:
        UsageError: it is so already, or there is no such ledger.
        DataError: no reason, or no name of a run.
        StorageError: the ledger cannot be written.
    """
    now_ns = clock.wall_ns()
    body = {"state": ENDED if ended else OPEN, "reason": reason}
    declaration = Declaration(0, now_ns, author, "cli", SEAL_KIND, run, body)
    parse_seal(declaration)
    with contextlib.closing(backends.read(url)) as ledger:
        if ended == (run in custody_of(ledger.declarations()).ended):
            raise UsageError(f"run {run!r} is {body['state']} already; nothing is left to do")
    content = json.dumps({"subject": run, **body}, sort_keys=True)
    action = "run end" if ended else "run reopen"
    audit = AuditRow(0, now_ns, author, reason, action, content)
    return backends.declare(url, declaration, audit=audit)


def is_reported(url: str, run: str) -> bool:
    """Whether any device ever reported for a run."""
    with contextlib.closing(backends.read(url)) as ledger:
        return RUN_PREFIX + run in ledger.allocations()


def _check_open(url: str, run: str) -> None:
    with contextlib.closing(backends.read(url)) as ledger:
        ended = custody_of(ledger.declarations()).ended.get(run)
    if ended is not None:
        raise NotPermittedError(
            f"run {run!r} was ended by {ended.author} ({ended.body['reason']}); open it again with "
            "`flopmeter run reopen` before you declare anything of it"
        )


def _check_spans(url: str, declaration: RunDeclaration) -> None:
    """Hold a part of a run against what the ledger has of it."""
    run = declaration.run
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        declared = RunDeclaration(run)
        for row in ledger.declarations():
            if row.kind == RUN_KIND and row.subject == run:
                # What a collector sets aside overlaps nothing.
                with contextlib.suppress(DataError):
                    declared = declared.overridden_by(parse_run_declaration(run, row.body))
        declared.overridden_by(declaration)
        if not declaration.dated:
            return
        first_ns = first_record_ns(ledger.hours(RUN_PREFIX + run))
    if first_ns is None:
        raise DataError(
            f"no hour of run {run!r} is recorded yet, so nothing can tell its parts; leave out "
            "--from and --until, or declare once an hour of it is over"
        )
    for span in declaration.spans:
        for what, at_ns in (("from", span.from_ns), ("until", span.until_ns)):
            if at_ns is not None and at_ns < first_ns:
                raise DataError(
                    f"{what} {time_text(at_ns)} lies before the first record of run {run!r} at "
                    f"{time_text(first_ns)}; leave --from out to begin with the run"
                )
