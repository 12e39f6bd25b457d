"""Attribution: which run an allocation's work belongs to, as people declared it.

Owns: what stands after all declarations of kind ``attach``, ``merge``, ``split`` and ``rename``,
and what of it contradicts each other.
May touch: nothing; pure functions of declarations.
Called by book, which parses ledger rows for it; explained in docs/runs-and-models.md and
docs/adr/0021-attribution.md.

An allocation that names its run belongs to it. Any other one belongs to whom it was attached by
hand, else to the run of the rule that matches it, else to nobody. From there work goes on: to the
run that a part was split off to, or that the whole was merged into. No work is in two places.
By what means a user was seen makes no difference: names of one user are attached together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flopmeter_collector.spans import Segment, Span, clipped, joined, segments_of
from flopmeter_core.allocations import is_single, named_run, user_of
from flopmeter_core.errors import DataError
from flopmeter_core.patterns import fits, meet


@dataclass(frozen=True, slots=True)
class RunSpan(Span):
    """A part of an allocation's or a run's time that belongs to a run; None: to nobody."""

    run: str | None


@dataclass(frozen=True, slots=True)
class Rule(RunSpan):
    """The same for every allocation that fits a pattern."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Use:
    """Whose a piece of work is.

    Attributes:
        run: the run whose total holds it; None for the unattributed remainder.
        path: the runs whose declarations hold for it, the most particular first.
    """

    run: str | None = None
    path: tuple[str, ...] = ()


NOBODY = Use()

LONGEST_ROUTE = 100
"""So many merges and splits may follow each other; people need a handful."""


