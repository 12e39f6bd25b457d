"""`flopmeter ledger`: what an operator may do, on real files, beside a collector that serves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter_collector import backends
from flopmeter_collector.quarantine import quarantine_name
from flopmeter_core.reports import KeyedVector
from flopmeter_core.writers import marked
from flopmeter_proto.ingest.v1 import ingest_service_pb2 as pb
from support.collector import running
from support.ingest import hourly, key, report, stream, vector
from support.postgres import shared_server

IMPOSSIBLE = vector(5, TENSOR_MEGACYCLES=2**40)


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """A ledger with a run, an hour of it, a forked key and a quarantined one."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            vectors = [
                KeyedVector(key(), 6, vector(7200)),
                KeyedVector(key(phase=1), 5, IMPOSSIBLE),
                KeyedVector(key(phase=2), 5, vector(5)),
            ]
            hours = [hourly(0, 3, vector(3000))]
            await sender.exchange(sender.writer.report(report(vectors, hours=hours)))
            await sender.send(5, vector(6), phase=2)
            await app.evaluate_now()

    asyncio.run(scenario())
    return str(tmp_path / "ledger.db")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What a command prints, once it has ended with this code."""
    assert main(["ledger", *arguments]) == code, capsys.readouterr()
    out = capsys.readouterr()
    return out.out or out.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The JSON a command prints."""
    return json.loads(said(capsys, *arguments, "--json", code=code))


