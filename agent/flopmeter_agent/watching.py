"""Notices at once that something about allocations changed, so that a reading is taken.

Owns: one thread that sleeps until a watched folder or a watched process changes.
May touch: inotify and epoll of the kernel; no file's content.
Called by allocating; it only says "now", what changed the sources find out. docs/allocations.md.

Where inotify or pidfds cannot be had, changes are noticed at the next sample: nothing is lost but
that the period of the change is longer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

# <sys/inotify.h>: IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE.
_CHANGES = 0x2 | 0x8 | 0x40 | 0x80 | 0x200
_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_EVENTS_BYTES = 64 * 1024

_REST_S = 0.1
"""Between two times it tells: however often a user changes a folder, that is what it costs."""


class Watcher:
    """Tells of changes until closed."""

    def __init__(self, folders: Iterable[Path], changed: Callable[[], object]) -> None:
        """Watch `folders`; a folder that is not there is not watched.

        Args:
            folders: whose entries matter.
            changed: told from the watcher's thread, once for any number of changes at a time.
        """
        self._changed = changed
        self._lock = threading.Lock()
        self._watched: set[int] = set()
        self._closing = threading.Event()
        self._epoll = select.epoll()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll.register(self._wake_read, select.EPOLLIN)
        self._inotify, self._sees_all = _inotify(folders)
        if self._inotify >= 0:
            self._epoll.register(self._inotify, select.EPOLLIN)
        self._thread = threading.Thread(target=self._serve, name="watcher", daemon=True)
        self._thread.start()

    @property
    def sees_folders(self) -> bool:
        """Whether a change of any of the folders is noticed at once."""
        return self._sees_all

    def follow(self, descriptors: Iterable[int]) -> None:
        """Follow exactly these processes, each by a pidfd that its owner may close at any time."""
        wanted = set(descriptors)
        with self._lock:
            if wanted == self._watched or self._closing.is_set():
                return
            for descriptor in self._watched - wanted:
                with contextlib.suppress(OSError, ValueError):  # closed, so gone by itself
                    self._epoll.unregister(descriptor)
            self._watched &= wanted
            for descriptor in wanted - self._watched:
                with contextlib.suppress(OSError, ValueError):
                    # Once: a process that has ended stays readable until it is forgotten.
                    self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLONESHOT)
                    self._watched.add(descriptor)

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        os.write(self._wake_write, b"x")
        self._thread.join()
        self._epoll.close()
        for descriptor in (self._wake_read, self._wake_write, self._inotify):
            if descriptor >= 0:
                os.close(descriptor)

    def _serve(self) -> None:
        while True:
            events = self._epoll.poll()
            if self._closing.is_set():
                return
            for descriptor, _ in events:
                if descriptor == self._inotify:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._inotify, _EVENTS_BYTES)
            self._changed()
            self._closing.wait(_REST_S)


def _inotify(folders: Iterable[Path]) -> tuple[int, bool]:
    """Watch folders.

    Returns:
        A descriptor that becomes readable when an entry of a folder changes, -1 where none is
        watched; and whether all of them are.
    """
    library = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = int(library.inotify_init1(_NONBLOCK_CLOEXEC))
    except AttributeError:
        return -1, False
    if descriptor < 0:
        return -1, False
    watches = [
        library.inotify_add_watch(descriptor, os.fsencode(folder), _CHANGES) for folder in folders
    ]
    if all(watch < 0 for watch in watches):
        os.close(descriptor)
        return -1, not watches
    return descriptor, all(watch >= 0 for watch in watches)
