"""The Prometheus families of what runs, models and the remainder add up to.

Owns: texts and numbers of the families of FLOP, device time, energy, evidence and ratios.
May touch: nothing; pure functions of immutable accounts.
Called by http.metrics, which knows whose they are; docs/metrics.md lists the families.

They are most of a scrape. Each family is a column of numbers behind the starts of its lines, and
every account is visited once for all columns, because a visit costs more than the sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

from flopmeter_collector.http.starts import (
    Starts,
    account_names,
    compute_names,
    ratio_names,
)
from flopmeter_collector.sums import Account
from flopmeter_core.devices import EnergyScope
from flopmeter_core.interval import Figures
from flopmeter_core.kernels.render import (
    Family,
    decimal,
    decimals,
    fractions,
    numbered,
    with_label,
)

Ratios = tuple[Sequence[float], Sequence[float], Sequence[float]]
"""Figures over thresholds, row by row: best, and both ends of the likely range."""

_Name = TypeVar("_Name", bound=str)


class Summed(NamedTuple):
    """As much of an account as is told of several together; the attributes are an account's."""

    busy_ns: int
    idle_ns: int
    unmeasured_ns: int
    suspect_ns: int
    residual_ns: int
    energy_mj: Mapping[EnergyScope, int]
    best_flop_by_level: Mapping[str, int]
    fork_count: int
    unknown_parts: frozenset[str]


def summed(accounts: Sequence[Account]) -> Summed:
    """Add up accounts."""
    return Summed(
        sum(a.busy_ns for a in accounts),
        sum(a.idle_ns for a in accounts),
        sum(a.unmeasured_ns for a in accounts),
        sum(a.suspect_ns for a in accounts),
        sum(a.residual_ns for a in accounts),
        _added([a.energy_mj for a in accounts]),
        _added([a.best_flop_by_level for a in accounts]),
        sum(a.fork_count for a in accounts),
        frozenset([part for a in accounts for part in a.unknown_parts]),
    )


def info_family(subject: str, starts: Sequence[Starts]) -> Family:
    """What stands for a name, for queries that join it to any other family by the id."""
    return Family(
        f"flopmeter_{subject}_info",
        "gauge",
        f"Name of a {subject}; its id again where names are not wanted in metrics. Always 1.",
        text=[each.described for each in starts],
    )


_COMPUTE_TEXTS = (
    "Most likely FLOP executed so far.",
    "Lower end of the likely range of the FLOP executed so far (coverage 95 %).",
    "Upper end of the likely range, with what unobserved time could hold.",
    "FLOP executed at least, by physics.",
    "FLOP executed at most, by physics, with what unobserved time could hold.",
)


class Bounds(NamedTuple):
    """The FLOP of many rows with every addend, a column a bound."""

    best: Sequence[int]
    lower: Sequence[int]
    upper: Sequence[int]
    floor: Sequence[int]
    ceiling: Sequence[int]


def bounds_of(figures: Sequence[Figures]) -> Bounds:
    """What `Figures.total` says of each, without making an interval of each."""
    observed = [each.observed for each in figures]
    return Bounds(
        [each.best for each in observed],
        [each.lower for each in observed],
        [each.observed.upper + each.boundary_upper + each.unobserved_ceiling for each in figures],
        [each.floor for each in observed],
        [
            each.observed.ceiling + each.boundary_ceiling + each.unobserved_ceiling
            for each in figures
        ],
    )


def compute_families(subject: str, starts: Sequence[Starts], bounds: Bounds) -> Iterator[Family]:
    """One family a bound, each an exact integer in FLOP."""
    yield from _gauges(
        compute_names(subject),
        _COMPUTE_TEXTS,
        columns([each.compute for each in starts], len(_COMPUTE_TEXTS)),
        [list(map(str, column)) for column in bounds],
    )


_ACCOUNT_TEXTS = (
    "Device time with work, in device-seconds.",
    "Device time without work, in device-seconds.",
    "Device time without a usable measurement, in device-seconds.",
    "Device time whose readings cannot be believed, in device-seconds; part of unobserved.",
    "Enrolled device time no agent classified, in device-seconds; part of unobserved.",
    "Registers of which two contradicting histories exist; a person has to look.",
    "Kinds of accelerator that the device table lacks; counted at a stated ceiling.",
)


