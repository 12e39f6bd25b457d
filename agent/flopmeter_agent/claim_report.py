"""Puts claims into the reports of the agent's loop, and hands their acknowledgements back.

Owns: the order: the meter's vectors as ever, claims beside them, claims alone when there are none;
and what takes claims at all.
May touch: the report source, the claims' journal and socket; the injected clock.
Called by app, which gives the link this source in the place of the loop's own. docs/sdk.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from flopmeter_agent.claim_socket import ClaimSocket
from flopmeter_agent.claims import ClaimBook
from flopmeter_agent.faults import naming
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.phases import PhaseBook
from flopmeter_core.errors import FlopmeterError
from flopmeter_core.reports import Answer, Report
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields
from flopmeter_proto.link import ReportSource

logger = logging.getLogger(__name__)

AUTO = "auto"
SOCKET_FOLDER = Path("/run/flopmeter")
SOCKET_NAME = "agent.sock"
JOURNAL_NAME = "claims"


def socket_path(setting: str, *, simulated: bool) -> Path | None:
    """Where claims are taken; None where they are not.

    Args:
        setting: a path, ``auto``, or nothing.
        simulated: whether the agent's readings are made up; real work is then not asked for.
    """
    if setting != AUTO:
        return Path(setting) if setting else None
    if simulated or not SOCKET_FOLDER.is_dir():
        return None
    return SOCKET_FOLDER / SOCKET_NAME


@contextlib.contextmanager
def claiming(
    source: ReportSource,
    path: Path | None,
    *,
    state: Path,
    node: str,
    run: str,
    clock: Clock,
    phases: PhaseBook | None = None,
) -> Iterator[tuple[ReportSource, ClaimBook | None]]:
    """Take claims until the block ends; yields what reports, and the book of claims.

    Whatever is wrong with claims is logged and stops claims only: the meter goes on without them.

    Args:
        source: the meter's reports.
        path: of the socket; None takes no claims.
        state: the folder of the claims' journal.
        node: the node's name.
        run: the run of a process that names none.
        clock: paces the peers and stamps reports.
        phases: is told the phases that processes name.
    """
    with contextlib.ExitStack() as stack:
        book = None
        if path is not None:
            try:
                file = OsBlockFile(state / JOURNAL_NAME)
                stack.callback(file.close)
                with naming(state / JOURNAL_NAME):
                    book = ClaimBook(Journal(file), run=run, phases=phases)
                stack.enter_context(ClaimSocket(path, book, clock, node=node))
                logger.info("claims are taken", extra=fields(socket=path))
            except (FlopmeterError, OSError) as error:
                book = None
                logger.error("no claims are taken", extra=fields(reason=str(error)))
        yield (source if book is None else ClaimingSource(source, book, clock)), book


class ClaimingSource:
    """A report source with claims."""

    def __init__(self, source: ReportSource, book: ClaimBook, clock: Clock) -> None:
        """Wrap a source.

        Args:
            source: gives the meter's reports.
            book: gives the claims.
            clock: stamps a report that holds claims alone.
        """
        self._source = source
        self._book = book
        self._clock = clock

    async def next_report(self) -> Report | None:
        """The meter's next report with what is claimed; None when all is acknowledged."""
        report = await self._source.next_report()
        # Most nodes have no claims, and a thread costs more than to look.
        claims = await asyncio.to_thread(self._book.pending) if len(self._book) else ()
        if not claims:
            return report
        if report is None:
            report = Report(
                records={},
                vectors=(),
                boot_ns=self._clock.boottime_ns(),
                wall_ns=self._clock.wall_ns(),
            )
        return replace(report, claims=claims)

    async def acknowledge(self, answer: Answer) -> None:
        """Hand an answer to the meter and to the claims."""
        await self._source.acknowledge(answer)
        self._book.acknowledge(answer.claims, answer.position)
