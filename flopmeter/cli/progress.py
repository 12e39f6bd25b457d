"""The progress bar of a command that reads for long.

Owns: how it looks: share, rate and time left.
May touch: standard error, and nothing where that is no terminal.
Called by `flopmeter import` and `flopmeter replay`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from flopmeter.cli.output import console

if TYPE_CHECKING:
    from flopmeter.lab.bulk.load import Progress


@contextlib.contextmanager
def bar(what: str, *, shown: bool = True) -> Iterator[Callable[[Progress], None]]:
    """A bar for as long as the context lasts; yields what moves it.

    Args:
        what: is done, for instance ``importing``.
        shown: whether there is a bar at all.
    """
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    out = console(stderr=True)
    with Bar(*columns, console=out, disable=not (shown and out.is_terminal)) as drawn:
        task = drawn.add_task(what, total=None, rate="")

        def tell(progress: Progress) -> None:
            elapsed_s = drawn.tasks[0].elapsed or 0.0
            per_s = progress.rows / elapsed_s if elapsed_s else 0.0
            drawn.update(
                task,
                total=progress.all_bytes,
                completed=progress.done_bytes,
                rate=f"{per_s:.2g} readings/s, {progress.series} of {progress.all_series}",
            )

        yield tell
