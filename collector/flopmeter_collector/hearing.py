"""Hears a statement that may lower a legal total: takes it, or lets it wait for people.

Owns: the trial of each such statement on the book, and what is kept of one that waits.
May touch: the book it is given.
Called by book, for each kind in `HEARD_KINDS`.
Explained in docs/runs-and-models.md and docs/adr/0034-what-lowers-a-total.md.

A statement is taken, the work it is about is held against what it was before, and where that is
less the statement is taken back whole and waits. So what waits and what holds are decided by the
same code that makes the totals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flopmeter_collector.agreed import RATIO, ratios_of
from flopmeter_collector.approvals import PENDING, Lowering
from flopmeter_collector.declarations import (
    RUN_KIND,
    LabelFields,
    RunDeclaration,
    parse_run_declaration,
)
from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.model_statements import (
    EXTERNAL_KIND,
    PARENT_KIND,
    parse_external,
    parse_parent,
)
from flopmeter_collector.pieces import Change
from flopmeter_collector.spans import Span
from flopmeter_collector.statements import (
    ATTACH_KIND,
    MERGE_KIND,
    SPLIT_KIND,
    STANDS,
    Attachment,
    parse_attachment,
    parse_merging,
    parse_splitting,
)
from flopmeter_collector.trial import NOBODYS, Loss, Pair, loss_of, moved, of_run, worn
from flopmeter_collector.worth import Scales, Terms
from flopmeter_core.activities import WorkLabel
from flopmeter_core.allocations import run_allocations, user_of
from flopmeter_core.errors import DataError

if TYPE_CHECKING:
    from flopmeter_collector.book import Book

HEARD_KINDS = (RUN_KIND, ATTACH_KIND, MERGE_KIND, SPLIT_KIND, EXTERNAL_KIND, PARENT_KIND)
"""Kinds of statements that may lower a legal total."""


class Hearing:
    """Tries statements on a book. One that cannot be taken changes nothing."""

    def __init__(self, book: Book, scales: Scales) -> None:
        """Take the book.

        Args:
            book: what stands; its `waiting` gets what has to be done once people agree.
            scales: what laws count.
        """
        self._book = book
        self._scales = scales
        self._asked: dict[tuple[object, ...], int] = {}
        self._entered: dict[tuple[str, str], Declaration] = {}
        self._take: dict[str, Callable[[Declaration], Change]] = {
            RUN_KIND: self._run,
            ATTACH_KIND: self._attach,
            MERGE_KIND: self._merge,
            SPLIT_KIND: self._split,
            EXTERNAL_KIND: self._external,
            PARENT_KIND: self._parent,
        }

    def take(self, row: Declaration) -> Change:
        """Take a statement, or let it wait.

        Raises:
            DataError: it cannot be read, contradicts what stands, or waits already.
        """
        return self._take[row.kind](row)

    # --- what a run is ---------------------------------------------------------------------------

    def _run(self, row: Declaration) -> Change:
        """Take what a run is; what of it lowers a total waits, the rest does not."""
        book, run = self._book, row.subject
        declaration = parse_run_declaration(run, row.body)
        book.checked(declaration)
        spans = (*declaration.labels, *declaration.spans)
        place, subject = spans[0].text if spans else "", f"run {run}"
        fields = declaration.fields
        self._book.approvals.supersede(subject, place, fields)
        of = self._of_run(run)
        change, loss, _ = self._try_run(of, declaration)
        if not loss:
            return change
        waits: list[RunDeclaration] = []
        losses: list[Loss] = []
        book.declare(RunDeclaration(run))
        for part in declaration.apart():
            _, loss, _ = self._try_run(of, part)
            if loss:
                waits.append(part)
                losses.append(loss)
        held = RunDeclaration(run)
        for part in waits:
            held = held.overridden_by(part)
        self._wait(
            row,
            _together(losses),
            subject=subject,
            says="; ".join(_said(part) for part in waits),
            place=place,
            about=frozenset().union(*(part.fields for part in waits)),
            then=lambda: book.declare(held),
        )
        return change

    def _of_run(self, run: str) -> list[str]:
        """Names of whose work what is declared of a run may hold for, its parts' included."""
        parts = (run, *sorted(self._book.attribution.parts_of(run)))
        return list(dict.fromkeys(name for part in parts for name in self._passing(part)))

    def _passing(self, run: str) -> list[str]:
        """Names that stand for all work that passes a run.

        What comes from a run of which nothing is declared is worth what the run's own work is.
        """
        found = [run_allocations(run)[0]]
        for source in self._book.attribution.sources(run):
            if source != run and source in self._book.runs:
                found.append(run_allocations(source)[0])
        return found

    def _try_run(
        self, of: Sequence[str], declaration: RunDeclaration
    ) -> tuple[Change, Loss, list[Pair]]:
        held = self._book.runs.get(declaration.run)
        return self._try(
            of,
            lambda: self._book.declare(declaration),
            lambda: self._book.put_back(declaration.run, held),
        )

    # --- work that is brought elsewhere ----------------------------------------------------------

    def _attach(self, row: Declaration) -> Change:
        statement = parse_attachment(row.subject, row.body)
        book, pattern = self._book, statement.pattern
        standing = book.attribution
        if pattern is not None:
            rules = standing.rules

            def drop() -> None:
                standing.rules = rules

            return self._bring(row, (), lambda: book.attach(statement), drop, rule=statement)
        assert statement.allocation is not None
        user = user_of(statement.allocation)
        held = standing.by_hand.get(user, ())
        return self._bring(
            row, (user,), lambda: book.attach(statement), lambda: standing.put_back(user, held)
        )

    def _merge(self, row: Declaration) -> Change:
        statement, book = parse_merging(row.subject, row.body), self._book
        standing = book.attribution
        unmake = standing.unmerge if statement.stands else standing.merge
        of = self._passing(statement.run)
        return self._bring(
            row,
            of,
            lambda: book.merge(statement),
            lambda: unmake(statement.run, statement.into),
        )

    def _split(self, row: Declaration) -> Change:
        statement, book = parse_splitting(row.subject, row.body), self._book
        undone = replace(statement, stands=not statement.stands)
        of = self._passing(statement.run)
        return self._bring(row, of, lambda: book.split(statement), lambda: book.split(undone))

    def _bring(
        self,
        row: Declaration,
        of: Sequence[str],
        make: Callable[[], Change],
        undo: Callable[[], object],
        *,
        rule: Attachment | None = None,
    ) -> Change:
        """Take a statement that brings work elsewhere, or let it wait for people.

        Args:
            row: the statement.
            of: the allocations whose work it may bring elsewhere.
            make: takes it.
            undo: takes it back.
            rule: the rule it makes or takes back; what fits it is nobody's without it.

        Raises:
            DataError: as `make`.
        """
        self._check_new(row)
        book = self._book

        def pairs(*, stood: bool) -> list[Pair]:
            """What a rule brings to its run, or lets go."""
            if rule is None or rule.stands != stood:
                return []
            place = Span(rule.from_ns, rule.until_ns, None)
            work = of_run(book, rule.run, place)
            return [(NOBODYS, each) if rule.stands else (each, NOBODYS) for each in work]

        gone = pairs(stood=False)
        change, loss, found = self._try(of, make, undo, more=lambda: [*gone, *pairs(stood=True)])
        if not loss:
            self._ask_again(found)
            return change
        self._wait(
            row,
            loss,
            subject=f"run {_subject(loss)}",
            says=_moves(loss),
            place=_place(row),
            then=lambda: self._make(make, found),
        )
        return Change(named=loss.runs)

    def _make(self, make: Callable[[], Change], found: Iterable[Pair]) -> Change:
        change = make()
        self._ask_again(found)
        return change

    def _ask_again(self, pairs: Iterable[Pair]) -> None:
        """Whoever stood behind what waits of a run did so before this work came to it."""
        runs = {run for _, now in pairs for run in (now.run, now.declared_of)}
        for run in runs - {None}:
            self._book.approvals.ask_again(str(run))

    # --- what no agent saw, and where models came from -------------------------------------------

    def _external(self, row: Declaration) -> Change:
        """Take an external entry; taking one back lowers a total, and so may its label."""
        name, entry = parse_external(row.subject, row.body)
        book, model = self._book, row.subject
        subject = f"external {name} of model {model}"
        key = (model, name)
        if entry is None:
            held = book.models.externals.get(model, {}).get(name)
            self._check_new(row)
            book.models.apply(row)
            assert held is not None
            book.models.put_back(model, held)

            def then() -> Change:
                book.models.apply(row)
                book.external_labels.pop(key, None)
                self._entered.pop(key, None)
                book.approvals.supersede(subject, "", frozenset({"label", RATIO}))
                return Change(models=True)

            label = book.external_labels.get(key, WorkLabel())
            loss = Loss(self._scales.counted([Terms(label)]), (model,))
            self._wait(row, loss, subject=subject, says="taken back", then=then)
            return Change(models=True)
        book.models.apply(row)
        self._entered[key] = row
        label = entry.label.label
        less = self._scales.lowered([(Terms(), Terms(label))])

        def hold() -> Change:
            book.external_labels[key] = label
            return Change(models=True)

        if less:
            book.external_labels.pop(key, None)
            self._wait(
                row,
                Loss(less, (model,)),
                subject=subject,
                says=entry.label.text,
                about=frozenset({"label"}),
                then=hold,
            )
        else:
            hold()
        self._ask_of_ratio(key, label)
        return Change(models=True)

    def _ask_of_ratio(self, key: tuple[str, str], label: WorkLabel) -> None:
        """Let an entry wait for people where a ratio would fall by it; its total holds it now."""
        (model, name), row = key, self._entered[key]
        book = self._book
        models = ratios_of(book.models.lineage, model)
        if not models:
            return
        known = book.approvals.lowerings.get(row.sequence)
        if known is not None:
            book.approvals.widen(row.sequence, models)
            return
        self._wait(
            row,
            Loss(self._scales.counted([Terms(label)]), models),
            subject=f"external {name} of model {model}",
            says="in ratios of what was made from it",
            about=frozenset({RATIO}),
            then=lambda: Change(models=True),
        )

    def _ask_of_entries(self, parent: str) -> None:
        """Ask of every entry that a new ratio has below the line."""
        for model in self._book.models.lineage.ways(parent):
            for name, entry in self._book.models.externals_of(model).items():
                self._ask_of_ratio((model, name), entry.label.label)

    def _parent(self, row: Declaration) -> Change:
        """Take where a model came from; to take that back lowers its total."""
        statement = parse_parent(row.subject, row.body)
        book, model, parent = self._book, statement.model, statement.parent
        lineage = book.models.lineage
        before, edge = lineage.ways(model), lineage.parents(model).get(parent)
        self._check_new(row)
        book.models.apply(row)
        less = self._scales.lowered_ways(before, lineage.ways(model))
        if statement.stands and not less:
            self._ask_of_entries(parent)
        if less:
            assert edge is not None
            lineage.add(model, parent, edge)

            def then() -> Change:
                book.models.apply(row)
                if statement.stands:
                    self._ask_of_entries(parent)
                return Change(models=True)

            says = f"edge {statement.edge} in the place of {edge}"
            self._wait(
                row,
                Loss(less, (model,)),
                subject=f"parent {parent} of model {model}",
                says=says if statement.stands else "taken back",
                then=then,
            )
        return Change(models=True)

    # --- what all of them need -------------------------------------------------------------------

    def _try(
        self,
        of: Sequence[str],
        make: Callable[[], Change],
        undo: Callable[[], object],
        *,
        more: Callable[[], Iterable[Pair]] = tuple,
    ) -> tuple[Change, Loss, list[Pair]]:
        """Take a statement, and take it back where it lowers a total.

        Args:
            of: the allocations it may be about.
            make: takes it.
            undo: takes it back.
            more: work it is about that no name stands for, as of after it.
        """
        before = worn(self._book, of)
        change = make()
        found = [*moved(before, worn(self._book, of)), *more()]
        loss = loss_of(self._book, found, self._scales)
        if loss:
            undo()
            self._book.forget_layers()
        return change, loss, found

    def _wait(
        self,
        row: Declaration,
        loss: Loss,
        *,
        subject: str,
        says: str,
        place: str = "",
        about: frozenset[str] = frozenset(),
        then: Callable[[], Change],
    ) -> None:
        self._book.approvals.wait(
            Lowering(
                sequence=row.sequence,
                declared_at_ns=row.declared_at_ns,
                kind=row.kind,
                subject=subject,
                label=says,
                place=place,
                author=row.author,
                reason=row.body.get("reason", ""),
                profiles=loss.profiles,
                models=loss.models,
                runs=loss.runs,
                about=about,
            )
        )
        self._book.waiting[row.sequence] = then
        self._asked[_said_by(row)] = row.sequence

    def _check_new(self, row: Declaration) -> None:
        """Refuse to let the same statement wait twice, whoever says it and why."""
        number = self._asked.get(_said_by(row))
        if number is not None and self._book.approvals.lowerings[number].state == PENDING:
            raise DataError(
                f"declaration {number} says the same and waits already; see "
                "`flopmeter approve list`"
            )


