"""A collector's process and its ledger: a real SQLite file, with faults at its commits.

Owns: when a collector, root or relay, starts, dies and starts again, its ledger's files and their
backups.
May touch: one folder of its own; the collector's app through its seams; the oracle is told.
Called by the world and by faults. Everything from the service to the evaluation is production code.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flopmeter.lab.simulation.clock import GROUP, Killed, NodeClock, SimulatedLoop, TaskGroup
from flopmeter.lab.simulation.figures import FigureWatch
from flopmeter.lab.simulation.ledgers import ROOT
from flopmeter.lab.simulation.network import Method, Network
from flopmeter.lab.simulation.oracle import Oracle
from flopmeter.lab.simulation.randomness import Randomness
from flopmeter.lab.simulation.shared import Session, SharedServer
from flopmeter.lab.simulation.topology import Topology
from flopmeter_collector import backends
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.ledger.base import Batch, Ledger, StoredVector
from flopmeter_collector.loading import DEFAULT_READING, Reading
from flopmeter_collector.service import IngestService
from flopmeter_core.errors import FlopmeterError, StorageError
from flopmeter_core.reports import LedgerPosition

SHARED_EVALUATE_S = 5.0
"""A collector of a shared ledger evaluates at least so often (rounds.LONGEST_SHARED_PERIOD_S)."""


LOADING_PARTS = 16
"""Of a ledger that is read slowly: about four evaluations."""


class CommitFault(enum.Enum):
    """What happens to the next commit."""

    KILLED_BEFORE = "killed_before_commit"
    KILLED_AFTER = "killed_after_commit"
    FAILED_BEFORE = "commit_failed"
    FAILED_AFTER = "commit_failed_but_stored"
    TORN = "torn_commit"


class Site:
    """A collector with its ledger."""

    def __init__(
        self,
        folder: Path,
        name: str,
        loop: SimulatedLoop,
        network: Network,
        oracle: Oracle,
        randomness: Randomness,
        *,
        topology: Topology,
        server: SharedServer | None,
        evaluate_s: float,
        forward_s: float,
        restart_ns: int,
        epoch_ns: int,
        trace: Callable[..., None],
    ) -> None:
        """Prepare an empty ledger's folder."""
        self.name = name
        self._topology = topology
        self._server = server
        self._ledger_name = topology.ledger(name)
        self._forward_s = forward_s
        self.clock = NodeClock(loop, epoch_ns=epoch_ns)
        self.fault: CommitFault | None = None
        self.app: CollectorApp | None = None
        self.group: TaskGroup | None = None
        self.stopping = False
        self.figures: FigureWatch | None = None
        self._ledger: FaultyLedger | None = None
        self._folder = folder
        self._loop = loop
        self._network = network
        self.oracle = oracle
        self._random = randomness
        self._look_s = evaluate_s
        self._evaluate_s = SHARED_EVALUATE_S if server is not None else evaluate_s
        self._restart_ns = restart_ns
        self.trace = trace
        self._restored = False
        self._lives = 0
        self._starts = 0
        self._files = folder / "0"
        self._files.mkdir(parents=True)
        (folder / "thresholds").mkdir()

    @property
    def alive(self) -> bool:
        """Whether the collector's process is there."""
        return self.group is not None and not self.group.dead

    @property
    def relays(self) -> bool:
        """Whether it forwards to another collector."""
        return self._ledger_name != ROOT

    @property
    def shares_ledger(self) -> bool:
        """Whether its ledger is on a server, with other collectors."""
        return self._server is not None

    def note_commit(self, vectors: Iterable[StoredVector]) -> None:
        """Tell those who watch what is durable."""
        held = list(vectors)
        self.oracle.ledgers.committed(self._ledger_name, held)
        if self.figures is not None:
            self.figures.committed(held)

    def note_put_back(self, vectors: Iterable[StoredVector]) -> None:
        """Tell those who watch that a server came back with these vectors and no others."""
        held = list(vectors)
        self.oracle.opened(self._ledger_name, held, restored=True)
        if self.figures is not None:
            self.figures.opened(held)

    @property
    def settled(self) -> bool:
        """Whether it serves, and the root has everything it has."""
        if self.app is None or not self.relays:
            return self.app is not None and self.app.loaded
        return self.app.relay is not None and self.app.relay.forwarder.outbox.behind == 0

    def start(self) -> None:
        """Start the collector's process."""
        if self.alive:
            return
        self.group = TaskGroup(self.name, self._died)
        self.trace("start", self.name)
        context = contextvars.copy_context()
        context.run(GROUP.set, self.group)
        context.run(self._begin)

    def kill(self, *, power: bool = False) -> None:
        """End the process at once.

        Args:
            power: whether its whole host went with it, so that no peer is told.
        """
        if not self.alive:
            return
        assert self.group is not None
        self.trace("power_cut" if power else "kill", self.name)
        self._end(noticed=not power)
        self.group.cancel()

    def vectors(self) -> list[StoredVector]:
        """Everything the ledger's file holds of registers."""
        if self._server is not None:
            return list(self._server.ledger.vectors())
        return list(self._ledger.inner.vectors()) if self._ledger is not None else []

    def backup(self) -> Path | None:
        """Copy the ledger's files as a snapshot of their volume holds them."""
        if not (self._files / "ledger.db").exists():
            return None
        return self.copy_now()

    def restore(self, backup: Path | None) -> None:
        """Kill the collector and put a backup, or an empty disk, in the place of its ledger."""
        self.kill()
        shutil.rmtree(self._files)
        if backup is None:
            self._files.mkdir()
        else:
            _copy(backup, self._files)
        self._restored = True

    def close(self) -> None:
        """End the process, whatever it is at."""
        if self.alive:
            assert self.group is not None
            self._end(noticed=False)
            self.group.cancel()

    # --- the process ------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._loop.create_task(self._live()).add_done_callback(self._ended)

    def _died(self) -> None:
        assert self.group is not None
        self.trace("killed", self.name)
        self._end(noticed=True)
        self.group.cancel()

    def _end(self, *, noticed: bool) -> None:
        assert self.group is not None
        self.group.dead = True
        self._network.stop_serving(self.name, noticed=noticed)
        if self._ledger is not None:
            self._leave_files(self._ledger)
            self._ledger = None
        self.app = None

    def _leave_files(self, ledger: FaultyLedger) -> None:
        """Leave the files as a process that ended at once leaves them.

        Closing the connection in order would tidy them up, which nobody does for a killed process.
        """
        if self._server is not None:
            ledger.inner.close()
            return
        left = ledger.torn or self.copy_now()
        ledger.inner.close()
        shutil.rmtree(self._files)
        self._files = left

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.alive:
            assert self.group is not None
            self._end(noticed=True)
            self.group.cancel()
        if not self.stopping:
            self._loop.after(self._restart_ns, self.start)

    async def _live(self) -> None:
        config = CollectorConfig(
            ledger=str(self._files / "ledger.db"),
            simulated=True,
            grpc_listen="127.0.0.1:0",
            http_listen="",
            thresholds_dir=self._folder / "thresholds",
            evaluate_period_s=self._evaluate_s,
            **self._as_relay(),
        )
        group = self.group
        assert group is not None
        app = CollectorApp(
            config,
            self.clock,
            open_ledger=self._open,
            listen=self._listen,
            dial_upstream=lambda: self._network.dial(
                self.name, group, self._topology.upstream(self.name), Method.BATCHES
            ),
            jitter=self._random.share,
            reading=self._reading(),
        )
        try:
            await app.start()
            self.app = app
            failed = asyncio.ensure_future(app.wait_failed())
            while not failed.done():
                await asyncio.wait({failed}, timeout=self._look_s)
                if self.figures is not None and app.published is not None:
                    self.figures.look(app.published)
            self.trace("failed", self.name, str(failed.result()))
        except FlopmeterError as error:
            self.trace("no_start", self.name, str(error))
        except Killed:
            self.trace("killed", self.name)

    def _reading(self) -> Reading:
        """Every other start is that of a large ledger: it serves first, and reads slowly."""
        self._starts += 1
        if self._starts % 2:
            return DEFAULT_READING
        # It takes a few reports, so that a process dies in the middle of it too.
        keys = self.oracle.ledgers.key_count(self._ledger_name)
        return Reading(
            before_serving=0, keys_a_part=1 + keys // LOADING_PARTS, pause_s=self._look_s / 4
        )

    def _as_relay(self) -> dict[str, Any]:
        """The settings that make a collector a relay."""
        if not self.relays:
            return {}
        return {
            "upstream": "127.0.0.1:1",
            "relay_name": self.name,
            "forward_period_s": self._forward_s,
        }

    def _open(self, url: str, *, simulated: bool) -> Ledger:
        if self._server is not None:
            self._ledger = FaultyLedger(Session(self._server, self.name), self)
            return self._ledger
        inner = backends.collect(
            url, simulated=simulated, new_ledger_id=lambda: self._random.hexadecimal(32)
        )
        self._ledger = FaultyLedger(inner, self)
        held = list(inner.vectors())
        self.oracle.opened(self._ledger_name, held, restored=self._restored)
        if self.figures is not None:
            self.figures.opened(held)
        self._restored = False
        return self._ledger

    def _listen(self, service: IngestService, address: str, credentials: object) -> SimulatedServer:
        assert self.group is not None
        return SimulatedServer(self._network, service, self.group)

    def torn_copy(self, before: Path) -> Path:
        """Files in which the last commit's part of the write-ahead log is torn."""
        wal = self._files / "ledger.db-wal"
        old = before / "ledger.db-wal"
        durable = old.read_bytes() if old.exists() else b""
        whole = wal.read_bytes() if wal.exists() else b""
        if whole.startswith(durable):
            keep = len(durable) + self._random.below(max(1, len(whole) - len(durable)))
            old.write_bytes(whole[:keep])
        return before

    def copy_now(self) -> Path:
        """A copy of the ledger's files beside them."""
        self._lives += 1
        return _copy(self._files, self._folder / f"copy-{self._lives}")


