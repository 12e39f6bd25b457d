"""Files of the law, checked before anybody uses them: every fault, not only the first.

Owns: which parser a file is for, and the list of what is wrong.
May touch: the files it is told to read; the host's time zones.
Called by the command line; the parsers and their sentences are core's. docs/thresholds.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from flopmeter_collector.site import check_zones, law_text, own_files
from flopmeter_core.calendars import parse_calendar
from flopmeter_core.errors import DataError
from flopmeter_core.lawbook import builtin_lawbook, check_references, joined, parse_lawbook
from flopmeter_core.profiles import parse_profile
from flopmeter_core.threshold_files import parse_threshold


class _Parser(Protocol):
    def __call__(self, text: str, *, name: str) -> object: ...


_BY_FOLDER: Mapping[str, _Parser] = {"profiles": parse_profile, "calendars": parse_calendar}
"""Everything that lies in no folder of these names is a row."""


def faults(path: Path) -> Iterator[str]:
    """One sentence for each thing that is wrong with a file, or with a folder of files.

    Args:
        path: a row's file, a profile's or calendar's in a folder of that name, or a site's folder.

    Raises:
        UsageError: it cannot be read.
    """
    if not path.is_dir():
        yield from _wrong([(str(path), law_text(path))], _BY_FOLDER.get(path.parent.name))
        return
    files = own_files(path)
    found = [
        *_wrong(files.thresholds.items(), None),
        *_wrong(files.profiles.items(), parse_profile),
        *_wrong(files.calendars.items(), parse_calendar),
    ]
    yield from found
    if not found:
        yield from _misfits(path)


def _wrong(texts: Iterable[tuple[str, str]], parse: _Parser | None) -> Iterator[str]:
    for name, text in texts:
        try:
            (parse or parse_threshold)(text, name=name)
        except DataError as error:
            yield str(error)


def _misfits(folder: Path) -> Iterator[str]:
    """What is wrong only with all files together: a doubled id, a name that is not there."""
    try:
        own = parse_lawbook(own_files(folder))
        check_zones(check_references(joined(builtin_lawbook(), own)).rows)
    except DataError as error:
        yield str(error)
