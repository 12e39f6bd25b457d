"""Counting profiles as text: one TOML file a profile, a verdict and a citation on everything.

Owns: the fields of a profile file, and the check that it leaves no piece of work without verdict.
May touch: nothing; text is handed in, the built-in files come from `flopmeter_core.data`.
Called by the collector's evaluation, reports and the command line; docs/counting.md.
"""

from __future__ import annotations

import datetime
import enum
import functools
import tomllib
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
    profiles: dict[str, Profile] = {}
    for name, text in files.items():
        profile = parse_profile(text, name=name)
        if profile.id in profiles:
            raise DataError(
                f"two counting profiles have the id {profile.id}; rename that of {name}"
            )
        profiles[profile.id] = profile
    return dict(sorted(profiles.items()))


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
    try:
        fields = tomllib.loads(text)
        _only(fields, _FIELDS, where)
        entries = _entries(fields["entry"], where)
        rules = [*_entry_tables(fields, where).values()]
        inherited = {
            edge: _entry(fields["inherited"][edge.value], f"{where}: inherited.{edge}", _RULE)
            for edge in Edge
        }
        _only(fields["inherited"], set(Edge), f"{where}: inherited")
        recomputation, unattributed, external = rules
        return Profile(
            id=_text(fields, "id", where),
            title=_text(fields, "title", where),
            jurisdiction=_text(fields, "jurisdiction", where),
            quantity=_text(fields, "quantity", where),
            entries=entries,
            recomputation=recomputation,
            unattributed=unattributed,
            external=external,
            inherited=inherited,
            version=_version(fields, where),
            source=_text(fields, "source", where),
            checked_on=_date(fields, "checked_on", where),
            verification=weakest(
                entry.verification for entry in [*entries.values(), *rules, *inherited.values()]
            ),
        )
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{where} is not valid TOML: {error}") from error
    except KeyError as error:
        raise DataError(f"{where} lacks the field {error}; every profile needs it") from error
    except (AttributeError, TypeError) as error:
        raise DataError(f"{where} has a table where a text belongs, or the reverse") from error


_TABLES = ("recomputation", "unattributed", "external")
_RULE = frozenset({"verdict", "citation", "verification", "note"})
_SELECTORS = frozenset({"activities", "dispositions", "visibilities"})
_FIELDS = frozenset(
    {"id", "title", "jurisdiction", "quantity", "version", "source", "checked_on"}
    | {"entry", "inherited", *_TABLES}
)


def _entry_tables(fields: Mapping[str, Any], where: str) -> Mapping[str, Entry]:
    return {table: _entry(fields[table], f"{where}: {table}", _RULE) for table in _TABLES}


def _entries(rules: Iterable[Mapping[str, Any]], where: str) -> Mapping[WorkLabel, Entry]:
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


def _entry(rule: Mapping[str, Any], where: str, known: Iterable[str]) -> Entry:
    _only(rule, known, where)
    try:
        return Entry(
            verdict=_member(Verdict, _text(rule, "verdict", where), "verdict", where),
            citation=_text(rule, "citation", where),
            verification=_member(
                Verification, _text(rule, "verification", where), "verification", where
            ),
            note=_text(rule, "note", where) if "note" in rule else "",
        )
    except KeyError as error:
        raise DataError(f"{where} lacks the field {error}; every rule needs it") from error


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
    return tuple(_member(kind, word, field, where) for word in words)


def _member(kind: type[_Word], word: object, field: str, where: str) -> _Word:
    try:
        return kind(str(word))
    except ValueError as error:
        raise DataError(
            f"{where}: {field} has the unknown word {word!r}; use one of {', '.join(kind)}"
        ) from error


def _only(fields: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    if unknown := sorted(set(fields) - set(known)):
        raise DataError(f"{where} has the unknown field {', '.join(unknown)}; remove it")


def _text(fields: Mapping[str, Any], field: str, where: str) -> str:
    content = fields[field]
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{where}: {field} must be a text that is not empty")
    return content


def _version(fields: Mapping[str, Any], where: str) -> int:
    version = fields["version"]
    if type(version) is not int or version < 1:
        raise DataError(f"{where}: version must be a whole number from 1, not {version!r}")
    return version


def _date(fields: Mapping[str, Any], field: str, where: str) -> datetime.date:
    content = fields[field]
    if type(content) is not datetime.date:
        raise DataError(f"{where}: {field} must be a date such as 2026-11-21, not {content!r}")
    return content
