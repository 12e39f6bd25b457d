"""Work before and after a statement, and which legal totals the difference lowers.

Owns: what is compared of a piece of work, and the rule of what its model or a law loses.
May touch: nothing; reads the book it is given.
Called by hearing, which takes a statement on trial and takes it back where it lowers a total.
Explained in docs/runs-and-models.md and docs/adr/0034-what-lowers-a-total.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flopmeter_collector.pieces import Piece
from flopmeter_collector.spans import Segment, Span, overlay
from flopmeter_collector.worth import UNSPOKEN, Scales, Terms
from flopmeter_core.activities import UNLABELLED
from flopmeter_core.allocations import run_allocations

if TYPE_CHECKING:
    from flopmeter_collector.book import Book


@dataclass(frozen=True, slots=True)
class Worth:
    """What a piece of work counts, and for whom.

    Attributes:
        run: the run whose total holds it; None for the unattributed remainder.
        declared_of: the run whose word holds first.
        model: the model whose total holds it.
        of_one: whether that model is no more than a run nobody declared a model of.
        terms: what is said of it.
    """

    run: str | None = None
    declared_of: str | None = None
    model: str | None = None
    of_one: bool = False
    terms: Terms = UNSPOKEN


NOBODYS = Worth()

Pair = tuple[Worth, Worth]
"""A piece of work before and after a statement."""

Worn = dict[str, dict[int, list[Segment[Worth]]]]
"""What an allocation's work is worth, by phase; -1 stands for every phase that nobody named."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a statement would lower; false where that is nothing.

    Attributes:
        profiles: the counting profiles that count less.
        models: the models whose totals are less.
        runs: the runs that the work leaves, and those it comes to.
        first: the first piece of work that counts less.
        lighter: whether that piece counts less where it is now, and not only elsewhere.
    """

    profiles: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    runs: frozenset[str] = frozenset()
    first: Pair = (NOBODYS, NOBODYS)
    lighter: bool = False

    def __bool__(self) -> bool:
        """Whether anything is less."""
        return bool(self.profiles)


def worn(book: Book, allocations: Iterable[str]) -> Worn:
    """What some work is worth as things stand."""
    found: Worn = {}
    for name in allocations:
        phases = {-1}
        for run in book.attribution.visited(name)[0]:
            spans: list[Span] = [*book.attribution.splits.get(run, ())]
            if run in book.runs:
                spans += (*book.runs[run].labels, *book.runs[run].spans)
            phases |= {span.phase for span in spans if span.phase is not None}
        found[name] = {
            phase: [
                Segment(each.from_ns, each.until_ns, _worth(book, each.content))
                for each in book.pieces(name, phase)
            ]
            for phase in phases
        }
    return found


def _worth(book: Book, piece: Piece) -> Worth:
    declared = piece.declared
    if piece.run is None or declared is None:
        return NOBODYS
    mix = declared.formats if piece.span is None else piece.span.formats
    model = book.model_of(piece.run)
    terms = Terms(
        piece.label,
        mix.text if mix is not None else None,
        declared.workload,
        declared.recompute.text if declared.recompute is not None else None,
    )
    return Worth(piece.run, declared.run, model, book.is_of_one(model), terms)


def moved(before: Worn, after: Worn) -> Iterator[Pair]:
    """Old and new of what is of another run or model, or has other terms, than before."""
    for name, phases in after.items():
        old = before[name]
        for phase in sorted({*phases, *old}):
            for segment in overlay(old.get(phase, old[-1]), phases.get(phase, phases[-1])):
                was, now = segment.content
                if (was.run, was.model, was.terms) != (now.run, now.model, now.terms):
                    yield was, now


def of_run(book: Book, run: str, place: Span) -> list[Worth]:
    """What the work of a run is worth in a part of the time."""
    return [
        segment.content
        for segments in worn(book, run_allocations(run)[:1])[run_allocations(run)[0]].values()
        for segment in segments
        if segment.meets(place.from_ns, place.until_ns)
    ]


def loss_of(book: Book, pairs: Iterable[Pair], scales: Scales) -> Loss:
    """What is less after a statement than before it.

    Work that leaves a model lowers that model's total under every profile that counted it. Only
    a model that was no more than a run's own name, and that all of the work leaves for another
    model, is not missed: that one's total holds everything.

    Args:
        book: as it stands after the statement.
        pairs: the work that is otherwise than before.
        scales: what laws count.
    """
    profiles: set[str] = set()
    models: set[str] = set()
    runs: set[str] = set()
    first: Pair | None = None
    told_of_lighter = False
    for was, now in pairs:
        left, lighter = _left(book, was, now, scales), _lighter(was, now, scales)
        if not left and not lighter:
            continue
        profiles |= {*left, *lighter}
        models |= {str(was.model)} if left else set()
        models |= {str(now.model)} if lighter else set()
        runs |= {each for each in (was.run, now.run, now.declared_of) if each is not None}
        if first is None or (lighter and not told_of_lighter):
            first, told_of_lighter = (was, now), bool(lighter)
    if first is None:
        return Loss()
    return Loss(
        tuple(sorted(profiles)), tuple(sorted(models)), frozenset(runs), first, told_of_lighter
    )


def _left(book: Book, was: Worth, now: Worth, scales: Scales) -> tuple[str, ...]:
    """The profiles under which the model that work leaves counts less."""
    if was.model is None or now.model == was.model:
        return ()
    if was.of_one and now.model is not None and book.is_vacated(was.model):
        return ()
    return scales.counted([was.terms])


def _lighter(was: Worth, now: Worth, scales: Scales) -> tuple[str, ...]:
    """The profiles that count less of work where it is now.

    Nobody's work counts as unlabelled: under a label that leaves it out it would be hidden.
    """
    if now.run is None:
        return ()
    old = replace(now.terms, label=UNLABELLED) if was.run is None else was.terms
    return scales.lowered([(old, now.terms)])
