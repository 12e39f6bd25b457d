"""A scrape of an agent's own metrics asks the driver nothing, and waits for no call of it."""

from __future__ import annotations

import re
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

from flopmeter_agent.closed import open_closed
from flopmeter_agent.exposition import AgentMetrics, serve
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.nvml import NvmlSensor
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import SystemClock
from flopmeter_proto.link import LinkState
from support import fake_nvml
from support.fake_nvml import FakeDriver, uuid_of
from support.requirements import require

STUCK_MS = 60_000
SOURCE = Path(fake_nvml.__file__).with_name("fake_nvml.c")
CALLS = set(re.findall(r"\bnvml[A-Z]\w+", SOURCE.read_text()))


def scraped(port: int) -> str:
    """The page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return str(answer.read().decode())


def linted(page: str) -> str:
    """What Prometheus' own linter has to say of a page."""
    promtool = require("promtool", "apt-get install prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=30
    )
    return done.stdout + done.stderr


def failures(page: str) -> float:
    """Readings that failed, by a page."""
    found = re.search(r"^flopmeter_sensor_read_failures_total (\S+)", page, re.M)
    assert found is not None
    return float(found[1])


def test_a_scrape_never_calls_the_driver(tmp_path: Path) -> None:
    """Also while a call is stuck for a minute: the page comes at once, and says that it is."""
    driver = FakeDriver(tmp_path, devices=2)
    clock = SystemClock()
    sensor = NvmlSensor("n1", clock, library_path=driver.library, patience_s=0.2)
    loop = AgentLoop(
        sensor,
        Journal(OsBlockFile(tmp_path / "journal")),
        clock,
        Identity("n1"),
        closed=open_closed(OsBlockFile(tmp_path / "closed")),
        incarnation="0" * 31 + "1",
        period_ns=NS_PER_S,
    )

    def called() -> int:
        return sum(driver.calls(name) for name in CALLS)

    try:
        with serve("127.0.0.1:0", AgentMetrics(loop, LinkState()).text) as port:
            for _ in range(2):
                time.sleep(0.15)  # GPM samples are refreshed ten times a second
                loop.sample()
            before, failed = called(), failures(scraped(port))
            assert before
            assert uuid_of(0) in scraped(port)
            assert linted(scraped(port)) == ""
            for _ in range(10):
                scraped(port)
            assert called() == before
            driver.set("gpu1.sleep_ms.nvmlGpmSampleGet", STUCK_MS)
            sampling = threading.Thread(target=loop.sample)
            sampling.start()
            began_s = time.monotonic()
            assert uuid_of(0) in scraped(port)
            sampling.join(20)
            page = scraped(port)
            # A loaded machine takes a while for two pages and a sample; the call takes a minute.
            assert time.monotonic() - began_s < STUCK_MS / 4_000
            assert not sampling.is_alive()
            # A machine that stalls may make others late too.
            assert failures(page) > failed
    finally:
        sensor.close()
        driver.close()
