"""Counts what a training process says it has done, and tells the node's agent about once a second.

Owns: the running counts per stretch of steps, and the message they are sent in.
May touch: the channel; the process' own clock and id.
Called by training scripts (`flopmeter.meter`) and by the callbacks beside this module.
Explained in docs/sdk.md.

Counts are cumulative and every message holds all of them, so a dropped message costs nothing
once a later one arrives. Nothing in here may disturb training: no call waits, none raises.
"""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import threading
import time
import types

from flopmeter.sdk import launch
from flopmeter.sdk.channel import Channel
from flopmeter_core.claim_limits import STEP_FLOP_LIMIT

logger = logging.getLogger("flopmeter")

SEND_PERIOD_S = 1.0
MAXIMUM_STRETCHES = 64
"""Stretches in one message; of a process that went back more often, the oldest were sent before."""

COUNT_LIMIT = 2**62
"""Steps and tokens are below this, as in the agent's registers."""

TYPE_CHECKING = False  # type checkers take it for true; `typing` itself costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    Scope = Literal["global", "rank"]
    Quantity = Literal["model", "executed"]

_Track = tuple[str, int, str, str]
"""Scope, rank, quantity and number format: what one message is about."""
_Place = tuple[str, str, str, int]
_NS_PER_S = 1_000_000_000
_PASS, _LAST, _STEPS, _TOKENS, _FLOP = 0, 2, 3, 4, 5  # the first step is at 1


class _Progress:
    """How far this process has come in each run: a second meter goes on where the first was."""

    def __init__(self) -> None:
        self.reached: dict[_Place, tuple[int, int]] = {}
        # Of a run's attempt: the phase it is in, and since when on this process' clock.
        self.phases: dict[tuple[str, str], tuple[int, float]] = {}
        self.restart()

    def restart(self) -> None:
        self.pid = os.getpid()
        self.reached.clear()
        self.phases.clear()


_progress = _Progress()


