"""Pieces of an allocation's work: whose each is, and under which format and label.

Owns: the value that says what holds for a piece, and the comparison of two states of it.
May touch: nothing; pure values.
Made by book; read by shares and weighing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flopmeter_collector.declarations import FormatSpan, RunDeclaration
from flopmeter_collector.spans import Segment, overlay
from flopmeter_core.activities import UNLABELLED, WorkLabel


@dataclass(frozen=True, slots=True)
class Piece:
    """What holds for a piece of an allocation's work.

    Attributes:
        run: the run whose total holds it; None for the unattributed remainder.
        declared: what was declared of it; None where it is of no run.
        span: the declared part of time whose format holds; None for the run's own.
        label: what the work was.
    """

    run: str | None = None
    declared: RunDeclaration | None = None
    span: FormatSpan | None = None
    label: WorkLabel = UNLABELLED


NOBODYS = Piece()

Worn = dict[str, dict[int, tuple[Segment[Piece], ...]]]
"""What holds for an allocation's work, by phase."""


def moved_between(before: Worn, after: Worn) -> Iterator[tuple[Piece, Piece]]:
    """Old and new of what is of another run, or has another label, than before."""
    for name, phases in after.items():
        old = before[name]
        for phase in sorted({*phases, *old}):
            news = phases.get(phase, phases[-1])
            for segment in overlay(old.get(phase, old[-1]), news):
                was, now = segment.content
                if (was.run, was.label) != (now.run, now.label):
                    yield was, now
