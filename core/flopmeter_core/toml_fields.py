"""Reading fields of a TOML table: each refusal is one sentence with the file and the field.

Owns: the checks that every data file of the law shares.
May touch: nothing; pure functions of parsed TOML.
Called by profiles, threshold_files and calendars.
"""

from __future__ import annotations

import datetime
import enum
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from flopmeter_core.errors import DataError

_Word = TypeVar("_Word", bound=enum.StrEnum)

MAXIMUM_TEXT = 4096
"""Characters of a field; the longest that is built in has a tenth."""

UNKNOWN = "unknown"
"""What stands in the place of a date that nobody could settle."""


def table(text: str, *, where: str) -> dict[str, Any]:
    """Parse a text as TOML.

    Raises:
        DataError: it is none.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{where} is not valid TOML: {error}") from error


def only(fields: object, known: Iterable[str], *, where: str) -> Mapping[str, Any]:
    """Refuse what is no table, and fields nobody knows: a slip of the pen must not be ignored."""
    if not isinstance(fields, dict):
        raise DataError(f"{where} must be a table of fields, not {fields!r}")
    if unknown := sorted(set(fields) - set(known)):
        raise DataError(f"{where} has the unknown field {', '.join(unknown)}; remove it")
    return fields


def required(fields: Mapping[str, Any], field: str, *, where: str) -> Any:
    """A field that has to be there.

    Raises:
        DataError: it is not.
    """
    if field not in fields:
        raise DataError(f"{where} lacks the field {field}; add it")
    return fields[field]


def text_of(fields: Mapping[str, Any], field: str, *, where: str) -> str:
    """A text that is not empty, fits on a page and can be printed."""
    content = required(fields, field, where=where)
    if not isinstance(content, str) or not content.strip():
        raise DataError(f"{where}: {field} must be a text that is not empty")
    if len(content) > MAXIMUM_TEXT or not content.isprintable():
        raise DataError(
            f"{where}: {field} must be one line without control characters, of at most "
            f"{MAXIMUM_TEXT} characters"
        )
    return content


def word_of(kind: type[_Word], fields: Mapping[str, Any], field: str, *, where: str) -> _Word:
    """A word of an enumeration."""
    return member(kind, required(fields, field, where=where), field, where=where)


def member(kind: type[_Word], word: object, field: str, *, where: str) -> _Word:
    """The member a word names."""
    try:
        return kind(str(word))
    except ValueError as error:
        raise DataError(
            f"{where}: {field} has the unknown word {word!r}; use one of {', '.join(kind)}"
        ) from error


def date_of(fields: Mapping[str, Any], field: str, *, where: str) -> datetime.date:
    """A date without a time: laws have dates of their own place."""
    content = required(fields, field, where=where)
    if type(content) is not datetime.date:
        raise DataError(f"{where}: {field} must be a date such as 2026-11-21, not {content!r}")
    return content


def tables_of(fields: Mapping[str, Any], field: str, *, where: str) -> tuple[Any, ...]:
    """A list of tables; empty where the field is absent."""
    rows = fields.get(field, [])
    if not isinstance(rows, list):
        raise DataError(f"{where}: write each {field} as [[{field}]]")
    return tuple(rows)


def count_of(fields: Mapping[str, Any], field: str, *, where: str) -> int:
    """A whole number from 1."""
    content = required(fields, field, where=where)
    if type(content) is not int or content < 1:
        raise DataError(f"{where}: {field} must be a whole number from 1, not {content!r}")
    return content


class Named(Protocol):
    """What a file makes: something with an id."""

    @property
    def id(self) -> str:
        """Its name among its kind."""
        ...


_Thing = TypeVar("_Thing", bound=Named, covariant=True)


class Parser(Protocol[_Thing]):
    """Reads one file."""

    def __call__(self, text: str, *, name: str) -> _Thing:
        """Make a thing of a text; `name` is the file's, for an error."""
        ...


def parsed_by_id(
    files: Mapping[str, str], parse: Parser[_Thing], *, what: str
) -> dict[str, _Thing]:
    """Read files; two of one id would make the law depend on their order.

    Args:
        files: file name -> text.
        parse: reads one.
        what: what they are, in the plural.

    Raises:
        DataError: as `parse`, or a doubled id.
    """
    things: dict[str, _Thing] = {}
    for name, text in files.items():
        thing = parse(text, name=name)
        if thing.id in things:
            raise DataError(f"two {what} have the id {thing.id}; rename that of {name}")
        things[thing.id] = thing
    return things
