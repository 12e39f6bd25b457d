"""What becomes of users in the figures: every run has its own, and all of them are the device's."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter_collector.ledger.base import StoredVector
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.totals import Totals
from flopmeter_core.allocations import NONE
from flopmeter_core.registers import Key, Vector
from flopmeter_core.reports import Report
from flopmeter_core.run_file import RunFile
from support.metered_node import MeteredNode
from support.totals import AS_OF_NS, table


class Site:
    """A node on which two processes named their runs."""

    def __init__(self, folder: Path) -> None:
        self.node = MeteredNode(folder)
        self.processes = [subprocess.Popen(["sleep", "300"]) for _ in range(2)]
        self._held = []
        for name, process in zip(("alpha", "beta"), self.processes, strict=True):
            path = self.node.run / f"flopmeter/runs/{name}.run"
            path.write_text(RunFile(name).text)
            self._held.append(os.open(path, os.O_RDONLY))
            fcntl.flock(self._held[-1], fcntl.LOCK_EX)
            self.node.proc.start(process.pid, user=os.getuid())
            self.node.proc.hold(path, process.pid)
        self.node.work(0, 50)

    def on_device(self, *numbers: int) -> None:
        """Let these processes be on the GPU for five seconds."""
        pids = " ".join(str(self.processes[number].pid) for number in numbers)
        self.node.driver.set("gpu0.processes", pids or None)
        self.node.seconds(5)

    def close(self) -> None:
        """Stop."""
        for process in self.processes:
            process.kill()
            process.wait()
        for descriptor in self._held:
            os.close(descriptor)
        self.node.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Nobody on the GPU yet."""
    made = Site(tmp_path)
    yield made
    made.close()


def totals_of(report: Report, *, of_nobody: bool = False) -> TotalsSnapshot:
    """The collector's totals of a report; of nobody, as if no user had been told apart."""
    totals = Totals(table())
    keyed: dict[Key, list[Vector]] = {}
    for each in report.vectors:
        key = each.key
        if of_nobody:
            key = Key(key.device, key.incarnation, NONE, 0, key.evidence, key.record)
        keyed.setdefault(key, []).append(each.vector)
    for key, vectors in keyed.items():
        whole = tuple(sum(column) for column in zip(*vectors, strict=True))
        totals.update(key, report.records[key.record], [StoredVector(key, 0, 1, whole)])
    return totals.snapshot(AS_OF_NS, None)


def test_runs_and_the_rest_are_the_device(site: Site) -> None:
    """Floor, lower and best of runs and remainder are the device's; shared work widens both."""
    site.on_device()
    site.on_device(0)
    site.on_device(0, 1)
    site.on_device(1)
    site.on_device()
    report = site.node.loop.report()
    assert report is not None
    apart, together = totals_of(report), totals_of(report, of_nobody=True)
    runs = {run.run: run.account.figures for run in apart.runs}
    assert set(runs) == {"alpha", "beta"}
    parts = [*(figures.observed for figures in runs.values()), apart.unattributed.figures.observed]
    whole = together.unattributed.figures.observed
    for bound in ("floor", "lower", "best"):
        assert sum(getattr(part, bound) for part in parts) == getattr(whole, bound)
    assert runs["alpha"].observed.best == runs["beta"].observed.best > 0
    # Four seconds of each run are its own; four shared and the changes may be either's. Of the five
    # changes' seconds alpha is at an end of three, and so is beta.
    second = runs["alpha"].observed.ceiling // 4
    for figures in runs.values():
        assert figures.observed.ceiling == 4 * second
        assert figures.boundary_ceiling == (4 + 3) * second
        assert figures.boundary_upper > 0
