"""Imports series into a ledger, or shows what they would make in one.

Owns: the collector an import runs where none is named, and what is declared of devices that are
no more.
May touch: the series; one ledger, through a collector of its own or a running one.
Called by ``flopmeter import`` and ``flopmeter replay``; docs/adr/0036-bulk-telemetry.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flopmeter.lab.bulk.done_file import DoneFile
from flopmeter.lab.bulk.load import Loaded, Progress, Series, load, series_at
from flopmeter.lab.bulk.metering import Metered
from flopmeter_collector import backends
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.device_declarations import DEVICE_KIND, DeviceState
from flopmeter_collector.ledger.base import AuditRow, Declaration
from flopmeter_collector.presentation import totals_document
from flopmeter_collector.spans import time_text
from flopmeter_core.allocations import RUN_PREFIX
from flopmeter_core.errors import UsageError
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.credentials import check_plaintext

Tell = Callable[[Progress], None]


def import_series(
    paths: Sequence[Path],
    *,
    ledger: str = "",
    collector: str = "",
    author: str,
    clock: Clock,
    done_file: Path,
    jobs: int | None = None,
    progress: Tell = lambda progress: None,
) -> Loaded:
    """Take series into a ledger.

    Args:
        paths: files and folders of them.
        ledger: the ledger, which no other collector has open unless it is on a server.
        collector: in its place, ``host:port`` of a running collector on this host.
        author: who imports, for the audit log.
        clock: dates what is declared.
        done_file: where it is noted what was imported.
        jobs: processes that meter.
        progress: told how far it is.

    Raises:
        FlopmeterError: a series or the ledger is not usable; what was acknowledged stays.
    """
    every = series_at(paths)
    done = DoneFile(done_file)
    software = importlib.metadata.version("flopmeter")
    with contextlib.closing(done):
        if collector:
            check_plaintext(
                collector, allow_plaintext=False, remedy="import on the collector's own host"
            )
            return asyncio.run(
                load(every, collector, software=software, done=done, jobs=jobs, progress=progress)
            )
        retire = _Retiring(ledger, every, author, clock)

        async def run() -> Loaded:
            async with _collector(ledger, every, clock) as app:
                return await load(
                    every,
                    app.grpc_address,
                    software=software,
                    done=done,
                    in_ledger=retire.in_ledger,
                    jobs=jobs,
                    progress=progress,
                    acknowledged=retire.acknowledged,
                )

        return asyncio.run(run())


def replay_series(
    paths: Sequence[Path],
    declared: Mapping[str, str],
    *,
    clock: Clock,
    progress: Tell = lambda progress: None,
) -> dict[str, Any]:
    """The totals that series make in a ledger of their own, which is gone afterwards.

    Args:
        paths: files and folders of them.
        declared: what is declared of their run.
        clock: the collector's.
        progress: told how far it is.

    Returns:
        The object of ``flopmeter totals --json``.

    Raises:
        FlopmeterError: a series is not usable, or something is declared of several runs.
    """
    every = series_at(paths)
    software = importlib.metadata.version("flopmeter")

    async def run(folder: Path) -> dict[str, Any]:
        runs: set[str] = set()

        def note(metered: Metered) -> None:
            runs.update(
                each.key.allocation.removeprefix(RUN_PREFIX)
                for each in metered.vectors
                if each.key.allocation.startswith(RUN_PREFIX)
            )

        async with _collector(str(folder / "ledger.sqlite"), every, clock) as app:
            await load(
                every, app.grpc_address, software=software, progress=progress, acknowledged=note
            )
            if declared:
                if len(runs) != 1:
                    raise UsageError(
                        f"the series hold {len(runs)} runs, so it is not clear which is declared; "
                        "import them into a ledger and use flopmeter run declare"
                    )
                await app.declare(runs.pop(), dict(declared), author="replay", source="recording")
            published = await app.evaluate_now()
            return totals_document(published.snapshot, app.thresholds)

    with tempfile.TemporaryDirectory(prefix="flopmeter-replay-") as folder:
        return asyncio.run(run(Path(folder)))


@contextlib.asynccontextmanager
async def _collector(
    ledger: str, every: Sequence[Series], clock: Clock
) -> AsyncIterator[CollectorApp]:
    """A collector of this process alone, on a free port of loopback."""
    simulated = every[0].head.record.simulated
    config = CollectorConfig(
        ledger=ledger,
        simulated=simulated,
        grpc_listen="127.0.0.1:0",
        http_listen="",
        maximum_work_per_node_s=0,
        maximum_work_per_address_s=0,
        # A device's past is as long as it is: the share is for nodes that report.
        maximum_hours_per_node=1 << 40,
    )
    # What crosses a line is for the ledger's own collectors to find: they know the site's law.
    app = CollectorApp(config, clock, evaluates=False)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


class _Retiring:
    """Declares that devices known from series alone are not awaited any more.

    A collector enrols a device with its first vector and misses it from then on, so it is retired
    as of its last reading, which was before: an import that goes on after a kill says the same. Of
    one that a running agent reports too, nothing is declared.
    """

    def __init__(self, ledger: str, every: Sequence[Series], author: str, clock: Clock) -> None:
        self._ledger, self._author, self._clock = ledger, author, clock
        self._began_ns = clock.wall_ns()
        self._settled: set[str] = set()
        own = {each.head.identity for each in every}
        newest: dict[str, int] = {}
        # No ledger is there yet: the collector makes one.
        with contextlib.suppress(UsageError), contextlib.closing(backends.read(ledger)) as read:
            for stored in read.vectors():
                incarnation = stored.key.incarnation
                newest[incarnation] = max(stored.sequence, newest.get(incarnation, 0))
                if incarnation not in own:
                    self._settled.add(stored.key.device)
            for row in read.declarations():
                if row.kind == DEVICE_KIND:
                    self._settled.add(row.subject)
        self.in_ledger = newest

    def acknowledged(self, metered: Metered) -> None:
        """Declare the device of a series retired, once."""
        device = metered.head.record.device
        if device in self._settled:
            return
        self._settled.add(device)
        reason = "its telemetry was imported"
        now_ns = self._clock.wall_ns()
        # A clock that was ahead as it was recorded must not leave the device awaited until then.
        last_ns = min(metered.head.epoch_ns + metered.last_ns, self._began_ns)
        body = {"state": DeviceState.RETIRED.value, "at": time_text(last_ns), "reason": reason}
        backends.declare(
            self._ledger,
            Declaration(
                sequence=0,
                declared_at_ns=now_ns,
                author=self._author,
                source="import",
                kind=DEVICE_KIND,
                subject=device,
                body=body,
            ),
            audit=AuditRow(
                sequence=0,
                recorded_at_ns=now_ns,
                author=self._author,
                reason=reason,
                action=f"device {DeviceState.RETIRED}",
                content=json.dumps({"subject": device, **body}, sort_keys=True),
            ),
        )