class Meter:
    """What one process claims of one run; made by `meter`."""

    def __init__(
        self,
        run: str,
        attempt: str,
        labels: dict[str, str],
        channel: Channel,
        phases: tuple[str, ...] = (),
    ) -> None:
        """Prepare; see `meter`."""
        self._run = run
        self._attempt = attempt
        self._labels = dict(labels)
        self._format = self._labels.pop("format", "")
        self._phases = phases
        self._channel = channel
        self._tracks: dict[_Track, list[list[int]]] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._last_sent = -math.inf
        self._complained = False
        self.ignored = 0

    @property
    def sent(self) -> int:
        """Messages handed to the agent."""
        return self._channel.sent

    @property
    def dropped(self) -> int:
        """Messages that no agent took; a later one holds all they said."""
        return self._channel.dropped

    def step(
        self,
        step: int,
        *,
        flop: float = 0,
        tokens: int = 0,
        scope: Scope = "global",
        rank: int | None = None,
        steps: int = 1,
        quantity: Quantity = "model",
    ) -> None:
        """State what a step took.

        Args:
            step: number of the step, from 0; one below an earlier one is a replay.
            flop: FLOP of this call, 0 or more.
            tokens: tokens of this call, 0 or more.
            scope: ``global`` for the figures of the whole run, ``rank`` for this rank's share.
            rank: this process' rank; None takes it from the launcher. Without meaning for a
                global figure.
            steps: how many steps up to `step` the figures are of, at least 1.
            quantity: ``model`` for FLOP by a formula of the network, ``executed`` for FLOP counted
                as they ran, which hold recomputation (`flopmeter.count_flop`).
        """
        try:
            if self._pid != os.getpid():
                self._after_fork()
            number = launch.rank() if rank is None else int(rank)
            self._count(
                (scope, 0 if scope == "global" else number, quantity),
                int(step),
                _whole(flop, STEP_FLOP_LIMIT),
                _whole(tokens, COUNT_LIMIT),
                int(steps),
            )
            if time.monotonic() - self._last_sent >= SEND_PERIOD_S:
                self.flush()
        except Exception as error:  # training goes on whatever was handed in
            self._ignore(error)

    def phase(self, phase: int | str, *, format: str = "") -> None:
        """Say that the run enters another phase, such as a longer context or another format.

        What the devices of this node do from now on is metered apart, and a person can declare
        the number format of each phase: ``flopmeter run declare RUN --phase N --format MIX``.
        It is enough that one rank of each node says it; the highest phase of an attempt stays.

        Args:
            phase: its number, from 0, the same on all ranks; or one of the names `meter` was given.
            format: the number formats claimed from here on; what was claimed before when empty.
        """
        try:
            if self._pid != os.getpid():
                self._after_fork()
            number = self._phases.index(phase) if isinstance(phase, str) else int(phase)
            place = self._run, self._attempt
            before, _ = _progress.phases.get(place, (0, 0.0))
            if number < before:
                raise ValueError(f"phase {number} after phase {before}; an attempt's only go up")
            if number > before:
                _progress.phases[place] = number, time.monotonic()
            self._format = str(format) or self._format
            self.flush()
        except Exception as error:  # training goes on whatever was handed in
            self._ignore(error)

    def flush(self) -> None:
        """Send all counts now; `with` does it at its end."""
        try:
            if self._pid != os.getpid():
                self._after_fork()
            with self._lock:
                messages = [self._message(*track) for track in self._tracks]
                if not messages and (self._run, self._attempt) in _progress.phases:
                    messages = [self._message("global", 0, "model", self._format)]
                self._last_sent = time.monotonic()
            for message in messages:
                self._channel.send(message)
        except Exception as error:  # as above
            self._ignore(error)

    def close(self) -> None:
        """Send all counts and let go of the agent."""
        self.flush()
        self._channel.close()
        atexit.unregister(self.close)

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def _count(
        self, whose: tuple[str, int, str], step: int, flop: int, tokens: int, steps: int
    ) -> None:
        scope, rank, quantity = whose
        if quantity not in ("model", "executed"):
            raise ValueError(f"quantity {quantity!r}")
        if (
            scope not in ("global", "rank")
            or rank < 0
            or steps < 1
            or step < steps - 1
            or step >= COUNT_LIMIT
        ):
            raise ValueError(f"scope {scope!r}, rank {rank}, step {step}, steps {steps}")
        with self._lock:
            place = (self._run, self._attempt, scope, rank)
            passes, reached = _progress.reached.get(place, (0, -1))
            stretches = self._tracks.setdefault((*whose, self._format), [])
            if step < reached:
                passes += 1  # it went back: the step is executed again
            if not stretches or stretches[-1][_PASS] != passes:
                stretches.append([passes, step - steps + 1, step - steps, 0, 0, 0])
            stretch = stretches[-1]
            # Steps nobody spoke of between two calls share what the later one says.
            stretch[_STEPS] += min(steps, step - stretch[_LAST])
            stretch[_LAST] = step
            stretch[_TOKENS] += tokens
            stretch[_FLOP] += flop
            _progress.reached[place] = (passes, step)

    def _message(self, scope: str, rank: int, quantity: str, format: str) -> bytes:
        number, since_s = _progress.phases.get((self._run, self._attempt), (0, 0.0))
        content = {
            "v": 1,
            "run": self._run,
            "attempt": self._attempt,
            "scope": scope,
            "rank": rank,
            **self._labels,
            "stretches": self._tracks.get((scope, rank, quantity, format), [])[-MAXIMUM_STRETCHES:],
            "phase": number,
        }
        if quantity != "model":
            content["quantity"] = quantity
        if format:
            content["format"] = format
        if number:
            content["age_ns"] = int((time.monotonic() - since_s) * _NS_PER_S)
        return json.dumps(content, separators=(",", ":")).encode()

    def _after_fork(self) -> None:
        """Begin anew in a forked child: what its parent did is the parent's to claim."""
        self._pid = os.getpid()
        self._lock = threading.Lock()  # another thread of the parent may hold the old one
        self._tracks = {}
        self._last_sent = -math.inf
        if _progress.pid != self._pid:
            _progress.restart()

    def _ignore(self, error: Exception) -> None:
        self.ignored += 1
        if not self._complained:
            self._complained = True
            logger.warning("flopmeter ignores what it cannot count: %s", error)


def meter(
    run: str | None = None,
    *,
    model: str = "",
    activity: str = "",
    format: str = "",
    attempt: str | None = None,
    phases: Sequence[str] = (),
    socket: str | None = None,
) -> Meter:
    """Begin to claim what this process does; use it with ``with``, or call `close` at the end.

    Args:
        run: name of the run; None takes FLOPMETER_RUN, and else the run the agent attributes this
            node's work to.
        model: name of the model that is trained.
        activity: what is done, such as ``pretraining``.
        format: number formats by share of FLOP, such as ``bf16=1``. These three are what
            ``flopmeter exec`` was told where they are empty.
        attempt: names this start of the run, the same in all its processes; None takes it from
            the launcher.
        phases: names of the run's phases in their order, for `Meter.phase`; the first is phase 0.
        socket: path of the agent's socket; None takes FLOPMETER_SOCKET, or the usual place.
    """
    said = {"model": model, "activity": activity, "format": format}
    labels = {name: text or launch.label(name) for name, text in said.items()}
    made = Meter(
        launch.run() if run is None else str(run),
        launch.attempt() if attempt is None else str(attempt),
        {name: str(text) for name, text in labels.items() if text},
        Channel(socket),
        _names(phases),
    )
    atexit.register(made.close)
    return made


def _names(phases: Sequence[str]) -> tuple[str, ...]:
    """Names of phases, whatever was handed in: a wrong name is then one nobody knows."""
    try:
        return (phases,) if isinstance(phases, str) else tuple(map(str, phases))
    except TypeError:
        return ()


def _whole(amount: float, limit: int) -> int:
    """An amount as a whole number.

    Raises:
        ValueError: negative, infinite, not a number, or not below the limit.
    """
    if not math.isfinite(amount) or not 0 <= amount < limit:
        raise ValueError(f"an amount of {amount}")
    return int(amount)
