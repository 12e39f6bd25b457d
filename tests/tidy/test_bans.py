"""Ruff refuses what goes round the injected clock, randomness and configuration.

A misspelt name in a list of banned ones is never noticed; so each is planted here.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.requirements import ROOT

PLANTED = {
    "time.time": "import time\n\ntime.time()\n",
    "time.time_ns": "from time import time_ns\n\ntime_ns()\n",
    "time.monotonic": "import time\n\ntime.monotonic()\n",
    "time.monotonic_ns": "import time\n\ntime.monotonic_ns()\n",
    "datetime.datetime.now": "from datetime import datetime\n\ndatetime.now()\n",
    "datetime.datetime.utcnow": "import datetime\n\ndatetime.datetime.utcnow()\n",
    "datetime.datetime.today": "from datetime import datetime\n\ndatetime.today()\n",
    "datetime.date.today": "from datetime import date\n\ndate.today()\n",
    "random": "from random import randrange\n\nrandrange(3)\n",
    "os.environ": "import os\n\nos.environ['X']\n",
    "os.environb": "import os\n\nos.environb\n",
    "os.getenv": "import os\n\nos.getenv('X')\n",
}
PRINT = "print('x')\n"


def rules(path: str, text: str) -> set[str]:
    """Return the ban rules ruff reports for text, were it the file at path."""
    result = subprocess.run(
        [
            *(
                Path(sys.executable).parent / "ruff",
                "check",
                "--no-cache",
                "--output-format=concise",
            ),
            *("--select=TID251,T20", f"--stdin-filename={path}", "-"),
        ],
        input=text,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode in (0, 1), result.stderr
    return {rule for rule in ("TID251", "T201") if rule in result.stdout}


def test_every_ban_is_planted() -> None:
    """No ban is trusted that has not been seen to fire."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    banned = project["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == set(PLANTED)


@pytest.mark.parametrize("name", PLANTED)
def test_planted(name: str) -> None:
    """The banned name is found in a module of the agent."""
    assert rules("agent/flopmeter_agent/planted.py", PLANTED[name]) == {"TID251"}


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("proto/flopmeter_proto/daemon/clock.py", PLANTED["time.time"], set()),
        ("proto/flopmeter_proto/daemon/signals.py", PLANTED["time.time"], {"TID251"}),
        ("agent/flopmeter_agent/config.py", PLANTED["os.environ"], set()),
        ("agent/flopmeter_agent/loop.py", PLANTED["os.environ"], {"TID251"}),
        ("tests/unit/planted.py", PLANTED["random"], {"TID251"}),
        ("tests/simulation/planted.py", PLANTED["time.time"], {"TID251"}),
        ("tests/integration/planted.py", PLANTED["time.time"], set()),
        ("flopmeter/cli/planted.py", PRINT, set()),
        ("flopmeter/lab/planted.py", PRINT, {"T201"}),
        ("collector/flopmeter_collector/planted.py", PRINT, {"T201"}),
    ],
)
def test_allowed_files(path: str, text: str, found: set[str]) -> None:
    """Only the files that own the clock, the environment and the output may."""
    assert rules(path, text) == found
