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
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from flopmeter_collector.approvals import APPROVAL_KIND, APPROVED, ROLE_KIND, Approvals
from flopmeter_collector.attribution import Attribution, Rule, RunSpan
from flopmeter_collector.declarations import RunDeclaration
from flopmeter_collector.hearing import HEARD_KINDS, Hearing
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.model_book import ModelBook
from flopmeter_collector.model_statements import MODEL_KINDS
from flopmeter_collector.pieces import NOBODYS, Change, Piece
from flopmeter_collector.rulings import RULING_KINDS, RulingBook
from flopmeter_collector.spans import Segment, joined, overlay, segments_of
from flopmeter_collector.statements import (
    RENAME_KIND,
    Attachment,
    Merging,
    Splitting,
    parse_renaming,
)
from flopmeter_collector.worth import Profiles, Scales
from flopmeter_core.activities import WorkLabel
from flopmeter_core.errors import DataError

OTHER_KINDS = frozenset({"filing", "review"})
"""Kinds that move no total: what people filed or determined about one."""

ALERT_PREFIX = "alert-"
"""Kinds about alerts begin with it; they move no total either."""


class Book:
    """What stands. Every statement is checked whole before it changes anything."""

    def __init__(self, profiles: Profiles | None = None) -> None:
        """Start with nothing declared.

        Args:
            profiles: the counting profiles of the law in use, by id, which say whether a statement
                lowers a legal total; those that flopmeter ships when None.
        """
        self._profiles = profiles
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
        self.waiting: dict[int, Callable[[], Change]] = {}
        self._model_counts: Counter[str] = Counter()
        self._layered: dict[tuple[str, ...], RunDeclaration] = {}
        hearing = Hearing(self, Scales(self._profiles))
        self._take: dict[str, Callable[[Declaration], Change]] = {
            RENAME_KIND: self._rename,
            ROLE_KIND: self._role,
            APPROVAL_KIND: self._approval,
            **dict.fromkeys(MODEL_KINDS, self._model),
            **dict.fromkeys(HEARD_KINDS, hearing.take),
            **dict.fromkeys(RULING_KINDS, self._ruling),
        }

    def retake(self, rows: Sequence[Declaration], profiles: Profiles) -> bool:
        """Take every statement again, as if these profiles had held from the beginning.

        Args:
            rows: all that were applied, in the order of the ledger.
            profiles: as of the beginning.

        Returns:
            Whether any statement holds or waits now that did not before; if not, nothing changed.
        """
        tried = book_of(rows, profiles)
        same = tried.approvals.lowerings == self.approvals.lowerings
        self._profiles = profiles
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

    def _role(self, row: Declaration) -> Change:
        self.approvals.take_role(row)
        return Change()

    def _approval(self, row: Declaration) -> Change:
        """Take a person's word on what waits; with enough of them it holds from now on."""
        decided = self.approvals.decide(row)
        change = Change()
        if decided.state == APPROVED:
            change = self.waiting[decided.sequence]()
        self.approvals.settle(decided)
        return replace(change, named=change.named | decided.runs, models=True)

    def _model(self, row: Declaration) -> Change:
        """Take a statement about a model that lowers nothing."""
        self.models.apply(row)
        return Change(models=True)

    def _ruling(self, row: Declaration) -> Change:
        """Take what somebody ruled of a model; what lowers a total waits for people."""
        waiting = self.rulings.apply(row, self.approvals)
        if waiting is not None:
            self.waiting[row.sequence] = lambda: self._ruled(waiting)
        return Change(models=True)

    @staticmethod
    def _ruled(take: Callable[[], None]) -> Change:
        take()
        return Change(models=True)

    def declare(self, declaration: RunDeclaration) -> Change:
        """Take what a run is, its label included, whatever it lowers.

        Raises:
            DataError: a span that overlaps another one, or the model of a run that is merged.
        """
        self.put_back(declaration.run, self.checked(declaration))
        return Change(frozenset({declaration.run, *self.attribution.parts_of(declaration.run)}))

    def checked(self, declaration: RunDeclaration) -> RunDeclaration:
        """What would be declared of a run; nothing is changed.

        Raises:
            DataError: as `declare`.
        """
        run = declaration.run
        into = self.attribution.merged.get(run)
        if declaration.model is not None and into is not None:
            raise DataError(
                f"run {run!r} is a part of run {into!r} by a merge; declare the model of that one"
            )
        return self.runs.get(run, RunDeclaration(run)).overridden_by(declaration)

    def put_back(self, run: str, declared: RunDeclaration | None) -> None:
        """Have this be what was declared of a run; nothing at all where None."""
        for each, step in ((self.runs.get(run), -1), (declared, 1)):
            if each is not None and each.model is not None:
                self._model_counts[each.model] += step
        if declared is None:
            del self.runs[run]
        else:
            self.runs[run] = declared
        self.forget_layers()

    def forget_layers(self) -> None:
        """What holds for work on a path of runs has to be looked up anew."""
        self._layered.clear()

    def attach(self, statement: Attachment) -> Change:
        """Take whose an allocation is, or no longer is; DataError as the attribution's."""
        books, run = self.attribution, statement.run
        if statement.pattern is not None:
            rule = Rule(statement.from_ns, statement.until_ns, None, run, statement.pattern)
            (books.add_rule if statement.stands else books.remove_rule)(rule)
            return Change(named=frozenset({run}), pattern=statement.pattern)
        assert statement.allocation is not None
        span = RunSpan(statement.from_ns, statement.until_ns, None, run)
        (books.attach if statement.stands else books.detach)(statement.allocation, span)
        return Change(named=frozenset({run}), allocation=statement.allocation)

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
        self.forget_layers()
        return Change(frozenset({run, *self.attribution.onward(into)}))

    def split(self, statement: Splitting) -> Change:
        """Take that a part of a run is a run of its own, or no longer is.

        Raises:
            DataError: as the attribution's, or the other run has work of its own.
        """
        run, part = statement.run, statement.into
        span = RunSpan(*statement.span.place, part)
        (self.attribution.split if statement.stands else self.attribution.unsplit)(run, span)
        self.forget_layers()
        # What was split off the part before has another run to be called after, too.
        return Change(frozenset({run, *self.attribution.onward(part)}))

    def _rename(self, row: Declaration) -> Change:
        run, name = parse_renaming(row.subject, row.body)
        self.attribution.names[run] = name
        return Change(named=frozenset({run}))

    # --- what follows ----------------------------------------------------------------------------

    def own_declaration(self, run: str) -> RunDeclaration:
        """What holds for a run: its own word, then that of the run it was split off."""
        origin = self.attribution.split_from(run)
        return self._within((run,) if origin is None else (run, *self._origins(origin)))

    def declared_model(self, run: str) -> str | None:
        """The model that was declared of a run, or of the one it was split off."""
        return self.own_declaration(run).model

    def model_of(self, run: str) -> str:
        """The model that a run's work counts in.

        The declared one; else the model of one that is named like the run, or like the run that
        it was split off: a part leaves no model by being told apart.
        """
        declared = self.declared_model(run)
        return self._origins(run)[-1] if declared is None else declared

    def is_of_one(self, model: str) -> bool:
        """Whether a model is no more than a run that nobody declared a model of."""
        return self._model_counts[model] < 1 and not self.models.holds(model)

    def is_vacated(self, model: str) -> bool:
        """Whether neither the run of a model of one nor a part of that run is in it any more."""
        return all(
            run in self.attribution.merged or self.model_of(run) != model
            for run in (model, *self.attribution.parts_of(model))
        )

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

    def cuts_ns(self, allocation: str, phase: int) -> tuple[int, ...]:
        """The Unix times in ns at which what holds for an allocation's phase changes."""
        return tuple(
            piece.from_ns for piece in self.pieces(allocation, phase) if piece.from_ns is not None
        )

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


def book_of(rows: Iterable[Declaration], profiles: Profiles | None = None) -> Book:
    """What stands after these rows; one that cannot be taken changes nothing, as in a collector.

    Args:
        rows: in the order of the ledger.
        profiles: as of `Book`.
    """
    book = Book(profiles)
    for row in rows:
        try:
            book.apply(row)
        except DataError:
            continue
    return book
