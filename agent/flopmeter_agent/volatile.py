"""Whether a state folder outlives a restart of its host or container.

Owns: the kinds of file systems that do not, and the sentence about each.
May touch: /proc/self/mountinfo, read only.
Called by app at the start, which logs it and shows it as a metric.
"""

from __future__ import annotations

from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")

_IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_LAYERED = frozenset({"overlay", "aufs"})


def volatility(folder: Path, mounts: str | None = None) -> str:
    """Say why what lies in a folder may not last; empty when nothing speaks against it.

    Args:
        folder: an existing folder.
        mounts: text of /proc/self/mountinfo; read from there when None.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return ""
    kind = _file_system(folder.resolve(), mounts)
    if kind in _IN_MEMORY:
        return (
            f"{folder} lies in memory ({kind}): a reboot loses what no collector has acknowledged; "
            "name a folder on a disk with --state"
        )
    if kind in _LAYERED:
        return (
            f"{folder} lies in a container's own layer ({kind}): it goes with the container; "
            "mount a volume there"
        )
    return ""


def _file_system(folder: Path, mounts: str) -> str:
    """The kind of the file system a folder lies on: that of the longest mount point above it.

    The form of a line is in proc(5): fields 1 to 6, optional fields, a hyphen, the kind. A later
    mount hides an earlier one at the same place.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if not separator or len(fields) < 5:
            continue
        point = Path(_plain(fields[4]))
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split(" ", 1)[0]
    return kind


def _plain(escaped: str) -> str:
    r"""A mount point without the kernel's escapes: space \040, tab \011, newline \012, \ \134."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        escaped = escaped.replace(code, character)
    return escaped
