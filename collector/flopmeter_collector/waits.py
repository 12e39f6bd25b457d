"""What calls wait for that a stop of the collector ends.

Owns: which calls wait while nothing of theirs is in hand, and that a stop ends those waits at once.
May touch: tasks of the running event loop, which it cancels once.
Called by the service and by large, each around its own waits; ended by the service's stop.
Explained in docs/adr/0005-delivery-and-durability.md.

Whoever is being answered ends by itself: gRPC takes no status beside an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from flopmeter_core.errors import StorageError

STOPPING = "the collector is stopping; send again later"


class Waits:
    """The waits of all calls. One event loop."""

    def __init__(self) -> None:
        """Start with none."""
        self._waiting: set[asyncio.Task[Any]] = set()
        self._over = False

    @contextlib.contextmanager
    def until_stop(self) -> Iterator[None]:
        """Wait inside the block: for a sender, for its pace or for its turn.

        Raises:
            StorageError: this collector is stopping.
        """
        own = asyncio.current_task()
        assert own is not None, "a call is a task"
        if self._over:
            raise StorageError(STOPPING)
        self._waiting.add(own)
        try:
            yield
        except asyncio.CancelledError:
            # A sender that went away cancels its stream too, and there is nobody to tell.
            if not self._over:
                raise
            raise StorageError(STOPPING) from None
        finally:
            self._waiting.discard(own)

    def end(self) -> None:
        """End every wait, and each that would begin later."""
        self._over = True
        for task in self._waiting:
            task.cancel()
