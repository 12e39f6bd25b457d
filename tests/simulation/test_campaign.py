"""A campaign over many sittings: nothing that was finished is lost, and no seed is skipped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from flopmeter.lab.simulation import campaign, pool
from flopmeter.lab.simulation.plan import plan_for
from flopmeter.lab.simulation.record import Record, Version, fingerprint
from flopmeter.lab.simulation.report import Outcome
from flopmeter.lab.simulation.world import simulate
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import SystemClock


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds that take no time; each is a small world that was simulated once."""
    world = simulate(plan_for(1, nodes=1, devices=1, hours=0.2))

    def outcomes(seeds: range, processes: int | None, *, stopping: object) -> Iterator[Outcome]:
        for seed in seeds:
            yield replace(world, seed=seed, equal=seed != 3)

    monkeypatch.setattr(campaign, "outcomes", outcomes)


def _record(path: Path) -> Record:
    return Record.parse(path.read_text("utf-8"))


@pytest.mark.usefixtures("quick")
def test_goes_on(tmp_path: Path) -> None:
    """A second sitting begins after the last seed of the first, and the page keeps both."""
    page = tmp_path / "record.md"
    assert campaign.run(2, page) == 0
    assert campaign.run(2, page) == 1
    record = _record(page)
    assert (record.seeds, record.failed) == (4, [3])
    assert [(each.first, each.last, each.failed) for each in record.sittings] == [(1, 4, 1)]
    assert record.text() == page.read_text("utf-8")


@pytest.mark.usefixtures("quick")
def test_says_of_which_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeds of another simulator, or of another program, stand in a row of their own."""
    page = tmp_path / "record.md"
    for simulator, program in (("a1", "b1"), ("a2", "b1"), ("a2", "b1"), ("a2", "b2")):
        version = Version(simulator, program)
        monkeypatch.setattr(campaign, "version_now", lambda version=version: version)
        campaign.run(1, page)
    rows = [(each.first, each.last, each.version) for each in _record(page).sittings]
    assert rows == [
        (1, 1, Version("a1", "b1")),
        (2, 3, Version("a2", "b1")),
        (4, 4, Version("a2", "b2")),
    ]


def test_fingerprint(tmp_path: Path) -> None:
    """Any change of a source file, of its name too, is another version; other files are not."""
    source = tmp_path / "a.py"
    source.write_text("x = 1\n")
    first = fingerprint([tmp_path])
    (tmp_path / "notes.md").write_text("nothing\n")
    assert fingerprint([tmp_path]) == first
    source.write_text("x = 2\n")
    second = fingerprint([tmp_path])
    source.rename(tmp_path / "b.py")
    assert len({first, second, fingerprint([tmp_path])}) == 3


@pytest.mark.usefixtures("quick")
def test_a_record_that_is_none_is_kept(tmp_path: Path) -> None:
    """A page that cannot be read is never written over."""
    page = tmp_path / "record.md"
    page.write_text("# Something else\n")
    with pytest.raises(DataError, match="cannot be read"):
        campaign.run(1, page)
    assert page.read_text() == "# Something else\n"


@pytest.mark.usefixtures("quick")
def test_one_sitting_at_a_time(tmp_path: Path) -> None:
    """A second sitting on one record is refused while the first is at it."""
    with campaign._alone(tmp_path), pytest.raises(UsageError, match="another sitting"):
        campaign.run(1, tmp_path / "record.md")


def _job(last: Path, seed: int) -> str:
    """A worker's job: one seed kills its process, one raises, one never ends."""
    if seed == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 3:
        raise RuntimeError("a defect of the simulator")
    while seed == 5:
        time.sleep(1)
    if seed == 6:
        last.touch()
    return f"done {seed}"


class _UntilLast(SystemClock):
    """A clock that stands until the last seed is done, and then is far on."""

    def __init__(self, last: Path) -> None:
        super().__init__()
        self._last = last

    def monotonic_ns(self) -> int:
        return int(self._last.exists()) * 2 * int(pool.LONGEST_SEED_S) * NS_PER_S


def test_a_worker_that_dies_costs_its_seed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of six seeds three have no result; the others have theirs, in order."""
    last = tmp_path / "last"
    job = partial(_job, last)
    done = list(pool.run(job, range(1, 7), processes=2, clock=_UntilLast(last)))
    assert [each.seed for each in done] == [1, 2, 3, 4, 5, 6]
    assert [each.returned for each in done] == ["done 1", None, None, "done 4", None, "done 6"]
    assert "-9" in done[1].reason
    assert "a defect of the simulator" in done[2].reason
    assert "in time" in done[4].reason
    assert "a defect of the simulator" in capfd.readouterr().err


def test_stopped_and_gone_on_with(tmp_path: Path) -> None:
    """SIGTERM lets the seeds in hand end; every finished seed is in the record, without a gap."""
    page = tmp_path / "record.md"
    words = [sys.executable, "-m", "flopmeter.lab.simulation.campaign", "--record", str(page)]
    words += ["--processes", "1"]
    with subprocess.Popen([*words, "--seeds", "500"], stdout=subprocess.PIPE, text=True) as sitting:
        while sitting.poll() is None and not page.exists():
            time.sleep(0.1)
        sitting.send_signal(signal.SIGTERM)
        said, _ = sitting.communicate()
    assert sitting.returncode == 0, said
    stopped = _record(page)
    assert 1 <= stopped.seeds < 500
    assert f"stopped after seed {stopped.seeds}: 0 failed" in said
    subprocess.run([*words, "--seeds", "1"], check=True, capture_output=True)
    assert _record(page).seeds == stopped.seeds + 1
