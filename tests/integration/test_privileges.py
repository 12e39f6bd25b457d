"""What doctor says of each source: what it needs, whether it is here, and what is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flopmeter.cli import main
from flopmeter_agent.config import AgentConfig
from flopmeter_agent.privileges import findings, sight_of_processes
from support.proc_tree import ProcTree


def of(config: AgentConfig, source: str) -> tuple[bool | None, str]:
    """What is found of one source."""
    (found,) = [each for each in findings(config) if each.source == source]
    assert found.needs and found.lost
    return found.has, found.found


def config(folder: Path, **named: object) -> AgentConfig:
    """Settings of an agent here."""
    return AgentConfig(**({"allocations_folder": folder, "kubelet_socket": ""} | named))  # type: ignore[arg-type]


def test_run_folder(tmp_path: Path) -> None:
    """The folder of run files is there, open to all, or neither."""
    assert of(config(tmp_path), "exec")[0] is None
    (tmp_path / "runs").mkdir(mode=0o755)
    (tmp_path / "runs").chmod(0o755)
    has, text = of(config(tmp_path), "exec")
    assert has is False and "chmod 1777" in text
    (tmp_path / "runs").chmod(0o1777)
    assert of(config(tmp_path), "exec")[0] is not None


def test_prolog(tmp_path: Path) -> None:
    """A prolog's files are there, are none, or are not to be believed."""
    assert of(config(tmp_path), "slurm")[0] is None
    (tmp_path / "alloc").mkdir()
    file = tmp_path / "alloc/GPU-a"
    file.write_text("slurm job=1\n")
    file.chmod(0o644)
    assert of(config(tmp_path), "slurm") == (True, "1 device(s) have a job")
    file.chmod(0o666)
    has, text = of(config(tmp_path), "slurm")
    assert has is False and "others may write it" in text


def test_kubelet(tmp_path: Path) -> None:
    """The socket is not wanted, not there, or may be used."""
    assert of(config(tmp_path), "kubernetes")[0] is None
    missing = config(tmp_path, kubelet_socket=str(tmp_path / "k.sock"))
    assert of(missing, "kubernetes")[0] is False
    (tmp_path / "k.sock").touch()
    assert of(missing, "kubernetes")[0] is True


def test_setting_run(tmp_path: Path) -> None:
    """With the setting `run` nothing else is looked at."""
    (found,) = findings(config(tmp_path, run="atlas"))
    assert found.source == "run" and "'atlas'" in found.found


def test_sight(tmp_path: Path) -> None:
    """Hidden processes are told from visible ones."""
    tree = ProcTree(tmp_path / "proc")
    assert "hidepid" in sight_of_processes(tree.folder)
    tree.start(1)
    assert sight_of_processes(tree.folder) == ""


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints what each source needs, as lines or JSON, and its code says the worst."""
    settings = tmp_path / "agent.toml"
    settings.write_text(
        f'allocations_folder = "{tmp_path}"\nkubelet_socket = "{tmp_path}/k.sock"\n'
    )
    assert main(["doctor", "--agent", "--config", str(settings), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    rows = {row["source"]: row for row in document["findings"]}
    assert {"exec", "slurm", "kubernetes", "processes", "driver", "site_key"} == set(rows)
    assert rows["kubernetes"]["has"] is False and document["good"] is False
    assert main(["doctor", "--agent", "--config", str(settings)]) == 1
    out = capsys.readouterr().out
    assert "SHORT kubernetes: " in out and "needs user id 0" in out
    assert main(["doctor", "--agent", "--ledger", "x"]) == 64