def _said_by(row: Declaration) -> tuple[object, ...]:
    """What a statement says, without who says it and why."""
    body = {name: text for name, text in row.body.items() if name != "reason"}
    return row.kind, row.subject, *sorted(body.items())


def _together(losses: Sequence[Loss]) -> Loss:
    return Loss(
        tuple(sorted({name for each in losses for name in each.profiles})),
        tuple(sorted({name for each in losses for name in each.models})),
        frozenset().union(*(each.runs for each in losses)),
    )


def _said(part: RunDeclaration) -> str:
    """One part of what is declared of a run, as people read it."""
    label = part.labels[0].fields if part.labels else part.whole_label
    mix = part.spans[0].formats if part.spans else part.formats
    told = (
        label.text,
        f"model {part.model}" if part.model is not None else "",
        f"format {mix.text}" if mix is not None else "",
        f"workload {part.workload}" if part.workload is not None else "",
        f"recompute {part.recompute.text}" if part.recompute is not None else "",
    )
    return ", ".join(each for each in told if each)


def _subject(loss: Loss) -> str:
    """The run that a loss is told of: whose label lowers, else the one that work leaves."""
    was, now = loss.first
    return str(now.run if loss.lighter else was.run)


def _moves(loss: Loss) -> str:
    """What becomes of work that is brought elsewhere, as people read it."""
    was, now = loss.first
    told = []
    if was.model is not None and now.model != was.model:
        where = "of no run" if now.model is None else f"in model {now.model}"
        told.append(f"work of model {was.model} is {where}")
    if loss.lighter:
        label, terms = now.terms.label, now.terms
        fields = LabelFields(label.activity, label.disposition, label.visibility)
        mix = f", format {terms.formats}" if was.terms.formats != terms.formats else ""
        told.append(f"{fields.text}{mix}, of more work")
    return "; ".join(told)


def _place(row: Declaration) -> str:
    said = {name: text for name, text in row.body.items() if name not in ("state", "reason")}
    verb = row.kind if row.body.get("state", STANDS) == STANDS else f"undone {row.kind}"
    place = ", ".join(f"{name} {text}" for name, text in sorted(said.items()))
    return f"{verb} of run {row.subject}: {place}"
