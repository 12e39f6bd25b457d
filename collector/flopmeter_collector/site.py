"""The law as a site applies it: what flopmeter ships, an update that was installed, its own files.

Owns: the folder of a site's own files and of an installed update, and how both are read.
May touch: that folder, read only; the host's time zones.
Called by the collector's app and by the command line, so that both apply the same law.
Explained in docs/thresholds.md.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from flopmeter_collector.held import time_zone
from flopmeter_core.catalogue import Threshold
from flopmeter_core.errors import DataError, not_text, unreadable
from flopmeter_core.lawbook import (
    LawBook,
    LawFiles,
    builtin_lawbook,
    check_references,
    joined,
    parse_lawbook,
    updated,
)

if TYPE_CHECKING:
    from flopmeter_collector.law_packages import Package

THRESHOLDS_FOLDER = Path("/etc/flopmeter/thresholds.d")
"""Where a site keeps files of its own; a host without the folder has none."""

UPDATE_FILE = "update.package"
"""An installed update and the public key it was signed for, in the folder."""

MAXIMUM_FILE_BYTES = 1024 * 1024
"""A row is a page; a greater file is none."""

STALE_DAYS = 90
"""Older than this, what a row says should be looked at again."""


def thresholds_in_force(folder: Path) -> tuple[Threshold, ...]:
    """All rows a site applies, in the order of their numbers; as `read_law`."""
    return read_law(folder).rows


def read_law(folder: Path, *, update: LawBook | None = None) -> LawBook:
    """Read what is built in, then an installed update, then the site's own files.

    Args:
        folder: one row a ``.toml`` file, profiles and calendars in folders of these names; it may
            be missing only at its usual place.
        update: what to read in the place of the installed update, to see what it would change.

    Raises:
        UsageError: a folder that was named and is not there, or a file that cannot be read.
        DataError: a file is wrong, two have one id, or an update is not signed by its key.
    """
    base, own = builtin_lawbook(), LawFiles()
    if folder != THRESHOLDS_FOLDER or folder.exists():
        own = own_files(folder)
        if update is None and (package := installed_update(folder)) is not None:
            update = package.book
    if update is not None:
        base = updated(base, update)
    book = check_references(joined(base, parse_lawbook(own)))
    check_zones(book.rows)
    return book


def own_files(folder: Path) -> LawFiles:
    """The files of a folder, by their full names.

    Raises:
        UsageError: it cannot be read.
        DataError: a file that is too large, or no text.
    """
    return LawFiles(
        thresholds=_texts(folder),
        profiles=_texts(folder / "profiles", optional=True),
        calendars=_texts(folder / "calendars", optional=True),
    )


def installed_update(folder: Path) -> Package | None:
    """The update that was installed in a folder; None without one.

    Raises:
        UsageError: it cannot be read.
        DataError: it is not signed by the key beside it, or says something wrong.
    """
    if not (folder / UPDATE_FILE).exists():
        return None
    # Only here: a host that reads the catalogue alone needs no cryptography.
    from flopmeter_collector.law_packages import installed

    return installed(folder / UPDATE_FILE)


def check_zones(rows: Iterable[Threshold]) -> None:
    """Refuse a row whose time zone this host does not know.

    Raises:
        DataError: the row and its zone.
    """
    for row in rows:
        try:
            time_zone(row.time_zone)
        except DataError as error:
            raise DataError(f"threshold {row.id}: {error}") from error


def stale_rows(rows: Iterable[Threshold], today: datetime.date) -> tuple[Threshold, ...]:
    """The laws that nobody looked at for more than `STALE_DAYS`."""
    limit = today - datetime.timedelta(days=STALE_DAYS)
    return tuple(row for row in rows if row.checked_on < limit and not row.demonstration)


def stale_sentence(rows: Iterable[Threshold], today: datetime.date) -> str:
    """Say that rows are old, in one sentence; empty where none is."""
    stale = stale_rows(rows, today)
    if not stale:
        return ""
    oldest = min(row.checked_on for row in stale)
    count = f"{len(stale)} threshold row{'s were' if len(stale) > 1 else ' was'}"
    return (
        f"{count} last checked more than {STALE_DAYS} days ago (the oldest on "
        f"{oldest.isoformat()}); laws change: install an update, or check them and correct "
        "checked_on in rows of your own"
    )


def _texts(folder: Path, *, optional: bool = False) -> dict[str, str]:
    if optional and not folder.exists():
        return {}
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except OSError as error:
        hint = "name another folder with --thresholds-dir"
        raise unreadable(f"the threshold rows in {folder}", error, hint) from error
    return {str(path): law_text(path) for path in paths}


def law_text(path: Path) -> str:
    """The text of a file of the law.

    Raises:
        UsageError: it cannot be read.
        DataError: it is too large, or no text.
    """
    try:
        if path.stat().st_size > MAXIMUM_FILE_BYTES:
            raise DataError(f"{path} has more than {MAXIMUM_FILE_BYTES} bytes; divide it")
        return path.read_text("utf-8")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise not_text(path) from error
