"""The agent's app: what it refuses before anything is read."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from flopmeter_agent import closed, journal
from flopmeter_agent.app import STATE_NAMES, AgentApp, LoopSource, choose_sensor, open_file
from flopmeter_agent.config import SHORTEST_PERIOD_S, AgentConfig
from flopmeter_agent.journal import Journal
from flopmeter_core.errors import (
    DataError,
    FlopmeterError,
    InvariantError,
    NotPermittedError,
    StorageError,
    UsageError,
)
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import SystemClock

SCENARIO = Path(__file__).parents[3] / "flopmeter" / "lab" / "data" / "demo.toml"


def test_made_up_readings_are_refused_where_real_ones_are_required() -> None:
    """--require-real and a scenario cannot both be meant."""
    config = AgentConfig(sensor="simulated", scenario=SCENARIO, node="n0", require_real=True)
    with pytest.raises(NotPermittedError, match="--require-real forbids"):
        choose_sensor(config, SystemClock())


def test_a_scenario_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    """The path is named."""
    config = AgentConfig(sensor="simulated", scenario=tmp_path / "missing.toml", node="n0")
    with pytest.raises(UsageError, match=r"missing\.toml cannot be read"):
        choose_sensor(config, SystemClock())


def test_a_node_the_scenario_lacks_is_one_sentence() -> None:
    """The nodes there are, are named."""
    config = AgentConfig(sensor="simulated", scenario=SCENARIO, node="stranger")
    with pytest.raises(UsageError, match="use --node with one of n0"):
        choose_sensor(config, SystemClock())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"sample_period_s": 0.01}, "not fresher than"),
        ({"sample_period_s": 5.0, "report_period_s": 1.0}, "must not be shorter"),
        ({"sensor": "simulated"}, "go together"),
        ({"scenario": SCENARIO}, "go together"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, object], sentence: str) -> None:
    """Each contradiction is one sentence before anything starts."""
    with pytest.raises(UsageError, match=sentence):
        AgentConfig(**settings)  # type: ignore[arg-type]


def test_a_journal_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    """The folder is named."""
    with pytest.raises(StorageError, match="cannot be opened"):
        open_file(tmp_path / "missing")


def test_the_agents_own_estimate_rides_along(tmp_path: Path) -> None:
    """The agent as it is built, not only its loop, sends an estimate of what it has registered."""
    began_ns = SystemClock().wall_ns() - 20 * NS_PER_S
    config = AgentConfig(
        sensor="simulated",
        scenario=SCENARIO,
        scenario_epoch=began_ns,
        node="n0",
        state=tmp_path,
        claims_socket="",
    )
    app = AgentApp(config, SystemClock())
    try:
        app.loop.sample()
        app.loop.sample()
        report = app.loop.report()
    finally:
        app.close()
    assert report is not None
    assert "run:atlas-pretrain" in report.display_flop


def an_app(folder: Path, *, metrics_listen: str = "") -> AgentApp:
    """An agent of the demonstration's first node; no collector is there."""
    began_ns = SystemClock().wall_ns() - 20 * NS_PER_S
    config = AgentConfig(
        sensor="simulated",
        scenario=SCENARIO,
        scenario_epoch=began_ns,
        node="n0",
        state=folder,
        claims_socket="",
        sample_period_s=1.0,
        report_period_s=10.0,
        metrics_listen=metrics_listen,
    )
    return AgentApp(config, SystemClock())


@pytest.mark.parametrize(("connected", "syncs"), [(False, 10), (True, 9)])
def test_an_outage_is_synced_once_a_report_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connected: bool, syncs: int
) -> None:
    """Ten samples a report: a sync at every tenth; a stream that is open gets one sample more."""
    app = an_app(tmp_path)
    made: list[int] = []
    whole = app.loop.sync

    def sync() -> None:
        made.append(1)
        whole()

    monkeypatch.setattr(app.loop, "sync", sync)
    app._link.state.connected = connected
    for _ in range(100):
        app.loop.sample()
        app._sync_when_due()
    app.close()
    assert len(made) == syncs


def test_a_report_makes_the_sync_of_its_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While reports leave, no other sync is made."""
    app = an_app(tmp_path)
    made: list[int] = []
    monkeypatch.setattr(app.loop, "sync", lambda: made.append(1))
    app._link.state.connected = True
    for number in range(100):
        app.loop.sample()
        app._sync_when_due()
        if number % 10 == 9:
            assert app.loop.report() is not None
    app.close()
    assert made == []


def test_a_disk_that_fails_ends_no_metering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent while the state cannot be kept; it is said once, and when it is over."""
    app = an_app(tmp_path)
    source = LoopSource(app.loop)
    app.loop.sample()
    whole = Journal.write
    fails = True

    def write(journal: Journal, payload: bytes) -> None:
        if fails:
            raise StorageError("the journal cannot be written")
        whole(journal, payload)

    monkeypatch.setattr(Journal, "write", write)
    rounds = iter(range(4))

    def wait(_: float) -> None:
        nonlocal fails
        if next(rounds) == 2:
            assert asyncio.run(source.next_report()) is None
            fails = False
            app._stop_sampling.set()

    monkeypatch.setattr(app._sample_now, "wait", wait)
    app._sample_until_stopped(lambda: pytest.fail("the agent ended"))
    assert app.failure is None
    assert app.loop.counters.journal_failures == 4
    report = asyncio.run(source.next_report())
    assert report is not None
    app.close()
    said = [record.message for record in caplog.records if "state" in record.message]
    assert sum("cannot be kept" in sentence for sentence in said) == 1
    assert sum("is kept again" in sentence for sentence in said) == 1


