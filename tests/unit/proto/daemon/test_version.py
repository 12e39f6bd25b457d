"""The version is the installed distribution's, found by its folder's name."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from flopmeter_proto.daemon.version import version


def test_it_is_the_distributions() -> None:
    """What the library says, without the library."""
    assert version() == importlib.metadata.version("flopmeter")


def test_without_a_folder_the_library_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no folder of that name is on the path, or one of it is gone."""
    monkeypatch.setattr(sys, "path", ["/nonexistent"])
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        version()


def test_an_agent_starts_without_the_library() -> None:
    """Nothing of an agent over the NVIDIA driver loads it, a page, what is made up, or receives."""
    script = (
        "import sys, flopmeter_agent.app, flopmeter_agent.allocating\n"
        "import flopmeter_agent.sensors.nvml.sensor\n"
        "heavy = {'importlib.metadata', 'http', 'email', 'flopmeter_agent.scenario'}\n"
        "heavy |= {'flopmeter_core.batches', 'flopmeter_core.recompute'}\n"
        "heavy |= {'flopmeter_core.claim_sums', 'flopmeter_proto.relay_link'}\n"
        "heavy |= {'flopmeter_proto.wire.' + name for name in ('batch', 'known', 'parsing')}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
