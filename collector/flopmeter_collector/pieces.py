"""What holds for a piece of work, and what a statement changed: the values the book hands out.

Owns: the two types, and nothing else.
May touch: nothing; frozen data.
Made by book and hearing; read by totals and weighing. Explained in docs/runs-and-models.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from flopmeter_collector.declarations import FormatSpan, RunDeclaration
from flopmeter_core.activities import UNLABELLED, WorkLabel


@dataclass(frozen=True, slots=True)
class Change:
    """What a statement may have changed.

    Attributes:
        runs: every allocation whose work passes one of these.
        named: runs that are to be shown from now on, and anew; none of their work changed.
        allocation: this one.
        pattern: every one that fits it.
        models: whether anything was said of a model.
    """

    runs: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    allocation: str | None = None
    pattern: str | None = None
    models: bool = False


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
