"""Recording through the production sensor on a scripted driver, and its replay."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flopmeter.lab.importers.recording import as_run, load_recorded
from flopmeter.lab.importers.table import load_recording
from flopmeter.lab.recorder import RecordedSensor, Recorder
from flopmeter.lab.recording import decode
from flopmeter.lab.recording_rows import gpm_metrics
from flopmeter.lab.replay import ReplayedNode, replay
from flopmeter_agent.closed import open_closed
from flopmeter_agent.journal import Journal, OsBlockFile
from flopmeter_agent.loop import AgentLoop, Identity
from flopmeter_agent.sensors.nvml.raw import RawNvmlSensor
from flopmeter_core.allocations import for_run
from flopmeter_core.errors import DataError, SensorError, UsageError
from flopmeter_core.registers import Component, Evidence
from flopmeter_core.units import NS_PER_S
from support.fake_nvml import FakeDriver, instance_of, uuid_of
from support.manual_clock import ManualClock
from support.totals import table

GPU_IS_LOST = 15
FUNCTION_NOT_FOUND = 13
SM_COUNT = 132
PERIOD_NS = NS_PER_S


class Node:
    """An agent's loop whose sensor is recorded, on a scripted driver and a clock moved by hand."""

    def __init__(self, folder: Path, *, devices: int = 2, driver: FakeDriver | None = None) -> None:
        self.folder = folder
        self.driver = driver or FakeDriver(folder, devices=devices)
        self.clock = ManualClock()
        self.stream = io.BytesIO()
        sensor = RawNvmlSensor(
            "n1", self.clock, library_path=self.driver.library, pause=self.clock.advance
        )
        self.sensor = RecordedSensor(
            sensor, self.clock, self.stream, node="n1", period_ns=PERIOD_NS, reason="a test"
        )
        parts = table()
        self.loop = AgentLoop(
            self.sensor,
            Journal(OsBlockFile(folder / "journal")),
            self.clock,
            Identity(node="n1", allocation=for_run("r")),
            closed=open_closed(OsBlockFile(folder / "closed")),
            incarnation="0" * 31 + "1",
            period_ns=PERIOD_NS,
            rated_power_w=lambda record: parts.recognise(record).power_w,
        )

    def seconds(self, count: int, **lines: object) -> None:
        """Change the first device's script, then sample once a second."""
        self.driver.update({f"gpu0.{key}": value for key, value in lines.items()})
        for _ in range(count):
            self.clock.advance(1)
            self.loop.sample()

    def gpm(self, **percent: float) -> dict[str, object]:
        """Script lines of the first device's GPM metrics."""
        return {f"gpm.{name.removeprefix('m')}": value for name, value in percent.items()}

    def recorded(self) -> Path:
        """End the recording and put it into a file."""
        self.sensor.close()
        self.driver.close()
        path = self.folder / "r.fmrec"
        path.write_bytes(self.stream.getvalue())
        return path


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node with two devices."""
    made = Node(tmp_path)
    yield made
    made.sensor.close()
    made.driver.close()


def varied(node: Node) -> None:
    """Work, idleness, counters of a newer driver, a lost device, a late reading, a bad metric."""
    node.seconds(5, **node.gpm(m2=90, m5=50, m7=50), energy_mj=2_000_000)
    node.seconds(3, **node.gpm(m2=0, m5=0, m7=0), energy_mj=2_100_000)
    node.seconds(4, **node.gpm(m2=80, m5=33.3, m7=33.3), energy_mj=2_500_000, busy_percent=99)
    node.clock.advance(5)
    node.seconds(2)
    node.seconds(7, **{"error.*": GPU_IS_LOST})
    node.seconds(20, **{"error.*": None})
    node.seconds(3, **{"gpm_return.5": 3})
    node.seconds(3, **{"gpm_return.5": None, "energy_mj": 1_000})
    for second in range(6):  # no activity at 690 W: not believed
        energy_mj = 1_000 + 690_000 * second
        node.seconds(1, **node.gpm(m2=0, m5=0, m7=0), energy_mj=energy_mj, busy_percent=0)


def instances(node: Node) -> None:
    """Two MIG instances, one of which cannot be read for a while."""
    for second in range(18):
        bad = {"gi2.gpm_return.5": 3 if 6 <= second < 9 else None}
        node.seconds(1, energy_mj=1_000_000 + 500_000 * second, **bad)


def test_replay_of_instances(tmp_path: Path) -> None:
    """MIG instances are replayed as they were read, each with its own work."""
    made: dict[str, object] = {
        f"gi{number}.gpm.{metric}": 50 for number in (1, 2) for metric in (2, 5, 7, 9)
    }
    made |= {"mig": 1, "mig.0": instance_of(1), "mig.1": instance_of(2), "busy_percent": None}
    driver = FakeDriver(tmp_path)
    driver.update({f"gpu0.{key}": value for key, value in made.items()})
    node = Node(tmp_path, driver=driver)
    instances(node)
    live = replay_is_the_agent(node, tmp_path)
    work = {key[0]: vector[Component.TENSOR_MEGACYCLES] for key, vector in live.items()}
    assert sorted(bool(work[device]) for device in work if "/gi" in device) == [True, True]


def test_replay_is_the_agent(node: Node, tmp_path: Path) -> None:
    """A replayed recording has the registers of the agent that took it, integer for integer."""
    varied(node)
    live = replay_is_the_agent(node, tmp_path)
    assert {key[2].level for key in live} == {"gpm", "busy"}
    assert sum(vector[Component.UNOBSERVED_NS] for vector in live.values()) > 5 * NS_PER_S
    assert sum(vector[Component.TENSOR_MEGACYCLES] for vector in live.values()) > 0
    assert sum(vector[Component.SUSPECT_NS] for vector in live.values()) > 0


def replay_is_the_agent(
    node: Node, tmp_path: Path
) -> dict[tuple[str, str, Evidence, str], tuple[int, ...]]:
    """Replay what a node recorded, compare, and return its registers."""
    live = {
        (key.device, key.allocation, key.evidence, key.record): register.vector
        for key, register in node.loop.accumulator.registers.items()
    }
    recording = load_recording(node.recorded())
    replayed = ReplayedNode(recording, recording.nodes[0], tmp_path / "replayed")
    while replayed.step():
        pass
    again = {
        (key.device, key.allocation, key.evidence, key.record): register.vector
        for key, register in replayed.loop.accumulator.registers.items()
    }
    replayed.close()
    assert again == live
    return live


def test_replay_command(node: Node) -> None:
    """`flopmeter replay FILE` gives the registers' FLOP, real, under the file's name."""
    varied(node)
    live = sum(
        register.vector[Component.HMMA_MEGACYCLES]
        for register in node.loop.accumulator.registers.values()
    )
    document = replay(node.recorded(), formats="bf16=1")
    (run,) = document["runs"]
    assert (run["run"], run["simulated"]) == ("r", False)
    gpm = next(share for share in run["evidence"] if share["level"] == "gpm")
    assert gpm["share"] > 0.5
    # Of the floating matrix work best is HMMA cycles x rate; the busy seconds add theirs.
    assert run["compute_flop"]["best"] >= live * 4096 * 10**6


def test_raw_answers(node: Node) -> None:
    """Every GPM id with its own return code, calls with their errors, and their durations."""
    node.seconds(3, **node.gpm(m5=12.345678901234567, m10=44.5), **{"gpm_return.13": 3})
    recorded = decode(io.BytesIO(node.recorded().read_bytes()), name="r")
    assert recorded.header.driver_version == "580.105.08"
    assert recorded.header.sensor == "nvml"
    assert [record.device for record in recorded.records[0]] == [uuid_of(0), uuid_of(1)]
    row = recorded.rows[uuid_of(0)][-1]
    metrics = gpm_metrics(row)
    assert metrics[5] == 12.345678901234567
    assert row["gpm_return.13"] == 3
    assert "gpm.13" not in row
    assert row["nvml.energy_mj"] == 1_000_000
    assert row["nvml_error.temperature_c"] == FUNCTION_NOT_FOUND
    assert "nvml.temperature_c" not in row
    assert row["nvml_ns.energy_mj"] >= 0
    assert row["read_ns"] >= 0


def test_cumulative_counters(tmp_path: Path) -> None:
    """Cumulative ids are recorded where the driver has them, as exactly as it says them."""
    node = Node(tmp_path, devices=1)
    node.sensor.close()
    counters = (248, 249, 250, 251, 252, 253, 254, 257, 258, 259, 260)
    node.driver.update({f"gpu0.gpm.{metric}": (1 << 54) + 4 * metric for metric in counters})
    node = Node(tmp_path, devices=1, driver=node.driver)
    node.seconds(2)
    row = load_recorded(node.recorded()).rows[uuid_of(0)][-1]
    found = gpm_metrics(row)
    assert {metric: found[metric] for metric in counters} == {
        metric: float((1 << 54) + 4 * metric) for metric in counters
    }


def test_failures_are_noted(node: Node) -> None:
    """A failing device is named once when it begins and once when it ends."""
    node.seconds(2)
    node.seconds(2, **{"error.*": GPU_IS_LOST})
    node.seconds(30, **{"error.*": None})
    recorded = load_recorded(node.recorded())
    notes = [note for note in recorded.failures if note.device == uuid_of(0)]
    assert "fell off the bus" in notes[0].reason
    assert notes[-1].reason == ""
    assert len(recorded.rounds) == 34
    assert len(recorded.rows[uuid_of(0)]) < 34


def test_changed_device(node: Node) -> None:
    """A recording whose devices changed on the way is refused in one sentence."""
    node.seconds(2)
    recorded = load_recorded(node.recorded())
    recorded.records.append(recorded.records[0][:1])
    with pytest.raises(DataError, match="not alike"):
        as_run(recorded, run="r", name="r.fmrec")


@pytest.mark.parametrize("row", [{"evidence": 99}, {"evidence": 6}])
def test_a_row_that_no_sensor_makes(node: Node, row: dict[str, int]) -> None:
    """A rung that is none, or a row without its times, is refused with the device's name."""
    node.seconds(2)
    recorded = load_recorded(node.recorded())
    recorded.rows[uuid_of(0)][1] = row
    with pytest.raises(DataError, match=f"has a row of {uuid_of(0)} that is no reading"):
        as_run(recorded, run="r", name="r.fmrec")


