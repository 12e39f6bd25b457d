"""A state folder that does not last is said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter_agent.volatile import volatility

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /run rw - tmpfs tmpfs rw
24 22 0:22 / /data\\040disk rw shared:1 - xfs /dev/vdb rw
25 22 0:23 / /data\\040disk/layer rw - overlay overlay rw,upperdir=/u
26 22 0:24 / /hidden rw - tmpfs tmpfs rw
27 22 0:25 / /hidden rw - ext4 /dev/vdc rw
a line that is none
28 22 - short
"""


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("/var/lib/flopmeter", ""),
        ("/run/flopmeter", "lies in memory (tmpfs)"),
        ("/runner/flopmeter", ""),
        ("/data disk/state", ""),
        ("/data disk/layer/state", "container's own layer (overlay)"),
        ("/hidden/state", ""),
    ],
)
def test_by_the_mount_above(folder: str, said: str) -> None:
    """The longest mount point decides, and of two at one place the later one."""
    sentence = volatility(Path(folder), MOUNTS)
    assert said in sentence
    assert bool(said) == bool(sentence)


def test_this_host() -> None:
    """Shared memory is in memory; where there are no mounts nothing is said."""
    if "/dev/shm" in Path("/proc/self/mountinfo").read_text():
        assert "in memory" in volatility(Path("/dev/shm"))
    assert volatility(Path("/"), "") == ""
