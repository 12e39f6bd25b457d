"""A run folder of an MLPerf power submission becomes a recording, or one sentence says why not."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
import tomllib
from pathlib import Path

import pytest

from flopmeter.lab.importers import mlperf_power
from flopmeter.lab.importers.base import Recording
from flopmeter.lab.importers.table import load_recording
from flopmeter_core.devices import EnergyScope
from flopmeter_core.errors import DataError, UsageError
from flopmeter_core.registers import Evidence
from support.requirements import ROOT

RECORDINGS = ROOT / "tests/data/mlperf-training-v4.0-smc"

START_MS = 1_715_960_300_000
STOP_MS = START_MS + 10_000
SYSTEM = '{"accelerators_per_node":"8","accelerator_model_name":"NVIDIA H100-SXM5-80GB"}'


def event(time_ms: int, key: str, value: object = None) -> str:
    """One line as MLPerf's logger writes it."""
    record = {"namespace": "", "time_ms": time_ms, "event_type": "X", "key": key, "value": value}
    return f":::MLLOG {json.dumps(record)}\n"


def power(offset_ms: int, power_w: float) -> str:
    """One reading, in the spelling of the power logs."""
    return (
        f':::MLLOG {{"namespace": "", "time_ms": {START_MS + offset_ms}, "event_type": '
        f'"POINT_IN_TIME", "key": "power_reading", "value": {power_w}, "metadata": ""}}\n'
    )


READINGS = "".join(power(offset_ms, 5_000) for offset_ms in range(-2_000, 14_000, 2_000))


def result_log(
    *, hosts: str = "alpha,beta", nodes: str = "2", middle: str = "", system: str = SYSTEM
) -> str:
    """The log of a run of ten seconds, with a line of the training program in it."""
    return (
        f':::DLPAL container 77 {nodes} {hosts} "CLUSTER" CONFIG\n:::SYSJSON {system}\n'
        "epoch 0: loss 3.1\n"
        + "  0: "
        + event(START_MS - 500, "submission_benchmark", "gpt3")
        + "  0: "
        + event(START_MS, "run_start")
        + middle
        + "  0: "
        + event(STOP_MS, "run_stop")
    )


def run_folder(
    root: Path, files: dict[str, str | bytes] | None = None, log: str | None = None
) -> Path:
    """A run folder; without `files` it has two good nodes."""
    folder = root / "2xSMC/gpt3/result_77-5"
    folder.mkdir(parents=True)
    (folder / "result.mllog.txt").write_text(result_log() if log is None else log)
    good = {f"power-dc/node_{k}.txt": READINGS for k in (1, 2)}
    for name, content in (good if files is None else files).items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def archive(members: dict[str, str]) -> bytes:
    """A tar.xz with the members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def mean_power_w(recording: Recording) -> list[float]:
    """Mean reading of each node."""
    return [
        sum(reading.power_mw or 0 for reading in node.readings) / 1_000 / len(node.readings)
        for node in recording.nodes
    ]


def test_run(tmp_path: Path) -> None:
    """The recording has the run's name, begin and end, and a device of scope node per node."""
    recording = load_recording(run_folder(tmp_path))
    assert recording.run == "gpt3-77-5"
    assert recording.epoch_ns == (START_MS - 2_000) * 10**6
    assert (recording.start_ns, recording.stop_ns) == (2 * 10**9, 12 * 10**9)
    assert recording.sample_period_ns == 2 * 10**9
    assert not recording.simulated
    assert [node.node for node in recording.nodes] == ["alpha", "beta"]
    (record,) = recording.nodes[1].records
    assert record.device == "node:beta"
    assert (record.part, record.device_count) == ("h100-sxm5-80gb", 8)
    assert record.energy_scope is EnergyScope.NODE
    assert (record.sm_count, record.max_sm_clock_mhz, record.simulated) == (0, 0, False)


def test_readings(tmp_path: Path) -> None:
    """A reading before the start or after the stop is nobody's; those at the ends are the run's."""
    readings = load_recording(run_folder(tmp_path)).nodes[0].readings
    assert [reading.allocation for reading in readings] == ["none"] + ["run:gpt3-77-5"] * 6 + [
        "none"
    ]
    assert [reading.monotonic_ns for reading in readings] == [k * 2 * 10**9 for k in range(8)]
    assert all(reading.boottime_ns == reading.monotonic_ns for reading in readings)
    assert {reading.power_mw for reading in readings} == {5_000_000}
    assert {reading.evidence for reading in readings} == {Evidence.POWER_SAMPLED}
    assert {reading.energy_mj for reading in readings} == {None}


def test_unusual_spelling(tmp_path: Path) -> None:
    """Blank lines, other events, a rank prefix and fractions of a watt are read exactly."""
    text = (
        event(START_MS, "power_measurement_start")
        + power(0, 5_000.125)
        + "\n3: "
        + power(2_000, 6_000)
        + event(STOP_MS, "power_measurement_stop", "null")
    )
    folder = run_folder(tmp_path, {"power-dc/node_0.txt": text}, result_log(hosts="a", nodes="1"))
    (node,) = load_recording(folder).nodes
    assert [reading.power_mw for reading in node.readings] == [5_000_125, 6_000_000]