@pytest.mark.parametrize(("asked", "rests"), [(True, 3), (False, 0)])
def test_readings_are_a_tenth_of_a_second_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool, rests: int
) -> None:
    """However often somebody asks for a reading; nothing wakes the agent where nobody asks."""
    app = an_app(tmp_path)
    rested_s: list[float] = []
    waited_s: list[float] = []

    def wait(period_s: float) -> bool:
        waited_s.append(period_s)
        if len(waited_s) == 3:
            app._stop_sampling.set()
        return asked

    monkeypatch.setattr(app._sample_now, "wait", wait)
    monkeypatch.setattr(app._stop_sampling, "wait", rested_s.append)
    app._sample_until_stopped(lambda: pytest.fail("the agent ended"))
    app.close()
    assert waited_s == [1.0] * 3
    assert len(rested_s) == rests
    assert all(SHORTEST_PERIOD_S / 2 < each <= SHORTEST_PERIOD_S for each in rested_s)


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (DataError("the device lies"), DataError, "the device lies"),
        (ZeroDivisionError("no time"), InvariantError, "sampling failed .no time.; please report"),
    ],
)
def test_an_agent_that_cannot_sample_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    error: type[Exception],
    said: str,
) -> None:
    """It must not look alive: what ended it is what it ends with."""
    monkeypatch.setattr("flopmeter_agent.app.LAST_REPORT_DEADLINE_S", 0.1)
    app = an_app(tmp_path)

    def sample() -> None:
        raise fault

    monkeypatch.setattr(app.loop, "sample", sample)
    with pytest.raises(error, match=said):
        asyncio.run(app.serve(asyncio.Event()))
    app.close()


@pytest.mark.parametrize("sampling", [True, False])
def test_a_link_that_cannot_go_on_ends_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampling: bool
) -> None:
    """It ends with the link's error; where sampling had failed before, with that one."""
    app = an_app(tmp_path)

    async def run(*, wait: object, stop: asyncio.Event) -> None:
        if not sampling:
            await stop.wait()
        raise DataError("the journal failed")

    def sample() -> None:
        if not sampling:
            raise DataError("the device lies")

    monkeypatch.setattr(app._link, "run", run)
    monkeypatch.setattr(app.loop, "sample", sample)
    with pytest.raises(DataError, match="the journal failed" if sampling else "the device lies"):
        asyncio.run(app.serve(asyncio.Event()))
    app.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "sampler"]


def test_an_agent_that_cannot_be_built_holds_nothing(tmp_path: Path) -> None:
    """Its address is taken; the state folder, which it had locked before, is free again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(FlopmeterError, match=address) as caught:
            an_app(tmp_path, metrics_listen=address)
    an_app(tmp_path).close()
    assert caught.value is not None  # until here it kept alive what had been built


def test_a_state_folder_that_may_not_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said at the start, with the reason."""
    monkeypatch.setattr("flopmeter_agent.app.volatility", lambda folder: "it lies in memory")
    an_app(tmp_path).close()
    (said,) = [each for each in caplog.records if each.message == "the state folder may not last"]
    assert "it lies in memory" in str(vars(said))


def test_the_agents_own_metrics(tmp_path: Path) -> None:
    """They are served where a setting says so, and the address is free again afterwards."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    app = an_app(tmp_path, metrics_listen=f"127.0.0.1:{port}")
    app.loop.sample()
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    assert "flopmeter_sensor_reads_total 1\n" in text
    app.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


@pytest.mark.parametrize("content", [b"garbled!" * 40_000, None])
@pytest.mark.parametrize("name", STATE_NAMES)
def test_a_damaged_record_is_named_with_what_to_do(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    """Slots that are garbled, and a whole one that holds what nobody can read: which file it is."""
    an_app(tmp_path).close()
    path = tmp_path / name
    if content is None:
        path.unlink()
        file = open_file(tmp_path, name)
        slots = {"closed": closed.SLOTS}.get(name, journal.SLOTS)
        Journal(file, slots=slots).write(b"{}")
        file.close()
    else:
        path.write_bytes(content)
    with pytest.raises((StorageError, DataError)) as told:
        an_app(tmp_path)
    assert str(told.value).startswith(f"{path}: ")
    assert "move the state folder away and start again: closed work" in str(told.value)


def test_descriptors_are_allowed() -> None:
    """The limit of open files goes up as far as the process may raise it, and never down."""
    program = (
        "import resource\n"
        "from flopmeter_agent.app import allow_descriptors\n"
        "limit = resource.RLIMIT_NOFILE\n"
        "resource.setrlimit(limit, (100, 200))\n"
        "for wanted in (150, 120, 999):\n"
        "    allow_descriptors(wanted)\n"
        "    print(*resource.getrlimit(limit))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["150 200", "150 200", "200 200"], done.stderr
