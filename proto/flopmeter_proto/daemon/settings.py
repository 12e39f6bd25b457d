"""Layered settings: default, then file, then environment, then flag, into a frozen dataclass.

Owns: the order of the layers, typing of each value, and the record of where each value came from.
May touch: the one TOML file it is named (reading); the environment is handed in, never read here.
Called by the agent's and the collector's config modules, which own the dataclasses and their
checks, and by the command line, which makes a flag of each field; docs/configuration.md.

A schema is a frozen dataclass whose fields are made with `setting`. Types a field may have: str,
int, float, bool, Path, tuple[str, ...], a StrEnum, and any of them ``| None``. A field without
default is required.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from flopmeter_core.errors import UsageError, invariant, unreadable
from flopmeter_core.values import value_class

Schema = TypeVar("Schema")

ENVIRONMENT_PREFIX = "FLOPMETER_"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def setting(default: Any = dataclasses.MISSING, *, description: str = "") -> Any:
    """Make a field of a schema.

    Args:
        default: the value of the lowest layer; a field without one has to be set by another layer.
        description: what the value means, in one line; shown by ``--help`` and ``config print``.
    """
    return dataclasses.field(default=default, metadata={"description": description})


class Kind(NamedTuple):
    """The type of a field.

    Attributes:
        base: str, int, float, bool, Path or a StrEnum class.
        many: whether the value is a tuple of `base`.
        optional: whether None is allowed (and then the default).
    """

    base: type
    many: bool = False
    optional: bool = False

    @property
    def words(self) -> str:
        """The type as an error calls it."""
        if issubclass(self.base, enum.StrEnum):
            one = "one of " + ", ".join(self.base)
        else:
            one = _WORDS[self.base]
        return f"a list, each {one}" if self.many else one


_WORDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}


class SettingField(NamedTuple):
    """One key of a schema: what the command line and the documentation need to know of it."""

    key: str
    kind: Kind
    default: object
    description: str

    @property
    def required(self) -> bool:
        """Whether some layer above the default has to set it."""
        return self.default is dataclasses.MISSING

    @property
    def flag(self) -> str:
        """The key as a flag: ``--sample-period-s``."""
        return "--" + self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        """The key as an environment variable: ``FLOPMETER_SAMPLE_PERIOD_S``."""
        return ENVIRONMENT_PREFIX + self.key.upper()


@value_class(frozen=True, slots=True)
class Loaded(Generic[Schema]):
    """A configuration and where each of its values came from.

    Attributes:
        config: the dataclass, complete and checked by its own `__post_init__`.
        origins: key -> ``default``, ``file PATH``, ``environment NAME`` or ``flag --name``.
    """

    config: Schema
    origins: Mapping[str, str]


def fields_of(schema: type[object]) -> tuple[SettingField, ...]:
    """List the keys of a schema in the order they are written.

    Raises:
        InvariantError: a field of a type this module cannot read.
    """
    invariant(dataclasses.is_dataclass(schema), f"{schema.__name__} is a dataclass")
    hints = typing.get_type_hints(schema)
    return tuple(
        SettingField(
            key=entry.name,
            kind=_kind(hints[entry.name], entry.name),
            default=entry.default
            if entry.default_factory is dataclasses.MISSING
            else entry.default_factory(),
            description=str(entry.metadata.get("description", "")),
        )
        for entry in dataclasses.fields(schema)  # type: ignore[arg-type]
        if entry.init
    )


def load(
    schema: type[Schema],
    *,
    file: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    file_must_exist: bool = True,
) -> Loaded[Schema]:
    """Read all layers.

    Args:
        schema: the frozen dataclass to fill.
        file: the TOML file, or None to read none.
        environ: the process environment; variables that are no key are ignored, because a
            cluster sets some of its own (Kubernetes writes FLOPMETER_COLLECTOR_SERVICE_HOST for
            a service of that name).
        flags: key -> value of the flags that were given; None means not given.
        file_must_exist: whether a missing file is an error (it is when a person named it).

    Raises:
        UsageError: an unknown key, a value of a wrong type, a required key nobody set, or
            whatever the schema's own `__post_init__` refuses.
        StorageError: the file cannot be read.
    """
    known = {entry.key: entry for entry in fields_of(schema)}
    values: dict[str, object] = {}
    origins = dict.fromkeys(known, "default")
    for key, raw in _read_file(file, file_must_exist).items():
        if key not in known:
            raise UsageError(f"{file} has an unknown key {key!r}{_suggestion(key, known)}")
        values[key] = _from_toml(raw, known[key].kind, where=f"{file}: {key}")
        origins[key] = f"file {file}"
    for key, entry in known.items():
        text = environ.get(entry.variable)
        if text is not None:
            values[key] = from_text(text, entry.kind, where=entry.variable)
            origins[key] = f"environment {entry.variable}"
    for key, given in flags.items():
        invariant(key in known, f"flag {key} is a key of {schema.__name__}")
        if given is not None:
            where = known[key].flag
            values[key] = (
                from_text(given, known[key].kind, where=where) if isinstance(given, str) else given
            )
            origins[key] = f"flag {where}"
    for entry in known.values():
        if entry.required and entry.key not in values:
            place = f"{entry.key} in {file}, " if file else ""
            raise UsageError(f"{entry.key} is not set; set {place}{entry.variable} or {entry.flag}")
    return Loaded(config=schema(**values), origins=origins)


def from_text(text: str, kind: Kind, *, where: str) -> object:
    """Read a value of a flag or of the environment.

    Args:
        text: as it was given; an empty text is None where None is allowed; lists are separated
            by commas.
        kind: the type to read.
        where: the flag or variable, for the error.

    Raises:
        UsageError: the text is not of the type.
    """
    if kind.optional and not text:
        return None
    if kind.many:
        return tuple(_parse(item.strip(), kind, where) for item in text.split(",") if item.strip())
    return _parse(text, kind, where)


def _parse(text: str, kind: Kind, where: str) -> object:
    if kind.base is bool:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise UsageError(f"{where} must be {kind.words}, not {text!r}")
    parse: Callable[[str], object] = kind.base
    try:
        parsed = parse(text)
    except ValueError as error:
        raise UsageError(f"{where} must be {kind.words}, not {text!r}") from error
    return _finite(parsed, kind, where)


def _from_toml(raw: object, kind: Kind, *, where: str) -> object:
    """Check a value TOML has typed already; only a whole number may stand for a number."""
    if kind.many:
        if not isinstance(raw, list):
            raise UsageError(f"{where} must be {kind.words}, not {raw!r}")
        one = kind._replace(many=False)
        return tuple(_from_toml(item, one, where=where) for item in raw)
    if kind.base is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(raw, str) and (kind.base is Path or issubclass(kind.base, enum.StrEnum)):
        return _parse(raw, kind, where)
    # A bool is an int to Python, never to a reader.
    if not isinstance(raw, kind.base) or (isinstance(raw, bool) and kind.base is not bool):
        raise UsageError(f"{where} must be {kind.words}, not {raw!r}")
    return _finite(raw, kind, where)


def _finite(parsed: object, kind: Kind, where: str) -> object:
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise UsageError(f"{where} must be {kind.words}, not {parsed}")
    return parsed


def _read_file(file: Path | None, must_exist: bool) -> Mapping[str, object]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if must_exist:
            raise unreadable(file, error, "write it or name another") from error
        return {}
    except OSError as error:
        raise unreadable(file, error) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not valid TOML: {error}") from error


def _suggestion(key: str, known: Mapping[str, SettingField]) -> str:
    import difflib  # For a mistake alone: no start waits for it.

    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; the keys are {', '.join(sorted(known))}"


def _kind(hint: object, name: str) -> Kind:
    """The kind of a type annotation."""
    optional = False
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        members = [member for member in typing.get_args(hint) if member is not types.NoneType]
        optional = len(members) < len(typing.get_args(hint))
        invariant(len(members) == 1, f"setting {name} has one type besides None")
        hint = members[0]
    many = typing.get_origin(hint) is tuple
    if many:
        hint = typing.get_args(hint)[0]
    # typing.NewType carries the type it stands for.
    hint = getattr(hint, "__supertype__", hint)
    invariant(
        isinstance(hint, type) and (hint in _WORDS or issubclass(hint, enum.StrEnum)),
        f"setting {name} has a type settings can read",
    )
    assert isinstance(hint, type)
    return Kind(base=hint, many=many, optional=optional)
