"""How costs grow with nodes, runs, live keys and history; each has to be linear or better.

Owns: the ledgers of each size, what is measured of them, docs/scaling-curves.svg, its section of
docs/scaling.md and build/curves.json.
May touch: a temporary folder; the files above.
Called by ``make curves`` (FULL=1: 125,000 nodes of 8 devices as well). Exit 1 when a cost grows
faster than `EXPONENT_MAXIMUM` over the upper end of its curve.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import datetime
import functools
import gc
import itertools
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from bench.growth import EXPONENT_MAXIMUM, Curve, section, svg  # noqa: E402
from bench.run import processor  # noqa: E402
from flopmeter.lab.ledger_check import verify  # noqa: E402
from flopmeter.lab.ledger_totals import ledger_totals  # noqa: E402
from flopmeter_collector import backends  # noqa: E402
from flopmeter_collector.app import CollectorApp  # noqa: E402
from flopmeter_collector.config import CollectorConfig  # noqa: E402
from flopmeter_collector.declarations import RUN_KIND  # noqa: E402
from flopmeter_collector.interpreter import Cycles, prefer_answers  # noqa: E402
from flopmeter_collector.ledger.base import Batch, Declaration, StoredVector  # noqa: E402
from flopmeter_collector.presentation import totals_document  # noqa: E402
from flopmeter_collector.spans import time_text  # noqa: E402
from flopmeter_core.devices import DeviceRecord  # noqa: E402
from flopmeter_core.registers import Key  # noqa: E402
from flopmeter_core.reports import HourlyVector  # noqa: E402
from flopmeter_core.units import NS_PER_HOUR, NS_PER_S  # noqa: E402
from flopmeter_proto.daemon.clock import SystemClock  # noqa: E402
from support.totals import AS_OF_NS, busy_vector, h100, key_of  # noqa: E402

DEVICES = 8
ROWS_PER_COMMIT = 20_000
HOURLY_DAYS = 400
"""As the setting `hourly_days`: older hours are told by the day."""

SECONDS_AN_HOUR = 3_600

Row = tuple[DeviceRecord, Key]


def keys_of(nodes: int, *, runs: int = 1, live: int = 1) -> Iterator[Row]:
    """Each device of so many nodes under its run, or under so many live users; an agent a node."""
    for node in range(nodes):
        for number in range(DEVICES):
            record = h100(f"GPU-{node}-{number}", node=f"n{node}")
            for user in range(live):
                run = (node * DEVICES + number + user) % max(runs, live)
                key = key_of(record, f"run:r{run}")
                yield record, dataclasses.replace(key, incarnation=f"{node:032x}")


def in_parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows by the commit."""
    rows = iter(rows)
    while part := list(itertools.islice(rows, ROWS_PER_COMMIT)):
        yield part


def ledger_of(path: Path, rows: Iterable[Row]) -> None:
    """A ledger with one vector of each key."""
    vector = busy_vector(100_000)
    with contextlib.closing(backends.collect(str(path), simulated=False)) as ledger:
        for part in in_parts(rows):
            records = {record.record_id: record for record, _ in part}
            stored = tuple(StoredVector(key, 0, 1, vector) for _, key in part)
            ledger.commit(Batch(records=records, vectors=stored))


