"""A PostgreSQL ledger on a real server: shared, lost and found again, and what is said of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import random
import secrets
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flopmeter_collector import backends
from flopmeter_collector.branches import join_branches
from flopmeter_collector.ledger import migrations, postgres
from flopmeter_collector.ledger.base import (
    AuditRow,
    Batch,
    Declaration,
    LedgerBusyError,
    LedgerUnreachableError,
    QuarantinedVector,
    StoredVector,
    Transition,
)
from flopmeter_collector.ledger.migrations import Migration
from flopmeter_collector.registers import RegisterTable
from flopmeter_core.allocations import MAXIMUM_LENGTH
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope
from flopmeter_core.errors import DataError, NotPermittedError, StorageError, UsageError
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.wire.values import MAXIMUM_TEXT_LENGTH
from support.collector import Child, child, running
from support.ingest import RECORD, hourly, key, stream, vector
from support.low_line import low_line
from support.postgres import PASSWORD, PostgresServer, serving, shared_server
from support.postgres_ledger import ask, batch, opened, stored
from support.processes import free_port
from support.webhook import Webhook

TAKEOVER_LIMIT_S = 30.0


@pytest.fixture
def url() -> str:
    """An empty database."""
    return shared_server().create(f"ledger_{secrets.token_hex(8)}")


# --- several collectors --------------------------------------------------------------------------


def test_interleaved_commits_end_as_one(url: str) -> None:
    """Two collectors that take one key's vectors, forks too, leave the branches one would have."""
    draw = random.Random(7)
    sent = [
        KeyedVector(key(phase=draw.randrange(3)), draw.randrange(1, 9), vector(draw.randrange(9)))
        for _ in range(120)
    ]
    alone = RegisterTable()
    tables = RegisterTable(), RegisterTable()
    with opened(url) as first, opened(url) as second:
        for keyed in sent:
            side = draw.randrange(2)
            alone.merge(keyed, RECORD)
            tables[side].merge(keyed, RECORD)
            if draw.random() < 0.5:
                (first, second)[side].commit(batch(*tables[side].take_uncommitted().vectors))
            if draw.random() < 0.2:
                tables[side].absorb((first, second)[side].foreign())
        for side, ledger in enumerate((first, second)):
            ledger.commit(batch(*tables[side].take_uncommitted().vectors))
        for side, ledger in enumerate((first, second)):
            tables[side].absorb(ledger.foreign())
        expected = {key(phase=n): alone.branches(key(phase=n)) for n in range(3)}
        assert any(len(branches) > 1 for branches in expected.values())
        for table in tables:
            assert {of: table.branches(of) for of in expected} == expected
        held = {of: tuple(v for v in first.vectors() if v.key == of) for of in expected}
        assert held == expected