def test_archive(tmp_path: Path) -> None:
    """The archive's nodes count once, also where files lie beside it; others are no nodes."""
    members = {f"logs/node_{k}.txt": READINGS.replace("5000", f"500{k}") for k in (2, 1)}
    members |= {"sw_0.txt": READINGS, "total_power.txt": "Total Power Usage: 1 kWh\n"}
    files: dict[str, str | bytes] = {
        "power-dc/all_nodes.tar.xz": archive(members),
        "power-dc/node_1.txt": READINGS,
        "power-dc/node_3.txt": READINGS,
        "power-dc/sw_0.txt": READINGS,
    }
    recording = load_recording(run_folder(tmp_path, files))
    assert mean_power_w(recording) == [5_001, 5_002]


def test_node_order(tmp_path: Path) -> None:
    """Node 10 is the tenth host, not the one after node 1."""
    hosts = [f"host-{k}" for k in range(1, 11)]
    files: dict[str, str | bytes] = {
        f"power-dc/node_{k}.txt": READINGS.replace("5000", str(5_000 + k)) for k in range(1, 11)
    }
    log = result_log(hosts=",".join(hosts), nodes="10")
    recording = load_recording(run_folder(tmp_path, files, log))
    assert [node.node for node in recording.nodes] == hosts
    assert mean_power_w(recording) == [5_000 + k for k in range(1, 11)]


def test_alternating_current(tmp_path: Path) -> None:
    """DC is taken where both are; AC where it alone is; packed or plain."""
    dc: dict[str, str | bytes] = {f"power-dc/node_{k}.txt": READINGS for k in (1, 2)}
    packed = lzma.compress(READINGS.replace("5000", "5500").encode())
    ac: dict[str, str | bytes] = {f"power-ac/node_{k}.txt.xz": packed for k in (1, 2)}
    assert mean_power_w(load_recording(run_folder(tmp_path / "both", dc | ac))) == [5_000, 5_000]
    assert mean_power_w(load_recording(run_folder(tmp_path / "ac", ac))) == [5_500, 5_500]


def test_hosts_not_listed(tmp_path: Path) -> None:
    """A host list that is not spelled out leaves the nodes their file's name."""
    recording = load_recording(run_folder(tmp_path, log=result_log(hosts="n[1-2]")))
    assert [node.node for node in recording.nodes] == ["node_1", "node_2"]


def test_unknown_accelerator(tmp_path: Path) -> None:
    """A model name is matched whole: an unknown one keeps its name and gets no part."""
    system = SYSTEM.replace("H100-SXM5-80GB", "H100-SXM5-80GB-X")
    (record,) = load_recording(run_folder(tmp_path, log=result_log(system=system))).nodes[0].records
    assert (record.part, record.product_name) == ("", "NVIDIA H100-SXM5-80GB-X")


def test_recordings() -> None:
    """Every recording of the test data loads, with the run's times as its ground truth has them."""
    truths = tomllib.loads((RECORDINGS / "truth.toml").read_text())["run"]
    assert len(truths) == 15
    for truth in truths:
        recording = load_recording(RECORDINGS / truth["path"])
        assert len(recording.nodes) == truth["node_count"]
        records = [record for node in recording.nodes for record in node.records]
        assert sum(record.device_count for record in records) == truth["device_count"]
        assert {record.part for record in records} == {"h100-sxm5-80gb"}
        start_ms = (recording.epoch_ns + recording.start_ns) // 10**6
        stop_ms = (recording.epoch_ns + recording.stop_ns) // 10**6
        assert start_ms == truth["run_start_unix_ms"]
        assert stop_ms == truth["run_stop_unix_ms"]
        assert 2_000 * 10**6 <= recording.sample_period_ns <= 2_010 * 10**6


BAD_POWER: list[tuple[str, str | bytes, str]] = [
    ("node_2.txt", "", "node_2.txt holds no power reading"),
    ("node_2.txt", READINGS[:-40], "node_2.txt line 8 is garbled or cut off"),
    ("node_2.txt", READINGS + "power\n", "node_2.txt line 9 is no :::MLLOG line"),
    ("node_2.txt", ":::MLLOG [1]\n", "node_2.txt line 1 is garbled"),
    ("node_2.txt", power(0, 5) + power(-1, 5), "node_2.txt line 2 is earlier"),
    ("node_2.txt", power(0, -1), "node_2.txt line 1 says -1 W"),
    ("node_2.txt", power(0, 100_001), "node_2.txt line 1 says 100001 W"),
    ("node_2.txt", event(START_MS, "power_reading", "5000"), "line 1 gives no power in W"),
    ("node_2.txt", event(START_MS, "power_reading", True), "line 1 gives no power in W"),
    ("node_2.txt", event(START_MS, "power_reading", float("nan")), "gives no power in W"),
    ("node_2.txt", power(0, 0).replace(": 0,", ": 1e999999999,"), "line 1 says 1E[+]999999999 W"),
    ("node_2.txt", event(-5, "power_reading", 7), "line 1 gives no Unix time in ms: -5"),
    ("node_2.txt", power(10**9, 5_000), "node_2.txt has no reading between"),
    ("node_2.txt", b"\n\xff\xfe", "node_2.txt line 2 is not text"),
    ("node_2.txt.xz", lzma.compress(READINGS.encode())[:-20], "node_2.txt.xz is truncated"),
    ("node_2.txt.xz", READINGS, "node_2.txt.xz is truncated or not in xz format"),
]


