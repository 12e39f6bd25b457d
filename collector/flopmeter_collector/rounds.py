"""When a round of evaluation runs, what follows from how it ended, and what may be shown after it.

Owns: the pace, whether rounds still make sense, when a leader last heard that it leads, and the
sentence that says why there are no totals.
May touch: the publisher, the law's folder (through its watch); the log and the injected clock.
Called by the collector's app, and through it by the HTTP side, which asks what may be shown.
Explained in docs/architecture.md and docs/adr/0014-postgresql-ledger.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from flopmeter_collector.alerts.sender import AlertSender
from flopmeter_collector.commit import Committer
from flopmeter_collector.law_watch import LawWatch
from flopmeter_collector.ledger.base import DeclaredSinceError, LedgerBusyError
from flopmeter_collector.loading import Loading
from flopmeter_collector.publish import Publisher
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_core.errors import FlopmeterError, StorageError
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S
from flopmeter_proto.daemon.clock import Clock

logger = logging.getLogger(__name__)

LONGEST_COMMIT_S = 10.0
"""A commit that takes longer is said on /readyz: senders wait for their answers."""

CONFIRMED_FOR_S = 15
"""How long a collector may show fleet totals after it last heard that it leads: the server frees a
silent session's lock no sooner."""

EVALUATION_SHARE = 4
"""Rounds pause so many times as long as they take: at most a fifth of the time is theirs."""

LONGEST_SHARED_PERIOD_S = 5.0
"""Of a shared ledger the leader evaluates at least so often; its server ends a session that asks
nothing for 20 s."""


class Rounds:
    """One collector's rounds, one after the other. On its event loop."""

    def __init__(
        self,
        publisher: Publisher,
        committer: Committer,
        loading: Loading,
        law: LawWatch | None,
        alerts: AlertSender,
        clock: Clock,
        *,
        shared: bool,
        evaluate_period_s: float,
        hourly_days: int,
        read_rest: Callable[[], Awaitable[None]],
        fail: Callable[[FlopmeterError], None],
    ) -> None:
        """Prepare; nothing was evaluated yet.

        Args:
            publisher: runs each round.
            committer: says whether commits wait, and asks who leads.
            loading: says how far a start is.
            law: read again before each round; None where nothing is held against it (a relay).
            alerts: takes what was read anew.
            clock: monotonic time paces, wall time says which hours are old.
            shared: whether other collectors may hold the ledger too.
            evaluate_period_s: from the begin of one round to that of the next, at least.
            hourly_days: hours older than so many days are thinned; 0 for never.
            read_rest: reads what is left of the ledger, before the first round.
            fail: told why the collector can serve no longer.
        """
        self._publisher = publisher
        self._committer = committer
        self._loading = loading
        self._law = law
        self._alerts = alerts
        self._clock = clock
        self._shared = shared
        self._evaluate_period_s = evaluate_period_s
        self._hourly_days = hourly_days
        self._read_rest = read_rest
        self._fail = fail
        self._begun = False
        self._thin_again_ns = 0
        self._confirmed_ns = 0
        self._stuck = ""
        self._away = ""

    # --- what may be shown -----------------------------------------------------------------------

    def shown(self) -> TotalsSnapshot | None:
        """The totals this collector may show: of a shared ledger, while it surely leads."""
        published = self._publisher.published
        if published is None or (
            self._shared
            and self._clock.monotonic_ns() - self._confirmed_ns > CONFIRMED_FOR_S * NS_PER_S
        ):
            return None
        return published.snapshot

    def following(self) -> str:
        """Why no fleet totals are shown, in one sentence; empty where this collector leads."""
        if self.shown() is not None or self.not_ready():
            return ""
        if not self._begun:
            return self._loading.said
        return (
            "this collector takes reports but does not export fleet totals: another one of the "
            f"same ledger does ({self._publisher.leader or 'being chosen'})"
        )

    def not_ready(self) -> str:
        """Why this collector is not well, in one sentence; empty where it is."""
        said = self._committer.failure or self._committer.waiting or self._away or self._stuck
        if not said and self._committer.under_way_s > LONGEST_COMMIT_S:
            return (
                f"a commit has been waiting for {self._committer.under_way_s:.0f} s: the ledger's "
                "disk or its synchronous standby does not answer; see the server"
            )
        return str(said)

    # --- one after the other ---------------------------------------------------------------------

    async def go_on(self) -> None:
        """Evaluate at the period's pace; a slow round delays the next one, never overlaps it."""
        while True:
            began_ns = self._clock.monotonic_ns()
            if not await self.one():
                return
            took_s = (self._clock.monotonic_ns() - began_ns) / NS_PER_S
            await asyncio.sleep(pause_s(self._evaluate_period_s, took_s))

    async def one(self) -> bool:
        """Run one round; returns whether another makes sense.

        What cannot be derived must not stop what is recorded: after a fault in the totals
        reports are still taken, while readiness says that figures stand still.
        """
        try:
            asked_ns = self._clock.monotonic_ns()
            led = self._publisher.leads
            await self._read_rest()
            await self.look_at_law()
            await self._publisher.round()
            self._begun = True
            self._confirmed_ns, self._away = asked_ns, ""
            self._note_leader(led)
            await self._thin_when_due()
        except LedgerBusyError as error:
            # The committer says when it waits too; this only reads, and tries again next time.
            self._away = str(error)
            if self._shared:
                self._publisher.step_down()
        except StorageError as error:
            self._fail(error)
            return False
        except Exception as error:
            self._stuck = f"the totals stand still ({error}); report this, then restart"
            logger.error("evaluation stopped", exc_info=error)
            return False
        return True

    async def look_at_law(self) -> None:
        """Use other rows from this round on, where files of the law changed."""
        if self._law is not None and (rows := await self._law.look()) is not None:
            self._alerts.take_law(rows)
            self._publisher.take_law(rows)

    async def _thin_when_due(self) -> None:
        """Thin old hours, a bounded number a round until none is left, then once a day."""
        if not self._hourly_days or self._clock.monotonic_ns() < self._thin_again_ns:
            return
        before_ns = self._clock.wall_ns() - self._hourly_days * 24 * NS_PER_HOUR
        with contextlib.suppress(DeclaredSinceError):  # the next round has heard of it
            if not await self._publisher.thin(before_ns=before_ns):
                self._thin_again_ns = self._clock.monotonic_ns() + 24 * NS_PER_HOUR

    def _note_leader(self, led: bool) -> None:
        """Log when it begins or ends to be this collector that leads a shared ledger."""
        leads = self._publisher.leads
        if self._shared and leads != led:
            logger.info("fleet totals are exported here" if leads else "another collector leads")


def pause_s(period_s: float, took_s: float) -> float:
    """How long to wait for the next round, in s: reports go before a large evaluation.

    Args:
        period_s: what was asked for.
        took_s: how long the last round took.
    """
    return max(period_s, min(EVALUATION_SHARE * took_s, LONGEST_SHARED_PERIOD_S))
