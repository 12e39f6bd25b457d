"""What a piece of work is worth to each law under what is said of it, and whether that went down.

Owns: the terms of a piece of work, and the rule by which one saying counts less than another.
May touch: nothing; pure functions of counting profiles and the built-in tables.
Called by book, which lets a statement wait that lowers a legal total.
Explained in docs/runs-and-models.md and docs/adr/0034-what-lowers-a-total.md.

A statement is held against what stood before it, not against what was metered: the same rows say
the same whatever work came when. So a format counts as lower where it weighs less on any part of
the device table, and a workload where it weighs less on any rung.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from flopmeter_core.activities import UNLABELLED, WorkLabel
from flopmeter_core.counting import Profile, Verdict
from flopmeter_core.devices import builtin_parts
from flopmeter_core.errors import DataError
from flopmeter_core.formats import parse_format_mix, widest_rates
from flopmeter_core.lineage import Way
from flopmeter_core.methods.base import Workload
from flopmeter_core.methods.energy import UNDECLARED, builtin_constants
from flopmeter_core.profiles import builtin_profiles
from flopmeter_core.recompute import factor_or_widest, parse_recompute

Profiles = Mapping[str, Profile]
"""Counting profiles of the law in use, by id."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is said of a piece of work, as far as it decides what the work counts.

    Attributes:
        label: what it was.
        formats: the declared format mix as it was written; None where nobody declared one.
        workload: the declared workload class.
        recompute: the declared recompute mode as it was written.
    """

    label: WorkLabel = UNLABELLED
    formats: str | None = None
    workload: Workload | None = None
    recompute: str | None = None


UNSPOKEN = Terms()
"""Nobody said anything."""

_LEFT_OUT = {Verdict.MAY_EXCLUDE: 1, Verdict.EXCLUDE: 2}


class Scales:
    """Counting profiles, and what they have compared so far."""

    def __init__(self, profiles: Profiles | None = None) -> None:
        """Take the profiles.

        Args:
            profiles: by id; the built-in ones when None.
        """
        self._given = profiles
        self._known: dict[tuple[Terms, Terms], tuple[str, ...]] = {}

    @property
    def _profiles(self) -> Profiles:
        """The profiles; the built-in ones are read where something has to be compared."""
        return builtin_profiles() if self._given is None else self._given

    def lowered(self, pairs: Iterable[tuple[Terms, Terms]]) -> tuple[str, ...]:
        """The profiles that count less of some work under new terms than under the old ones.

        Either total counts: all but what the law excludes, and that with every permitted
        exclusion used.

        Args:
            pairs: old and new terms, for each part of the work.
        """
        found = {name for pair in set(pairs) for name in self._less(*pair)}
        return tuple(name for name in self._profiles if name in found)

    def counted(self, terms: Iterable[Terms]) -> tuple[str, ...]:
        """The profiles that count some of this work at all."""
        found = {
            name
            for each in set(terms)
            for name, profile in self._profiles.items()
            if profile.entry(each.label).verdict is not Verdict.EXCLUDE
        }
        return tuple(name for name in self._profiles if name in found)

    def lowered_ways(
        self, before: Mapping[str, frozenset[Way]], after: Mapping[str, frozenset[Way]]
    ) -> tuple[str, ...]:
        """The profiles that count less of earlier models over new ways than over the old ones.

        Args:
            before: every model whose work counts in one, and the ways to it.
            after: the same with what is new.
        """
        return tuple(
            name
            for name, profile in self._profiles.items()
            if any(
                _left_out(profile, after.get(model)) > _left_out(profile, ways)
                for model, ways in before.items()
            )
        )

    def _less(self, old: Terms, new: Terms) -> tuple[str, ...]:
        if old == new:
            return ()
        found = self._known.get((old, new))
        if found is None:
            lighter = _weighs_less(old.formats, old.workload, new.formats, new.workload)
            shares = [
                (name, _shares(profile, old), _shares(profile, new))
                for name, profile in self._profiles.items()
            ]
            found = self._known[old, new] = tuple(
                name
                for name, before, after in shares
                if (lighter and any(before))
                or any(now < was for was, now in zip(before, after, strict=True))
            )
        return found


def _left_out(profile: Profile, ways: frozenset[Way] | None) -> int:
    """How much of a model's work is left out: 0 nothing, 1 by permission, 2 always, 3 it is away.

    Over several ways the one decides that counts most, on one way the edge that counts least.
    """
    if ways is None:
        return 3
    weights = {edge: _LEFT_OUT.get(entry.verdict, 0) for edge, entry in profile.inherited.items()}
    return min(max((weights[edge] for edge in way), default=0) for way in ways)


def _shares(profile: Profile, terms: Terms) -> tuple[Fraction, Fraction]:
    """Which share of executed FLOP counts: in all, and with every permitted exclusion used."""
    verdict = profile.entry(terms.label).verdict
    again = profile.recomputation.verdict
    once = _once(terms.recompute, terms.label.activity.value, terms.workload)
    whole = once if again is Verdict.EXCLUDE else Fraction(1)
    least = whole if again is not Verdict.MAY_EXCLUDE else once
    nothing = Fraction(0)
    if verdict is Verdict.EXCLUDE:
        return nothing, nothing
    return whole, nothing if verdict is Verdict.MAY_EXCLUDE else least


@functools.lru_cache(maxsize=10_000)
def _once(recompute: str | None, activity: str, workload: Workload | None) -> Fraction:
    """The share of executed FLOP that was not computed again."""
    mode = parse_recompute(recompute) if recompute is not None else None
    return 1 / factor_or_widest(mode, activity=activity, workload=workload).likely


@functools.lru_cache(maxsize=10_000)
def _weighs_less(
    old_formats: str | None,
    old_workload: Workload | None,
    new_formats: str | None,
    new_workload: Workload | None,
) -> bool:
    """Whether a reading is worth less FLOP on any part of the table and any rung."""
    was, now = _rates(old_formats), _rates(new_formats)
    energy_was, energy_now = _fraction(old_workload), _fraction(new_workload)
    return any(
        after < before or after * energy_now < before * energy_was
        for before, after in zip(was, now, strict=True)
    )


@functools.cache
def _tensor_rates() -> tuple[Mapping[str, int], ...]:
    """Matrix rates by format of each architecture of the built-in table."""
    table = builtin_parts()
    by_name = {part.architecture.name: part.architecture.tensor for part in table.parts}
    return tuple(tensor for tensor in by_name.values() if tensor)


@functools.lru_cache(maxsize=10_000)
def _rates(formats: str | None) -> tuple[Fraction, ...]:
    """Most likely FLOP per unit and tensor-active cycle, by architecture.

    A format that an architecture lacks is set aside there, as the weigher does.
    """
    mix = parse_format_mix(formats) if formats is not None else None
    found = []
    for tensor in _tensor_rates():
        likely = widest_rates(tensor)[1]
        if mix is not None:
            with contextlib.suppress(DataError):
                likely = mix.rates(tensor)[1]
        found.append(likely)
    return tuple(found)


def _fraction(workload: Workload | None) -> Fraction:
    """Most likely fraction of the dense peak by which the energy rung multiplies."""
    name = UNDECLARED if workload is None else workload.value
    return builtin_constants().fraction[name][1]
