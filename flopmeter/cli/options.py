"""Flags made from a daemon's settings, so that no flag and no key can drift apart.

Owns: the translation of a settings schema into click options and back into a configuration.
May touch: the process environment and the one settings file (through daemon.settings).
Called by the `agent`, `collector` and `config` commands.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from flopmeter_proto.daemon.settings import Loaded, SettingField, fields_of, load

Schema = TypeVar("Schema")
Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(schema: type[object], *, file: Path) -> Callable[[Command], Command]:
    """Give a command one flag a key of `schema`, and ``--config`` for its file.

    Args:
        schema: the daemon's frozen dataclass.
        file: the settings file read when ``--config`` is not given.
    """

    def decorate(function: Command) -> Command:
        for entry in reversed(fields_of(schema)):
            function = _option(entry)(function)
        return click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"Settings file in TOML.  [default: {file}, if it exists]",
        )(function)

    return decorate


def read_settings(
    schema: type[Schema],
    *,
    default_file: Path,
    config_file: Path | None,
    flags: Mapping[str, object],
) -> Loaded[Schema]:
    """Read default, file, environment and flags into the schema.

    Raises:
        UsageError, StorageError: as `flopmeter_proto.daemon.settings.load`.
    """
    return load(
        schema,
        file=config_file or default_file,
        environ=os.environ,
        flags=flags,
        file_must_exist=config_file is not None,
    )


_PASSWORD = re.compile(r"(^\w+://[^:/@]*):[^/]*@")
"""Whatever stands between a URL's user and its host."""


def printable(setting: object) -> object:
    """A setting as a plain JSON value."""
    if isinstance(setting, tuple):
        return [printable(item) for item in setting]
    if isinstance(setting, Path | enum.StrEnum):
        return str(setting)
    if isinstance(setting, str):
        return _PASSWORD.sub(r"\1:...@", setting)
    return setting


def _option(entry: SettingField) -> Callable[[Command], Command]:
    """One flag. Its value stays None when not given, so that lower layers show through."""
    if entry.kind.base is bool:
        declaration = f"{entry.flag}/--no-{entry.flag.removeprefix('--')}"
        return click.option(declaration, entry.key, default=None, help=_help(entry))
    return click.option(
        entry.flag, entry.key, default=None, metavar=_metavar(entry), help=_help(entry)
    )


def _metavar(entry: SettingField) -> str:
    base = entry.kind.base
    if issubclass(base, enum.StrEnum):
        return "|".join(base)
    one = {int: "N", float: "NUMBER", Path: "PATH"}.get(base, "TEXT")
    return f"{one},..." if entry.kind.many else one


def _help(entry: SettingField) -> str:
    default = entry.default
    if default is dataclasses.MISSING:
        return f"{entry.description}  [required]"
    if default in (None, "", ()) or isinstance(default, bool):
        return entry.description
    if isinstance(default, tuple):
        default = ",".join(str(item) for item in default)
    return f"{entry.description}  [default: {default}]"
