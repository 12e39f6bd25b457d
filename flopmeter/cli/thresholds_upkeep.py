"""`flopmeter thresholds check|lint|diff|update|pack`: keep the catalogue right and fresh.

Owns: these commands' arguments and what they print.
May touch: files of the law (reading), a package (writing), the folder an update is installed in;
the clock; standard output.
Called by cli.thresholds, which they are commands of; the work is collector.site's, law_lint's,
law_packages' and law_changes'. docs/thresholds.md.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path

import click

from flopmeter.cli.output import console, json_option, print_json
from flopmeter.cli.thresholds_options import as_of_option, day_of, folder_option, today
from flopmeter_collector.law_changes import Change, changes
from flopmeter_collector.law_days import check_law_day
from flopmeter_collector.law_lint import faults
from flopmeter_collector.site import (
    UPDATE_FILE,
    installed_update,
    law_text,
    own_files,
    read_law,
    stale_rows,
    stale_sentence,
)
from flopmeter_core.errors import DataError, StorageError, UsageError, unreadable
from flopmeter_core.lawbook import LawFiles
from flopmeter_core.verification import Verification

file_type = click.Path(path_type=Path)
day_type = click.DateTime(["%Y-%m-%d"])


@click.command("check")
@folder_option
@json_option
def check(folder: Path, as_json: bool) -> int:
    """Say how well the catalogue is known and how old it is.

    Exit code 0 when every row was checked within 90 days, 1 otherwise.
    """
    rows = [row for row in read_law(folder).rows if not row.demonstration]
    stale = stale_rows(rows, today())
    unknown = [row.id for row in rows if any(event.date is None for event in row.events)]
    known = {grade: [r.id for r in rows if r.verification is grade] for grade in Verification}
    if as_json:
        print_json(
            {
                "schema": 1,
                "rows": len(rows),
                "verification": {grade.value: names for grade, names in known.items()},
                "unknown_dates": unknown,
                "stale": [row.id for row in stale],
            }
        )
        return int(bool(stale))
    click.echo(f"{len(rows)} rows; the profiles, calendars and rows they name are there")
    for grade, names in known.items():
        click.echo(f"{grade}: {len(names)}")
    click.echo(f"with a date that is unknown: {len(unknown)}")
    click.echo(stale_sentence(rows, today()) or "each was checked within 90 days")
    return int(bool(stale))


@click.command("lint")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=file_type)
@json_option
def lint(paths: tuple[Path, ...], as_json: bool) -> int:
    """Check files of rows, profiles and calendars, or folders of them, before they are used.

    Exit code 0 when all are right, 65 with one sentence for each that is not.
    """
    found = [sentence for path in paths for sentence in faults(path)]
    if as_json:
        print_json({"schema": 1, "findings": found})
    else:
        click.echo("\n".join(found) or "nothing to mend")
    return DataError.exit_code if found else 0


@click.command("diff")
@click.argument("package", type=file_type, required=False)
@click.option("--key", type=file_type, help="The public key of PACKAGE, as PEM.")
@click.option("--from", "since", type=day_type, help="The first of two days.")
@click.option("--to", "until", type=day_type, help="The second, or the only one.  [default: today]")
@folder_option
@json_option
def diff(
    package: Path | None,
    key: Path | None,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Say what differs between two days, or with the update PACKAGE; nothing is changed."""
    if (package is None) == (since is None) or (package is None) != (key is None):
        raise UsageError("name two days with --from and --to, or a package and its --key")
    book, day = read_law(folder), day_of(until)
    for option, said in (("--from", since), ("--to", until)):
        if said is not None:
            check_law_day(said.date(), book.rows, option=option)
    if package is None or key is None:
        found = changes(book, book, day_before=day_of(since), day_after=day)
    else:
        from flopmeter_collector.law_packages import unpack

        signed = unpack(law_text(package), _bytes(key), name=str(package))
        after = read_law(folder, update=signed.book)
        found = changes(book, after, day_before=day, day_after=day)
    if as_json:
        print_json({"schema": 1, "changes": [change.document() for change in found]})
    else:
        _print_changes(found)


@click.command("update")
@click.argument("package", type=file_type)
@click.option("--key", type=file_type, required=True, help="The public key of PACKAGE, as PEM.")
@click.option("--apply", is_flag=True, help="Install it; without this nothing is changed.")
@as_of_option
@folder_option
@json_option
def update(
    package: Path,
    key: Path,
    apply: bool,
    as_of: datetime.datetime | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Check the signed update PACKAGE, say what it changes, and install it with --apply.

    A collector reads it within seconds, or at its next start.
    """
    from flopmeter_collector.law_packages import install, unpack

    signed = unpack(law_text(package), _bytes(key), name=str(package))
    day = day_of(as_of)
    after = read_law(folder, update=signed.book)
    found = changes(read_law(folder), after, day_before=day, day_after=day)
    if not as_json:
        _print_changes(found)
    if apply:
        before = installed_update(folder)
        install(signed, _bytes(key), folder / UPDATE_FILE, before=before)
    if as_json:
        documents = [change.document() for change in found]
        print_json({"schema": 1, "applied": apply, "changes": documents})
    elif apply:
        click.echo(f"installed as {folder / UPDATE_FILE}; collectors read it within seconds")
    else:
        click.echo("nothing was changed; install it with --apply")


@click.command("pack")
@click.argument("source", metavar="FOLDER", type=file_type)
@click.option("--key", type=file_type, required=True, help="The private key, as PEM.")
@click.option("--output", type=file_type, required=True, help="The new package.")
@click.option("--issued-on", type=day_type, help="The day it is made.  [default: today]")
@click.option("--note", default="", help="What it brings, for people.")
def pack_files(
    source: Path, key: Path, output: Path, issued_on: datetime.datetime | None, note: str
) -> None:
    """Make a signed update of the rows, profiles and calendars in FOLDER."""
    from flopmeter_collector.law_packages import pack

    found = own_files(source)
    files = LawFiles(*map(_short, (found.thresholds, found.profiles, found.calendars)))
    day = today() if issued_on is None else issued_on.date()
    text = pack(files, issued_on=day, note=note, private_key=_bytes(key))
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise StorageError(f"the package {output} cannot be written: {error.strerror}") from error
    click.echo(f"{output}: {len(files.thresholds)} rows, issued on {day.isoformat()}")


def _short(files: Mapping[str, str]) -> dict[str, str]:
    """Files by their names without folders, which say nothing on another host."""
    return {Path(name).name: text for name, text in files.items()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(f"the key {path}", error) from error


def _print_changes(found: list[Change]) -> None:
    if not found:
        click.echo("nothing differs")
        return
    from flopmeter.lab.listing import Column, Listing

    table = Listing("", "id", "what", Column("before", aside=2), Column("after", aside=1))
    for change in found:
        table.add(change.what, change.id, change.field, change.before, change.after)
    console().print(table)
