"""What every calibration workload offers: one step of work, and its FLOP by formula.

Owns: the shapes of a workload and of its prepared step.
May touch: nothing; definitions only.
Called by lab.calibrate; implemented by the modules beside this one, listed in table.

`torch` is handed in and never imported here, so that flopmeter works without it. A step is
counted by formula, never by a counter; the formula's source is part of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Torch = Any
"""The module `torch`."""


class CannotRunError(Exception):
    """This workload cannot run here; the text says why, and the suite goes on without it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A workload with its data in place.

    Attributes:
        step: does the work once, without waiting for it; None for a workload that does nothing.
        flop_model: FLOP of a step by the model's formula, a multiply-add as 2.
        flop_issued: FLOP a step gives the silicon: with recomputation, and with the padding of
            tiles where `source` says so.
        integer_operations: of a step; they are no FLOP.
        source: where the formula comes from, and what it assumes.
    """

    step: Callable[[], object] | None
    flop_model: int
    flop_issued: int
    source: str
    integer_operations: int = 0


@dataclass(frozen=True, slots=True)
class Spec:
    """One workload of the suite.

    Attributes:
        name: unique.
        family: what is held out together when constants are set.
        prepare: (torch, device) -> the prepared step.
        declared: what its runner would declare; empty where no declaration fits.
        quick: whether it is in the quick suite.
    """

    name: str
    family: str
    prepare: Callable[[Torch, str], Prepared]
    declared: Mapping[str, str] = field(default_factory=dict)
    quick: bool = False
