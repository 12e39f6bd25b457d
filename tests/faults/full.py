"""The state folder, and then the ledger, lie on a disk of 1 MiB that fills up.

Owns: the disks and what fills them.
May touch: tmpfs mounts in a folder of its own (root), and sites on them.
Called by ``make faults`` (tests/faults/run.py).
What must hold: an agent that has its memory goes on metering on a full disk, killed or not; one
that finds no room for it says so and ends; a collector acknowledges nothing it could not commit;
and with room again, ledger and truth agree.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from faults.site import Result, Site, joined, site

SIZE, ROOMY, ROOM = "1m", "5m", "64m"
"""An agent reserves 3.7 MiB when it first starts, and needs no more later."""

INPUT_OUTPUT_ERROR = 74


@contextlib.contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of this size."""
    folder.mkdir()
    options = f"size={size},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "flopmeter-test", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> Path:
    """Take what is left of a disk, to the last byte."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass
    return filler


def agent_on_a_full_disk(folder: Path) -> Result:
    """The disk fills while the agent meters; it is killed, and started on the full disk."""
    with disk(folder / "disk", ROOMY) as small, site(folder, state=small / "agent") as running:
        running.start_collector()
        running.start_agent()
        running.wait_rounds(5)
        filler = fill(small)
        for _ in range(2):
            running.kill_agent()
            if not running.wait_rounds(5):
                running.problems.append("an agent did not go on where its memory was reserved")
        filler.unlink()
        if running.account.longest_drop > 1:
            running.problems.append("a full disk took more than the round in flight at a kill")
        if "the state folder may not last" not in (folder / "agent.log").read_text():
            running.problems.append("nothing says that a tmpfs does not last")
        return running.result(running.settle())


def agent_without_room(folder: Path) -> Result:
    """The disk is too small for what an agent reserves."""
    with disk(folder / "disk", SIZE) as small, site(folder, state=small / "agent") as running:
        running.start_collector()
        running.start_agent()
        assert running.agent is not None
        try:
            code = running.agent.wait(30.0)
        except subprocess.TimeoutExpired:
            code = 0
        if code != INPUT_OUTPUT_ERROR:
            running.problems.append(f"an agent without room ended with {code}")
        subprocess.run(["mount", "-o", f"remount,size={ROOM}", small], check=True)
        return running.result(running.settle())


def ledger_on_a_full_disk(folder: Path, *, limit_s: float = 60.0) -> Result:
    """The ledger grows until nothing can be committed; its collector is started again and again."""
    with disk(folder / "disk", SIZE) as small, site(folder, ledger=small / "ledger.db") as running:
        fullness = small / "filler"
        fullness.write_bytes(b"\0" * 400_000)
        running.start_collector()
        running.start_agent()
        deadline = time.monotonic() + limit_s
        refused = 0
        while refused < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
            running.read_witness()
            if running.account.rounds > 10:
                fill(small)
            assert running.collector is not None
            if running.collector.poll() is not None:
                refused += 1
                running.check_acknowledged()
                running.start_collector()
                time.sleep(1.0)
        if not refused and _answered_after(running):
            running.problems.append("the disk never filled")
        subprocess.run(["mount", "-o", f"remount,size={ROOM}", small], check=True)
        return running.result(running.settle())


def _answered_after(running: Site) -> bool:
    before = sum(running.account.acknowledged.values())
    time.sleep(2.0)
    running.read_witness()
    return sum(running.account.acknowledged.values()) > before


def measure() -> Result:
    """All three."""
    results = []
    for case in (agent_on_a_full_disk, agent_without_room, ledger_on_a_full_disk):
        with tempfile.TemporaryDirectory() as name:
            result = case(Path(name))
            crashes = [
                f"{log.name} holds a traceback"
                for log in Path(name).glob("*.log")
                if "Traceback (most recent call last)" in log.read_text(errors="replace")
            ]
            result = replace(result, problems=[*result.problems, *crashes])
        print(result.line(case=case.__name__), flush=True)
        results.append(result)
    return joined(results)