class Attribution:
    """What was declared of whose work is whose. Every change is checked before it is made."""

    def __init__(self) -> None:
        """Start with nothing declared."""
        self.reset()

    def reset(self) -> None:
        """Forget all: it is about to be declared again."""
        self.by_hand: dict[str, tuple[RunSpan, ...]] = {}
        self.rules: tuple[Rule, ...] = ()
        self.splits: dict[str, tuple[RunSpan, ...]] = {}
        self.merged: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self._split_from: dict[str, str] = {}
        self._merged_into: dict[str, set[str]] = {}

    # --- what is declared ------------------------------------------------------------------------

    def attach(self, allocation: str, span: RunSpan) -> None:
        """Say that an allocation, or a part of its time, belongs to a run.

        Raises:
            DataError: it names its run itself, nobody is behind it, or it belongs to another run.
        """
        check_attachable(allocation)
        allocation = user_of(allocation)
        held = self.by_hand.get(allocation, ())
        self._check_free(allocation, span, held)
        self.by_hand[allocation] = (*(each for each in held if each.place != span.place), span)

    def detach(self, allocation: str, span: RunSpan) -> None:
        """Say that it does not belong to that run, whether a hand or a rule attached it.

        Raises:
            DataError: it did not.
        """
        allocation = user_of(allocation)
        held = self.by_hand.get(allocation, ())
        mine = [each for each in held if each.place == span.place and each.run == span.run]
        kept = tuple(each for each in held if each not in mine)
        ruled = any(
            rule.run == span.run and fits(allocation, rule.pattern) and rule.overlaps(span)
            for rule in self.rules
        )
        if not mine and not ruled:
            raise DataError(
                f"allocation {allocation} is not attached to run {span.run!r} ({span.text}); "
                "see `flopmeter run show` for what is"
            )
        if ruled:
            nobody = replace(span, run=None)
            self._check_free(allocation, nobody, kept)
            kept = (*kept, nobody)
        self.by_hand[allocation] = kept
        if not kept:
            del self.by_hand[allocation]

    def put_back(self, allocation: str, held: tuple[RunSpan, ...]) -> None:
        """Have what a hand attached be as it was."""
        if held:
            self.by_hand[allocation] = held
        else:
            self.by_hand.pop(allocation, None)

    def add_rule(self, rule: Rule) -> None:
        """Say that all allocations of a pattern belong to a run, those to come included.

        Raises:
            DataError: it stands already, or some name could fit a rule of another run as well.
        """
        if rule in self.rules:
            raise DataError(f"the rule {rule.pattern!r} of run {rule.run!r} stands already")
        for other in self.rules:
            apart = other.run == rule.run or not other.overlaps(rule)
            if not apart and meet(other.pattern, rule.pattern):
                raise DataError(
                    f"the rule {rule.pattern!r} and the rule {other.pattern!r} of run "
                    f"{other.run!r} can match the same allocation; narrow one of them, or attach "
                    "by hand what both match"
                )
        self.rules = (*self.rules, rule)

    def remove_rule(self, rule: Rule) -> None:
        """Say that a rule holds no longer, for the past as well.

        Raises:
            DataError: there is no such rule.
        """
        if rule not in self.rules:
            raise DataError(
                f"run {rule.run!r} has no rule {rule.pattern!r} ({rule.text}); see "
                "`flopmeter run show`"
            )
        self.rules = tuple(each for each in self.rules if each != rule)

    def merge(self, run: str, into: str) -> None:
        """Say that a run is a part of another one.

        Raises:
            DataError: it is merged already, or the other one is a part of it.
        """
        if run in self.merged:
            raise DataError(
                f"run {run!r} is merged into {self.merged[run]!r} already; undo that first"
            )
        self._check_route(run, into)
        self.merged[run] = into
        self._merged_into.setdefault(into, set()).add(run)

    def unmerge(self, run: str, into: str) -> None:
        """Say that a run is one of its own again.

        Raises:
            DataError: it was not merged into that one.
        """
        if self.merged.get(run) != into:
            raise DataError(f"run {run!r} is not merged into run {into!r}; nothing is to undo")
        del self.merged[run]
        self._merged_into[into].discard(run)

    def split(self, run: str, span: RunSpan) -> None:
        """Say that a part of a run's time is a run of its own.

        Raises:
            DataError: a part of it was split off already, or the other run is no part of this one.
        """
        assert span.run is not None
        origin = self._split_from.get(span.run, run)
        if origin != run:
            raise DataError(
                f"run {span.run!r} was split off run {origin!r}; name another run for this part"
            )
        self._check_route(run, span.run)
        held = self.splits.get(run, ())
        for each in held:
            if each.overlaps(span):
                raise DataError(
                    f"the part of run {run!r} ({span.text}) overlaps the part ({each.text}) that "
                    f"was split off to run {each.run!r}; split side by side, or undo that first"
                )
        self.splits[run] = (*held, span)
        self._split_from[span.run] = run

    def unsplit(self, run: str, span: RunSpan) -> None:
        """Say that a part that was split off belongs to the run again.

        Raises:
            DataError: there is no such part.
        """
        held = self.splits.get(run, ())
        if span not in held:
            raise DataError(
                f"the part of run {run!r} ({span.text}) was not split off to run {span.run!r}"
            )
        kept = tuple(each for each in held if each != span)
        self.splits[run] = kept
        if not kept:
            del self.splits[run]
        if span.run is not None and span.run not in {each.run for each in kept}:
            del self._split_from[span.run]

    # --- what follows ----------------------------------------------------------------------------

    def split_from(self, run: str) -> str | None:
        """The run that a run was split off; None for one that stands by itself."""
        return self._split_from.get(run)

    def parts_of(self, run: str) -> frozenset[str]:
        """The runs that were split off a run, and off those."""
        found: set[str] = set()
        waiting = [run]
        while waiting:
            spans = self.splits.get(waiting.pop(), ())
            fresh = {span.run for span in spans if span.run is not None} - found
            found |= fresh
            waiting += fresh
        return frozenset(found)

    def segments(self, allocation: str, phase: int) -> tuple[Segment[Use], ...]:
        """Whose the work of an allocation's phase is, over all time."""
        found: list[Segment[Use]] = []
        for piece in self._first(allocation):
            if piece.content is None:
                found.append(Segment(piece.from_ns, piece.until_ns, NOBODY))
            else:
                found += self._route(piece.content, (piece.content,), phase, piece)
        return joined(found)

    def visited(self, allocation: str) -> tuple[frozenset[str], frozenset[str | None]]:
        """The runs that an allocation's work may pass, and those where it may end, at any time.

        Returns:
            Both sets; None among the ends is the unattributed remainder.
        """
        visited: set[str] = set()
        ends: set[str | None] = set()
        waiting = [piece.content for piece in self._first(allocation)]
        while waiting:
            run = waiting.pop()
            if run is None or run in visited:
                ends |= {run} - visited
                continue
            visited.add(run)
            waiting += [span.run for span in self.splits.get(run, ())]
            if run in self.merged:
                waiting.append(self.merged[run])
            else:
                ends.add(run)
        return frozenset(visited), frozenset(ends)

    def words_for(self, allocation: str) -> tuple[str, ...]:
        """What says whose an allocation is, what goes before first; empty where nobody did."""
        if not attachable(allocation):
            return () if named_run(allocation) is None else ("its name",)
        user = user_of(allocation)
        hand = ("hand",) if user in self.by_hand else ()
        fitting = {rule.pattern: None for rule in self.rules if fits(user, rule.pattern)}
        return (*hand, *(f"rule {pattern}" for pattern in fitting))

    def merged_into(self, run: str) -> tuple[str, ...]:
        """The runs that are parts of a run, at once or through others, by name."""
        found: list[str] = []
        waiting = [run]
        while waiting:
            parts = self._merged_into.get(waiting.pop(), set())
            found += parts
            waiting += parts
        return tuple(sorted(found))

    def sources(self, run: str) -> tuple[str, ...]:
        """The runs whose work may pass a run: those merged into it, and that it was split off."""
        found: dict[str, None] = {run: None}
        waiting = [run]
        while waiting:
            before = set(self._before(waiting.pop())) - found.keys()
            waiting += before
            found |= dict.fromkeys(before)
        return tuple(sorted(found))

    def onward(self, run: str) -> frozenset[str]:
        """A run, and every run that work of it may come to."""
        found: set[str] = set()
        waiting = [run]
        while waiting:
            at = waiting.pop()
            if at not in found:
                found.add(at)
                waiting += self._next(at)
        return frozenset(found)

    def home(self, run: str) -> str:
        """The run whose total holds a run: itself, unless it was merged."""
        while run in self.merged:
            run = self.merged[run]
        return run

    def _first(self, allocation: str) -> Sequence[Segment[str | None]]:
        """The first run of an allocation's work, over all time."""
        named = named_run(allocation)
        if named is not None or not attachable(allocation):
            return [Segment(None, None, named)]
        allocation = user_of(allocation)
        found: list[Segment[str | None]] = []
        for piece in segments_of(self.by_hand.get(allocation, ()), 0):
            if piece.content is not None:
                found.append(Segment(piece.from_ns, piece.until_ns, piece.content.run))
            else:
                found += clipped(self._ruled(allocation), piece.from_ns, piece.until_ns)
        return joined(found)

    def _ruled(self, allocation: str) -> list[Segment[str | None]]:
        spans = _united(rule for rule in self.rules if fits(allocation, rule.pattern))
        return [
            Segment(each.from_ns, each.until_ns, None if each.content is None else each.content.run)
            for each in segments_of(spans, 0)
        ]

    def _route(
        self, run: str, path: tuple[str, ...], phase: int, within: Segment[Any]
    ) -> list[Segment[Use]]:
        """Where the work of a run goes: to what was split off, and to what it was merged into.

        Only the time that comes this way is followed: there are no more routes than pieces of
        time, however often parts meet again.
        """
        found: list[Segment[Use]] = []
        into = self.merged.get(run)
        cut = segments_of(self.splits.get(run, ()), phase)
        for piece in clipped(cut, within.from_ns, within.until_ns):
            if piece.content is not None and piece.content.run is not None:
                part = piece.content.run
                found += self._route(part, (part, *path), phase, piece)
            elif into is not None:
                found += self._route(into, (*path, into), phase, piece)
            else:
                found.append(Segment(piece.from_ns, piece.until_ns, Use(run, path)))
        return found

    def _check_free(self, allocation: str, span: RunSpan, held: Iterable[RunSpan]) -> None:
        for each in held:
            if each.place == span.place and each.run in (None, span.run):
                if each.run == span.run:
                    raise DataError(
                        f"allocation {allocation} is attached to run {span.run!r} ({span.text}) "
                        "already; nothing is left to do"
                    )
            elif each.overlaps(span):
                raise DataError(
                    f"allocation {allocation} is attached by hand to "
                    f"{'nobody' if each.run is None else f'run {each.run!r}'} ({each.text}), which "
                    f"overlaps what you say ({span.text}); work has one run at a time and the "
                    "first word stands until it is taken back: `flopmeter run detach`"
                )

    def _check_route(self, run: str, into: str) -> None:
        """Refuse what would send work in a circle, or over too many runs."""
        waiting, seen = [into], set()
        while waiting:
            at = waiting.pop()
            if at == run:
                raise DataError(
                    f"run {into!r} is or leads to run {run!r}, so the work would go in a circle; "
                    "undo the merge or split between them first"
                )
            if at not in seen:
                seen.add(at)
                waiting += self._next(at)
        if _longest(run, self._before, {}) + 1 + _longest(into, self._next, {}) > LONGEST_ROUTE:
            raise DataError(
                f"with run {run!r} going to run {into!r}, more than {LONGEST_ROUTE} merges and "
                "splits would follow each other; merge each run into the last one of them at once"
            )

    def _next(self, run: str) -> list[str]:
        """The runs that work of a run may go to at once."""
        onward = [span.run for span in self.splits.get(run, ()) if span.run is not None]
        return [*onward, self.merged[run]] if run in self.merged else onward

    def _before(self, run: str) -> list[str]:
        """The runs that work of a run may come from at once."""
        origin = self._split_from.get(run)
        return [*self._merged_into.get(run, ()), *([] if origin is None else [origin])]