def history_of(path: Path, days: int) -> None:
    """A node of 8 devices that worked for so many days: what the thinning leaves of its hours."""
    rows = list(keys_of(1))
    last = days * 24 - 1
    daily_until = max(0, days - HOURLY_DAYS) * 24
    hours = [*range(23, daily_until, 24), *range(daily_until, last + 1)]
    with contextlib.closing(backends.collect(str(path), simulated=False)) as ledger:
        records = {record.record_id: record for record, _ in rows}
        newest = busy_vector((last + 1) * SECONDS_AN_HOUR)
        stored = tuple(StoredVector(key, 0, last + 1, newest) for _, key in rows)
        ledger.commit(Batch(records=records, vectors=stored))
        for start in range(0, len(hours), ROWS_PER_COMMIT // DEVICES):
            part = hours[start : start + ROWS_PER_COMMIT // DEVICES]
            taken = tuple(_hour(key, hour, daily_until, days) for hour in part for _, key in rows)
            ledger.commit(Batch(hours=taken))
    # A format from the middle on: the query has to read every hour of the run.
    middle = time_text(AS_OF_NS - days * 12 * NS_PER_HOUR)
    body = {"format": "fp8=0.9..0.95,bf16=rest", "from": middle}
    backends.declare(str(path), Declaration(0, AS_OF_NS, "bench", "bench", RUN_KIND, "r0", body))


def _hour(key: Key, hour: int, daily_until: int, days: int) -> HourlyVector:
    boot_ns = (hour + 1) * NS_PER_HOUR - NS_PER_S
    first = hour - 23 if hour < daily_until else hour
    wall_ns = AS_OF_NS - days * 24 * NS_PER_HOUR + boot_ns
    return HourlyVector(
        key, hour + 1, busy_vector((hour + 1) * SECONDS_AN_HOUR), first, boot_ns, wall_ns
    )


def processor_s(work: Callable[[], object], times: int = 3) -> float:
    """Least processor time of some repetitions: what others do here only adds."""
    taken = []
    for _ in range(times):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)


async def served(path: Path, times: int) -> tuple[float, float, float, float]:
    """Processor time until it serves, until there are totals, of a round, and of their JSON.

    The interpreter is set as a collector's process sets it: a search for garbage among the
    registers of a large ledger would be half of its time.
    """
    restarts, wholes, rounds, queries = [], [], [], []
    watching = asyncio.create_task(Cycles().watch())
    for _ in range(times):
        config = CollectorConfig(
            ledger=str(path), grpc_listen="127.0.0.1:0", http_listen="", evaluate_period_s=3_600
        )
        app = CollectorApp(config, SystemClock())
        started = time.process_time()
        await app.start()
        restarts.append(time.process_time() - started)
        try:
            await app.evaluate_now()
            wholes.append(time.process_time() - started)
            started = time.process_time()
            published = await app.evaluate_now()
            rounds.append(time.process_time() - started)
            started = time.process_time()
            json.dumps(totals_document(published.snapshot, app.thresholds))
            queries.append(time.process_time() - started)
        finally:
            await app.stop()
        # What a collector leaves to the end of its process must not lie beside the next one.
        del app, published
        gc.unfreeze()
        gc.collect()
    watching.cancel()
    return min(restarts), min(wholes), min(rounds), min(queries)


def of_ledger(curves: dict[str, Curve], x: int, path: Path, *, times: int) -> None:
    """Measure a ledger."""
    curves["ledger"].add(x, path.stat().st_size)
    restart_s, whole_s, round_s, query_s = asyncio.run(served(path, times))
    curves["restart"].add(x, restart_s)
    curves["whole"].add(x, whole_s)
    curves["round"].add(x, round_s)
    curves["query"].add(x, query_s)


def curves_of(by: str, unit: str) -> dict[str, Curve]:
    """What is measured of every ledger."""
    return {
        "ledger": Curve(by, unit, "ledger", "bytes"),
        "restart": Curve(by, unit, "restart until it serves", "s"),
        "whole": Curve(by, unit, "restart until there are totals", "s"),
        "round": Curve(by, unit, "a round of totals and states", "s"),
        "query": Curve(by, unit, "the totals as JSON", "s"),
    }


def say(by: str, x: int, curves: dict[str, Curve]) -> None:
    """One line a size, while it goes on."""
    told = ", ".join(
        f"{each.what} {each.points[-1][1]:.3g} {each.unit}" for each in curves.values()
    )
    print(f"{by} {x}: {told}", file=sys.stderr, flush=True)


def by_nodes(folder: Path, sizes: Sequence[int]) -> list[Curve]:
    """Nodes of 8 devices, one run."""
    curves = curves_of("nodes", "nodes of 8 devices")
    for nodes in sizes:
        path = folder / f"nodes-{nodes}.db"
        ledger_of(path, keys_of(nodes))
        of_ledger(curves, nodes, path, times=1 if nodes > 20_000 else 2)
        say("nodes", nodes, curves)
        path.unlink()
    return list(curves.values())


def by_runs(folder: Path, sizes: Sequence[int]) -> list[Curve]:
    """Runs, of 10,000 devices in all."""
    curves = curves_of("runs", "runs of 10,000 devices")
    curves["verify"] = Curve("runs", "runs of 10,000 devices", "ledger verify", "s")
    for runs in sizes:
        path = folder / f"runs-{runs}.db"
        ledger_of(path, keys_of(1_250, runs=runs))
        of_ledger(curves, runs, path, times=2)
        curves["verify"].add(runs, processor_s(functools.partial(verify, str(path)), 1))
        say("runs", runs, curves)
    return list(curves.values())


def by_live_keys(folder: Path, sizes: Sequence[int]) -> list[Curve]:
    """Live keys of each device, on 250 nodes."""
    curves = curves_of("live keys", "live keys a device")
    for live in sizes:
        path = folder / f"live-{live}.db"
        ledger_of(path, keys_of(250, live=live))
        of_ledger(curves, live, path, times=2)
        say("live keys", live, curves)
    return list(curves.values())


def by_history(folder: Path, sizes: Sequence[int]) -> list[Curve]:
    """Days that a node of 8 devices worked, with a declaration that cuts them."""
    curves = curves_of("days", "days of 8 devices")
    curves["offline"] = Curve("days", "days of 8 devices", "totals from the ledger", "s")
    curves["verify"] = Curve("days", "days of 8 devices", "ledger verify", "s")
    for days in sizes:
        path = folder / f"days-{days}.db"
        history_of(path, days)
        of_ledger(curves, days, path, times=2)
        clock = SystemClock()
        offline = functools.partial(ledger_totals, str(path), (), clock)
        curves["offline"].add(days, processor_s(offline, 2))
        curves["verify"].add(days, processor_s(functools.partial(verify, str(path)), 1))
        say("days", days, curves)
    return list(curves.values())


def main() -> int:
    """Measure, draw, write; 1 where something grows faster than linear."""
    options = argparse.ArgumentParser()
    options.add_argument("--full", action="store_true")
    full = options.parse_args().full
    logging.disable(logging.CRITICAL)
    prefer_answers()  # as in a collector's process: no search for garbage among old objects
    began, load = time.monotonic(), os.getloadavg()[0]
    nodes = (10, 100, 1_000, 10_000, *((125_000,) if full else ()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        curves = [
            *by_nodes(folder, nodes),
            *by_runs(folder, (1, 10, 100, 1_000, 10_000)),
            *by_live_keys(folder, (1, 2, 5, 10, 20)),
            *by_history(folder, (1, 7, 30, 90, 365, 730)),
        ]
    text = section(
        curves,
        said=f"Measured {datetime.datetime.now(datetime.UTC).date()} by `make curves"
        f"{' FULL=1' if full else ''}` on {os.cpu_count()} cores ({processor()}), load average "
        f"{load:.1f} at the start, in {time.monotonic() - began:.0f} s; times are processor time.",
    )
    docs = TESTS.parent / "docs"
    page = docs / "scaling.md"
    before, _, rest = page.read_text().partition("<!-- curves begin -->\n")
    after = rest.partition("<!-- curves end -->")[2]
    page.write_text(f"{before}<!-- curves begin -->\n{text}<!-- curves end -->{after}")
    (docs / "scaling-curves.svg").write_text(svg(curves))
    build = TESTS.parent / "build"
    build.mkdir(exist_ok=True)
    (build / "curves.json").write_text(
        json.dumps([each.to_json() for each in curves], indent=1) + "\n"
    )
    steep = [each for each in curves if not each.ok]
    for each in steep:
        print(
            f"{each.what} grows with {each.by} as x^{each.exponent:.2f}, above {EXPONENT_MAXIMUM}",
            file=sys.stderr,
        )
    return 1 if steep else 0


if __name__ == "__main__":
    sys.exit(main())
