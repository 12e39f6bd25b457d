"""Counting profiles as text: one TOML file a profile, a verdict and a citation on everything.

Owns: the fields of a profile file, and the check that it leaves no piece of work without verdict.
May touch: nothing; text is handed in, the built-in files come from `flopmeter_core.data`.
Called by the collector's evaluation, reports and the command line; docs/counting.md.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from flopmeter_core.activities import (
    Activity,
    DataVisibility,
    Disposition,
    Edge,
    WorkLabel,
    every_label,
)
from flopmeter_core.counting import Entry, Profile, Verdict
from flopmeter_core.data import builtin_profile_texts
from flopmeter_core.errors import DataError
from flopmeter_core.toml_fields import (
    count_of,
    date_of,
    member,
    only,
    parsed_by_id,
    required,
    table,
    tables_of,
    text_of,
    word_of,
)
from flopmeter_core.verification import Verification, weakest

DEFAULT_PROFILE = "everything"
"""What a user's own row is counted under when it names no profile."""


@functools.cache
def builtin_profiles() -> Mapping[str, Profile]:
    """The profiles flopmeter ships, by id."""
    return parse_profiles(builtin_profile_texts())


def parse_profiles(files: Mapping[str, str]) -> Mapping[str, Profile]:
    """Read profiles; two may not share an id.

    Args:
        files: file name -> text.

    Raises:
        DataError: as `parse_profile`, or a doubled id.
    """
    return dict(sorted(parsed_by_id(files, parse_profile, what="counting profiles").items()))


def parse_profile(text: str, *, name: str) -> Profile:
    """Read one profile.

    Rules are tried from top to bottom and the first that fits decides, as a person reads them.

    Args:
        text: the TOML text.
        name: what to call it in an error (its file).

    Raises:
        DataError: not TOML; a missing, unknown or empty field; an unknown word; a piece of work
            that no rule fits; a rule that can never decide.
    """
    where = f"profile {name}"
    fields = only(table(text, where=where), _FIELDS, where=where)
    entries = _entries(tables_of(fields, "entry", where=where), where)
    rules = {
        name: _entry(required(fields, name, where=where), f"{where}: {name}") for name in _RULES
    }
    edges = only(required(fields, "inherited", where=where), set(Edge), where=f"{where}: inherited")
    inherited = {
        edge: _entry(
            required(edges, edge, where=f"{where}: inherited"), f"{where}: inherited.{edge}"
        )
        for edge in Edge
    }
    everything = [*entries.values(), *rules.values(), *inherited.values()]
    return Profile(
        id=text_of(fields, "id", where=where),
        title=text_of(fields, "title", where=where),
        jurisdiction=text_of(fields, "jurisdiction", where=where),
        quantity=text_of(fields, "quantity", where=where),
        entries=entries,
        recomputation=rules["recomputation"],
        unattributed=rules["unattributed"],
        external=rules["external"],
        inherited=inherited,
        version=count_of(fields, "version", where=where),
        source=text_of(fields, "source", where=where),
        checked_on=date_of(fields, "checked_on", where=where),
        verification=weakest(entry.verification for entry in everything),
    )


_RULES = ("recomputation", "unattributed", "external")
_RULE = frozenset({"verdict", "citation", "verification", "note"})
_SELECTORS = frozenset({"activities", "dispositions", "visibilities"})
_FIELDS = frozenset(
    {"id", "title", "jurisdiction", "quantity", "version", "source", "checked_on"}
    | {"entry", "inherited", *_RULES}
)


def _entries(rules: Iterable[Any], where: str) -> Mapping[WorkLabel, Entry]:
    """The verdict on every label; the first rule that fits it."""
    entries: dict[WorkLabel, Entry] = {}
    for position, rule in enumerate(rules, start=1):
        place = f"{where}: entry {position}"
        entry = _entry(rule, place, _RULE | _SELECTORS)
        activities = _members(Activity, rule, "activities", place)
        dispositions = _members(Disposition, rule, "dispositions", place)
        visibilities = _members(DataVisibility, rule, "visibilities", place)
        fitting = [
            WorkLabel(a, d, v) for a in activities for d in dispositions for v in visibilities
        ]
        new = [label for label in fitting if label not in entries]
        if not new:
            raise DataError(f"{place} never decides: the rules above it fit all it fits; remove it")
        entries |= dict.fromkeys(new, entry)
    for label in every_label():
        if label not in entries:
            raise DataError(f"{where} has no entry for {label}; add one, each needs a verdict")
    return entries


def _entry(rule: object, where: str, known: Iterable[str] = _RULE) -> Entry:
    fields = only(rule, known, where=where)
    return Entry(
        verdict=word_of(Verdict, fields, "verdict", where=where),
        citation=text_of(fields, "citation", where=where),
        verification=word_of(Verification, fields, "verification", where=where),
        note=text_of(fields, "note", where=where) if "note" in fields else "",
    )


_Word = TypeVar("_Word", bound=enum.StrEnum)


def _members(
    kind: type[_Word], rule: Mapping[str, Any], field: str, where: str
) -> tuple[_Word, ...]:
    """The words a rule names; all there are where it names none."""
    if field not in rule:
        return tuple(kind)
    words = rule[field]
    if not isinstance(words, list) or not words:
        raise DataError(f"{where}: {field} must be a list of words, or be left out for all")
    return tuple(member(kind, word, field, where=where) for word in words)
