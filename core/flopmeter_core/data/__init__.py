"""The tables flopmeter ships, as package data.

Owns: finding the text of a built-in table.
May touch: this package's own files, read only.
Called by whoever needs a table; parsing stays in devices and catalogue, which take text.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def builtin_table(name: str) -> str:
    """The text of a built-in table, for instance ``devices.toml``.

    A table that has outgrown one file is a folder of the same name without ``.toml``: its files
    in order of their names make one text.
    """
    place = _FOLDER / name
    if place.is_file():
        return place.read_text(encoding="utf-8")
    folder = _FOLDER / name.removesuffix(".toml")
    files = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return "\n".join(f.read_text(encoding="utf-8") for f in files if f.name.endswith(".toml"))


def builtin_thresholds() -> dict[str, str]:
    """The built-in threshold rows: file name -> text."""
    return _folder("thresholds")


def builtin_profile_texts() -> dict[str, str]:
    """The built-in counting profiles: file name -> text."""
    return _folder("profiles")


def builtin_calendar_texts() -> dict[str, str]:
    """The built-in calendars: file name -> text."""
    return _folder("calendars")


def _folder(name: str) -> dict[str, str]:
    folder = _FOLDER / name
    files = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return {f.name: f.read_text(encoding="utf-8") for f in files if f.name.endswith(".toml")}


def builtin_filing_texts() -> dict[str, str]:
    """The built-in filing forms: file name -> text."""
    return _folder("filings")
