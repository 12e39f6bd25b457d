"""From the register table to a published snapshot: one round of evaluation.

Owns: the order of a round, and the promise that only what is committed is ever shown.
May touch: totals, committer and register table, on the event loop; the injected clock.
Called by the collector's app at its period, and by tests and the lab once at the end.
Explained in docs/adr/0005-delivery-and-durability.md.

A round: ask who leads, and what other collectors of a shared ledger committed; take new
declarations; give the changed keys to the totals; wait until a commit holds them; take the snapshot
at that commit; let the judge hold it against the thresholds; commit what it found, transitions and
history in one transaction; and only then publish. So a
reader never sees a figure or a state that a power cut could undo. Who does not lead publishes
nothing, but keeps its sums as new as the leader's (docs/adr/0014-postgresql-ledger.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from flopmeter_collector.approvals import APPROVAL_KIND
from flopmeter_collector.around import Around, Others, Past, look_around
from flopmeter_collector.claims import totals_of
from flopmeter_collector.commit import Committer
from flopmeter_collector.custody import HOLD_KIND, SEAL_KIND, Custody
from flopmeter_collector.declarations import RUN_KIND
from flopmeter_collector.evaluate import profiles_in
from flopmeter_collector.judge import Judge, Judgement
from flopmeter_collector.law_memory import law_row
from flopmeter_collector.ledger.base import (
    Batch,
    Coverage,
    Declaration,
    Delivery,
    Foreign,
    Ledger,
)
from flopmeter_collector.legal_view import LegalView
from flopmeter_collector.model_statements import EXTERNAL_KIND, PARENT_KIND
from flopmeter_collector.quarantine_acts import KINDS as QUARANTINE_KINDS
from flopmeter_collector.quarantine_acts import QUARANTINE_KIND, take_word
from flopmeter_collector.registers import RegisterTable
from flopmeter_collector.retention import thinning
from flopmeter_collector.rulings import DECISION_KIND
from flopmeter_collector.slices import SLICE, Slices
from flopmeter_collector.snapshot import ModelTotals, RunTotals, TotalsSnapshot
from flopmeter_collector.statements import ATTACH_KIND, MERGE_KIND, SPLIT_KIND
from flopmeter_collector.totals import Totals
from flopmeter_collector.turns import Pause, go_on
from flopmeter_core.catalogue import Threshold
from flopmeter_core.claim_agreement import Agreement
from flopmeter_core.errors import DataError, StorageError
from flopmeter_core.reports import LedgerPosition
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)


RECORDED_AT_ONCE = 200
"""Rows in one commit, so that reports are committed in between. A crash between two leaves states
that are not recorded yet: the next round finds them again."""

MANY_RUNS = 500
"""Above so many runs a snapshot is taken beside the event loop; below, the way there costs more."""


LET_GO_AT_ONCE = 200
"""Totals freed at a time: about 0.3 ms."""


REVALUING_KINDS = frozenset(
    {
        RUN_KIND,
        ATTACH_KIND,
        MERGE_KIND,
        SPLIT_KIND,
        APPROVAL_KIND,
        PARENT_KIND,
        EXTERNAL_KIND,
        QUARANTINE_KIND,
        DECISION_KIND,
    }
)
"""Declarations after which work that was counted may count differently, or for another model."""


@dataclass(frozen=True, slots=True)
class Published:
    """What readers are shown; immutable."""

    snapshot: TotalsSnapshot
    legal: LegalView


class Teller(Protocol):
    """Tells receivers of alerts; only the collector that leads does."""

    def lead(self, deliveries: Iterable[Delivery]) -> None:
        """Begin; these were accepted before."""

    def follow(self) -> None:
        """Cease: another collector leads."""

    def wake(self) -> None:
        """Alerts may have changed."""


class Publisher:
    """Runs rounds; one at a time."""

    def __init__(
        self,
        *,
        table: RegisterTable,
        totals: Totals,
        committer: Committer,
        clock: Clock,
        judge: Judge,
        teller: Teller,
        give_way: Callable[[], Awaitable[None]],
        pauses: Callable[[], Pause] = lambda: go_on,
    ) -> None:
        """Prepare; nothing is published before the first round.

        Args:
            table: gives the changed keys.
            totals: adds them up.
            committer: makes them and the transitions durable.
            clock: stamps the snapshot.
            judge: holds each snapshot against the law.
            teller: tells receivers of alerts.
            give_way: lets agents that can be answered at once go first.
            pauses: gives what lets them go first that is called in a thread.
        """
        self._table = table
        self._totals = totals
        self._committer = committer
        self._clock = clock
        self._judge = judge
        self._teller = teller
        self._give_way = give_way
        self._slices = Slices(table, totals, clock, give_way)
        self._pauses = pauses
        self._last_declaration = 0
        self._newest_declared: Declaration | None = None
        self._last_transition = 0
        self._law: tuple[Threshold, ...] | None = None
        self.corrected = False
        self._revalued_at_ns = 0
        self._lock = asyncio.Lock()
        self._agreements: dict[str, Agreement] = {}
        self.custody = Custody(totals.book.attribution)
        self.quarantined_flop = 0
        self._quarantine_seen = (0, 0)
        self._recording: asyncio.Task[None] | None = None
        self._came: list[Foreign] = []
        self.refused_declarations = 0
        self.leads = False
        self.leader = ""
        self._term = 0
        self.restored = False
        self.published: Published | None = None

    def restore(self, declarations: Sequence[Declaration]) -> None:
        """Take what the ledger says of declarations, once all registers are in the table.

        Before, this collector never leads: a total of some registers would pass for one of all.
        """
        self.take(declarations)
        self.restored = True
        # What is known already moves nothing now: what grows from here on is work.
        self.corrected = False

    def take_law(self, rows: tuple[Threshold, ...]) -> None:
        """Judge by other rows from the next round on."""
        self._law = rows

    async def catch_up(self) -> None:
        """Take in what other collectors of a shared ledger committed, between two rounds.

        Raises:
            LedgerBusyError: the ledger could not be read just now.
            StorageError: the ledger failed.
        """
        async with self._lock:
            await self._look_around(declared_to=None)

    def step_down(self) -> None:
        """Show nothing any more: another collector of a shared ledger may lead by now."""
        self.leads, self.published = False, None
        self._teller.follow()

    async def round(self) -> Published | None:
        """Run one round and publish its snapshot.

        Returns:
            What is published; None where another collector of the ledger leads.

        Raises:
            LedgerBusyError: the ledger could not be read or written just now.
            StorageError: a commit failed, or the ledger lost declarations that were taken; what
                was published before stays.
        """
        async with self._lock:
            await self.finish()
            after = self._last_declaration - (self._newest_declared is not None)
            others = await self._look_around(declared_to=after)
            declared = await self._read_declared(others, after)
            self.take(declared or ())
            await self._use_law()
            changes = self._table.take_uncounted()
            sightings = self._table.sightings.take()
            await self._slices.count(changes, sightings)
            claims = self._table.claims.take_changed()
            if claims:
                # In a thread: many ranks' claims must not hold up the reports on the event loop.
                for run, claimed in (await asyncio.to_thread(totals_of, claims)).items():
                    self._totals.claim(run, claimed)
            coverage = await self._slices.place(sightings)
            position = await self._durable(others, coverage)
            if declared is None:
                # Only now: what nobody else knows is in the ledger again.
                raise StorageError(
                    f"the ledger does not hold declaration {self._last_declaration} any more, on "
                    "which this collector's totals rest: its server failed over and lost its "
                    "newest commits; start the collector again, and say again what was declared "
                    "last"
                )
            await self._read_hours()
            if not self.leads:
                # Whoever leads puts its corrections down.
                self.corrected = False
                return None
            snapshot, found = await self._evaluate(position)
            await self._note_agreements(snapshot)
            self._weigh_quarantine()
            if found.transitions or found.history:
                # Whoever cancels a round may not cut it between the commit and its note: the next
                # round would record the same transitions again.
                self._recording = asyncio.create_task(self._record(found))
                await asyncio.shield(self._recording)
            self.corrected = False
            legal = self._judge.view(found, snapshot.as_of_ns)
            before, self.published = self.published, Published(snapshot, legal)
            if before is not None and len(before.snapshot.runs) > MANY_RUNS:
                gone: list[RunTotals | ModelTotals] = [
                    *before.snapshot.runs,
                    *before.snapshot.models,
                ]
                del before
                await self._let_go(gone)
            return self.published

    async def _read_declared(self, others: Others | None, after: int) -> list[Declaration] | None:
        """What was declared since the last round; None where the ledger lost what was taken.

        A ledger loses its newest rows only, and gives their numbers again: the last one that was
        taken tells of all before it.

        Args:
            others: what a shared ledger said already.
            after: the declaration before the last one that was taken.
        """
        if others is not None:
            found = list(others.declarations)
        else:
            found = await self._committer.read(
                lambda ledger: list(ledger.declarations(after=after))
            )
        last = self._newest_declared
        if last is None:
            return found
        return found[1:] if found[:1] == [last] else None

    async def _use_law(self) -> None:
        """Take rows that were read anew: they may also decide which statements wait for people."""
        rows = self._law
        if rows is None:
            return
        declared = await self._committer.read(lambda ledger: list(ledger.declarations()))
        known = [row for row in declared if row.sequence <= self._last_declaration]
        profiles = profiles_in(rows)
        # Nobody else touches the totals during a round, and reports go on meanwhile.
        await asyncio.to_thread(self._totals.take_profiles, profiles, known)
        self._judge.take_law(rows)
        self.corrected, self._law = True, None

    async def _let_go(self, gone: list[RunTotals | ModelTotals]) -> None:
        """Free what no snapshot names any more, in slices: all at once would stop every thread."""
        while gone:
            del gone[-LET_GO_AT_ONCE:]
            await self._give_way()

    async def thin(self, *, before_ns: int) -> int:
        """Tell a bounded number of old hours by the day, where custody lets them.

        Args:
            before_ns: Unix time in ns; hours read later stay as they are.

        Returns:
            How many rows went; 0 where nothing is left, or another collector leads.

        Raises:
            DeclaredSinceError: something was declared since the last round, a hold perhaps:
                nothing went.
            LedgerBusyError: the ledger could not be read or written just now.
            StorageError: the ledger failed.
        """

        def plan(ledger: Ledger) -> tuple[Batch, set[str]]:
            with ledger.consistent():
                return thinning(
                    ledger, self.custody, self._totals.book.cuts_ns, before_ns=before_ns
                )

        async with self._lock:
            if not self.leads:
                return 0
            batch, allocations = await self._committer.read(plan)
            if batch.dropped_hours:
                # Whoever was told that hours are held finds them: a hold since then stops this.
                await self._committer.alone(replace(batch, declared_to=self._last_declaration))
                for allocation in allocations:
                    self._totals.forget_hours(allocation)
                logger.info(
                    "old hours are told by the day", extra=fields(rows=len(batch.dropped_hours))
                )
            return len(batch.dropped_hours)

    async def finish(self) -> None:
        """Wait until transitions that are being recorded are; how it went is the round's to say."""
        recording, self._recording = self._recording, None
        if recording is not None:
            await asyncio.wait([recording])
            if not recording.cancelled():
                recording.exception()

    async def _evaluate(self, position: LedgerPosition) -> tuple[TotalsSnapshot, Judgement]:
        """Take a snapshot and hold it against the law."""

        def evaluated(pause: Pause) -> tuple[TotalsSnapshot, Judgement]:
            snapshot = self._totals.snapshot(self._clock.wall_ns(), position, pause)
            return snapshot, self._judge.judge(
                snapshot,
                declared_to=self._last_declaration,
                corrected=self.corrected,
                pause=pause,
            )

        if self._totals.run_count + self._totals.residuals.moved_count <= MANY_RUNS:
            return evaluated(go_on)
        # Nobody else touches the totals during a round, and reports go on meanwhile.
        return await asyncio.to_thread(evaluated, self._pauses())

    async def _look_around(self, *, declared_to: int | None) -> Others | None:
        """Ask who leads, and take in what other collectors of a shared ledger committed.

        Returns:
            Everything they committed is in the table; None where no other collector writes.
        """
        before = self._term if self.leads else 0

        def ask(ledger: Ledger) -> Around:
            found = look_around(
                ledger, self._clock, may_lead=self.restored, term=before, declared_to=declared_to
            )
            if found.others is not None:
                # It is told once: a sender that goes away cancels who asked, and loses none of it.
                self._came.append(found.others.foreign)
            return found

        around = await self._committer.read(ask)
        self._term = around.term
        if not self._term:
            self.step_down()
        self.leads = bool(self._term)
        if around.past is not None:
            self.begin_to_lead(around.past)
        others = around.others
        if others is not None:
            self.leader = others.leader
        came, self._came = self._came, []
        for foreign in came:
            self._table.absorb(foreign)
            self._totals.residuals.restore(foreign.coverage)
        return others

    async def _durable(self, others: Others | None, coverage: Sequence[Coverage]) -> LedgerPosition:
        """Wait until a commit holds all that is counted by now.

        Of a shared ledger nothing is asked where all of it is stored already: of two rounds of a
        collector beside others one is like that.

        Returns:
            Everything up to here is in the totals; of a shared ledger, and of this collector's
            a little more.
        """
        if others is None:
            # Even without a change the position may be another process' new declaration.
            return await self._committer.durable(coverage=coverage)
        if coverage or others.unsure or not self._committer.at_rest:
            await self._committer.durable(coverage=coverage)
        return others.foreign.position

    def begin_to_lead(self, past: Past) -> None:
        """Go on from what is recorded; whoever led before has recorded what it saw."""
        self._judge.restore(past.transitions, past.history, past.law)
        self._last_transition = max((row.sequence for row in past.transitions), default=0)
        self._teller.lead(past.deliveries)
        # What was declared while nobody led moved totals that nobody put down: it is no work.
        self.corrected |= self._revalued_at_ns > self._judge.recorded_to_ns > 0

    async def _read_hours(self) -> None:
        """Read the hours of work that a declaration cuts since, all of them committed."""
        for allocation in sorted(self._totals.unread_allocations):

            def fold(ledger: Ledger, allocation: str = allocation) -> None:
                # On the ledger's thread, row by row: nobody else changes the totals meanwhile.
                self._totals.read_hours(allocation, ledger.hours(allocation))

            await self._committer.read(fold)

    async def _record(self, found: Judgement) -> None:
        """Make durable what a round found, and take it from there."""
        transitions, history = found.transitions, found.history
        count = max(len(transitions), len(history))
        for start in range(0, count, RECORDED_AT_ONCE):
            end = start + RECORDED_AT_ONCE
            rows, points = transitions[start:end], history[start:end]
            # With the last ones: until then the law of before is what the next start asks for.
            law = found.law if end >= count else None
            audit = () if law is None else (law_row(law, self._clock.wall_ns()),)
            await self._committer.alone(Batch(transitions=rows, history=points, audit=audit))
            self._judge.written(points)
            self._judge.remembered(law)
            if rows:
                # Read back: the ledger gave them their sequences.
                recorded = await self._committer.read(
                    lambda ledger: list(ledger.transitions(after=self._last_transition))
                )
                self._last_transition = recorded[-1].sequence
                self._judge.recorded(recorded)
        self._teller.wake()
        for number, row in enumerate(transitions, start=1):
            if number % SLICE == 0:
                await self._give_way()
            logger.warning(
                "a model changed its state against a threshold",
                extra=fields(
                    model=row.model, threshold=row.threshold, before=row.before, after=row.after
                ),
            )

    def _weigh_quarantine(self) -> None:
        """Say what the quarantined vectors would make, where they or a declaration changed."""
        quarantine = self._table.quarantine
        seen = (quarantine.change_count, self._last_declaration)
        if seen != self._quarantine_seen:
            self._quarantine_seen = seen
            self.quarantined_flop = self._totals.quarantined_flop(
                (row, self._table.record(row.key.record)) for row in quarantine.held()
            )

    async def _note_agreements(self, snapshot: TotalsSnapshot) -> None:
        """Log each run whose claims begin, or cease, to contradict the meter."""
        for number, run in enumerate(snapshot.runs, start=1):
            if number % MANY_RUNS == 0:
                await self._give_way()
            now = run.agreement
            if now is None:
                continue
            before = self._agreements.get(run.run, Agreement.UNMEASURED)
            self._agreements[run.run] = now
            if now is not before and (now.alerts or before.alerts):
                logger.log(
                    logging.WARNING if now.alerts else logging.INFO,
                    "claims of a run stand differently to its meter",
                    extra=fields(run=run.run, before=before, after=now),
                )

    def take(self, declarations: Sequence[Declaration]) -> None:
        """Take declarations that are new since the last round."""
        for declaration in declarations:
            if declaration.sequence > self._last_declaration:
                self._last_declaration = declaration.sequence
                self._newest_declared = declaration
            try:
                self._apply(declaration)
                if declaration.kind in REVALUING_KINDS:
                    self.corrected = True
                    self._revalued_at_ns = max(self._revalued_at_ns, declaration.declared_at_ns)
            except DataError as error:
                # The ledger keeps what people said; what cannot be understood moves no figure.
                self.refused_declarations += 1
                logger.error(
                    "a declaration was set aside",
                    extra=fields(sequence=declaration.sequence, reason=str(error)),
                )

    def _apply(self, declaration: Declaration) -> None:
        if self._judge.apply(declaration):
            self._teller.wake()
            return
        self.custody.apply(declaration)
        if declaration.kind in (HOLD_KIND, SEAL_KIND):
            return
        if declaration.kind in QUARANTINE_KINDS:
            take_word(declaration, self._table, restored=self.restored)
        else:
            self._totals.apply(declaration)
