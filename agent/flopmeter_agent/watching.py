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
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

# <sys/inotify.h>: IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE |
# IN_MOVE_SELF; and IN_IGNORED, which comes unasked where a watch has ended.
_MOVED_SELF, _IGNORED = 0x800, 0x8000
_CHANGES = 0x2 | 0x8 | 0x40 | 0x80 | 0x200 | _MOVED_SELF
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name behind it
_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_EVENTS_BYTES = 64 * 1024

_REST_S = 0.1
"""Between two times it tells: however often a user changes a folder, that is what it costs."""


class Watcher:
    """Tells of changes until closed."""

    def __init__(self, folders: Iterable[Path], changed: Callable[[], object]) -> None:
        """Watch `folders`; one that is not there, or not there any more, once it is.

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
        self._library = ctypes.CDLL(None, use_errno=True)
        self._inotify = _inotify(self._library)
        # Folder -> its watch; -1 where it has none.
        self._folders = dict.fromkeys(folders, -1)
        self._watch_folders()
        if self._inotify >= 0:
            self._epoll.register(self._inotify, select.EPOLLIN)
        self._thread = threading.Thread(target=self._serve, name="watcher", daemon=True)
        self._thread.start()

    @property
    def sees_folders(self) -> bool:
        """Whether a change of any of the folders is noticed at once."""
        return self._inotify >= 0 and -1 not in self._folders.values()

    def follow(self, descriptors: Iterable[int]) -> None:
        """Follow exactly these processes, each by a pidfd that its owner may close at any time."""
        wanted = set(descriptors)
        with self._lock:
            if self._closing.is_set():
                return
            for descriptor in self._watched - wanted:
                with contextlib.suppress(OSError, ValueError):  # closed, so gone by itself
                    self._epoll.unregister(descriptor)
            self._watched = wanted
            for descriptor in wanted:
                # All of them: a number that was closed meanwhile may be another process' by now.
                # One that is followed already is refused.
                with contextlib.suppress(OSError, ValueError):
                    # Once: a process that has ended stays readable until it is forgotten.
                    self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLONESHOT)
            found = not self.sees_folders and self._watch_folders()
        if found:
            self._changed()

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
                    self._take_events()
            self._changed()
            self._closing.wait(_REST_S)

    def _take_events(self) -> None:
        """Read what the kernel tells of folders; a watch that has ended is made anew later."""
        events = b""
        with contextlib.suppress(BlockingIOError):
            events = os.read(self._inotify, _EVENTS_BYTES)
        place = 0
        while place < len(events):
            watch, mask, _, length = _EVENT.unpack_from(events, place)
            place += _EVENT.size + length
            if not mask & (_IGNORED | _MOVED_SELF):
                continue
            with self._lock:
                for folder, known in self._folders.items():
                    if known == watch:
                        self._folders[folder] = -1
            if mask & _MOVED_SELF:  # it lies elsewhere now, and is no place of ours
                self._library.inotify_rm_watch(self._inotify, watch)

    def _watch_folders(self) -> bool:
        """Watch the folders that are not watched; whether there was one."""
        found = False
        for folder, watch in self._folders.items():
            if watch < 0 <= self._inotify:
                path = os.fsencode(folder)
                self._folders[folder] = self._library.inotify_add_watch(
                    self._inotify, path, _CHANGES
                )
                found |= self._folders[folder] >= 0
        return found


def _inotify(library: ctypes.CDLL) -> int:
    """A descriptor that becomes readable when a watched folder changes; -1 where none can be."""
    try:
        return int(library.inotify_init1(_NONBLOCK_CLOEXEC))
    except AttributeError:
        return -1