@pytest.mark.parametrize(("name", "content", "sentence"), BAD_POWER)
def test_bad_power(tmp_path: Path, name: str, content: str | bytes, sentence: str) -> None:
    """Each kind of bad power file is refused in a sentence that names it and the line."""
    files = {"power-dc/node_1.txt": READINGS, f"power-dc/{name}": content}
    with pytest.raises(DataError, match=sentence):
        load_recording(run_folder(tmp_path, files))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_node_count(tmp_path: Path, count: int) -> None:
    """Fewer nodes than the log names would be missing work; more belong to another run."""
    files: dict[str, str | bytes] = {f"power-dc/node_{k}.txt": READINGS for k in range(count)}
    sentence = f"the power of {count} nodes and its log names 2" if count else "has no power files"
    with pytest.raises(DataError, match=sentence):
        load_recording(run_folder(tmp_path, files))


@pytest.mark.parametrize("keep", [0.5, 0.98])
def test_truncated_archive(tmp_path: Path, keep: float) -> None:
    """A cut archive is refused, whether xz or tar notices."""
    whole = archive({f"node_{k}.txt": READINGS for k in (1, 2)})
    cut = whole[: int(len(whole) * keep)]
    with pytest.raises(DataError, match=r"all_nodes.tar.xz is truncated"):
        load_recording(run_folder(tmp_path / "xz", {"power-dc/all_nodes.tar.xz": cut}))
    tar = lzma.decompress(whole)
    cut = lzma.compress(tar[: tar.index(b"node_2.txt") + 700])
    with pytest.raises(DataError, match=r"all_nodes.tar.xz is truncated"):
        load_recording(run_folder(tmp_path / "tar", {"power-dc/all_nodes.tar.xz": cut}))


def test_unpacked_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file that unpacks without end is refused before it fills the memory."""
    monkeypatch.setattr(mlperf_power, "MAXIMUM_CONTENT_BYTES", 1 << 20)
    bomb = lzma.compress(bytes(2 << 20))
    with pytest.raises(DataError, match="unpacks to more than 1 MiB"):
        load_recording(run_folder(tmp_path, {"power-dc/node_1.txt.xz": bomb}))


def test_one_reading_each(tmp_path: Path) -> None:
    """The sampling period cannot be told from one reading a node."""
    files: dict[str, str | bytes] = {f"power-dc/node_{k}.txt": power(0, 5_000) for k in (1, 2)}
    with pytest.raises(DataError, match="too few readings"):
        load_recording(run_folder(tmp_path, files))


START, STOP = event(START_MS, "run_start"), event(STOP_MS, "run_stop")
JOB = ':::DLPAL container 77 2 alpha,beta "CLUSTER" CONFIG\n'
BAD_LOGS = [
    (JOB + START, "holds 0 run_stop events"),
    (JOB + STOP, "holds 0 run_start events"),
    (result_log(middle=START), "holds 2 run_start events"),
    (
        JOB + event(STOP_MS, "run_start") + event(START_MS, "run_stop"),
        "stopped before it started",
    ),
    (START + STOP, "does not say on how many nodes"),
    (":::DLPAL container 77\n" + START + STOP, "DLPAL line without node count"),
    (result_log(nodes="many"), "does not say on how many nodes"),
    (result_log(middle=":::MLLOG {cut\n"), "line 6 is garbled or cut off"),
    (result_log(system="{cut"), "line 2 is garbled or cut off"),
    (result_log(system='{"accelerators_per_node":"0"}'), "accelerators_per_node = '0'"),
    (JOB + START + STOP, "its system folder is not known"),
    ("", "holds 0 run_start events"),
]


@pytest.mark.parametrize(("log", "sentence"), BAD_LOGS)
def test_bad_log(tmp_path: Path, log: str, sentence: str) -> None:
    """Each kind of bad run log is refused in one sentence."""
    with pytest.raises(DataError, match=sentence):
        load_recording(run_folder(tmp_path, log=log))


def test_no_log(tmp_path: Path) -> None:
    """Power without the run's log has no begin and end."""
    folder = run_folder(tmp_path)
    (folder / "result.mllog.txt").unlink()
    with pytest.raises(DataError, match="begin and end are in it"):
        load_recording(folder)


def test_no_recording(tmp_path: Path) -> None:
    """A path nobody recognises names the known formats; one that is not there says so."""
    with pytest.raises(DataError, match="known formats: mlperf-power"):
        load_recording(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_recording(tmp_path / "absent")
