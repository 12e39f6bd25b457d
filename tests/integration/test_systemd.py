"""The systemd units are valid, start what exists, and give the daemons no more than they need.

Checked by systemd-analyze without a running systemd: the units are not started here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flopmeter.cli import main
from flopmeter_core.errors import NotPermittedError, UsageError
from support.requirements import ROOT, require

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))

EXPOSURE_MAX = 1.5
"""Of 10, by systemd's own count; the agent has to reach the accelerators' device files."""

EXPOSURE_WITH_PROCESSES_MAX = 2.0
"""The same where it also sees other users' processes."""


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    program = require("systemd-analyze", "apt-get install systemd")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


def startable(unit: Path, folder: Path, text: str | None = None) -> Path:
    """A copy of a unit whose program exists on every machine."""
    copy = folder / unit.name
    content = unit.read_text() if text is None else text
    copy.write_text(content.replace("/opt/flopmeter/bin/flopmeter", sys.executable))
    return copy


def exposure(unit: Path) -> float:
    """How exposed systemd counts a unit, of 10."""
    completed = analyze("security", "--offline=yes", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", completed.stdout)
    assert found, completed.stdout + completed.stderr
    return float(found[1])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_is_valid(unit: Path, tmp_path: Path) -> None:
    """Systemd has nothing to say of it."""
    completed = analyze("verify", startable(unit, tmp_path))
    assert (completed.returncode, completed.stdout + completed.stderr) == (0, "")


def test_planted_mistake(tmp_path: Path) -> None:
    """A misspelt setting is named."""
    text = UNITS[0].read_text().replace("ProtectSystem=", "ProtectSytem=")
    completed = analyze("verify", startable(UNITS[0], tmp_path, text))
    assert "ProtectSytem" in completed.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_command_exists(unit: Path) -> None:
    """What the unit starts is a command of flopmeter, with flags it knows."""
    (words,) = re.findall(r"(?m)^ExecStart=/opt/flopmeter/bin/flopmeter (.+)$", unit.read_text())
    assert main([*words.split(), "--help"]) == 0
    assert main([*words.split(), "--unheard-of", "--help"]) != 0


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_faults_of_a_person_end_it(unit: Path) -> None:
    """What only a person can put right is not tried again every five seconds."""
    (codes,) = re.findall(r"(?m)^RestartPreventExitStatus=(.+)$", unit.read_text())
    assert {int(code) for code in codes.split()} == {
        UsageError.exit_code,
        NotPermittedError.exit_code,
    }


def test_drop_in_for_processes(tmp_path: Path) -> None:
    """The drop-in that lets the agent see processes opens that and no more."""
    unit = ROOT / "deploy/systemd/flopmeter-agent.service"
    drop_in = unit.with_name("flopmeter-agent-processes.conf").read_text()
    opened = set(re.findall(r"(?m)^[A-Z]\w+=.*$", drop_in))
    assert opened == {"ProtectProc=default", "PrivateUsers=no"}
    text = unit.read_text().replace("\n[Install]", f"\n{drop_in}\n[Install]")
    both = startable(unit, tmp_path, text)
    assert analyze("verify", both).stderr == ""
    assert exposure(both) <= EXPOSURE_WITH_PROCESSES_MAX


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_is_hardened(unit: Path, tmp_path: Path) -> None:
    """The daemon is shut in, and would not be without its settings."""
    assert exposure(startable(unit, tmp_path)) <= EXPOSURE_MAX
    settings = r"(?m)^(Protect|Restrict|System|Capability|NoNew|Private|Dynamic).*\n"
    bare = re.sub(settings, "", unit.read_text())
    assert exposure(startable(unit, tmp_path, bare)) > EXPOSURE_MAX
