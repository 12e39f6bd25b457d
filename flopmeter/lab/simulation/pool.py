"""Runs seeds in processes of their own, and outlives whatever happens to one of them.

Owns: the worker processes, what each has in hand, and how they are stopped.
May touch: processes it started, over one pipe each.
Called by campaign, and so by `make simulate` and tests/simulation.

A worker that dies (for want of memory, say) or that takes longer than any seed should costs that
one seed, which then counts as failed. A worker whose parent is gone ends with its pipe.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock, SystemClock

R = TypeVar("R")

LONGEST_SEED_S = 1_800.0
"""No seed takes half an hour, on however slow a machine: one that does goes round in a circle."""

LOOK_PERIOD_S = 2.0
"""How often it is looked whether a seed takes too long."""


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    seed: int | None = None
    begun_ns: int = 0


@dataclass(frozen=True, slots=True)
class Done(Generic[R]):
    """A seed's end: what it returned, or why it returned nothing."""

    seed: int
    returned: R | None
    reason: str = ""


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def run(
    job: Callable[[int], R],
    seeds: Sequence[int],
    processes: int | None = None,
    *,
    stopping: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
) -> Iterator[Done[R]]:
    """Run a job for each seed; what is done comes in the seeds' order.

    Args:
        job: a module's function; what it takes and returns travels by pickle.
        seeds: in their order.
        processes: how many at a time; one for each core by default.
        stopping: asked before a seed is begun; True lets those in hand end, and no more begin.
        clock: says how long one takes; the system's by default.
    """
    now_ns = (clock or SystemClock()).monotonic_ns
    waiting = list(reversed(seeds))
    ready: dict[int, Done[R]] = {}
    place = 0
    # Spawned, not forked: a fork would take locks and threads of the caller along.
    context = multiprocessing.get_context("spawn")
    workers: list[_Worker] = []

    def hand_out(worker: _Worker) -> None:
        worker.seed = None
        if waiting and not stopping():
            worker.seed, worker.begun_ns = waiting.pop(), now_ns()
            worker.pipe.send(worker.seed)

    try:
        for _ in range(min(processes or cores(), len(seeds))):
            workers.append(_begin(context, job))
            hand_out(workers[-1])
        while busy := [worker for worker in workers if worker.seed is not None]:
            heard = wait([worker.pipe for worker in busy], timeout=LOOK_PERIOD_S)
            for worker in busy:
                late = now_ns() - worker.begun_ns > LONGEST_SEED_S * NS_PER_S
                if worker.pipe not in heard and not late:
                    continue
                assert worker.seed is not None
                done: Done[R] = _take(worker, worker.seed, late=worker.pipe not in heard)
                ready[done.seed] = done
                if done.returned is None:
                    workers.remove(worker)
                    _end(worker)
                    worker = _begin(context, job)
                    workers.append(worker)
                hand_out(worker)
            while place < len(seeds) and seeds[place] in ready:
                yield ready.pop(seeds[place])
                place += 1
    finally:
        for worker in workers:
            _end(worker)


def _begin(context: multiprocessing.context.SpawnContext, job: Callable[[int], R]) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _take(worker: _Worker, seed: int, *, late: bool) -> Done[R]:
    if late:
        return Done(seed, None, "it did not end in time")
    try:
        returned, reason = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join(10)
        return Done(seed, None, f"its process ended with {worker.process.exitcode}")
    return Done(seed, returned, reason)


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    if worker.seed is not None:
        worker.process.kill()
    worker.process.join(10)


def _work(pipe: Connection, job: Callable[[int], R]) -> None:
    """Be a worker: whoever ends the campaign tells its parent, and the pipe tells the rest."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            seed = pipe.recv()
            try:
                answer: tuple[R | None, str] = (job(seed), "")
            except Exception as error:
                sys.stderr.write(f"seed {seed}: {error!r}\n")
                answer = (None, repr(error))
            pipe.send(answer)
