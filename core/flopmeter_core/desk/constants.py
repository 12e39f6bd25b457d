"""The constants of desk estimates: a learned table and a written one.

Owns: the types of data/utilization.toml (learned) and data/desk.toml (written).
May touch: its own two tables, through `flopmeter_core.data`; nothing else.
Called by the desk's estimators and by lab.desk_fit, which makes the learned table.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from flopmeter_core.data import builtin_table
from flopmeter_core.desk.cells import Span
from flopmeter_core.errors import DataError
from flopmeter_core.standing import Standing
from flopmeter_core.values import value_class


@value_class(frozen=True, slots=True)
class Utilization:
    """What share of device-hours x dense peak a training run turned into 6ND.

    Attributes:
        unknown: that share, where nothing is known of the run's utilisation.
        reported: whole-run share / reported model FLOP utilisation (MFU).
        reported_executed: whole-run share / reported rate that counts recomputation (HFU, TFLOP/s).
        learned_on: ids of the parts of the runs it was learned on.
    """

    unknown: Span
    reported: Span
    reported_executed: Span
    learned_on: frozenset[str]


@value_class(frozen=True, slots=True)
class Written:
    """Constants that no fit gives.

    Attributes:
        architecture: true training FLOP / 6ND of a decoder.
        encoder_decoder: the same where half the parameters see each token.
        mean_draw: mean power of a training run whose hours are not known / full load.
    """

    architecture: Span
    encoder_decoder: Span
    mean_draw: Fraction


@functools.cache
def builtin_utilization() -> Utilization:
    """The learned constants flopmeter ships."""
    return parse_utilization(builtin_table("utilization.toml"))


@functools.cache
def builtin_written() -> Written:
    """The written constants flopmeter ships."""
    table = _table(builtin_table("desk.toml"), "desk table")
    try:
        return Written(
            architecture=_span(table["architecture"]["decoder"]),
            encoder_decoder=_span(table["architecture"]["encoder_decoder"]),
            mean_draw=Fraction(table["energy"]["mean_draw"]["ratio"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a row of the desk table lacks or misstates a field: {error}") from error


def parse_utilization(text: str) -> Utilization:
    """Read the learned table.

    Raises:
        DataError: not TOML, or a row without source, standing or a rising range.
    """
    table = _table(text, "utilisation table")
    try:
        rows: Mapping[str, Mapping[str, Any]] = table["utilization"]
        return Utilization(
            unknown=_span(rows["unknown"]),
            reported=_span(rows["reported"]),
            reported_executed=_span(rows["reported_executed"]),
            learned_on=frozenset(map(str, table["learned_on"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"a row of the utilisation table lacks or misstates a field: {error}"
        ) from error


def _table(text: str, name: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text, parse_float=Fraction)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"the {name} is not valid TOML: {error}") from error


def _span(row: Mapping[str, Any]) -> Span:
    if not str(row["source"]).strip():
        raise ValueError("an empty source")
    Standing(row["standing"])
    lower, best, upper = (Fraction(row[bound]) for bound in ("lower", "best", "upper"))
    if not 0 < lower <= best <= upper:
        raise ValueError(f"{float(lower)}, {float(best)}, {float(upper)} do not rise from above 0")
    return Span(lower, best, upper)
