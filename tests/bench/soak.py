"""A day of an agent in minutes: 86,400 samples through the production loop, and nothing grows.

Owns: the virtual day, and what is looked at each hour: memory, files, threads, journals.
May touch: a temporary folder; the made-up driver.
Called by ``make soak`` (HOURS=24). Exit 1 where something grew after the first hours.

The sensor is the real one, over the made-up NVIDIA driver with 8 devices. Users come and go all
day, devices are lost and found, an answer in ten is lost, and for some hours no collector answers.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from flopmeter_agent.closed import open_closed
from flopmeter_agent.hours import open_hours
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_core.readings import DeviceProcess
from flopmeter_core.reports import (
    Acknowledgement,
    Answer,
    Durability,
    HourlyAcknowledgement,
    LedgerPosition,
    Report,
)
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import FakeDriver
from support.manual_clock import StandingClock

DEVICES = 8
SAMPLES_AN_HOUR = 3_600
SAMPLES_PER_REPORT = 10
USER_EVERY = 7_201
"""Samples after which the user of the node is another one: 12 a day. Each leaves closed vectors of
8 devices, which are kept for 90 days in a room that is bounded: they are no leak, and grow."""
AWAY_HOURS = range(9, 13)
"""No collector answers in these hours of the day."""
GPU_IS_LOST = 15
JOURNALS = ("journal", "closed", "hours")

SETTLED_HOURS = 6
"""The outage is then still to come: what it takes has to have been reserved before."""

GROWTH_MAXIMUM_KIB = 1_024
"""An interpreter's arenas come and go by some hundred KiB."""


class Users:
    """One user of all devices at a time."""

    user = "none"

    def look(self) -> None:
        """Nothing to look at."""

    def settle(
        self, devices: Iterable[str], processes: Mapping[str, Sequence[DeviceProcess]]
    ) -> None:
        """Nothing to find out."""

    def of(self, device: str) -> str:
        """Who uses the devices."""
        return self.user

    def stated(self, device: str) -> str:
        """The same: it is stated."""
        return self.user


@dataclass(frozen=True, slots=True)
class Look:
    """What an agent holds of its host.

    Attributes:
        memory_kib: resident.
        files, threads: open.
        objects: the interpreter tracks.
        journal_bytes: on disk.
        vectors: held.
    """

    memory_kib: int
    files: int
    threads: int
    objects: int
    journal_bytes: int
    vectors: int


class Day:
    """One agent on one node."""

    def __init__(self, folder: Path) -> None:
        """Begin to meter."""
        self.folder = folder
        self.clock = StandingClock()
        self.clock.at_ns = 1_000 * NS_PER_S
        self.driver = FakeDriver(folder, devices=DEVICES)
        for place in range(DEVICES):
            self.driver.update({f"gpu{place}.gpm.{metric}": 50 for metric in (2, 5, 7)})
        self._burn()
        sensor = NvmlSensor(
            "n1", self.clock, library_path=self.driver.library, pause=lambda _: None
        )
        files = {name: OsBlockFile(folder / name) for name in JOURNALS}
        self.users = Users()
        self.loop = AgentLoop(
            sensor,
            Journal(files["journal"]),
            self.clock,
            Identity("n1"),
            closed=open_closed(files["closed"]),
            hours=open_hours(files["hours"]),
            incarnation="0" * 31 + "1",
            period_ns=NS_PER_S,
            users=self.users,
        )
        self.commit = 0

    def sample(self, number: int) -> None:
        """A second goes by."""
        self.clock.at_ns += NS_PER_S
        self.users.user = f"run:r{number // USER_EVERY}"
        if number % 1_800 == 900:
            self.driver.set("gpu3.error.*", GPU_IS_LOST)
        elif number % 1_800 == 960:
            self.driver.set("gpu3.error.*", None)
        self._burn()
        self.loop.sample()
        if number % SAMPLES_PER_REPORT == 0:
            report = self.loop.report()
            away = number // SAMPLES_AN_HOUR in AWAY_HOURS
            if report is not None and not away and number % (10 * SAMPLES_PER_REPORT):
                self.loop.acknowledge(self._answer(report))

    def look(self) -> Look:
        """What it holds now."""
        gc.collect()
        status = Path("/proc/self/status").read_text()
        return Look(
            int(status.split("VmRSS:")[1].split()[0]),
            len(os.listdir("/proc/self/fd")),
            threading.active_count(),
            len(gc.get_objects()),
            sum((self.folder / name).stat().st_size for name in JOURNALS),
            len(self.loop.held()),
        )

    def _burn(self) -> None:
        energy_mj = self.clock.at_ns * 500 // 10**6
        self.driver.update({f"gpu{place}.energy_mj": energy_mj for place in range(DEVICES)})

    def _answer(self, report: Report) -> Answer:
        self.commit += 1
        root = Durability.AT_ROOT
        return Answer(
            tuple(Acknowledgement(each.key, each.sequence, root) for each in report.vectors),
            LedgerPosition("ledger", 1, self.commit),
            hours=tuple(
                HourlyAcknowledgement(each.key, each.hour, each.sequence, root)
                for each in report.hours
            ),
        )


def grown(looks: list[Look]) -> list[str]:
    """What grew after the first hours, in words."""
    settled, last = looks[min(SETTLED_HOURS, len(looks) - 1)], looks[-1]
    found = []
    if last.memory_kib - settled.memory_kib > GROWTH_MAXIMUM_KIB:
        found.append(f"memory by {last.memory_kib - settled.memory_kib} KiB")
    for what in ("files", "threads", "journal_bytes"):
        before, after = getattr(settled, what), getattr(last, what)
        if after > before:
            found.append(f"{what} from {before} to {after}")
    return found


def main() -> int:
    """The day; 1 where something grew."""
    options = argparse.ArgumentParser()
    options.add_argument("--hours", type=int, default=24)
    hours = options.parse_args().hours
    logging.disable(logging.CRITICAL)
    looks = []
    with tempfile.TemporaryDirectory() as name:
        day = Day(Path(name))
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        print(" hour  memory KiB  files  threads  objects  journals B  vectors")
        for hour in range(hours + 1):
            for number in range(hour * SAMPLES_AN_HOUR, (hour + 1) * SAMPLES_AN_HOUR):
                if hour == hours:
                    break
                day.sample(number + 1)
            look = day.look()
            looks.append(look)
            bar = "#" * (look.memory_kib // 1_024)
            print(
                f"{min(hour + 1, hours):5}  {look.memory_kib:10}  {look.files:5}  "
                f"{look.threads:7}  {look.objects:7}  {look.journal_bytes:10}  "
                f"{look.vectors:7}  {bar}",
                flush=True,
            )
        samples = day.loop.counters.samples
        took_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
        day.driver.close()
    print(
        f"{samples} samples of {DEVICES} devices in {took_s:.0f} s, "
        f"{cpu_s / samples * 1e6:.0f} us of processor time each, the made-up driver's included"
    )
    found = grown(looks)
    for each in found:
        print(f"grew: {each}", file=sys.stderr)
    return 1 if found or samples < hours * SAMPLES_AN_HOUR else 0


if __name__ == "__main__":
    sys.exit(main())