@contextlib.contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """A ledger as whoever tampers with it opens it."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def audit_actions(url: str) -> list[tuple[str, str, str]]:
    """Who did what, and why."""
    with contextlib.closing(backends.read(url)) as opened_ledger:
        return [(row.author, row.action, row.reason) for row in opened_ledger.audit()]


def best(capsys: pytest.CaptureFixture[str], url: str) -> int:
    """The best figure of the test's run."""
    assert main(["totals", "--ledger", url, "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    return int(run["compute_flop_str"]["best"])


def test_quarantine_is_released(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quarantined vector counts from its release on, before and after a collector took it."""
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]
    assert (row["state"], row["sequence"], row["node"]) == ("held", 5, "node-1")
    assert "tensor_megacycles" in row["reason"]
    before = best(capsys, ledger)
    who = ["--author", "ada", "--reason", "the counter is right"]
    release = ["quarantine", "release", row["name"][:6], "--ledger", ledger, *who]
    assert "is released at sequence 5" in said(capsys, *release)
    assert "was released already" in said(capsys, *release, code=64)
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]
    assert row["state"] == "release declared"
    declared = best(capsys, ledger)
    assert declared > before
    assert audit_actions(ledger) == [("ada", "quarantine release", "the counter is right")]

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await app.evaluate_now()
            await sender.greet()
            answer = await sender.send(5, IMPOSSIBLE, phase=1)
            assert answer.acknowledgements[0].durability == pb.DURABILITY_AT_ROOT
            newer = await sender.send(6, vector(5, TENSOR_MEGACYCLES=2**41), phase=1)
            assert newer.acknowledgements[0].durability == pb.DURABILITY_QUARANTINED

    asyncio.run(scenario())
    assert best(capsys, ledger) == declared
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]
    assert (row["state"], row["sequence"]) == ("held", 6)
    assert said(capsys, "verify", "--ledger", ledger) == "the ledger is whole\n"


def test_a_release_reaches_a_serving_collector(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A collector that serves merges a released vector in its next round."""
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]

    async def scenario() -> None:
        async with running(tmp_path) as app:
            assert app.table.quarantine.held_count() == 1
            arguments = ["quarantine", "release", row["name"], "--ledger", ledger, "--reason", "x"]
            await asyncio.to_thread(main, ["ledger", *arguments])
            await app.evaluate_now()
            assert app.table.quarantine.held_count() == 0
            assert app.table.branches(key(phase=1))[0].vector == IMPOSSIBLE

    asyncio.run(scenario())
    capsys.readouterr()
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]
    assert (row["state"], row["released_by_declaration"]) == ("released", 1)


def test_a_rejection_reaches_a_serving_collector(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From its next round on it counts the vector as nothing that waits, and after a restart too.

    Sent again it is quarantined as before, in no total; a newer one of its register waits again.
    """
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]
    word = ["--ledger", ledger, "--author", "ada", "--reason", "the driver was broken"]
    before = best(capsys, ledger)

    async def rejected() -> None:
        async with running(tmp_path) as app:
            await app.evaluate_now()
            assert app._status().quarantined_flop > 0
            assert (
                await asyncio.to_thread(
                    main, ["ledger", "quarantine", "reject", row["name"], *word]
                )
                == 0
            )
            await app.evaluate_now()
            status = app._status()
            assert (status.quarantined_register_count, status.quarantined_flop) == (0, 0)

    async def restarted() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            assert app._status().quarantined_register_count == 0
            await sender.greet()
            answer = await sender.send(5, IMPOSSIBLE, phase=1)
            assert answer.acknowledgements[0].durability == pb.DURABILITY_QUARANTINED
            await app.evaluate_now()
            assert app._status().quarantined_register_count == 0
            await sender.send(6, vector(5, TENSOR_MEGACYCLES=2**41), phase=1)
            await app.evaluate_now()
            assert app._status().quarantined_register_count == 1

    asyncio.run(rejected())
    capsys.readouterr()
    assert best(capsys, ledger) == before
    assert audit_actions(ledger) == [("ada", "quarantine reject", "the driver was broken")]
    assert document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"] == []
    for check in ("verify", "rebuild"):
        assert said(capsys, check, "--ledger", ledger)
    asyncio.run(restarted())
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]
    assert (row["state"], row["sequence"]) == ("held", 6)
    assert best(capsys, ledger) == before


@pytest.mark.parametrize("sequence", [5, 6])
def test_a_release_is_of_what_was_looked_at(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], sequence: int
) -> None:
    """A vector that took its place since is not accepted by the same word, and that is said."""
    newer = vector(5, TENSOR_MEGACYCLES=2**50)
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]
    release = ["release", row["name"], "--ledger", ledger, "--reason", "x"]

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            assert await asyncio.to_thread(main, ["ledger", "quarantine", *release]) == 0
            await sender.send(sequence, newer, phase=1)
            await app.evaluate_now()
            assert app.table.branches(key(phase=1)) == ()
            (held,) = app.table.quarantine.held()
            assert held.vector == newer

    asyncio.run(scenario())
    capsys.readouterr()
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]
    assert (row["state"], row["sequence"]) == ("held", sequence)
    assert "a newer one takes the place" in said(capsys, "quarantine", *release, code=64)
    assert said(capsys, "verify", "--ledger", ledger) == "the ledger is whole\n"


def test_a_late_release_is_logged(
    ledger: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever released what is no longer there can see it, once and not at each start."""

    async def scenario(*, late: bool) -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            if late:
                (row,) = app.table.quarantine.held()
                name = ["release", quarantine_name(row), "--ledger", ledger, "--reason", "x"]
                assert await asyncio.to_thread(main, ["ledger", "quarantine", *name]) == 0
                await sender.send(9, vector(5, TENSOR_MEGACYCLES=2**50), phase=1)
            await app.evaluate_now()

    for late, times in ((True, 1), (False, 0)):
        caplog.clear()
        asyncio.run(scenario(late=late))
        assert caplog.text.count("took its place in quarantine") == times


@pytest.mark.parametrize("name", ["", "ffffffffffff", "nonsense"])
def test_release_of_nothing(ledger: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name no row has releases nothing, and is said."""
    arguments = ["quarantine", "release", name, "--ledger", ledger, "--reason", "x"]
    assert "names no vector" in said(capsys, *arguments, code=64).replace(
        "several vectors", "no vector"
    )


def test_acts_need_a_reason(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No act on a ledger goes without its reason."""
    for act in (
        ["hold", "add", "all"],
        ["quarantine", "release", "abc"],
        ["restore", f"{ledger}.bak"],
    ):
        assert "--reason" in said(capsys, *act, "--ledger", ledger, code=64)
        assert "reason" in said(capsys, *act, "--ledger", ledger, "--reason", " ", code=65)


def test_holds(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A hold stands from its declaration to its release, with who and why."""
    who = ["--ledger", ledger, "--author", "ada", "--reason", "case 7"]
    said(capsys, "hold", "add", "run:a", *who)
    assert "held already" in said(capsys, "hold", "add", "run:a", *who, code=64)
    (row,) = document(capsys, "hold", "list", "--ledger", ledger)["holds"]
    assert (row["subject"], row["author"], row["reason"]) == ("run:a", "ada", "case 7")
    assert "cannot be held" in said(capsys, "hold", "add", "node:a", *who, code=65)
    said(capsys, "hold", "release", "run:a", *who)
    assert "not on hold" in said(capsys, "hold", "release", "run:a", *who, code=64)
    assert document(capsys, "hold", "list", "--ledger", ledger)["holds"] == []
    assert [action for _, action, _ in audit_actions(ledger)] == ["hold", "hold release"]


def test_a_hold_on_a_name_nobody_knows_is_said(
    ledger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stands, for a run may come later; whoever mistyped a name hears of it."""
    place = ["--ledger", ledger, "--reason", "case 7"]
    for subject, known in (("run:a", True), ("run:typo", False), ("all", True), ("model:m", False)):
        assert main(["ledger", "hold", "add", subject, *place]) == 0
        assert ("check the name" in capsys.readouterr().err) != known
        assert main(["ledger", "hold", "release", subject, *place]) == 0
        assert capsys.readouterr().err == ""


def test_forks_are_listed(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both histories of a forked key are listed, and no other key."""
    branches = document(capsys, "fork", "list", "--ledger", ledger)["branches"]
    assert [(row["branch"], row["sequence"]) for row in branches] == [(0, 5), (1, 5)]
    assert (
        branches[0]["name"]
        == branches[1]["name"]
        in said(capsys, "fork", "list", "--ledger", ledger)
    )


REST = "1, 1800000000, 1, '{}', 1"
"""The last columns of a made-up transition."""

TAMPERED = {
    "links": ("UPDATE vector SET key = 999 WHERE branch = 1", "does not exist"),
    "dominance": ("UPDATE hour_vector SET sequence = 7", "above its register"),
    "components": (
        "UPDATE hour_vector SET components = (SELECT components FROM quarantine)",
        "above its register",
    ),
    "record": ("UPDATE record SET content = replace(content, 'node-1', 'node-2')", "its name says"),
    "device": (
        "UPDATE record SET content = replace(content, 'GPU-1', 'GPU-2')",
        "no device record of its device",
    ),
    "register": ("DELETE FROM vector", "belongs to no register"),
    "branch": ("UPDATE vector SET branch = 3 WHERE branch = 1", "not numbered"),
    "sequence": ("UPDATE vector SET sequence = 0 WHERE branch = 0", "which no agent sends"),
    "follows": ("UPDATE vector SET sequence = 9 WHERE branch = 1", "another one follows"),
    "audit": (
        "DROP TRIGGER audit_is_not_rewritten; UPDATE audit SET author = 'eve' WHERE sequence = 1",
        "was changed",
    ),
    "audit gap": (
        "DROP TRIGGER audit_is_not_removed; DELETE FROM audit WHERE sequence = 1",
        "audit row 1 is missing",
    ),
    "audit link": (
        "DROP TRIGGER audit_is_not_rewritten; UPDATE audit SET link = '' WHERE sequence = 2",
        "was changed",
    ),
    "declaration": (
        "DROP TRIGGER declaration_is_not_removed; DELETE FROM declaration WHERE sequence = 1",
        "declaration 1 is missing",
    ),
    "last declaration": (
        "DROP TRIGGER declaration_is_not_removed; DELETE FROM declaration WHERE sequence = 2",
        "declaration 2 is missing",
    ),
    "last audit row": (
        "DROP TRIGGER audit_is_not_removed; DELETE FROM audit WHERE sequence = 2",
        "audit row 2 is missing",
    ),
    "turned bit": (
        "UPDATE vector SET components = CAST(substr(components, 1, 6) || x'01'"
        " || substr(components, 8) AS BLOB) WHERE key = 1",
        "cannot be true",
    ),
    "transition": (
        f"INSERT INTO transition VALUES (1, 'm', 'line', 'unknown', 'above', {REST});"
        f" INSERT INTO transition VALUES (2, 'm', 'line', 'below', 'above', {REST})",
        "leaves state",
    ),
    "release": ("UPDATE quarantine SET released = 77", "which is no release"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_verify_finds(ledger: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was tampered with is found, in one line each, with exit code 1."""
    who = ["--ledger", ledger, "--reason", "case 7"]
    said(capsys, "hold", "add", "run:a", *who)
    said(capsys, "hold", "add", "run:b", *who)
    assert said(capsys, "verify", "--ledger", ledger) == "the ledger is whole\n"
    change, expected = TAMPERED[what]
    with opened(ledger) as connection:
        connection.executescript(change)
    found = document(capsys, "verify", "--ledger", ledger, code=1)
    assert not found["whole"]
    assert any(expected in finding for finding in found["findings"]), found["findings"]


def test_two_writers_that_were_told_apart_are_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A vector with a mark stands beside the other writer's, also where it is nowhere below it."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            await sender.send(5, vector(50))
            await sender.send(marked(7, 99), vector(70))
            assert len(app.table.branches(key())) == 2

    asyncio.run(scenario())
    assert (
        said(capsys, "verify", "--ledger", str(tmp_path / "ledger.db")) == "the ledger is whole\n"
    )


def test_verify_of_damaged_pages(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Overwritten pages are found by the storage's own check, or the file cannot be read at all."""
    with opened(ledger) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    content = bytearray(Path(ledger).read_bytes())
    content[(pages - 1) * 4096 :] = b"\x5a" * 4096
    Path(ledger).write_bytes(content)
    assert main(["ledger", "verify", "--ledger", ledger]) in (1, 65)
    assert "damaged" in "".join(capsys.readouterr())


def test_rebuild(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Totals come out the same both ways round; a state that was tampered with is found."""
    assert said(capsys, "rebuild", "--ledger", ledger) == "totals and states come out the same\n"
    with opened(ledger) as connection:
        row = f"(1, 'a', 'eu-ai-act-51-2', 'unknown', 'above', {REST})"
        connection.execute(f"INSERT INTO transition VALUES {row}")
    (finding,) = document(capsys, "rebuild", "--ledger", ledger, code=1)["findings"]
    assert "is recorded as above and comes out as below" in finding


def test_backup_and_restore(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backup of a serving ledger is put back whole, under another generation, and is audited."""
    target = tmp_path / "copy.db"

    async def scenario() -> int:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            await sender.send(7, vector(7300))
            arguments = ["backup", str(target), "--ledger", ledger]
            assert await asyncio.to_thread(main, ["ledger", *arguments]) == 0
            answer = await sender.send(8, vector(7400))
            return answer.ledger_generation

    generation = asyncio.run(scenario())
    capsys.readouterr()
    assert (tmp_path / "copy.db.sha256").read_text().endswith("  copy.db\n")
    assert target.stat().st_mode & 0o777 == 0o600
    assert "exists" in said(capsys, "backup", str(target), "--ledger", ledger, code=64)
    who = ["--author", "ada", "--reason", "the disk died"]
    back = str(tmp_path / "back.db")
    put = document(capsys, "restore", str(target), "--ledger", back, *who)
    assert put["ledger_generation"] != generation and put["checksum_was_given"]
    assert "are lost" in put["note"]
    assert audit_actions(back) == [("ada", "restore", "the disk died")]
    assert said(capsys, "verify", "--ledger", back) == "the ledger is whole\n"
    with contextlib.closing(backends.read(back)) as restored:
        assert {v.sequence for v in restored.vectors() if v.key == key()} == {7}
    assert "exists" in said(capsys, "restore", str(target), "--ledger", back, *who, code=64)
    assert sorted(p.name for p in tmp_path.iterdir() if "partial" in p.name) == []


def test_what_a_killed_copy_left_is_in_nobodys_way(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a container every process may have the number of the one that was killed."""
    copy, back = tmp_path / "copy.db", tmp_path / "back.db"
    for target in (copy, tmp_path / "copy.db.sha256", back):
        (tmp_path / f"{target.name}.partial-{os.getpid()}").write_bytes(b"half")
    said(capsys, "backup", str(copy), "--ledger", ledger)
    said(capsys, "restore", str(copy), "--ledger", str(back), "--reason", "x")
    assert said(capsys, "verify", "--ledger", str(back)) == "the ledger is whole\n"


def test_restore_refuses(ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A backup with another checksum, no database or nothing at all is no ledger."""
    copy, back = tmp_path / "copy.db", str(tmp_path / "back.db")
    said(capsys, "backup", str(copy), "--ledger", ledger)
    restore = ["restore", str(copy), "--ledger", back, "--reason", "x"]
    (tmp_path / "copy.db.sha256").write_text("0" * 64 + "  copy.db\n")
    assert "not the file its checksum" in said(capsys, *restore, code=65)
    (tmp_path / "copy.db.sha256").unlink()
    assert "no checksum lies beside" in said(capsys, *restore)
    copy.write_text("something else " * 500)
    Path(back).unlink()
    assert "no ledger" in said(capsys, *restore, code=65)
    copy.write_bytes(b"")
    assert "empty file" in said(capsys, *restore, code=65)
    copy.unlink()
    assert "no backup" in said(capsys, *restore, code=64)
    assert not Path(back).exists()


def test_there_is_no_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command says so where there is none, and makes none."""
    url = str(tmp_path / "none.db")
    for arguments in (
        ["verify"],
        ["rebuild"],
        ["quarantine", "list"],
        ["fork", "list"],
        ["hold", "list"],
        ["backup", str(tmp_path / "copy.db")],
    ):
        assert "there is no ledger" in said(capsys, *arguments, "--ledger", url, code=64)
    assert list(tmp_path.iterdir()) == []


def test_on_a_server(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The same acts and checks on a PostgreSQL ledger; copies are its own tools' business."""
    url = shared_server().create(f"ledger_{secrets.token_hex(8)}")

    async def scenario() -> None:
        async with running(tmp_path, ledger=url) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            vectors = [
                KeyedVector(key(), 99, vector(7200)),
                KeyedVector(key(phase=1), 5, IMPOSSIBLE),
            ]
            rows = [hourly(hour, hour + 1, vector(100 * hour + 100)) for hour in range(30)]
            await sender.exchange(sender.writer.report(report(vectors, hours=rows)))
            await app.evaluate_now()
            (row,) = document(capsys, "quarantine", "list", "--ledger", url)["quarantine"]
            who = ["--ledger", url, "--reason", "x"]
            release = ["ledger", "quarantine", "release", row["name"], *who]
            assert await asyncio.to_thread(main, release) == 0
            assert await asyncio.to_thread(main, ["run", "end", "a", *who]) == 0
            await app.evaluate_now()
            assert app.table.branches(key(phase=1))[0].vector == IMPOSSIBLE
            assert await app._publisher.thin(before_ns=10**18) == 28
            await app.evaluate_now()

    asyncio.run(scenario())
    capsys.readouterr()
    assert said(capsys, "verify", "--ledger", url) == "the ledger is whole\n"
    assert said(capsys, "rebuild", "--ledger", url) == "totals and states come out the same\n"
    with contextlib.closing(backends.read(url)) as opened_ledger:
        kept = [(row.hour, row.first_hour) for row in opened_ledger.hours("run:a")]
    assert kept == [(23, 0), (29, 24)]
    who = ["--ledger", url, "--reason", "x"]
    assert "pg_basebackup" in said(capsys, "backup", str(tmp_path / "b"), "--ledger", url, code=64)
    assert "on a server" in said(capsys, "restore", str(tmp_path / "b"), *who, code=64)


def test_quarantined_work_stands_beside(tmp_path: Path) -> None:
    """What a quarantined vector would make is told apart, until it is released into the totals."""

    async def scenario() -> None:
        async with running(tmp_path) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            await sender.send(5, IMPOSSIBLE)
            published = await app.evaluate_now()
            assert published.snapshot.runs == ()
            beside = app._status().quarantined_flop
            assert beside > 0
            (row,) = app.table.quarantine.held()
            name = quarantine_name(row)
            arguments = ["release", name, "--ledger", str(tmp_path / "ledger.db"), "--reason", "x"]
            await asyncio.to_thread(main, ["ledger", "quarantine", *arguments])
            published = await app.evaluate_now()
            (run,) = published.snapshot.runs
            assert run.account.figures.total.best == beside
            assert app._status().quarantined_flop == 0

    asyncio.run(scenario())


def test_words_and_json_say_the_same(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command has both forms; an empty list is a sentence, and no table."""
    who = ["--ledger", ledger, "--author", "ada", "--reason", "asked for"]
    (row,) = document(capsys, "quarantine", "list", "--ledger", ledger)["quarantine"]
    assert row["name"] in said(capsys, "quarantine", "list", "--ledger", ledger)
    released = document(capsys, "quarantine", "release", row["name"], *who)
    assert (released["name"], released["sequence"]) == (row["name"], 5)
    assert "there is none" in said(capsys, "hold", "list", "--ledger", ledger)
    held = document(capsys, "hold", "add", "run:a", *who)
    assert held["declaration"] > released["declaration"] and held["known"]
    assert "run:a" in said(capsys, "hold", "list", "--ledger", ledger)
    copy = document(capsys, "backup", str(tmp_path / "copy.db"), "--ledger", ledger)
    assert copy["sha256"] in (tmp_path / "copy.db.sha256").read_text()
    (tmp_path / "copy.db.sha256").unlink()
    aside = ["--ledger", str(tmp_path / "other.db"), *who[2:]]
    assert "no checksum lies beside" in said(capsys, "restore", copy["path"], *aside)


def test_a_ledger_without_quarantine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to list is said in a sentence."""

    async def scenario() -> None:
        async with running(tmp_path):
            pass

    asyncio.run(scenario())
    url = str(tmp_path / "ledger.db")
    assert "there is none" in said(capsys, "quarantine", "list", "--ledger", url)