def account_families(
    subject: str, starts: Sequence[Starts], accounts: Sequence[Account | Summed]
) -> Iterator[Family]:
    """Device time, energy, evidence and forks of runs or of the remainder.

    Args:
        subject: ``run`` or ``unattributed``.
        starts: of each row.
        accounts: what each row adds up to.
    """
    times_ns = (
        [a.busy_ns for a in accounts],
        [a.idle_ns for a in accounts],
        [a.unmeasured_ns for a in accounts],
        [a.suspect_ns for a in accounts],
        [a.residual_ns for a in accounts],
    )
    numbers = [
        *[decimals(column, digits=9) for column in times_ns],
        [str(a.fork_count) for a in accounts],
        [str(len(a.unknown_parts)) for a in accounts],
    ]
    lines = columns([each.amounts for each in starts], len(_ACCOUNT_TEXTS))
    families = tuple(_gauges(account_names(subject), _ACCOUNT_TEXTS, lines, numbers))
    yield from families[: len(times_ns)]
    name = f"flopmeter_{subject}_energy_joules"
    text = "Energy measured so far, by what the measurement covers."
    pieces: list[str] = []
    for row, account in zip(starts, accounts, strict=True):
        for scope, millijoules in account.energy_mj.items():
            start = row.scopes.get(scope)
            if start is None:
                start = row.scopes[scope] = f"{name}{with_label(row.labels, 'scope', scope)} "
            pieces += (start, decimal(millijoules, digits=3), "\n")
    yield Family(name, "gauge", text, text=pieces)
    name = f"flopmeter_{subject}_evidence_compute_flop"
    text = "Most likely FLOP executed so far, by how the time was measured."
    pieces = []
    for row, account in zip(starts, accounts, strict=True):
        for level, best in account.best_flop_by_level.items():
            start = row.levels.get(level)
            if start is None:
                start = row.levels[level] = f"{name}{with_label(row.labels, 'level', level)} "
            pieces += (start, str(best), "\n")
    yield Family(name, "gauge", text, text=pieces)
    yield from families[len(times_ns) :]


_RATIO_TEXTS = ("Most likely FLOP", "Lower FLOP", "Upper FLOP")


def ratio_families(subject: str, starts: Sequence[Starts], ratios: Ratios) -> Iterator[Family]:
    """Figure over threshold of runs or models.

    Args:
        subject: ``run`` or ``model``.
        starts: of each.
        ratios: against every threshold that it has starts for, row by row.
    """
    alone = " of the run alone" if subject == "run" else " of the model"
    lines = [
        list(chain.from_iterable(column))
        for column in columns([each.ratios for each in starts], len(_RATIO_TEXTS))
    ]
    texts = [f"{text}{alone} over the threshold's value." for text in _RATIO_TEXTS]
    yield from _gauges(ratio_names(subject), texts, lines, [fractions(each) for each in ratios])


_Cell = TypeVar("_Cell")


def columns(rows: Sequence[Sequence[_Cell]], width: int) -> Sequence[Sequence[_Cell]]:
    """Rows of so many cells, turned."""
    return tuple(zip(*rows, strict=True)) if rows else ((),) * width


def _gauges(
    names: Sequence[str],
    texts: Sequence[str],
    starts: Sequence[Sequence[str]],
    numbers: Sequence[Sequence[str]],
) -> Iterator[Family]:
    """Families of one number a row: of each its name, help text and columns."""
    for name, text, column, amounts in zip(names, texts, starts, numbers, strict=True):
        yield Family(name, "gauge", text, text=numbered(column, amounts))


def _added(tables: Iterable[Mapping[_Name, int]]) -> Mapping[_Name, int]:
    added: dict[_Name, int] = {}
    for table in tables:
        for name, amount in table.items():
            added[name] = added.get(name, 0) + amount
    return added
