"""Simulated time: the event loop everything runs on, and the clocks of one node.

Owns: simulated time in ns, the order in which what is due happens, and who created which task.
May touch: nothing outside the process; it never waits, and knows no socket and no thread.
Called by the world, which runs it; production code meets it as asyncio's running loop and as Clock.

Two things due at one instant happen in the order they were asked for, so that a run depends on its
seed alone. What production code gives to a thread is done at once, in line, and answered a little
later: between the two anything may happen, a crash included.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

from flopmeter_core.units import NS_PER_S


class Killed(BaseException):
    """The process this was raised in is dead; nothing but the simulator catches it."""


class TaskGroup:
    """The tasks of one simulated process, in the order they were created."""

    def __init__(self, name: str, died: Callable[[], None]) -> None:
        """Begin without a task.

        Args:
            name: of the process, for a reader.
            died: called when one of its tasks met `Killed`.
        """
        self.name = name
        self.dead = False
        self._died = died
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def add(self, task: asyncio.Task[Any]) -> None:
        """Take a task that was just created."""
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def cancel(self) -> None:
        """End every task; what they still try to do is fenced off by their process."""
        for task in list(self._tasks):
            task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and isinstance(task.exception(), Killed) and not self.dead:
            self._died()


class Call:
    """Something to call, once; what asyncio's handles are, without what a real loop needs."""

    __slots__ = ("_args", "_callback", "_context", "dropped")

    def __init__(
        self,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        """Remember it, and whose code asked."""
        self._callback = callback
        self._args = args
        self._context = contextvars.copy_context() if context is None else context
        self.dropped = False

    def cancel(self) -> None:
        """Do not call it."""
        self.dropped = True

    def cancelled(self) -> bool:
        """Whether it is not called any more."""
        return self.dropped

    def make(self) -> None:
        """Call it, as the code that asked."""
        self._context.run(self._callback, *self._args)


GROUP: contextvars.ContextVar[TaskGroup | None] = contextvars.ContextVar("group", default=None)
"""Whose code is running; tasks inherit it from the code that creates them."""


class SimulatedLoop:
    """An event loop whose time moves to the next thing due as soon as nothing is left to do.

    It has what asyncio's tasks, futures, queues and time-outs ask of a loop, and nothing else.
    """

    def __init__(self, *, start_ns: int, thread_delay_ns: Callable[[], int]) -> None:
        """Stand at an instant.

        Args:
            start_ns: where time begins, in ns.
            thread_delay_ns: how long the next call in a thread takes to be answered, in ns.
        """
        self.now_ns = start_ns
        self.faults: list[dict[str, Any]] = []
        self._thread_delay_ns = thread_delay_ns
        self._ready: deque[Call] = deque()
        self._timers: list[tuple[int, int, Call]] = []
        self._numbers = 0
        self._closed = False
        self._as_asyncio = cast(asyncio.AbstractEventLoop, self)

    # --- running ----------------------------------------------------------------------------------

    def run_until(self, until_ns: int, done: Callable[[], int] = lambda: False) -> None:
        """Let time go by.

        Args:
            until_ns: where to stop, in ns.
            done: asked whenever nothing is left to do at an instant; what is true stops earlier.
        """
        timers = self._timers
        before = asyncio.events._get_running_loop()
        asyncio.events._set_running_loop(self._as_asyncio)
        try:
            while True:
                self._run_ready()
                if done():
                    return
                while timers and timers[0][2].dropped:
                    heapq.heappop(timers)
                if not timers or timers[0][0] > until_ns:
                    self.now_ns = max(self.now_ns, until_ns)
                    return
                at_ns, _, handle = heapq.heappop(timers)
                if at_ns > self.now_ns:
                    self.now_ns = at_ns
                self._ready.append(handle)
        finally:
            asyncio.events._set_running_loop(before)

    def _run_ready(self) -> None:
        ready = self._ready
        while ready:
            handle = ready.popleft()
            if not handle.dropped:
                try:
                    handle.make()
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"message": "in a call", "exception": error})

    # --- what asyncio asks of a loop --------------------------------------------------------------

    def time(self) -> float:
        """Simulated time in seconds."""
        return self.now_ns / NS_PER_S

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        """Call as soon as what is ready before has been called."""
        handle = Call(callback, args, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Call:
        """Call in `delay` seconds."""
        return self._at(self.now_ns + round(delay * NS_PER_S), callback, args, context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Call:
        """Call at an instant, in seconds."""
        return self._at(round(when * NS_PER_S), callback, args, context)

    def after(self, delay_ns: int, callback: Callable[..., Any], *args: Any) -> Call:
        """Call in `delay_ns` ns."""
        return self._at(self.now_ns + delay_ns, callback, args, None)

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self._as_asyncio)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[Any]:
        """A task of the process whose code creates it."""
        task = asyncio.Task(coro, loop=self._as_asyncio, name=name, context=context)
        group = GROUP.get()
        if group is not None:
            group.add(task)
        return task

    def run_in_executor(
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Do it now, and answer a little later."""
        future: asyncio.Future[Any] = asyncio.Future(loop=self._as_asyncio)
        try:
            outcome, error = func(*args), None
        except Exception as raised:
            outcome, error = None, raised
        self.after(self._thread_delay_ns(), _answer, future, outcome, error)
        return future

    def get_debug(self) -> bool:
        """Never in asyncio's debug mode, which asks the real clock."""
        return False

    def is_running(self) -> bool:
        """Whether it is the loop of the code that asks."""
        return asyncio.events._get_running_loop() is self._as_asyncio

    def is_closed(self) -> bool:
        """Whether it takes no more calls."""
        return self._closed

    def close(self) -> None:
        """Drop everything that is not done."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember a fault nobody handled: the world fails on it."""
        self.faults.append(context)

    def _at(
        self,
        at_ns: int,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> Call:
        handle = Call(callback, args, context)
        self._numbers += 1
        heapq.heappush(self._timers, (at_ns, self._numbers, handle))
        return handle


def _answer(future: asyncio.Future[Any], outcome: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(outcome)
    else:
        future.set_exception(error)


class NodeClock:
    """The clocks of one simulated node: an implementation of `daemon.clock.Clock`."""

    def __init__(self, loop: SimulatedLoop, *, epoch_ns: int) -> None:
        """Be booted now.

        Args:
            loop: gives simulated time.
            epoch_ns: Unix time in ns at simulated time 0.
        """
        self._loop = loop
        self._epoch_ns = epoch_ns
        self._boots = 0
        self._booted_ns = loop.now_ns
        self._suspended_ns = 0
        self._step_ns = 0
        self.boot_id = ""
        self.boot(boot_id="0", before_ns=0)

    def boot(self, *, boot_id: str, before_ns: int = 0) -> None:
        """Begin a new boot, `before_ns` ns ago."""
        self.boot_id = boot_id
        self._booted_ns = self._loop.now_ns - before_ns
        self._suspended_ns = 0

    def suspend(self, length_ns: int) -> None:
        """Count the `length_ns` ns that just went by as suspended."""
        self._suspended_ns += length_ns

    def step_wall(self, step_ns: int) -> None:
        """Set the wall clock forward or, negative, back."""
        self._step_ns += step_ns

    def monotonic_ns(self) -> int:
        """Time since boot without suspend, in ns."""
        return self._loop.now_ns - self._booted_ns - self._suspended_ns

    def boottime_ns(self) -> int:
        """Time since boot, in ns."""
        return self._loop.now_ns - self._booted_ns

    def wall_ns(self) -> int:
        """Unix time in ns, as this node believes it."""
        return max(0, self._epoch_ns + self._loop.now_ns + self._step_ns)
