"""Series into a real ledger, with real processes: killed, begun again, and counted once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from flopmeter.lab.bulk.importing import import_series, replay_series
from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Batch, Declaration, Transition
from flopmeter_collector.presentation import totals_document
from flopmeter_core.errors import StorageError, UsageError
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import running
from support.postgres import shared_server
from support.telemetry import pack_rows, rows_of

SERIES = 12
COMMAND = [sys.executable, "-m", "flopmeter"]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of series of several devices and two runs."""
    folder = tmp_path_factory.mktemp("series")
    pack_rows(folder, {f"GPU-{n}": rows_of(n, 400, hours_ahead=30) for n in range(SERIES)})
    return folder


def import_command(series: Path, ledger: Path, *more: str) -> list[str]:
    """The command that imports the series into a ledger."""
    done = str(ledger.with_suffix(".done"))
    return [*COMMAND, "import", str(series), "--ledger", str(ledger), "--done", done, *more]


def imported(series: Path, ledger: Path) -> dict[str, Any]:
    """Import to the end."""
    ended = subprocess.run(
        import_command(series, ledger, "--json"), capture_output=True, text=True, check=True
    )
    return dict(json.loads(ended.stdout))


def totals(ledger: Path) -> dict[str, Any]:
    """Every figure of every run, and of the remainder."""
    ended = subprocess.run(
        [*COMMAND, "totals", "--ledger", str(ledger), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(ended.stdout)
    figures = {run["run"]: run["compute_flop"] for run in document["runs"]}
    return {"runs": figures, "rest": document["unattributed"]["compute_flop"]}


@pytest.fixture(scope="module")
def whole(series: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger after an import that nothing interrupted."""
    ledger = tmp_path_factory.mktemp("whole") / "ledger.db"
    assert imported(series, ledger)["series"] == SERIES
    return ledger


@pytest.fixture(scope="module")
def undisturbed(whole: Path) -> dict[str, Any]:
    """Its totals."""
    return totals(whole)


@pytest.mark.parametrize("kill_after", [1, 8])
def test_a_kill_loses_nothing_and_counts_nothing_twice(
    series: Path, undisturbed: dict[str, Any], tmp_path: Path, kill_after: int
) -> None:
    """Killed with -9 when some series are done and begun again, the totals are the same FLOP."""
    ledger = tmp_path / "ledger.db"
    done = ledger.with_suffix(".done")
    process = subprocess.Popen(import_command(series, ledger), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < deadline:
            if done.exists() and done.read_bytes().count(b"\n") >= kill_after:
                break
            time.sleep(0.005)
        assert process.poll() is None, "it was over before it could be killed"
        helpers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert helpers
    assert not psutil.wait_procs(helpers, timeout=30)[1], "processes outlived the import"
    again = imported(series, ledger)
    assert kill_after <= again["skipped"] < SERIES
    assert again["series"] + again["skipped"] == SERIES
    assert totals(ledger) == undisturbed


@pytest.mark.parametrize("declared", [False, True])
def test_an_end_between_a_series_and_its_device(
    series: Path,
    undisturbed: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    declared: bool,
) -> None:
    """Whether an import ends before or after it retired a device, the next one leaves none awaited.

    A device that is awaited widens upper with every second since.
    """
    ledger = tmp_path / "ledger.db"
    sound, said = backends.declare, list[str]()

    def ends(target: str, declaration: Declaration, **words: Any) -> Any:
        said.append(declaration.subject)
        if len(said) == 4 and not declared:
            raise StorageError("planted")
        done = sound(target, declaration, **words)
        if len(said) == 4:
            raise StorageError("planted")
        return done

    monkeypatch.setattr("flopmeter.lab.bulk.importing.backends.declare", ends)
    with pytest.raises(StorageError, match="planted"):
        import_series(
            [series],
            ledger=str(ledger),
            author="a",
            clock=SystemClock(),
            done_file=ledger.with_suffix(".done"),
        )
    time.sleep(1.1)
    assert imported(series, ledger)["skipped"] == 3
    assert totals(ledger) == undisturbed


def test_imported_again_it_is_the_same(
    series: Path, whole: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """What is there is passed over; without the notes it is sent again, and counts once."""
    ledger = tmp_path / "ledger.db"
    shutil.copy(whole, ledger)
    shutil.copy(whole.with_suffix(".done"), ledger.with_suffix(".done"))
    assert imported(series, ledger)["skipped"] == SERIES
    ledger.with_suffix(".done").unlink()
    assert imported(series, ledger)["series"] == SERIES
    assert totals(ledger) == undisturbed


def test_an_import_judges_nothing(whole: Path, tmp_path: Path) -> None:
    """Who only brings work in may know another law: what a site's own line was recorded as stays.

    The ledger's own collector finds what was crossed, by its own law, and tells its receivers.
    """
    ledger, more = tmp_path / "ledger.db", tmp_path / "more"
    shutil.copy(whole, ledger)
    with contextlib.closing(backends.collect(str(ledger), simulated=True)) as opened:
        assert not list(opened.transitions()) and not list(opened.history())
        crossed = Transition(0, "one", "board-line", "below", "above", True, 1, 0, {"best": "2"})
        opened.commit(Batch(transitions=(crossed,)))
    pack_rows(more, {"GPU-77": rows_of(77, 60)})
    assert imported(more, ledger)["series"] == 1
    with contextlib.closing(backends.read(str(ledger))) as opened:
        assert [row.threshold for row in opened.transitions()] == ["board-line"]


def test_an_import_goes_beside_the_collectors_of_a_server(
    series: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """On PostgreSQL it takes part without ever leading, and the totals are the same."""
    url = shared_server().create(f"ledger_{secrets.token_hex(8)}")

    async def given() -> dict[str, Any]:
        async with running(tmp_path, simulated=True, ledger=url) as app:
            loaded = await asyncio.to_thread(
                import_series,
                [series],
                ledger=url,
                author="ada",
                clock=SystemClock(),
                done_file=tmp_path / "done",
                jobs=1,
            )
            assert loaded.series == SERIES
            published = await app.evaluate_now()
            return totals_document(published.snapshot, app.thresholds)

    document = asyncio.run(given())
    figures = {run["run"]: run["compute_flop"] for run in document["runs"]}
    assert figures == undisturbed["runs"]


def test_replay_shows_the_same_figures(series: Path, undisturbed: dict[str, Any]) -> None:
    """A replay of series makes the totals of an import, in a ledger that is gone afterwards."""
    ended = subprocess.run(
        [*COMMAND, "replay", str(series), "--json"], capture_output=True, text=True, check=True
    )
    document = json.loads(ended.stdout)
    assert document["simulated"]
    assert {run["run"]: run["compute_flop"] for run in document["runs"]} == undisturbed["runs"]


def test_imported_devices_are_not_missed_afterwards(whole: Path) -> None:
    """A device known from a series alone is declared retired, so nothing is charged to it."""
    ended = subprocess.run(
        [*COMMAND, "device", "enrolled", "--ledger", str(whole), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(each["retired"] for each in json.loads(ended.stdout)["devices"])


def test_real_series_are_refused_by_a_simulated_ledger(whole: Path, tmp_path: Path) -> None:
    """The kinds never mix: one sentence, and nothing is written."""
    ledger = tmp_path / "ledger.db"
    shutil.copy(whole, ledger)
    real = tmp_path / "real"
    pack_rows(real, {"GPU-9": rows_of(1, 20)}, simulated=False)
    ended = subprocess.run(import_command(real, ledger), capture_output=True, text=True)
    assert ended.returncode == 77
    assert "simulated" in ended.stderr.splitlines()[-1]


def test_a_running_collector_takes_the_same(
    series: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    """What one that runs takes makes the figures of an import of one's own, and retires nobody."""

    async def given() -> int:
        async with running(tmp_path, simulated=True) as app:
            loaded = await asyncio.to_thread(
                import_series,
                [series],
                collector=app.grpc_address,
                author="ada",
                clock=SystemClock(),
                done_file=tmp_path / "done",
                jobs=1,
            )
        return loaded.series

    assert asyncio.run(given()) == SERIES
    assert totals(tmp_path / "ledger.db") == undisturbed
    ended = subprocess.run(
        [*COMMAND, "device", "enrolled", "--ledger", str(tmp_path / "ledger.db"), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not any(each["retired"] for each in json.loads(ended.stdout)["devices"])


def test_a_collector_on_another_host_is_refused(series: Path, tmp_path: Path) -> None:
    """Readings do not go over a network in the clear; nothing is asked of anybody."""
    with pytest.raises(UsageError, match="import on the collector's own host"):
        import_series(
            [series],
            collector="192.0.2.1:8425",
            author="ada",
            clock=SystemClock(),
            done_file=tmp_path / "done",
        )


def test_what_is_declared_of_a_replay(tmp_path: Path) -> None:
    """It is said of the one run there is, its model too; of several runs none is guessed."""
    rows = rows_of(3, 60, odd=0.0)
    pack_rows(tmp_path / "one", {"GPU-1": rows})
    plain, declared = (
        replay_series([tmp_path / "one"], body, clock=SystemClock())
        for body in ({}, {"model": "atlas", "format": "bf16"})
    )
    assert [run["declared"]["format"] for run in declared["runs"]] == ["bf16"]
    assert [each["model"] for each in declared["models"]] == ["atlas"]
    assert [each["model"] for each in plain["models"]] == ["one"]
    others = [dataclasses.replace(row, run="other") for row in rows]
    pack_rows(tmp_path / "two", {"GPU-1": rows, "GPU-2": others})
    with pytest.raises(UsageError, match="hold 2 runs, so it is not clear which is declared"):
        replay_series([tmp_path / "two"], {"format": "bf16"}, clock=SystemClock())


def test_a_device_that_somebody_spoke_of_is_left_as_it_is(
    series: Path, whole: Path, tmp_path: Path
) -> None:
    """One that was enrolled again stays so when its series is sent once more."""
    ledger = tmp_path / "ledger.db"
    shutil.copy(whole, ledger)
    words = ("GPU-3", "--from", "2026-06-01T00:00:00Z", "--reason", "back", "--ledger", str(ledger))
    subprocess.run([*COMMAND, "device", "enroll", *words], check=True, capture_output=True)
    said = ("run", "declare", "one", "--model", "atlas", "--ledger", str(ledger))
    subprocess.run([*COMMAND, *said], check=True, capture_output=True)
    assert imported(series, ledger)["series"] == SERIES
    ended = subprocess.run(
        [*COMMAND, "device", "enrolled", "--ledger", str(ledger), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    devices = json.loads(ended.stdout)["devices"]
    assert [each["device"] for each in devices if not each["retired"]] == ["GPU-3"]
