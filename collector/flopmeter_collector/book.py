"""The book: what stands after everything that people declared of runs, so far.

Owns: the order in which declarations of every kind of statement about runs are taken, and what
each of them changes.
May touch: nothing; pure functions of ledger rows.
Called by totals (which weighs work by it) and by the lab (which tries a statement on it before it
is written, because a ledger is append-only).
Explained in docs/runs-and-models.md and docs/adr/0021-attribution.md.

The same rows in the same order make the same book, whatever was metered when.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from flopmeter_collector.approvals import (
    APPROVAL_KIND,
    APPROVED,
    ROLE_KIND,
    Approvals,
    Lowering,
    Weights,
    lowered,
)
from flopmeter_collector.attribution import Attribution, Rule, RunSpan
from flopmeter_collector.declarations import (
    RUN_KIND,
    LabelFields,
    RunDeclaration,
    parse_run_declaration,
)
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.model_book import ModelBook
from flopmeter_collector.model_statements import EXTERNAL_KIND, MODEL_KINDS, parse_external
from flopmeter_collector.pieces import NOBODYS, Piece, Worn, moved_between
from flopmeter_collector.rulings import RULING_KINDS, RulingBook
from flopmeter_collector.spans import Segment, Span, joined, overlay, segments_of
from flopmeter_collector.statements import (
    ATTACH_KIND,
    MERGE_KIND,
    RENAME_KIND,
    SPLIT_KIND,
    STANDS,
    Attachment,
    Merging,
    Splitting,
    parse_attachment,
    parse_merging,
    parse_renaming,
    parse_splitting,
)
from flopmeter_core.activities import UNLABELLED, WorkLabel
from flopmeter_core.allocations import run_allocations, user_of
from flopmeter_core.errors import DataError

OTHER_KINDS = frozenset({"filing", "review"})
"""Kinds that move no total: what people filed or determined about one."""

ALERT_PREFIX = "alert-"
"""Kinds about alerts begin with it; they move no total either."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a statement may have changed.

    Attributes:
        runs: every allocation whose work passes one of these.
        named: a run that is to be shown from now on, and anew; none of its work changed.
        allocation: this one.
        pattern: every one that fits it.
        models: whether anything was said of a model.
    """

    runs: frozenset[str] = frozenset()
    named: str | None = None
    allocation: str | None = None
    pattern: str | None = None
    models: bool = False


class Book:
    """What stands. Every statement is checked whole before it changes anything."""

    def __init__(self, weights: Weights | None = None) -> None:
        """Start with nothing declared.

        Args:
            weights: what the counting profiles of the law in use leave out; those that flopmeter
                ships when None.
        """
        self._weights = weights
        self.attribution = Attribution()
        self._begin()

    def _begin(self) -> None:
        """Nothing stands; whoever holds the attribution holds the same one as before."""
        self.rulings = RulingBook()
        self.attribution.reset()
        self.runs: dict[str, RunDeclaration] = {}
        self.models = ModelBook()
        self.approvals = Approvals()
        self.external_labels: dict[tuple[str, str], WorkLabel] = {}
        self._waiting: dict[int, Callable[[], Change]] = {}
        self._layered: dict[tuple[str, ...], RunDeclaration] = {}
        self._take: dict[str, Callable[[Declaration], Change]] = {
            RUN_KIND: self._run,
            ATTACH_KIND: self._attach,
            MERGE_KIND: self._merge,
            SPLIT_KIND: self._split,
            RENAME_KIND: self._rename,
            ROLE_KIND: self._role,
            APPROVAL_KIND: self._approval,
            **dict.fromkeys(MODEL_KINDS, self._model),
            **dict.fromkeys(RULING_KINDS, self._ruling),
        }

    def retake(self, rows: Sequence[Declaration], weights: Weights) -> bool:
        """Take every statement again, as if these weights had held from the beginning.

        Args:
            rows: all that were applied, in the order of the ledger.
            weights: as of the beginning.

        Returns:
            Whether any statement holds or waits now that did not before; if not, nothing changed.
        """
        tried = book_of(rows, weights)
        same = tried.approvals.lowerings == self.approvals.lowerings
        self._weights = weights
        if same:
            return False
        self._begin()
        for row in rows:
            with contextlib.suppress(DataError):
                self.apply(row)
        return True

    def apply(self, row: Declaration) -> Change:
        """Take the next declaration.

        Raises:
            DataError: a kind nobody knows, a body that cannot be read, or what contradicts what
                stands; nothing is changed.
        """
        take = self._take.get(row.kind)
        if row.kind in OTHER_KINDS or row.kind.startswith(ALERT_PREFIX):
            return Change()
        if take is None:
            raise DataError(
                f"declaration {row.sequence} has the unknown kind {row.kind!r}; "
                f"this version knows {', '.join(sorted(self._take))}, so update flopmeter or "
                "correct the kind"
            )
        return take(row)

    def _run(self, row: Declaration) -> Change:
        """Take what a run is; a label that lowers a total waits for people, the rest does not."""
        declaration = parse_run_declaration(row.subject, row.body)
        if not declaration.labelled:
            return self.declare(declaration)
        profiles = self._lowered(self._relabelled(declaration))
        change = self.declare(declaration.without_label() if profiles else declaration)
        label = declaration.only_label()
        spans = label.labels
        place = spans[0].text if spans else ""
        self.approvals.supersede(f"run {row.subject}", place)
        if not profiles:
            return change
        text = (spans[0].fields if spans else label.whole_label).text
        self._wait(row, f"run {row.subject}", text, place, profiles)
        self._waiting[row.sequence] = lambda: self.declare(label)
        return change

    def _relabelled(self, later: RunDeclaration) -> Iterator[tuple[WorkLabel, WorkLabel]]:
        """Old and new label of each part of a run's work.

        Raises:
            DataError: a span that overlaps another one.
        """
        before = self.own_declaration(later.run)
        after = (self.runs.get(later.run) or RunDeclaration(later.run)).overridden_by(later)
        origin = self.attribution.split_from(later.run)
        if origin is not None:
            after = after.within(self.own_declaration(origin))
        phases = {span.phase for span in (*before.labels, *after.labels) if span.phase is not None}
        for phase in (*phases, max(phases, default=-1) + 1):
            segments = overlay(before.label_segments(phase), after.label_segments(phase))
            yield from (segment.content for segment in segments)

    def _lowered(self, pairs: Iterable[tuple[WorkLabel, WorkLabel]]) -> tuple[str, ...]:
        return lowered(pairs, self._weights)

    def _wait(
        self,
        row: Declaration,
        subject: str,
        label: str,
        place: str,
        profiles: tuple[str, ...],
        *,
        moved: bool = False,
    ) -> None:
        self.approvals.wait(
            Lowering(
                sequence=row.sequence,
                declared_at_ns=row.declared_at_ns,
                subject=subject,
                label=label,
                place=place,
                author=row.author,
                reason=row.body.get("reason", ""),
                profiles=profiles,
                moved=moved,
            )
        )

    # --- work that is brought elsewhere ----------------------------------------------------------

    def _attach(self, row: Declaration) -> Change:
        statement = parse_attachment(row.subject, row.body)
        books, pattern = self.attribution, statement.pattern
        if pattern is None:
            assert statement.allocation is not None
            user = user_of(statement.allocation)
            held = books.by_hand.get(user, ())
            return self._bring(
                row, (user,), lambda: self.attach(statement), lambda: books.put_back(user, held)
            )
        if not statement.stands:
            return self.attach(statement)  # nobody's work has no label: that lowers nothing

        def undo() -> None:
            books.rules = books.rules[:-1]

        return self._bring(row, (), lambda: self.attach(statement), undo, ruled=statement)

    def _merge(self, row: Declaration) -> Change:
        statement = parse_merging(row.subject, row.body)
        undone = replace(statement, stands=not statement.stands)
        of = self._of(statement.run)
        return self._bring(row, of, lambda: self.merge(statement), lambda: self._unmerge(undone))

    def _unmerge(self, statement: Merging) -> None:
        books = self.attribution
        (books.merge if statement.stands else books.unmerge)(statement.run, statement.into)

    def _split(self, row: Declaration) -> Change:
        statement = parse_splitting(row.subject, row.body)
        undone = replace(statement, stands=not statement.stands)
        of = self._of(statement.run)
        return self._bring(row, of, lambda: self.split(statement), lambda: self.split(undone))

    def _bring(
        self,
        row: Declaration,
        of: Iterable[str],
        make: Callable[[], Change],
        undo: Callable[[], object],
        *,
        ruled: Attachment | None = None,
    ) -> Change:
        """Take a statement that brings work elsewhere, or let it wait for people.

        Args:
            row: the statement.
            of: the allocations whose work it may bring elsewhere.
            make: takes it.
            undo: takes it back.
            ruled: the rule, where it brings nobody's work to a run.

        Raises:
            DataError: as `make`.
        """
        before = self._worn(of)
        change = make()
        moved = [*moved_between(before, self._worn(of))]
        if ruled is not None:
            after = self._worn(run_allocations(ruled.run)[:1])
            moved = [
                (NOBODYS, segment.content)
                for phases in after.values()
                for segments in phases.values()
                for segment in segments
                if segment.meets(ruled.from_ns, ruled.until_ns)
            ]
        profiles = self._lowered((old.label, new.label) for old, new in moved)
        if not profiles:
            self._ask_again(moved)
            return change
        undo()
        self._layered.clear()
        piece = next(new for old, new in moved if self._lowered([(old.label, new.label)]))
        said = {name: text for name, text in row.body.items() if name not in ("state", "reason")}
        place = ", ".join(f"{name} {text}" for name, text in sorted(said.items()))
        verb = row.kind if row.body.get("state", STANDS) == STANDS else f"undone {row.kind}"
        worn = piece.label
        text = LabelFields(worn.activity, worn.disposition, worn.visibility).text
        self._wait(
            row, f"run {piece.run}", f"{text}, of more work",
            f"{verb} of run {row.subject}: {place}", profiles, moved=True,
        )  # fmt: skip

        def take() -> Change:
            change = make()
            self._ask_again(moved)
            return change

        self._waiting[row.sequence] = take
        return Change(frozenset({str(piece.run)}))

    def _ask_again(self, moved: Iterable[tuple[Piece, Piece]]) -> None:
        """Whoever stood behind a waiting label did so before this work came under it."""
        runs = {new.run for _, new in moved} | {
            new.declared.run for _, new in moved if new.declared is not None
        }
        for run in runs - {None}:
            self.approvals.ask_again(str(run))

    def _of(self, run: str) -> list[str]:
        """Names of whose work passes a run."""
        return [run_allocations(each)[0] for each in self.attribution.sources(run)]

    def _worn(self, allocations: Iterable[str]) -> Worn:
        """What holds for some work, by phase; -1 stands for every phase that nobody named."""
        found: Worn = {}
        for name in allocations:
            phases = {-1}
            for run in self.attribution.visited(name)[0]:
                spans: list[Span] = [*self.attribution.splits.get(run, ())]
                spans += self.runs[run].labels if run in self.runs else ()
                phases |= {span.phase for span in spans if span.phase is not None}
            found[name] = {phase: self.pieces(name, phase) for phase in phases}
        return found

    def _role(self, row: Declaration) -> Change:
        self.approvals.take_role(row)
        return Change()

    def _approval(self, row: Declaration) -> Change:
        """Take a person's word on a waiting label; with enough of them it holds from now on."""
        decided = self.approvals.decide(row)
        change = Change()
        if decided.state == APPROVED:
            change = self._waiting[decided.sequence]()
        self.approvals.settle(decided)
        of, _, run = decided.subject.partition(" ")
        runs = change.runs | ({run} if of == "run" else set())
        return replace(change, runs=runs, models=change.models or of != "run")

    def _model(self, row: Declaration) -> Change:
        """Take a statement about a model."""
        self.models.apply(row)
        if row.kind == EXTERNAL_KIND:
            name, entry = parse_external(row.subject, row.body)
            of = f"external {name} of model {row.subject}"
            self.external_labels.pop((row.subject, name), None)
            self.approvals.supersede(of, "")
            if entry is not None:
                label = entry.label.label
                profiles = self._lowered([(UNLABELLED, label)])
                if profiles:
                    self._wait(row, of, entry.label.text, "", profiles)
                    self._waiting[row.sequence] = lambda: self._external(row.subject, name, label)
                else:
                    self._external(row.subject, name, label)
        return Change(models=True)

    def _ruling(self, row: Declaration) -> Change:
        """Take what somebody ruled of a model; what lowers a total waits for people."""
        waiting = self.rulings.apply(row, self.approvals)
        if waiting is not None:
            self._waiting[row.sequence] = lambda: self._ruled(waiting)
        return Change(models=True)

    def _ruled(self, take: Callable[[], None]) -> Change:
        take()
        return Change(models=True)

    def _external(self, model: str, name: str, label: WorkLabel) -> Change:
        self.external_labels[model, name] = label
        return Change(models=True)

    def declare(self, declaration: RunDeclaration) -> Change:
        """Take what a run is, its label included, whatever it lowers.

        Raises:
            DataError: a span that overlaps another one, or the model of a run that is merged.
        """
        run = declaration.run
        into = self.attribution.merged.get(run)
        if declaration.model is not None and into is not None:
            raise DataError(
                f"run {run!r} is a part of run {into!r} by a merge; declare the model of that one"
            )
        held = self.runs.get(run, RunDeclaration(run))
        self.runs[run] = held.overridden_by(declaration)
        self._layered.clear()
        return Change(frozenset({run, *self.attribution.parts_of(run)}))

    def attach(self, statement: Attachment) -> Change:
        """Take whose an allocation is, or no longer is; DataError as the attribution's."""
        books, run = self.attribution, statement.run
        if statement.pattern is not None:
            rule = Rule(statement.from_ns, statement.until_ns, None, run, statement.pattern)
            (books.add_rule if statement.stands else books.remove_rule)(rule)
            return Change(named=run, pattern=statement.pattern)
        assert statement.allocation is not None
        span = RunSpan(statement.from_ns, statement.until_ns, None, run)
        (books.attach if statement.stands else books.detach)(statement.allocation, span)
        return Change(named=run, allocation=statement.allocation)

    def merge(self, statement: Merging) -> Change:
        """Take that a run is a part of another one, or no longer is.

        Raises:
            DataError: as the attribution's; or both were declared, and not of one model and label.
        """
        run, into = statement.run, statement.into
        if statement.stands:
            models = {self.declared_model(each) for each in (run, into)} - {None}
            if len(models) > 1:
                raise DataError(
                    f"run {run!r} is declared of model {self.declared_model(run)!r} and run "
                    f"{into!r} of model {self.declared_model(into)!r}; declare one model of both "
                    "first"
                )
            own = [self.own_declaration(each) for each in (run, into)]
            if (own[0].whole_label, own[0].labels) != (own[1].whole_label, own[1].labels):
                raise DataError(
                    f"run {run!r} and run {into!r} are labelled otherwise, and a merge changes no "
                    "label; label them alike first"
                )
            self.attribution.merge(run, into)
        else:
            self.attribution.unmerge(run, into)
        self._layered.clear()
        return Change(frozenset({run, into}))

    def split(self, statement: Splitting) -> Change:
        """Take that a part of a run is a run of its own, or no longer is.

        Raises:
            DataError: as the attribution's, or the other run has work of its own.
        """
        run, part = statement.run, statement.into
        span = RunSpan(*statement.span.place, part)
        (self.attribution.split if statement.stands else self.attribution.unsplit)(run, span)
        self._layered.clear()
        return Change(frozenset({run, part}))

    def _rename(self, row: Declaration) -> Change:
        run, name = parse_renaming(row.subject, row.body)
        self.attribution.names[run] = name
        return Change(named=run)

    # --- what follows ----------------------------------------------------------------------------

    def own_declaration(self, run: str) -> RunDeclaration:
        """What holds for a run: its own word, then that of the run it was split off."""
        origin = self.attribution.split_from(run)
        return self._within((run,) if origin is None else (run, *self._origins(origin)))

    def declared_model(self, run: str) -> str | None:
        """The model that was declared of a run, or of the one it was split off."""
        return self.own_declaration(run).model

    @property
    def known_runs(self) -> frozenset[str]:
        """Every run that anything that stands names."""
        standing = self.attribution
        return frozenset(
            {
                *self.runs,
                *standing.merged,
                *standing.merged.values(),
                *standing.names,
                *(rule.run for rule in standing.rules if rule.run is not None),
                *_runs_of(standing.by_hand.values()),
                *_runs_of(standing.splits.values()),
            }
        )

    @property
    def known_models(self) -> frozenset[str]:
        """Every model that anything that stands names."""
        declared = {each.model for each in self.runs.values() if each.model is not None}
        return self.models.models | declared

    def knows(self, run: str) -> bool:
        """Whether anything that stands names a run."""
        standing = self.attribution
        return (
            run in self.runs
            or run in standing.merged
            or run in standing.merged.values()
            or run in standing.names
            or run in standing.splits
            or standing.split_from(run) is not None
            or any(rule.run == run for rule in standing.rules)
            or run in _runs_of(standing.by_hand.values())
        )

    def pieces(self, allocation: str, phase: int) -> tuple[Segment[Piece], ...]:
        """What holds for the work of an allocation's phase, over all time."""
        found: list[Segment[Piece]] = []
        for use in self.attribution.segments(allocation, phase):
            if use.content.run is None:
                found.append(Segment(use.from_ns, use.until_ns, NOBODYS))
                continue
            declared = self._within(use.content.path)
            if not declared.spans and not declared.labels:
                whole = Piece(use.content.run, declared, None, declared.whole_label.label)
                found.append(Segment(use.from_ns, use.until_ns, whole))
                continue
            cut = overlay(segments_of(declared.spans, phase), declared.label_segments(phase))
            found += [
                Segment(
                    piece.from_ns,
                    piece.until_ns,
                    Piece(use.content.run, declared, piece.content[1][0], piece.content[1][1]),
                )
                for piece in overlay([use], cut)
            ]
        return joined(found)

    def _origins(self, run: str) -> tuple[str, ...]:
        origin = self.attribution.split_from(run)
        return (run,) if origin is None else (run, *self._origins(origin))

    def _within(self, path: tuple[str, ...]) -> RunDeclaration:
        """What holds for work on a path of runs, the most particular first."""
        if len(path) == 1:
            return self.runs.get(path[0]) or RunDeclaration(path[0])
        layered = self._layered.get(path)
        if layered is None:
            own = self.runs.get(path[0]) or RunDeclaration(path[0])
            layered = self._layered[path] = own.within(self._within(path[1:]))
        return layered


def _runs_of(spans: Iterable[Iterable[RunSpan]]) -> frozenset[str]:
    return frozenset(span.run for each in spans for span in each if span.run is not None)


def book_of(rows: Iterable[Declaration], weights: Weights | None = None) -> Book:
    """What stands after these rows; one that cannot be taken changes nothing, as in a collector.

    Args:
        rows: in the order of the ledger.
        weights: as of `Book`.
    """
    book = Book(weights)
    for row in rows:
        try:
            book.apply(row)
        except DataError:
            continue
    return book
