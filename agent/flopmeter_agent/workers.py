"""Threads that run calls which may hang, so that one stuck device blocks only itself.

Owns: one shared thread for all keys, and a thread of its own for each key that was stuck once.
May touch: threads; knows nothing of drivers or clocks. Patience is waited for in real time,
because it bounds how long a caller's thread is held, not what is measured.
Called by sensors whose library can block in the kernel (a GPU that fell off the bus does).

Threads are daemons: a call stuck in the kernel can never be ended, and must not keep the process
from ending. The number of threads is at most one more than the number of keys.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from flopmeter_core.values import value_class

_T = TypeVar("_T")

# A caller looks at the progress this often within its patience: a stuck call is noticed at most
# one slice late.
_SLICES = 5


@value_class(frozen=True, slots=True)
class Done(Generic[_T]):
    """A call that returned, or raised `error`."""

    returned: _T | None = None
    error: Exception | None = None


class Stuck(NamedTuple):
    """A call that has not returned within the patience, or an earlier one that still has not."""


@dataclass(slots=True)
class _Batch(Generic[_T]):
    """Calls that one lane makes one after the other, and how far it is."""

    keys: list[str]
    calls: list[Callable[[], _T]]
    results: list[Done[_T]] = field(default_factory=list)
    finished: threading.Event = field(default_factory=threading.Event)
    abandoned: bool = False


class _Lane(Generic[_T]):
    """One thread with its work."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[_Batch[_T] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._batch: _Batch[_T] | None = None
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a call is still out."""
        with self._lock:
            return self._batch is not None

    def submit(self, batch: _Batch[_T]) -> None:
        """Start on a batch; the lane must not be busy."""
        with self._lock:
            self._batch = batch
        self._work.put(batch)

    def abandon(self, batch: _Batch[_T], made: int) -> bool:
        """Stop after the call in hand, if it is still number `made`.

        Returns:
            Whether that call was given up; False where it has returned in the meantime.
        """
        with self._lock:
            if len(batch.results) != made or batch.finished.is_set():
                return False
            batch.abandoned = True
            return True

    def end(self) -> None:
        """End the thread after the call in hand; waits only for a lane that has none."""
        self._work.put(None)
        if not self.busy:
            self._thread.join()

    def _serve(self) -> None:
        while (batch := self._work.get()) is not None:
            for call in batch.calls:
                result = _made(call)
                with self._lock:
                    if batch.abandoned:
                        break
                    batch.results.append(result)
            with self._lock:
                self._batch = None
                batch.finished.set()


class Workers(Generic[_T]):
    """Makes calls by key, each within a patience."""

    def __init__(self, name: str, *, patience_s: float = 0.5) -> None:
        """Start with one shared thread.

        Args:
            name: how the threads are called.
            patience_s: how long one call may take before its key gets a thread of its own.
        """
        self._name = name
        self._patience_s = patience_s
        self._shared: _Lane[_T] = _Lane(name)
        self._own: dict[str, _Lane[_T]] = {}

    def stuck(self, key: str) -> bool:
        """Whether an earlier call of this key still has not returned."""
        lane = self._own.get(key)
        return lane is not None and lane.busy

    @property
    def any_stuck(self) -> bool:
        """Whether any call is still out."""
        return any(lane.busy for lane in self._own.values())

    def run(
        self, calls: Mapping[str, Callable[[], _T]], *, patience_s: float | None = None
    ) -> dict[str, Done[_T] | Stuck]:
        """Make one call a key and wait for each at most the patience.

        A call that is given up goes on in its thread; what it returns is dropped.

        Args:
            calls: what to call, by key.
            patience_s: another patience, for calls that are known to be slow.

        Returns:
            What became of each key, in the order of `calls`.
        """
        patience_s = self._patience_s if patience_s is None else patience_s
        outcomes: dict[str, Done[_T] | Stuck] = {key: Stuck() for key in calls if self.stuck(key)}
        alone = {}
        for key in calls.keys() & self._own.keys() - outcomes.keys():
            alone[key] = _Batch([key], [calls[key]])
            self._own[key].submit(alone[key])
        together = [key for key in calls if key not in outcomes and key not in alone]
        while together:
            together = self._run_shared(together, calls, outcomes, patience_s)
        for key, batch in alone.items():
            outcomes |= self._wait(self._own[key], batch, patience_s)
        return {key: outcomes[key] for key in calls}

    def close(self) -> None:
        """End the threads; one with a stuck call is left to end by itself."""
        for lane in [self._shared, *self._own.values()]:
            lane.end()

    def _run_shared(
        self,
        keys: list[str],
        calls: Mapping[str, Callable[[], _T]],
        outcomes: dict[str, Done[_T] | Stuck],
        patience_s: float,
    ) -> list[str]:
        """Run on the shared lane; returns the keys that are left because one got stuck."""
        batch = _Batch(keys, [calls[key] for key in keys])
        lane = self._shared
        lane.submit(batch)
        outcomes |= self._wait(lane, batch, patience_s)
        if not batch.abandoned:
            return []
        made = len(batch.results)
        # The stuck thread is now that key's own; the others go on in a new shared one.
        self._own[keys[made]] = lane
        self._shared = _Lane(self._name)
        return keys[made + 1 :]

    @staticmethod
    def _wait(lane: _Lane[_T], batch: _Batch[_T], patience_s: float) -> dict[str, Done[_T] | Stuck]:
        """Wait for a batch as long as it makes progress; gives up its call in hand otherwise."""
        made, slices = 0, 0
        while not batch.finished.wait(patience_s / _SLICES):
            if len(batch.results) > made:
                made, slices = len(batch.results), 0
                continue
            slices += 1
            if slices >= _SLICES and lane.abandon(batch, made):
                break
        outcomes: dict[str, Done[_T] | Stuck] = dict(zip(batch.keys, batch.results, strict=False))
        if batch.abandoned:
            outcomes[batch.keys[len(batch.results)]] = Stuck()
        return outcomes


def _made(call: Callable[[], _T]) -> Done[_T]:
    """The outcome of a call; its error is the caller's to judge, in the caller's thread."""
    try:
        return Done(returned=call())
    except Exception as error:
        return Done(error=error)
