"""`flopmeter top`: runs and models of a collector, again and again.

Owns: the command's arguments, the pace, and what happens while nobody answers.
May touch: one HTTP request a period; standard output.
Called by the command line; what is shown is lab.top_view's.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from flopmeter.cli.output import console, json_option
from flopmeter.cli.sources import COLLECTOR_URL
from flopmeter_core.errors import UnreachableError

if TYPE_CHECKING:
    from flopmeter.lab.top_view import Moment

LINES_BESIDE = 8
"""Of a terminal's lines, those that are no row of a table."""


@click.command("top")
@click.option("--collector", metavar="URL", help=f"HTTP address.  [default: {COLLECTOR_URL}]")
@click.option(
    "--period-s", "period_s", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True,
    metavar="SECONDS", help="How long between two looks.",
)  # fmt: skip
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N looks.")
@json_option
def command(collector: str | None, period_s: float, count: int | None, as_json: bool) -> None:
    """Watch runs and models against the lines of the law, until Ctrl-C.

    On a terminal the page is drawn anew at each look; in a pipe, and with --json, each look is one
    line.
    """
    from flopmeter.lab.collector_api import fetch_totals
    from flopmeter.lab.top_view import document, live_view, plain_line

    url = collector or COLLECTOR_URL
    # The first look fails as every command does; a later one is shown and tried again.
    looks = _looks(lambda: fetch_totals(url), period_s, count)
    out = console()
    if as_json or not out.is_terminal:
        for moment, failure in looks:
            if failure:
                click.echo(f"flopmeter: {failure}", err=True)
            elif as_json:
                click.echo(json.dumps(document(moment), ensure_ascii=False))
            else:
                click.echo(plain_line(moment))
        return
    from rich.live import Live

    with Live(console=out, screen=count is None, auto_refresh=False) as live:
        for moment, failure in looks:
            rows = max(6, out.size.height - LINES_BESIDE)
            live.update(live_view(moment, rows=rows, note=failure), refresh=True)


def _looks(
    fetch: Callable[[], dict[str, Any]], period_s: float, count: int | None
) -> Iterator[tuple[Moment, str]]:
    """One moment a look; where nobody answered, the one before it and why.

    Raises:
        FlopmeterError: nobody answers the first look, or something that is no collector answers.
    """
    from flopmeter.lab.top_view import Moment

    moment = Moment(fetch())
    yield moment, ""
    for _ in itertools.count() if count is None else range(count - 1):
        time.sleep(period_s)
        try:
            moment = moment.after(fetch())
        except UnreachableError as error:
            yield moment, str(error)
        else:
            yield moment, ""
