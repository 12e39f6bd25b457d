"""Activation recomputation: from executed to model FLOP.

Owns: the syntax of a declared recompute mode, its factor by activity and architecture, and the
division of an executed interval by it.
May touch: nothing; exact rationals, a table handed in as text.
Called by the collector's declarations (parsing) and presentation (dividing).
Explained in docs/estimation.md; the table and its sources are data/recompute.toml.

The factor is executed / model FLOP of a training step. Model FLOP found this way still hold what
a formula such as 6ND leaves out for other reasons: padding, evaluation, steps done twice.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from flopmeter_core.data import builtin_table
from flopmeter_core.errors import DataError
from flopmeter_core.interval import Interval
from flopmeter_core.standing import Standing
from flopmeter_core.values import value_class

MODES = ("none", "selective", "full")

FORWARD_ACTIVITIES = frozenset(
    {"rollout", "synthetic_data", "evaluation", "preprocessing", "data_filtering", "inference"}
)
"""Activities without a backward pass; every other one trains, an undeclared one too."""

GREATEST_FACTOR = Fraction(4)
"""Nobody computes an activation four times; a larger number is a slip of the pen."""

MAXIMUM_TEXT = 64
"""Characters of a declared range."""


@value_class(frozen=True, slots=True)
class Factor:
    """Executed / model FLOP, from 1, ordered, and where it comes from."""

    lower: Fraction
    likely: Fraction
    upper: Fraction
    source: str
    standing: Standing


@value_class(frozen=True, slots=True)
class RecomputeMode:
    """What was declared: one of MODES, or a range of the factor itself.

    Attributes:
        text: the declaration as it was written.
        stated: least and greatest factor, where the range was stated; else None.
    """

    text: str
    stated: tuple[Fraction, Fraction] | None = None


@value_class(frozen=True, slots=True)
class Row:
    """One row of the table; empty workloads mean any."""

    modes: frozenset[str]
    forward: bool
    workloads: frozenset[str]
    factor: Factor


def parse_recompute(text: str) -> RecomputeMode:
    """Read a declared mode.

    Args:
        text: ``none``, ``selective``, ``full``, or the factor's range such as ``1.25..1.34``.

    Raises:
        DataError: anything else, or a factor outside 1 to 4.
    """
    if text in MODES:
        return RecomputeMode(text)
    low, dots, high = text.replace(" ", "").partition("..")
    try:
        if not dots or "e" in text.lower() or len(text) > MAXIMUM_TEXT:
            raise ValueError(text)
        stated = (Fraction(low), Fraction(high))
    except (ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"{text!r} is no recompute mode; write {', '.join(MODES)}, or the range of executed "
            "over model FLOP, such as 1.25..1.34"
        ) from error
    if not 1 <= stated[0] <= stated[1] <= GREATEST_FACTOR:
        raise DataError(
            f"the recompute factor {text!r} is not a range within 1 to {GREATEST_FACTOR}; "
            "write the smaller number first"
        )
    return RecomputeMode(text, stated)


def factor_of(
    mode: RecomputeMode,
    *,
    activity: str | None,
    workload: str | None,
    table: Sequence[Row] | None = None,
) -> Factor:
    """The factor of a declared mode for what was done by what kind of network.

    Args:
        mode: as declared.
        activity: the declared activity class; None counts as training.
        workload: the declared workload class; None fits the rows for any.
        table: the rows; the built-in ones when None.
    """
    if mode.stated is not None:
        low, high = mode.stated
        return Factor(low, (low + high) / 2, high, "declared", Standing.UNVERIFIED)
    forward = activity in FORWARD_ACTIVITIES
    for row in builtin_rows() if table is None else table:
        fits = not row.workloads or workload in row.workloads
        if mode.text in row.modes and row.forward == forward and fits:
            return row.factor
    raise DataError(f"the recompute table has no row for {mode.text!r}; add one for any workload")


def factor_or_widest(
    mode: RecomputeMode | None, *, activity: str | None, workload: str | None
) -> Factor:
    """The factor of a declared mode; where nobody declared one, from none to the costliest.

    Nothing recomputed is then the likely one: it is what a framework does unless it is told to.
    """
    if mode is not None:
        return factor_of(mode, activity=activity, workload=workload)
    each = [factor_of(RecomputeMode(m), activity=activity, workload=workload) for m in MODES]
    return Factor(
        min(factor.lower for factor in each),
        min(factor.likely for factor in each),
        max(factor.upper for factor in each),
        "not declared: from no recomputation to full",
        Standing.UNVERIFIED,
    )


def model_flop(executed: Interval, factor: Factor) -> Interval:
    """Divide an executed interval by a factor, rounding outward.

    A declaration is no physics: floor is 0, because anything may have been computed again, and
    ceiling is that of the executed FLOP, because nothing is computed less than once.
    """
    # Whole numbers: a fraction of these sizes looks for common divisors, and every scrape asks.
    lower = executed.lower * factor.upper.denominator // factor.upper.numerator
    best = _nearest(executed.best * factor.likely.denominator, factor.likely.numerator)
    upper = -(-executed.upper * factor.lower.denominator // factor.lower.numerator)
    return Interval(
        floor=0,
        lower=lower,
        best=max(lower, min(best, upper)),
        upper=upper,
        ceiling=executed.ceiling,
    )


def _nearest(amount: int, divisor: int) -> int:
    """The whole number nearest to a quotient; of two the even one, as Python rounds."""
    whole, rest = divmod(amount, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2))


@functools.cache
def builtin_rows() -> tuple[Row, ...]:
    """The table flopmeter ships."""
    return parse_rows(builtin_table("recompute.toml"))


def parse_rows(text: str) -> tuple[Row, ...]:
    """Read a recompute table.

    Raises:
        DataError: no TOML, a field that lacks or is unknown, or a factor out of order.
    """
    try:
        rows = tuple(_row(fields) for fields in tomllib.loads(text)["row"])
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the recompute table cannot be read ({error!r}); correct it") from error
    return rows


_FIELDS = {"recompute", "activities", "workloads", "lower", "likely", "upper", "source", "standing"}


def _row(fields: dict[str, Any]) -> Row:
    if unknown := sorted(fields.keys() - _FIELDS):
        raise DataError(f"a recompute row has the unknown field {', '.join(unknown)}; remove it")
    if not fields["source"] or fields["activities"] not in ("forward", "training"):
        raise DataError("a recompute row needs a source, and activities 'forward' or 'training'")
    lower, likely, upper = (Fraction(fields[name]) for name in ("lower", "likely", "upper"))
    if not 1 <= lower <= likely <= upper <= GREATEST_FACTOR:
        raise DataError(f"a recompute row runs from {lower} over {likely} to {upper}; order it")
    return Row(
        modes=frozenset(fields["recompute"]),
        forward=fields["activities"] == "forward",
        workloads=frozenset(fields.get("workloads", ())),
        factor=Factor(lower, likely, upper, fields["source"], Standing(fields["standing"])),
    )
