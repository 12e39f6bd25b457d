"""Takes many series into a ledger: metered in processes, sent over one stream, resumable.

Owns: which series there are, in which order they go, and what is told of the way.
May touch: the series, read only; the file of what is done; processes it starts; one stream to a
collector.
Called by ``flopmeter import`` and ``flopmeter replay``; docs/adr/0036-bulk-telemetry.md.

A series is sent when all of it is metered, so a kill loses the series in hand and no more; whatever
was sent before is sent again as the same vectors.
"""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flopmeter.lab.bulk.done_file import DoneFile, Extent
from flopmeter.lab.bulk.metering import Metered, meter_file
from flopmeter.lab.bulk.packing import SUFFIX
from flopmeter.lab.bulk.series_file import SeriesHead, SeriesReader
from flopmeter_core.errors import DataError, StorageError, unreadable
from flopmeter_core.reports import Answer, Durability, Hello, LedgerPosition, Report
from flopmeter_proto.link import Link, StreamEndedError

HOURS_PER_REPORT = 500

LOOK_S = 0.2
"""How often progress is told."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is.

    Attributes:
        done_bytes, all_bytes: of the series that are imported now.
        rows: readings metered.
        series, all_series: how many are done, of how many.
    """

    done_bytes: int
    all_bytes: int
    rows: int
    series: int
    all_series: int


@dataclass(slots=True)
class Loaded:
    """What came of an import.

    Attributes:
        series: imported now.
        skipped: series the ledger had.
        rows: readings metered.
        doubted: those of them that were looked at one by one.
        refused: series -> why the ledger did not take all of it.
        devices: device -> Unix time in ns of its last reading.
    """

    series: int = 0
    skipped: int = 0
    rows: int = 0
    doubted: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    devices: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Series:
    """One series that is to be imported."""

    path: Path
    head: SeriesHead
    size_bytes: int

    @property
    def extent(self) -> Extent:
        """What tells it from the same series with fewer rows."""
        return self.head.identity, self.size_bytes


def is_series(path: Path) -> bool:
    """Whether a path is a series or a folder of them, going by names."""
    if path.is_dir():
        return next(path.glob(f"*{SUFFIX}"), None) is not None
    return path.suffix == SUFFIX