def test_no_file(tmp_path: Path) -> None:
    """A recording that is not there is a wrong command, not bad data."""
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_recorded(tmp_path / "none.fmrec")


def test_empty_recording(node: Node) -> None:
    """A recording without a round is refused in one sentence."""
    with pytest.raises(DataError, match="no round of readings"):
        load_recording(node.recorded())


def test_cut_recording(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """A recording cut off in the middle is metered up to the cut, and the log says so."""
    varied(node)
    path = node.recorded()
    whole = load_recording(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    part = load_recording(path)
    assert 0 < len(part.nodes[0].rounds) < len(whole.nodes[0].rounds)
    assert part.nodes[0].readings == whole.nodes[0].readings[: len(part.nodes[0].readings)]
    assert "cut off" in caplog.text


def test_unreadable_driver(node: Node) -> None:
    """A round in which nothing could be read is a round all the same."""
    node.seconds(2)
    recorder = Recorder(node.sensor, node.clock, period_ns=PERIOD_NS)
    node.driver.update({f"gpu{place}.error.*": GPU_IS_LOST for place in range(2)})
    node.clock.advance(1)
    recorder.step()
    with pytest.raises(SensorError):
        node.sensor.read()
    assert recorder.failures
    assert len(load_recorded(node.recorded()).rounds) == 4


# --- the command -----------------------------------------------------------------------------


def flopmeter(driver: FakeDriver, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Call the command line in a process of its own, on the scripted driver."""
    return subprocess.run(
        [sys.executable, "-m", "flopmeter", *words],
        env=driver.environment(),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeDriver]:
    """A scripted driver for child processes."""
    made = FakeDriver(tmp_path)
    yield made
    made.close()


def test_command(driver: FakeDriver, tmp_path: Path) -> None:
    """`flopmeter record -- CMD` lasts as long as CMD, ends with its code, and is replayable."""
    script = "import time, sys; time.sleep(0.6); print('from the command'); sys.exit(3)"
    ended = flopmeter(driver, "record", "--", sys.executable, "-c", script, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (3, "from the command\n")
    path = tmp_path / "flopmeter.fmrec"
    recorded = load_recorded(path)
    assert recorded.cut_at_byte is None
    assert [mark.what for mark in recorded.marks] == ["command_started", "command_ended"]
    lasted_ns = recorded.marks[1].monotonic_ns - recorded.marks[0].monotonic_ns
    # Ten a second for as long as the command lives; a late round is not made up for.
    assert 5 <= len(recorded.rounds) <= lasted_ns // 100_000_000 + 3
    assert "import" not in path.read_bytes().decode("latin-1")
    (run,) = replay(path)["runs"]
    assert 0.5 < run["busy_device_seconds"] + run["idle_device_seconds"] < 2


def test_interrupted(driver: FakeDriver, tmp_path: Path) -> None:
    """SIGTERM ends a recording orderly; SIGKILL leaves one that is readable up to the cut."""
    for number, orderly in ((signal.SIGTERM, True), (signal.SIGKILL, False)):
        path = tmp_path / f"{number.name}.fmrec"
        child = subprocess.Popen(
            [sys.executable, "-m", "flopmeter", "record", "--out", str(path), "--json"],
            env=driver.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 20
        while not (path.exists() and path.stat().st_size > 2_000):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        child.send_signal(number)
        printed, _ = child.communicate(timeout=20)
        recorded = load_recorded(path)
        assert len(recorded.rounds) >= 10
        assert (recorded.cut_at_byte is None) is orderly
        if orderly:
            assert child.returncode == 0
            assert json.loads(printed)["rounds"] == len(recorded.rounds)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--hz", "11"], 64, "from 0.1 to 10 readings"),
        (["--hz", "nan"], 64, "from 0.1 to 10 readings"),
        (["--seconds", "0"], 64, "above 0"),
        (["--seconds", "inf"], 64, "above 0"),
        (["--out", "here.bin"], 64, "does not end in .fmrec"),
        (["--out", "there.fmrec"], 64, "exists; name another file"),
        (["--out", "no/folder/x.fmrec"], 74, "cannot be made"),
        (["--out", "/dev/full/x.fmrec"], 74, "cannot be made"),
        (["--", "/no/such/program"], 64, "cannot be started: No such file"),
    ],
)
def test_refused(
    driver: FakeDriver, tmp_path: Path, words: list[str], code: int, sentence: str
) -> None:
    """Each wrong argument ends in one sentence with its exit code."""
    (tmp_path / "there.fmrec").write_text("mine")
    ended = flopmeter(driver, "record", *words, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert sentence in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert (tmp_path / "there.fmrec").read_text() == "mine"


def test_no_driver(driver: FakeDriver, tmp_path: Path) -> None:
    """Without a device nothing is made, and the sentence says what is missing."""
    driver.close()
    ended = flopmeter(driver, "record", cwd=tmp_path)
    assert ended.returncode == 69
    assert "flopmeter: the NVIDIA driver lists no device" in ended.stderr
    assert not list(tmp_path.glob("*.fmrec"))


def test_garbled_replay(driver: FakeDriver, tmp_path: Path) -> None:
    """A garbled file is refused by `flopmeter replay` with its byte and what is intact."""
    assert flopmeter(driver, "record", "--seconds", "1.2", cwd=tmp_path).returncode == 0
    path = tmp_path / "flopmeter.fmrec"
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)
    ended = flopmeter(driver, "replay", str(path), cwd=tmp_path)
    assert ended.returncode == 65
    assert "is garbled at byte" in ended.stderr
    assert "rounds of readings over" in ended.stderr
    path.write_bytes(b"nothing of the kind")
    assert (
        "no recording of flopmeter" in flopmeter(driver, "replay", str(path), cwd=tmp_path).stderr
    )
