"""What a scrape of the collector costs.

Owns: the exposition of many runs, when each has changed since the last scrape and when none has.
May touch: processor time of this process.
Called by run and quick.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from itertools import cycle

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from bench.result import Result, paired, processor_us
from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.http.metrics import Kept, exposition
from flopmeter_collector.http.status import ServiceStatus
from flopmeter_collector.interpreter import prefer_answers
from flopmeter_collector.snapshot import TotalsSnapshot
from flopmeter_collector.totals import Totals
from support.totals import AS_OF_NS, POSITION, busy_vector, feed, h100, key_of, table, thresholds

BUDGET_S = 0.05
"""Per 100,000 series."""

SERIES = 100_000


def site(run_count: int) -> TotalsSnapshot:
    """So many declared runs of one device each."""
    totals = Totals(table())
    record = h100()
    for number in range(run_count):
        feed(totals, key_of(record, f"run:r{number}"), record, busy_vector(100 + number))
        totals.declare(parse_run_declaration(f"r{number}", {"format": "bf16"}))
    return totals.snapshot(AS_OF_NS, POSITION)


def peer(series_count: int) -> Callable[[], object]:
    """As many series of prometheus_client."""
    registry = CollectorRegistry()
    gauge = Gauge("flopmeter_bench", "As many series.", ["run", "simulated"], registry=registry)
    for number in range(series_count):
        gauge.labels(f"r{number}", "false").set(number)
    return lambda: generate_latest(registry)


def cases(run_count: int = 1_000, times: int = 5) -> list[Result]:
    """Rendering the metrics of many runs, against prometheus_client with as many series."""
    snapshot, others = site(run_count), cycle([site(run_count), site(run_count)])
    laws = thresholds()
    series = exposition(snapshot, laws, ServiceStatus()).count("\n")
    theirs = peer(series)
    kept, kept_of_others = Kept(), Kept()

    def changed() -> None:
        # Every run and model is another object than at the scrape before.
        exposition(next(others), laws, ServiceStatus(), kept=kept_of_others)

    def again() -> None:
        exposition(snapshot, laws, ServiceStatus(), kept=kept)

    for scrape in (again, again, changed, changed):
        scrape()
    searches = gc.get_threshold()
    prefer_answers()  # as in a collector's process: no search among old objects
    per_us = SERIES / series / 1e6
    results = []
    for name, scrape in (("every run changed", changed), ("nothing changed", again)):
        pair = paired(partial(processor_us, scrape, 1), partial(processor_us, theirs, 1), times)
        results.append(
            Result(
                f"collector: scrape, per 100,000 series ({series} rendered, {name})",
                pair.ours * per_us,
                "s",
                pair.limit * per_us,
                "prometheus_client",
                BUDGET_S,
                pair.spread * per_us,
            )
        )
    gc.set_threshold(*searches)
    return results