def _longest(run: str, beside: Callable[[str], Iterable[str]], known: dict[str, int]) -> int:
    """How many steps the longest route from a run has; at most `LONGEST_ROUTE`, as is checked."""
    if run not in known:
        known[run] = max((1 + _longest(each, beside, known) for each in beside(run)), default=0)
    return known[run]


def attachable(allocation: str) -> bool:
    """Whether an allocation names one user, but no run."""
    return is_single(allocation) and named_run(allocation) is None


def check_attachable(allocation: str) -> None:
    """Refuse to attach what names its run itself, and what has nobody behind it.

    Raises:
        DataError: with what to do instead.
    """
    run = named_run(allocation)
    if run is not None:
        raise DataError(
            f"allocation {allocation} names run {run!r} itself; use `flopmeter run merge` or "
            "`flopmeter run split` to move its work"
        )
    if not attachable(allocation):
        raise DataError(
            f"allocation {allocation} is no single user of a device, so it cannot be attached; "
            "name one such as slurm:CLUSTER/JOB"
        )


def _united(rules: Iterable[Rule]) -> list[RunSpan]:
    """Rules of one allocation as spans that do not overlap; those of two runs never do."""
    united: list[RunSpan] = []
    for rule in sorted(rules, key=lambda each: (each.from_ns is not None, each.from_ns or 0)):
        span = RunSpan(rule.from_ns, rule.until_ns, None, rule.run)
        last = united[-1] if united else None
        if last is not None and last.run == span.run and last.overlaps(span):
            ends = (last.until_ns, span.until_ns)
            until_ns = None if None in ends else max(end for end in ends if end is not None)
            united[-1] = replace(last, until_ns=until_ns)
        else:
            united.append(span)
    return united