def series_at(paths: Iterable[Path]) -> list[Series]:
    """Every series of some files and folders, in the order of their names.

    Raises:
        DataError: nothing there, a file that is no series, or real beside simulated readings.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(path.glob(f"*{SUFFIX}"))
            if not found:
                raise DataError(f"{path} holds no series; flopmeter pack makes them ({SUFFIX})")
            files += found
        else:
            files.append(path)
    every = []
    for file in files:
        try:
            with file.open("rb", buffering=0) as stream:
                head = SeriesReader(stream, str(file)).head
            every.append(Series(file, head, file.stat().st_size))
        except OSError as error:
            raise unreadable(file, error) from error
    kinds = {each.head.record.simulated for each in every}
    if len(kinds) > 1:
        raise DataError(
            "real and simulated series lie side by side; import each kind into a ledger of its own"
        )
    return every


async def load(
    every: Sequence[Series],
    address: str,
    *,
    software: str,
    done: DoneFile | None = None,
    in_ledger: Mapping[str, int] | None = None,
    jobs: int | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    acknowledged: Callable[[Metered], None] = lambda metered: None,
) -> Loaded:
    """Take series into the ledger of a collector.

    Args:
        every: the series.
        address: ``host:port`` of the collector.
        software: version, for the collector's pages.
        done: what is done already, and where it is noted.
        in_ledger: the newest sequence of each incarnation the ledger holds, where somebody looked.
        jobs: processes that meter; one a core by default.
        progress: told now and then how far it is.
        acknowledged: told each series once all of it is durable.

    Raises:
        FlopmeterError: a series cannot be read, or the collector refuses or is gone; what was
            acknowledged stays.
    """
    source = _Source()
    boot = f"import-{secrets.token_hex(8)}"
    hello = Hello(
        node="import",
        incarnation=secrets.token_hex(16),
        simulated=every[0].head.record.simulated,
        agent_version=software,
        boot_id=boot,
        sensor="import",
        sensor_reason="recorded telemetry is imported",
    )
    try:
        async with Link(address, lambda: hello, source).connect() as stream:
            position = source.position
            held: set[Extent] = set()
            if done is not None and position is not None:
                held = done.at(position, in_ledger)
            waiting = [each for each in every if each.extent not in held]
            loaded = Loaded(skipped=len(every) - len(waiting))
            async for series, metered in _metered(waiting, jobs, loaded, progress):
                source.offer(metered)
                while await stream.exchange():
                    pass
                acknowledged(metered)
                loaded.series += 1
                loaded.rows += metered.rows
                loaded.doubted += metered.doubted
                if source.refused:
                    loaded.refused[str(series.path)] = source.refused
                elif done is not None:
                    assert source.position is not None
                    # Last: what is noted as done is never looked at again.
                    newest = max((each.sequence for each in metered.vectors), default=0)
                    done.add(series.extent, source.position, newest)
                device = metered.head.record.device
                last_ns = metered.head.epoch_ns + metered.last_ns
                loaded.devices[device] = max(last_ns, loaded.devices.get(device, 0))
            return loaded
    except StreamEndedError as error:
        raise StorageError(f"the collector took no more: {error.sentence}") from error


class _Source:
    """The reports of one series at a time, as a link asks for them."""

    def __init__(self) -> None:
        self.position: LedgerPosition | None = None
        self.refused = ""
        self._waiting: list[Report] = []

    def offer(self, metered: Metered) -> None:
        """Make the reports of a series: its newest vectors, then its days."""
        self.refused = ""
        head = metered.head
        records = {head.record.record_id: head.record}
        report = functools.partial(
            Report,
            records,
            boot_ns=metered.last_ns,
            wall_ns=head.epoch_ns + metered.last_ns,
        )
        hours = metered.hours
        first = report(tuple(metered.vectors), hours=tuple(hours[:HOURS_PER_REPORT]))
        rest = [
            report((), hours=tuple(hours[start : start + HOURS_PER_REPORT]))
            for start in range(HOURS_PER_REPORT, len(hours), HOURS_PER_REPORT)
        ]
        self._waiting = [first, *rest]

    async def next_report(self) -> Report | None:
        """The next one; None when the series is through."""
        return self._waiting.pop(0) if self._waiting else None

    async def acknowledge(self, answer: Answer) -> None:
        """Note where the ledger stands, and the first thing it did not take."""
        self.position = answer.position
        said = [(each.durability, each.reason) for each in answer.acknowledgements]
        said += [(each.durability, each.reason) for each in answer.hours]
        for durability, reason in said:
            if durability in (Durability.REFUSED, Durability.QUARANTINED):
                self.refused = self.refused or reason


async def _metered(
    waiting: Sequence[Series],
    jobs: int | None,
    loaded: Loaded,
    progress: Callable[[Progress], None],
) -> AsyncIterator[tuple[Series, Metered]]:
    """Each series once it is metered, in the given order."""
    loop = asyncio.get_running_loop()
    # Spawned, not forked: a fork would take threads and sockets of this process along.
    context = multiprocessing.get_context("spawn")
    passed = context.Array("Q", 2)
    all_bytes = sum(each.size_bytes for each in waiting)
    jobs = max(1, min(jobs or len(os.sched_getaffinity(0)), len(waiting)))

    def tell() -> None:
        done, rows = passed[0], passed[1]
        progress(Progress(min(done, all_bytes), all_bytes, rows, loaded.series, len(waiting)))

    with ProcessPoolExecutor(jobs, context, _begin, (passed,)) as pool:
        ahead: list[tuple[Series, asyncio.Future[Metered]]] = []
        try:
            following = iter(waiting)
            while True:
                # No more than each process has one and another waits: the memory is constant.
                while len(ahead) <= jobs and (series := next(following, None)) is not None:
                    future = loop.run_in_executor(pool, _meter, series.path)
                    ahead.append((series, future))
                if not ahead:
                    break
                series, future = ahead.pop(0)
                while not (await asyncio.wait({future}, timeout=LOOK_S))[0]:
                    tell()
                tell()
                yield series, await future
            tell()
        except BrokenProcessPool as error:
            raise StorageError(
                "a process that meters was ended from outside; start the import again and it goes "
                "on where it was"
            ) from error
        finally:
            for _, future in ahead:
                future.cancel()


_passed: Any = None


def _begin(passed: Any) -> None:
    """Set up a process that meters, and ends with the import it works for."""
    global _passed
    _passed = passed
    # A pool's processes wait on a queue that they hold open themselves: an import that was killed
    # would leave them behind.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _meter(path: Path) -> Metered:
    """Meter a series in a process of its own."""

    def count(size_bytes: int, rows: int) -> None:
        with _passed.get_lock():
            _passed[0] += size_bytes
            _passed[1] += rows

    return meter_file(path, count)
