"""The local socket on which training processes state their claims.

Owns: the listening socket and its file, the connections, and how much each may send.
May touch: that socket file; /proc/<pid>/stat for a peer's start; a thread of its own.
Called by claim_report; hands messages to the claim book. Explained in docs/sdk.md.

Who a peer is, is what the kernel says (SO_PEERCRED at the moment it connected), never what the
peer writes. A peer that sends too much is not read for a while: its own sends then fail, and
nothing of the agent waits for it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import select
import selectors
import socket
import stat
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from flopmeter_agent.claims import MAXIMUM_MESSAGE_BYTES, ClaimBook
from flopmeter_core.errors import NotPermittedError, StorageError
from flopmeter_core.units import NS_PER_S
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

MAXIMUM_CONNECTIONS = 512
MAXIMUM_CONNECTIONS_PER_USER = 384
BACKLOG = 128

MAXIMUM_CONNECTIONS_PER_PROCESS = 4

MESSAGES_PER_S = 20
BURST_MESSAGES = 100
"""Of one connection. A client of ours sends about one message a second for each rank it speaks
for, which is nearly always one."""

ALL_MESSAGES_PER_S = 500
"""Of all connections together: what floods may cost the node at most."""

SAVE_PERIOD_S = 1.0
"""How often claims go to the disk; a process that still runs states all of them again anyway."""

IDLE_S = 10.0
"""How often it is looked whether something is to be saved where nobody speaks: what runs say of
themselves in their files comes from another thread."""

REST_S = 0.2
"""How long a peer that sends too much rests at most before it is looked at again."""

_CREDENTIALS = struct.Struct("3i")
_START_TIME_FIELD = 19
"""Of /proc/<pid>/stat, counted behind the name in parentheses: field 22 of proc_pid_stat(5)."""


class _Allowance:
    """So many messages a second, and a burst."""

    def __init__(self, per_s: int, burst: int, now_ns: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._credit = float(burst)
        self._filled_ns = now_ns

    def left(self, now_ns: int) -> bool:
        """Whether a message may come in now."""
        earned = max(0, now_ns - self._filled_ns) * self._per_s / NS_PER_S
        self._credit = min(self._burst, self._credit + earned)
        self._filled_ns = now_ns
        return self._credit >= 1

    def spend(self) -> None:
        """Count one message."""
        self._credit -= 1


@dataclass(slots=True)
class _Peer:
    """One connection."""

    connection: socket.socket
    user: int
    writer: str
    allowance: _Allowance


class ClaimSocket:
    """Listens until closed."""

    def __init__(self, path: Path, book: ClaimBook, clock: Clock, *, node: str) -> None:
        """Listen at `path`, and serve in a thread of its own.

        Args:
            path: of the socket file; everyone on the node may connect to it.
            book: takes the messages.
            clock: paces the peers.
            node: the node's name, part of what stands for a process.

        Raises:
            NotPermittedError: another agent listens there.
            StorageError: the socket cannot be made.
        """
        self._path = path
        self._book = book
        self._clock = clock
        self._node = node
        self._peers: dict[int, _Peer] = {}
        self._resting: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._listener = _listen(path)
        self._inode = os.stat(path).st_ino
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping = False
        self._allowance = _Allowance(ALL_MESSAGES_PER_S, ALL_MESSAGES_PER_S, clock.monotonic_ns())
        self._saved_ns = clock.monotonic_ns()
        self._thread = threading.Thread(target=self._serve, name="claims", daemon=True)
        self._thread.start()

    def __enter__(self) -> ClaimSocket:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take what was sent so far, save it, and remove the socket file."""
        self._stopping = True
        self._wake.send(b"x")
        self._thread.join()
        for peer in list(self._peers.values()):
            self._drop(peer)
        self._listener.close()
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:  # not that of an agent started since
                self._path.unlink()
        self._wake.close()
        self._woken.close()
        self._selector.close()
        self._book.save()

    @property
    def connection_count(self) -> int:
        """Open connections."""
        return len(self._peers)

    # --- the thread -------------------------------------------------------------------------------

    def _serve(self) -> None:
        last_rounds = BURST_MESSAGES
        while last_rounds:
            stopping = self._stopping
            # Whoever speaks or closes wakes it; it looks by itself only after who rests, and saves.
            pause_s = SAVE_PERIOD_S if self._book.unsaved else IDLE_S
            pause_s = REST_S if self._resting else pause_s
            events = self._selector.select(0 if stopping else pause_s)
            for key, _ in events:
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fd in self._peers:  # not the one that is woken by, nor one let go of since
                    self._hear(self._peers[key.fd])
            if stopping:  # what was sent until now is still read, but not for ever
                last_rounds = last_rounds - 1 if len(events) > 1 else 0
            now_ns = self._clock.monotonic_ns()
            self._wake_rested(now_ns)
            if now_ns - self._saved_ns >= SAVE_PERIOD_S * NS_PER_S:
                self._saved_ns = now_ns
                self._book.save()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:  # it has gone again, or this process has no descriptor left
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._book.counters.refuse("connections")
                self._make_room()
            return
        connection.setblocking(False)
        try:
            pid, user, _ = _CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
        except OSError:
            connection.close()
            return
        writer = writer_of(self._node, self._clock.boot_id, pid, _started(pid))
        same_user = sum(peer.user == user for peer in self._peers.values())
        same_process = sum(peer.writer == writer for peer in self._peers.values())
        if (
            len(self._peers) >= MAXIMUM_CONNECTIONS
            or same_user >= MAXIMUM_CONNECTIONS_PER_USER
            or same_process >= MAXIMUM_CONNECTIONS_PER_PROCESS
        ):
            self._book.counters.refuse("connections")
            connection.close()
            return
        allowance = _Allowance(MESSAGES_PER_S, BURST_MESSAGES, self._clock.monotonic_ns())
        peer = _Peer(connection, user, writer, allowance)
        self._peers[connection.fileno()] = peer
        self._selector.register(connection, selectors.EVENT_READ)

    def _hear(self, peer: _Peer) -> None:
        """Read of a peer, and let go of one whose message finds a fault of ours: others go on."""
        try:
            self._read(peer)
        except Exception as error:
            logger.error("a claim fails inside flopmeter; please report this", exc_info=error)
            self._book.counters.refuse("garbled")
            if peer.connection.fileno() in self._peers:
                self._drop(peer)

    def _read(self, peer: _Peer) -> None:
        """Read one message; the others have their turn before the next."""
        now_ns = self._clock.monotonic_ns()
        both = (peer.allowance, self._allowance)
        if not all(allowance.left(now_ns) for allowance in both) and not self._stopping:
            self._book.counters.throttled += 1
            self._resting.add(peer.connection.fileno())
            self._selector.unregister(peer.connection)
            return
        for allowance in both:
            allowance.spend()
        try:
            message, _, flags, _ = peer.connection.recvmsg(MAXIMUM_MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(peer)
            return
        if flags & socket.MSG_TRUNC:
            self._book.counters.refuse("oversized")
        elif message:
            number = peer.connection.fileno()
            self._book.take(message, peer.writer, connection=number, user=peer.user)
        else:  # the peer has gone; an empty message is none of ours either
            self._drop(peer)

    def _wake_rested(self, now_ns: int) -> None:
        for number in list(self._resting):
            peer = self._peers[number]
            if peer.allowance.left(now_ns) and self._allowance.left(now_ns):
                self._resting.discard(number)
                self._selector.register(peer.connection, selectors.EVENT_READ)

    def _drop(self, peer: _Peer) -> None:
        number = peer.connection.fileno()
        if number in self._resting:
            self._resting.discard(number)
        else:
            self._selector.unregister(peer.connection)
        del self._peers[number]
        self._book.phases.gone(number)
        peer.connection.close()

    def _make_room(self) -> None:
        """Let the longest connected peer go: it connects again by itself."""
        if self._peers:
            self._drop(next(iter(self._peers.values())))
        else:  # who waits to be let in would be looked at again at once, and again
            select.select([self._woken], [], [], REST_S)


def writer_of(node: str, boot_id: str, pid: int, started: str) -> str:
    """What stands for a process outside its node: 32 hexadecimal digits, no id of the node's."""
    text = "\0".join((node, boot_id, str(pid), started))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; tells a reused pid. Empty when not visible."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return text.rpartition(")")[2].split()[_START_TIME_FIELD]
    except (OSError, IndexError):
        return ""


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        _clear(path)
        listener.setblocking(False)
        listener.bind(str(path))
        os.chmod(path, 0o666)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(
            f"claims cannot be taken at {path} ({reason}); name another path with --claims-socket"
        ) from error
    except BaseException:
        listener.close()
        raise
    return listener


def _clear(path: Path) -> None:
    """Remove the socket that a killed agent left behind.

    Raises:
        NotPermittedError: an agent listens there, or the file is no socket.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise NotPermittedError(f"{path} exists and is no socket; name another path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            logger.info("a socket of an earlier agent was removed", extra=fields(path=path))
            return
        except BlockingIOError:
            pass
    raise NotPermittedError(
        f"another agent takes claims at {path}; stop it, or name another path with --claims-socket"
    )
