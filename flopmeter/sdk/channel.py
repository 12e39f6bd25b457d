"""The way from a training process to its node's agent: one local socket that never blocks.

Owns: connecting, sending without waiting, and trying again later.
May touch: one Unix socket; the process' own clock and id.
Called by meter. Nothing here raises: what cannot be sent is dropped and counted (docs/sdk.md).

A sequenced-packet socket keeps messages whole, is refused at once where no agent listens, and
tells the agent by SO_PEERCRED who speaks. A forked child lets go of its parent's connection and
makes its own, so that it is never taken for its parent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

DEFAULT_SOCKET = "/run/flopmeter/agent.sock"
SOCKET_VARIABLE = "FLOPMETER_SOCKET"
"""Another path; empty sends nothing."""

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0

_GONE = (BrokenPipeError, ConnectionResetError, ConnectionRefusedError, FileNotFoundError)


class Channel:
    """One process' connection to the agent.

    Attributes:
        sent, dropped: messages handed to the kernel, and messages that were not.
    """

    def __init__(self, path: str | None = None) -> None:
        """Prepare; nothing is opened before the first message.

        Args:
            path: of the agent's socket; None takes it from the environment.
        """
        chosen = os.environ.get(SOCKET_VARIABLE, DEFAULT_SOCKET) if path is None else path
        self._path = chosen
        self._socket: socket.socket | None = None
        self._pid = os.getpid()
        self._retry_s = FIRST_RETRY_S
        self._next_try = 0.0
        self.sent = 0
        self.dropped = 0

    def send(self, message: bytes) -> bool:
        """Hand a message to the kernel, or drop it; returns which."""
        if self._pid != os.getpid():
            self._after_fork()
        if not self._path or not self._connected():
            self.dropped += 1
            return False
        assert self._socket is not None
        try:
            self._socket.send(message, socket.MSG_NOSIGNAL)
        except BlockingIOError:  # the agent is busy; the next message says all of this one again
            self.dropped += 1
            return False
        except OSError as error:
            self.dropped += 1
            self._let_go(soon=isinstance(error, _GONE))
            return False
        self.sent += 1
        self._retry_s = FIRST_RETRY_S
        return True

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _connected(self) -> bool:
        if self._socket is not None:
            return True
        now = time.monotonic()
        if now < self._next_try:
            return False
        opened = None
        try:
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            opened.setblocking(False)
            opened.connect(self._path)
        except (OSError, ValueError):  # nobody there, not permitted, backlog full, path too long
            if opened is not None:
                opened.close()
            self._let_go(soon=False)
            return False
        self._socket = opened
        return True

    def _let_go(self, *, soon: bool) -> None:
        self.close()
        self._next_try = time.monotonic() + (0.0 if soon else self._retry_s)
        if not soon:
            self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)

    def _after_fork(self) -> None:
        self.close()  # this process' copy only; the parent's connection stays
        self._pid = os.getpid()
        self._retry_s, self._next_try = FIRST_RETRY_S, 0.0
        self.sent = self.dropped = 0
