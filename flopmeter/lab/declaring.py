"""Writes a checked declaration into a ledger, while a collector may be serving it.

Owns: the check before the write: the ledger is append-only, so nothing wrong may enter it.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by `flopmeter run declare` and the demo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from flopmeter.lab.stating import check_author, look, state
from flopmeter_collector import backends
from flopmeter_collector.agreed import RATIO
from flopmeter_collector.approvals import COMPLIANCE, PENDING, PEOPLE
from flopmeter_collector.custody import ENDED, OPEN, SEAL_KIND, parse_seal
from flopmeter_collector.declarations import RUN_KIND, parse_run_declaration
from flopmeter_collector.ledger.base import AuditRow, Declaration
from flopmeter_collector.model_statements import EXTERNAL_KIND
from flopmeter_collector.worth import Profiles
from flopmeter_core.errors import UsageError
from flopmeter_core.names import check_distinct
from flopmeter_proto.daemon.clock import Clock


def declare_run(
    url: str,
    run: str,
    body: Mapping[str, str],
    *,
    author: str,
    source: str,
    clock: Clock,
    must_exist: bool = False,
    profiles: Profiles | None = None,
) -> Declaration:
    """Declare what a run is.

    Args:
        url: the ledger, a path or ``sqlite:///`` URL.
        run: the run, by either of its names.
        body: fields as `flopmeter_collector.declarations.parse_run_declaration` reads them.
        author: who states it.
        source: how it came in: ``cli``, ``scenario``, ``recording``.
        clock: dates it.
        must_exist: whether only a run is meant that was reported or declared before.
        profiles: those that decide what waits for people; of the site's usual folder when None.

    Returns:
        The declaration with its place in the ledger.

    Raises:
        DataError: a field, format or class nobody knows, a span that overlaps another one or
            begins before the run's first record, or a new name that looks like one in use;
            nothing is written.
        NotPermittedError: the run was ended.
        UsageError, StorageError: the ledger does not exist or cannot be written.
    """
    site = look(url, profiles=profiles)
    run = site.run(run) if must_exist else site.run_or_new(run)
    declaration = parse_run_declaration(run, body)
    if declaration.model is not None:
        check_distinct(declaration.model, site.models, what="model")
    site.check_open((run,))
    if declaration.dated:
        site.check_hours(url, site.allocations_of(run), body, of=f"run {run!r}")
    return state(url, RUN_KIND, run, body, site=site, author=author, clock=clock, source=source)


def end_run(
    url: str, run: str, *, ended: bool, author: str, reason: str, clock: Clock
) -> Declaration:
    """Declare that a run is over and closed to declarations, or open again.

    Args:
        url: the ledger.
        run: the run, by either of its names.
        ended: whether it is over; otherwise it is opened again.
        author: who states it.
        reason: why.
        clock: dates it.

    Raises:
        UsageError: it is so already, or there is no such run or ledger.
        DataError: no reason, or no name of a run.
        StorageError: the ledger cannot be written.
    """
    now_ns = clock.wall_ns()
    body = {"state": ENDED if ended else OPEN, "reason": reason}
    declaration = Declaration(0, now_ns, author, "cli", SEAL_KIND, run, body)
    parse_seal(declaration)
    check_author(author)
    site = look(url)
    run = site.run(run)
    declaration = replace(declaration, subject=run)
    if ended == (run in site.custody.ended):
        raise UsageError(f"run {run!r} is {body['state']} already; nothing is left to do")
    content = json.dumps({"subject": run, **body}, sort_keys=True)
    action = "run end" if ended else "run reopen"
    audit = AuditRow(0, now_ns, author, reason, action, content)
    return backends.declare(url, declaration, audit=audit)


def is_reported(url: str, run: str, *, profiles: Profiles | None = None) -> bool:
    """Whether any device ever reported for a run, under its own name or by attribution."""
    return bool(look(url, profiles=profiles).allocations_of(run))


@dataclass(frozen=True, slots=True)
class Waiting:
    """That a declaration waits for people.

    Attributes:
        says: what would hold then.
        sentence: why it waits, and for whom.
        whole: whether nothing of it holds until then.
    """

    says: str
    sentence: str
    whole: bool = True


def waiting(url: str, sequence: int, *, profiles: Profiles | None = None) -> Waiting | None:
    """What a declaration just written waits for; None where it waits for nothing."""
    lowering = look(url, profiles=profiles).book.approvals.lowerings.get(sequence)
    if lowering is None or lowering.state != PENDING:
        return None
    more = f"{PEOPLE - len(lowering.people)} more of {PEOPLE} people with the role {COMPLIANCE}"
    entered = lowering.kind == EXTERNAL_KIND and bool(lowering.about)
    if lowering.about == {RATIO}:
        return Waiting(
            lowering.label,
            f"declaration {sequence} counts in its own model at once, and in the ratio of "
            f"{', '.join(lowering.models)}, which falls by it, once {more} stand behind it; see "
            "`flopmeter approve list`",
            whole=False,
        )
    several = "s" if len(lowering.models) > 1 else ""
    of = f" of model{several} {', '.join(lowering.models)}" if lowering.models else ""
    return Waiting(
        lowering.label,
        f"declaration {sequence} ({lowering.label}) lowers what is counted{of} under "
        f"{', '.join(lowering.profiles)}, so it waits for {more} and moves no total until then; "
        "see `flopmeter approve list`",
        whole=not entered,
    )