def _copy(source: Path, target: Path) -> Path:
    """Copy a ledger as a crash leaves it: what lies in shared memory and locks is not of it."""
    target.mkdir()
    for name in ("ledger.db", "ledger.db-wal"):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    return target


class SimulatedServer:
    """Lets the network reach a service: an implementation of `app.Server`."""

    address = "simulated:1"

    def __init__(self, network: Network, service: IngestService, group: TaskGroup) -> None:
        """Prepare; `start` serves."""
        self._network = network
        self._name = group.name
        self._serve = {
            Method.REPORTS: service.stream_reports,
            Method.BATCHES: service.stream_batches,
        }
        self._group = group

    async def start(self) -> None:
        """Serve."""
        if not self._group.dead:
            self._network.serve(self._name, self._serve, self._group)

    async def stop(self) -> None:
        """Serve no longer."""
        if not self._group.dead:
            self._network.stop_serving(self._name, noticed=True)


class FaultyLedger:
    """A ledger that dies or fails at the commits it is told to."""

    def __init__(self, inner: Ledger, site: Site) -> None:
        """Wrap an open ledger."""
        self.inner = inner
        self.torn: Path | None = None
        self._site = site

    @property
    def shared(self) -> bool:
        """Whether several collectors may hold it at a time; asked for in every round."""
        return self.inner.shared

    def __getattr__(self, name: str) -> Any:
        """Everything but commits is the real ledger's."""
        return getattr(self.inner, name)

    def commit(self, batch: Batch) -> LedgerPosition:
        """Commit for real, unless a fault is due.

        Raises:
            StorageError: the fault that is due.
        """
        site = self._site
        if not site.alive:
            raise Killed
        fault = site.fault if batch.vectors else None
        if fault is not None:
            site.fault = None
            site.trace("commit_fault", fault.value)
        if site.shares_ledger and fault is CommitFault.TORN:
            fault = CommitFault.KILLED_BEFORE  # a torn commit of a server is none
        if fault is CommitFault.KILLED_BEFORE:
            raise Killed
        if fault is CommitFault.FAILED_BEFORE:
            raise StorageError("the ledger cannot store a commit: disk I/O error (simulated)")
        if fault is CommitFault.TORN:
            before = site.copy_now()
            self.inner.commit(batch)
            self.torn = site.torn_copy(before)
            raise Killed
        position = self.inner.commit(batch)
        if not site.shares_ledger:
            site.note_commit(batch.vectors)
        site.trace("commit", len(batch.vectors), position.commit_number)
        if fault is CommitFault.KILLED_AFTER:
            raise Killed
        if fault is CommitFault.FAILED_AFTER:
            raise StorageError("the ledger cannot store a commit: disk I/O error (simulated)")
        return position
