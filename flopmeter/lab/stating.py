"""Statements about runs and models: looked up, tried, and only then written.

Owns: what a statement is held against before it enters a ledger, which is append-only.
May touch: one ledger (through the collector's backends); the clock it is given.
Called by the lab's modules behind `flopmeter run`, `model`, `role` and `approve`.
Explained in docs/runs-and-models.md.

What is refused here would be set aside by a collector as well: both ask the same book.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flopmeter_collector import backends
from flopmeter_collector.book import Book, book_of
from flopmeter_collector.custody import Custody, custody_of
from flopmeter_collector.evaluate import profiles_in
from flopmeter_collector.ledger.base import AuditRow, Declaration
from flopmeter_collector.site import THRESHOLDS_FOLDER, read_law
from flopmeter_collector.spans import PLACE_FIELDS, parse_span, time_text
from flopmeter_collector.split import first_record_ns
from flopmeter_collector.worth import Profiles
from flopmeter_core.allocations import check_name, named_run
from flopmeter_core.errors import DataError, NotPermittedError, UsageError
from flopmeter_core.names import check_distinct
from flopmeter_proto.daemon.clock import Clock


@dataclass(frozen=True, slots=True)
class Site:
    """What a ledger says of runs, at one instant.

    Attributes:
        book: what was declared.
        custody: what is held, and which runs are ended.
        allocations: every allocation that a register names.
        newest: sequence of the last declaration.
    """

    book: Book
    custody: Custody
    allocations: tuple[str, ...]
    newest: int

    @property
    def runs(self) -> frozenset[str]:
        """Every run that was reported or declared."""
        reported = {named_run(allocation) for allocation in self.allocations} - {None}
        return frozenset(run for run in {*reported, *self.book.known_runs} if run is not None)

    @property
    def models(self) -> frozenset[str]:
        """Every model: those that were declared, and the runs that are models of one."""
        return frozenset(map(self.book.model_of, self.runs)) | self.book.known_models

    def run(self, text: str) -> str:
        """The run that a person means: by its own name, or by the one it was given.

        Raises:
            DataError: no name that a run may have.
            UsageError: no run has that name.
        """
        check_name(text, what="run")
        if text in self.runs:
            return text
        named = [run for run, name in self.book.attribution.names.items() if name == text]
        if len(named) != 1:
            raise UsageError(
                f"no run is named {text!r}; `flopmeter run list` lists the runs, and "
                "`flopmeter run declare` names one ahead"
            )
        return named[0]

    def run_or_new(self, text: str) -> str:
        """The run that a person means, or a new one whose name nobody can mistake.

        Raises:
            DataError: a new name that looks like one in use.
        """
        with contextlib.suppress(UsageError):
            return self.run(text)
        check_distinct(text, self.names, what="run")
        return text

    @property
    def names(self) -> frozenset[str]:
        """Every name by which a run is known."""
        return self.runs | frozenset(self.book.attribution.names.values())

    def allocations_of(self, run: str) -> list[str]:
        """The reported allocations whose work may pass a run."""
        return [name for name in self.allocations if run in self.book.attribution.visited(name)[0]]

    def check_hours(
        self, url: str, names: Iterable[str], body: Mapping[str, str], *, of: str
    ) -> None:
        """Refuse a cut in time that no recorded hour could make.

        Args:
            url: the ledger.
            names: the allocations that are cut.
            body: the statement, with ``from``, ``until`` and ``phase`` where it has them.
            of: what is cut, for the sentence.

        Raises:
            DataError: no hour is recorded, or a time lies before the first one.
        """
        if not parse_span({k: v for k, v in body.items() if k in PLACE_FIELDS}).dated:
            return
        with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
            firsts = [first_record_ns(ledger.hours(name)) for name in names]
        first_ns = min((first for first in firsts if first is not None), default=None)
        if first_ns is None:
            raise DataError(
                f"no hour of {of} is recorded yet, so nothing can tell its parts; leave out --from "
                "and --until, or declare once an hour of it is over"
            )
        for what in ("from", "until"):
            at_ns = parse_span({what: body[what]}).place[what == "until"] if what in body else None
            if at_ns is not None and at_ns < first_ns:
                raise DataError(
                    f"{what} {time_text(at_ns)} lies before the first record of {of} at "
                    f"{time_text(first_ns)}; leave --from out to begin with it"
                )

    def check_open(self, runs: Iterable[str]) -> None:
        """Refuse to say anything of an ended run.

        Raises:
            NotPermittedError: one of them was ended.
        """
        for run in runs:
            ended = self.custody.ended.get(run)
            if ended is not None:
                raise NotPermittedError(
                    f"run {run!r} was ended by {ended.author} ({ended.body['reason']}); open it "
                    "again with `flopmeter run reopen` before you declare anything of it"
                )


def look(url: str, *, profiles: Profiles | None = None) -> Site:
    """Read what a ledger says of runs.

    Args:
        url: the ledger.
        profiles: the counting profiles of the law in use; those of the site's usual folder when
            None.

    Raises:
        UsageError, DataError, StorageError: the ledger does not exist or cannot be read.
    """
    with contextlib.closing(backends.read(url)) as ledger, ledger.consistent():
        rows = list(ledger.declarations())
        allocations = tuple(ledger.allocations())
    newest = rows[-1].sequence if rows else 0
    book = book_of(rows, site_profiles() if profiles is None else profiles)
    return Site(book, custody_of(rows), allocations, newest)


def site_profiles(folder: Path = THRESHOLDS_FOLDER) -> Profiles | None:
    """A site's counting profiles; None where it has no files of its own.

    Raises:
        UsageError, DataError: a file of the folder cannot be read, or is wrong.
    """
    if folder == THRESHOLDS_FOLDER and not folder.exists():
        return None
    return profiles_in(read_law(folder).rows)


def state(
    url: str,
    kind: str,
    subject: str,
    body: Mapping[str, str],
    *,
    site: Site,
    author: str,
    clock: Clock,
    action: str = "",
    source: str = "cli",
) -> Declaration:
    """Try a statement on what stands, and write it.

    Args:
        url: the ledger.
        kind: of the statement.
        subject: what it is about.
        body: its fields.
        site: what stands; the statement is applied to its book.
        author: who states it.
        clock: dates it.
        action: name of the audit row beside it; none where empty.
        source: how it came in: ``cli``, ``scenario``, ``recording``.

    Raises:
        DataError: it contradicts what stands; nothing is written.
        NotPermittedError: a run of it was ended since; nothing is written.
        UsageError, StorageError: the ledger does not exist or cannot be written.
    """
    check_author(author)
    now_ns = clock.wall_ns()
    row = Declaration(site.newest + 1, now_ns, author, source, kind, subject, dict(body))
    site.book.apply(row)
    audit = None
    if action:
        content = json.dumps({"subject": subject, **body}, sort_keys=True)
        audit = AuditRow(0, now_ns, author, body.get("reason", ""), action, content)

    def still_open(later: Iterable[Declaration]) -> None:
        # Somebody may have ended a run while this was looked at.
        since = replace(site, custody=custody_of(later))
        since.check_open(sorted({subject, *body.values()}))

    return backends.declare(url, row, audit=audit, since=site.newest, check=still_open)


def check_author(author: str) -> None:
    """Refuse an author that no table could show.

    Raises:
        DataError: empty, over 200 characters, or unprintable.
    """
    if not author.strip() or len(author) > 200 or not author.isprintable():
        raise DataError("an author has 1 to 200 printable characters; give one with --author")