def test_concurrent_commits(url: str) -> None:
    """Collectors that commit the same keys at the same time neither block each other nor lose."""
    failures: list[BaseException] = []

    def collect(side: int) -> None:
        try:
            with opened(url) as ledger:
                for step in range(15):
                    keys = list(range(40))
                    random.Random(side * 100 + step).shuffle(keys)
                    sequence = 2 * step + side + 1
                    ledger.commit(batch(*(stored(sequence, sequence, phase=n) for n in keys)))
        except BaseException as error:
            failures.append(error)

    with opened(url) as ledger:
        threads = [threading.Thread(target=collect, args=(side,)) for side in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        rows = list(ledger.vectors())
        assert {row.key.phase for row in rows} == set(range(40))
        assert {(row.sequence, row.vector) for row in rows} == {(30, vector(30))}
        assert ledger.position().commit_number == 30


def test_foreign_rows(url: str) -> None:
    """What another collector commits is told once, whole, and nothing of one's own with it."""
    of = ClaimKey("a", "0", ClaimScope.RANK, 7, "cd" * 16, 1, 5, "m", "bf16=1", "pretraining")
    with opened(url) as first, opened(url) as second:
        list(first.vectors())
        list(second.vectors())
        hour = hourly(0, 1, vector(1))
        claim = Claim(of, ClaimCounts(9, 5, 10, 10**30))
        position = first.commit(batch(stored(2, 2), hours=(hour,), claims=(claim,)))
        found = second.foreign()
        assert found.position == position
        assert dict(found.records) == {RECORD.record_id: RECORD}
        assert (found.vectors, found.hours, found.claims) == ((stored(2, 2),), (hour,), (claim,))
        assert first.foreign().vectors == second.foreign().vectors == ()
        # Met with what the other wrote, a commit's outcome is told to its own collector too.
        second.commit(batch(stored(1, 1)))
        assert list(second.vectors()) == [stored(2, 2)]
        older = Claim(of, ClaimCounts(8, 6, 10, 10**29), sequence=2)
        second.commit(Batch(claims=(older,)))
        joined = Claim(of, ClaimCounts(9, 6, 10, 10**30), sequence=2)
        assert second.foreign().claims == (joined,)
        assert first.foreign().claims == (joined,)


def test_a_newer_quarantined_vector_is_learned_by_whoever_commits_an_older_one(url: str) -> None:
    """The row that stays is another collector's, and the one whose row had to give way hears it."""
    old, new = (
        QuarantinedVector(key(), sequence, vector(2**32), 9, "cannot be true", 1_800_000_000)
        for sequence in (3, 4)
    )
    with opened(url) as first, opened(url) as second:
        second.commit(batch(quarantined=(new,)))
        first.commit(batch(quarantined=(old,)))
        assert first.foreign().quarantined == (new,)
        assert list(first.quarantined()) == [new]


# --- durability ----------------------------------------------------------------------------------


def test_cancelled_wait_for_a_standby_is_no_commit() -> None:
    """A commit whose wait for the standbys somebody cancels is not taken for stored."""
    # The server waits for a standby that never comes.
    with serving() as server, opened(server.create("ledger")) as ledger:
        url = server.url("ledger")
        ledger.commit(batch(stored(1, 1)))
        ask(url, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        ask(url, "SELECT pg_reload_conf()")
        outcome: list[object] = []

        def commit() -> None:
            try:
                outcome.append(ledger.commit(batch(stored(2, 2))))
            except StorageError as error:
                outcome.append(error)

        thread = threading.Thread(target=commit)
        thread.start()
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        deadline = time.monotonic() + 20
        while not (found := ask(url, waiting)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert outcome == []
        # Nor does a second collector need the standby to connect and to read.
        with contextlib.closing(backends.read(url)) as reader:
            assert list(reader.vectors()) == [stored(1, 1)]
        ask(url, f"SELECT pg_cancel_backend({found[0][0]})")
        thread.join(20)
        assert isinstance(outcome[0], LedgerBusyError)
        ask(url, "ALTER SYSTEM RESET synchronous_standby_names")
        ask(url, "SELECT pg_reload_conf()")
        ledger.commit(batch(stored(2, 2)))
        assert list(ledger.vectors()) == [stored(2, 2)]


def test_server_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    """While the server is away nothing is acknowledged; afterwards reporting goes on by itself."""

    async def scenario(server: PostgresServer, folder: Path) -> None:
        url = server.create("ledger")
        async with running(folder, ledger=url) as app, stream(app.grpc_address) as sender:
            await sender.greet()
            await sender.send(1, vector(1))
            server.kill()
            waiting = asyncio.create_task(sender.send(2, vector(2)))
            async with asyncio.timeout(30):
                while "cannot be reached" not in app.rounds.not_ready():
                    await asyncio.sleep(0.05)
            assert not waiting.done()
            await asyncio.to_thread(server.start)
            answer = await asyncio.wait_for(waiting, 20)
            assert [ack.sequence for ack in answer.acknowledgements] == [2]
            with contextlib.closing(backends.read(url)) as ledger:
                assert [row.sequence for row in ledger.vectors()] == [2]
            while app.rounds.not_ready():
                await asyncio.sleep(0.05)

    with serving() as server, caplog.at_level(logging.INFO):
        asyncio.run(scenario(server, server.folder))
    assert "commits wait for the ledger" in caplog.text
    assert "the ledger takes commits again" in caplog.text
    assert PASSWORD not in caplog.text


def test_generations(url: str) -> None:
    """Alone a start begins a generation, beside another it does not; a lower number begins one."""
    with opened(url) as first:
        one = first.position()
        with opened(url) as second:
            assert second.position().generation == one.generation
    with opened(url) as ledger:
        assert ledger.position().generation != one.generation
        ledger.commit(batch(stored(1, 1)))
        before = ledger.commit(batch(stored(2, 2)))
        # As if a copy had been put back while the collector lost its connection.
        ask(url, "UPDATE meta SET commit_number = 1")
        with contextlib.suppress(LedgerBusyError):
            ask(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                     " WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
            ledger.position()
        after = ledger.position()
        assert after.ledger_id == before.ledger_id
        assert after.generation != before.generation


# --- real processes ------------------------------------------------------------------------------


def fetched(http: str, path: str) -> tuple[int, str]:
    """Status and text of one GET."""
    try:
        with urllib.request.urlopen(f"http://{http}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def exports(collector: Child) -> bool:
    """Whether a collector exports fleet totals, by its own metrics."""
    _, text = fetched(collector.http, "/metrics")
    said = "\nflopmeter_exports_totals 1\n" in text
    assert ("flopmeter_totals_timestamp_seconds" in text) == said
    return said


async def crossing(address: str, phase: int, seconds: int) -> None:
    """Report a vector of one phase of run a; the first of them crosses the test's line."""
    async with stream(address) as sender:
        await sender.greet()
        await sender.send(seconds, vector(seconds), phase=phase)


@pytest.mark.slow
def test_takeover(url: str, tmp_path: Path) -> None:
    """After kill -9 of the leader another exports the totals; nothing is recorded or told twice."""
    hook = Webhook()
    lines = str(low_line(tmp_path))
    flags = (
        *("--http-listen", "127.0.0.1:0", "--evaluate-period-s", "0.5"),
        *("--thresholds-dir", lines, "--webhooks", hook.url),
    )
    with child(url, *flags) as first, child(url, *flags) as second:
        wait_for(lambda: exports(first) or exports(second))
        leader, other = (first, second) if exports(first) else (second, first)
        asyncio.run(crossing(leader.address, 1, 100))
        wait_for(lambda: run_flop(leader) != "")
        one = run_flop(leader)
        asyncio.run(crossing(other.address, 2, 200))
        wait_for(lambda: run_flop(leader) != one)
        assert not exports(other)
        status, ready = fetched(other.http, "/readyz")
        assert (status, "does not export fleet totals" in ready) == (200, True)
        assert "does not export fleet totals" in fetched(other.http, "/")[1]
        assert fetched(other.http, "/api/v1/totals")[0] == 503
        wait_for(lambda: len(ask(url, "SELECT 1 FROM transition")) > 0)
        both = run_flop(leader)
        rows = ask(url, "SELECT model, threshold, state_after FROM transition")
        killed = time.monotonic()
        leader.kill()
        wait_for(lambda: exports(other))
        assert time.monotonic() - killed < TAKEOVER_LIMIT_S
        assert run_flop(other) == both
        asyncio.run(crossing(other.address, 3, 300))
        wait_for(lambda: run_flop(other) != both)
        assert ask(url, "SELECT model, threshold, state_after FROM transition") == rows
        assert len(set(rows)) == len(rows)
        # Whoever leads now tells nothing that was told before, and nothing was lost.
        wait_for(lambda: len(ask(url, "SELECT 1 FROM alert_delivery")) == len(rows))
    hook.close()
    keys = [headers["Idempotency-Key"] for headers in hook.headers]
    assert sorted({key.rpartition("/")[0] for key in keys}) == sorted(
        f"{ledger_id(url)}/{n}/1/fires" for n, _ in enumerate(rows, 1)
    )
    assert len(set(hook.raw)) == len(set(keys))


def ledger_id(url: str) -> str:
    """The identity of a ledger."""
    with contextlib.closing(backends.read(url)) as ledger:
        return ledger.position().ledger_id


def run_flop(collector: Child) -> str:
    """The exported figure of run a."""
    text = fetched(collector.http, "/metrics")[1]
    return next(
        (line for line in text.splitlines() if line.startswith("flopmeter_run_compute_flop{")), ""
    )


def wait_for(condition: Any, limit_s: float = TAKEOVER_LIMIT_S) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


# --- what is said --------------------------------------------------------------------------------


def test_wrong_password(url: str) -> None:
    """A wrong password is said, and no password with it."""
    with pytest.raises(NotPermittedError, match="refuses this user") as refused:
        backends.collect(url.replace(PASSWORD, "wrong-one"), simulated=False)
    assert "wrong-one" not in str(refused.value)
    assert refused.value.exit_code == 77


def test_server_down() -> None:
    """A server that is not there is said, with exit code 69."""
    place = f"postgresql://meter:{PASSWORD}@127.0.0.1:{free_port()}/ledger"
    with pytest.raises(LedgerUnreachableError, match="cannot be reached") as unreachable:
        backends.collect(place, simulated=False)
    assert PASSWORD not in str(unreachable.value)
    assert unreachable.value.exit_code == 69


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (f"postgresql://meter:{PASSWORD}%zz@h/ledger", "cannot be read"),
        (f"postgresql://meter:{PASSWORD}@h/", "names no database"),
        (f"postgresql://meter:{PASSWORD}@h/ledger?nonsense=1", "cannot be read"),
    ],
)
def test_broken_url(broken: str, said: str) -> None:
    """A URL that cannot be used is refused without repeating any of its password."""
    with pytest.raises(UsageError, match=said) as refused:
        backends.collect(broken, simulated=False)
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(refused.value.__cause__)


def test_no_database() -> None:
    """A database that does not exist is said."""
    with pytest.raises(UsageError, match="create the database"):
        backends.collect(shared_server().url("nowhere"), simulated=False)


def test_server_that_takes_no_writes(url: str) -> None:
    """A server that only reads is said when opened, and left when it becomes so."""
    with opened(url) as ledger:
        database = url.rpartition("/")[2]
        ask(url, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        ledger._connection.raw.execute("SET default_transaction_read_only = on")  # type: ignore[attr-defined]
        with pytest.raises(LedgerBusyError, match="takes no writes"):
            ledger.commit(batch(stored(1, 1)))
        with pytest.raises(LedgerUnreachableError, match="takes writes now"):
            ledger.commit(batch(stored(1, 1)))
        with psycopg.connect(
            url, autocommit=True, options="-c default_transaction_read_only=off"
        ) as c:
            c.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = off")
        ledger.commit(batch(stored(1, 1)))


def test_longest_names(url: str) -> None:
    """Names as long as the wire takes them are stored, and found again by another collector."""
    draw = random.Random(3)

    def name(length: int) -> str:
        # Four bytes each, and nothing that a server could compress.
        return "".join(chr(draw.randrange(0x20000, 0x2A000)) for _ in range(length))

    record = dataclasses.replace(RECORD, device=name(MAXIMUM_TEXT_LENGTH))
    vectors = tuple(
        StoredVector(key(record, allocation=name(MAXIMUM_LENGTH)), 0, 1, vector(1)) for _ in "ab"
    )
    of = ClaimKey(
        name(200), name(100), ClaimScope.RANK, 0, "0" * 32, 1, 1, name(200), name(100), "a" * 40
    )
    claim = Claim(of, ClaimCounts(1, 1, 1, 1))
    content = Batch(records={record.record_id: record}, vectors=vectors, claims=(claim,))
    with opened(url) as first, opened(url) as second:
        first.commit(content)
        second.commit(content)
        assert tuple(second.vectors()) == vectors
        assert list(second.claims()) == [claim]
    assert ask(url, "SELECT count(*) FROM register_key") == [(2,)]


def test_foreign_tables(url: str) -> None:
    """A database of another program is refused before anything in it is changed."""
    ask(url, "CREATE TABLE meta (x int)")
    with pytest.raises(DataError, match="another program"):
        backends.collect(url, simulated=False)
    assert ask(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("meta",)]


def test_newer_schema(url: str) -> None:
    """A ledger that a newer flopmeter stepped forward is refused, to read it too."""
    with opened(url):
        pass
    ask(url, "INSERT INTO flopmeter_schema VALUES (9999)")
    for open_it in (backends.read, lambda url: backends.collect(url, simulated=False)):
        with pytest.raises(UsageError, match="newer flopmeter"):
            open_it(url)


def test_no_ledger_yet(url: str) -> None:
    """Reading and declaring create nothing."""
    with pytest.raises(UsageError, match="there is no ledger"):
        backends.read(url)
    with pytest.raises(UsageError, match="there is no ledger"):
        backends.declare(url, Declaration(0, 1, "a", "cli", "run", "a", {}))
    assert ask(url, "SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []


NEWEST = migrations.load()[-1].version
NEXT = Migration(NEWEST + 1, "CREATE TABLE added (x INTEGER) STRICT; INSERT INTO added VALUES (7);")


def collected(url: str, steps: tuple[Migration, ...]) -> None:
    """Open and close with these steps."""
    postgres.open_for_collecting(
        url,
        simulated=False,
        new_ledger_id=lambda: secrets.token_hex(16),
        join_branches=join_branches,
        steps=steps,
    ).close()


def test_step_forward(url: str) -> None:
    """A step copies every table first, and a failed one leaves the ledger as it was."""
    with opened(url) as ledger:
        ledger.commit(batch(stored(1, 1)))
    broken = Migration(NEWEST + 1, NEXT.sql.replace("INTO added", "INTO nowhere"))
    with pytest.raises(StorageError):
        collected(url, (*migrations.load(), broken))
    assert ask(url, "SELECT to_regclass('added'), to_regclass('backup_1_vector')") == [(None, None)]
    collected(url, (*migrations.load(), NEXT))
    assert ask(url, "SELECT x FROM added") == [(7,)]
    assert ask(url, f"SELECT count(*) FROM backup_{NEWEST}_vector") == [(1,)]


def test_rows_are_not_rewritten(url: str) -> None:
    """What is append-only in a file is so on a server."""
    with opened(url):
        backends.declare(url, Declaration(0, 1, "a", "cli", "run", "a", {}))
    for statement in ("UPDATE declaration SET author = 'b'", "DELETE FROM declaration"):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            ask(url, statement)


def test_failed_rows_leave_no_gap(url: str) -> None:
    """What a failed transaction added takes no number: a gap means that a row was removed."""
    row = Declaration(0, 1, "a", "cli", "run", "a", {})
    audited = AuditRow(0, 1, "a", "why", "act", "{}")
    with opened(url) as ledger:
        ledger.lead()
        for _ in range(2):
            with pytest.raises(StorageError):
                # The audit row cannot be stored, and takes the declaration with it.
                backends.declare(url, row, audit=dataclasses.replace(audited, reason="\0"))
        assert backends.declare(url, row, audit=audited).sequence == 1
        moved = Transition(0, "m", "line", "unknown", "above", True, 1, 0)
        with pytest.raises(StorageError):
            ledger.commit(Batch(transitions=(moved, dataclasses.replace(moved, model="\0"))))
        ledger.commit(Batch(transitions=(moved,)))
        assert [found.sequence for found in ledger.declarations()] == [1]
        assert [found.sequence for found in ledger.audit()] == [1]
        assert [found.sequence for found in ledger.transitions()] == [1]


@pytest.mark.parametrize(
    ("url_", "told"),
    [
        ("ledger.db", "ledger.db"),
        ("postgresql://u:p@h:1,h2:2/d?sslpassword=q", "postgresql://u@h:1,h2:2/d"),
        ("postgresql://h/d", "postgresql://h/d"),
        ("postgresql://u:p@q@h/d", "postgresql://u@h/d"),
    ],
)
def test_shown(url_: str, told: str) -> None:
    """A URL is shown without its password and without parameters."""
    assert backends.shown(url_) == told


def test_orders_of_concurrent_starts(url: str) -> None:
    """Collectors that start on an empty database together create one ledger."""
    found: list[str] = []
    errors: list[BaseException] = []

    def start() -> None:
        try:
            with opened(url) as ledger:
                found.append(ledger.position().ledger_id)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in itertools.repeat(None, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(set(found)) == 1
