"""The compose files are valid, and give every container no more than it needs.

Checked without an engine: docker-compose reads them, and the Compose specification's own schema
holds them. tests/e2e runs them for real.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.requirements import ROOT, require

BASE = ROOT / "docker-compose.yml"
GPU = ROOT / "docker-compose.gpu.yml"

ONE_SHOT = {"declare-pretrain", "declare-tune"}
"""Services that do one thing and end: nothing to probe."""


def compose(files: list[Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run docker-compose on files."""
    program = require("docker-compose", "apt-get install docker-compose")
    flags = [flag for path in files for flag in ("-f", str(path))]
    # compose reads a proxy and its own settings from the environment; the files need none of it.
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [str(program), *flags, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def merged(*files: Path) -> dict[str, Any]:
    """The configuration docker-compose makes of files."""
    completed = compose(list(files), "config")
    assert completed.returncode == 0, completed.stderr
    configuration: dict[str, Any] = yaml.safe_load(completed.stdout)
    return configuration


def schema_findings(path: Path) -> str:
    """What the Compose specification's schema says of a file; empty when it is right."""
    program = require("check-jsonschema", "make venv-dev")
    completed = subprocess.run(
        [str(program), "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return "" if completed.returncode == 0 else completed.stdout


def laxities(services: dict[str, Any]) -> list[str]:
    """Name what a service has that it should not, or lacks."""
    found = []
    for name, service in services.items():
        wanted = {
            "read_only": service.get("read_only") is True,
            "cap_drop ALL": service.get("cap_drop") == ["ALL"],
            "no-new-privileges": "no-new-privileges" in service.get("security_opt", []),
            "mem_limit": bool(service.get("mem_limit")),
            "pids_limit": bool(service.get("pids_limit")),
            "a numeric user that is not root": service.get("user", "0").split(":")[0].isdigit()
            and service.get("user", "0").split(":")[0] != "0",
            "a healthcheck": name in ONE_SHOT or "test" in service.get("healthcheck", {}),
            "no privileges": not service.get("privileged") and not service.get("cap_add"),
            "ports on loopback only": all(
                str(port).startswith("127.0.0.1:") for port in service.get("ports", [])
            ),
            "its own network": "network_mode" not in service,
        }
        found += [f"{name}: {what}" for what, held in wanted.items() if not held]
    return found


@pytest.mark.parametrize("files", [[BASE], [BASE, GPU]], ids=["base", "with GPUs"])
def test_docker_compose_reads_it(files: list[Path]) -> None:
    """docker-compose takes the file, alone and with the GPU's on top."""
    completed = compose(files, "config", "-q")
    assert completed.returncode == 0, completed.stderr


@pytest.mark.parametrize("path", [BASE, GPU], ids=lambda path: path.name)
def test_schema(path: Path) -> None:
    """The file is right by the Compose specification's schema."""
    assert schema_findings(path) == ""


def test_planted(tmp_path: Path) -> None:
    """Both checks name a mistake when there is one."""
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(BASE.read_text().replace("condition: service_healthy", "condition: sometimes"))
    assert "sometimes" in compose([wrong], "config", "-q").stderr
    wrong.write_text(BASE.read_text().replace("mem_limit:", "memory_limit:"))
    assert "memory_limit" in schema_findings(wrong)


def test_no_more_than_needed() -> None:
    """Every container is read-only, without capabilities, bounded, not root, and on loopback."""
    assert laxities(merged(BASE)["services"]) == []
    assert laxities(merged(BASE, GPU)["services"]) == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"read_only": False}, "read_only"),
        ({"cap_drop": ["NET_RAW"]}, "cap_drop ALL"),
        ({"security_opt": []}, "no-new-privileges"),
        ({"user": "root"}, "a numeric user that is not root"),
        ({"ports": ["0.0.0.0:8426:8426"]}, "ports on loopback only"),
        ({"privileged": True}, "no privileges"),
        ({"mem_limit": None}, "mem_limit"),
        ({"healthcheck": {"disable": True}}, "a healthcheck"),
        ({"network_mode": "host"}, "its own network"),
    ],
)
def test_planted_laxity(change: dict[str, Any], finding: str) -> None:
    """Each of these checks fires on its own defect, and only on it."""
    services = merged(BASE)["services"]
    services["collector"].update(change)
    assert laxities(services) == [f"collector: {finding}"]


def test_gpu_file_leaves_the_simulation_out() -> None:
    """With the GPU's file no simulated node starts, and measured readings get their own ledger."""
    services = merged(BASE, GPU)["services"]
    started = {name for name, service in services.items() if not service.get("profiles")}
    assert started == {"agent", "alertmanager", "collector", "grafana", "prometheus"}
    assert services["collector"]["environment"]["FLOPMETER_SIMULATED"] == "false"
    assert [volume.split(":")[0] for volume in services["collector"]["volumes"]] == [
        "ledger-measured"
    ]
    reserved = services["agent"]["deploy"]["resources"]["reservations"]["devices"]
    assert reserved == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu", "utility"]}]
    assert "--require-real" in services["agent"]["command"]


def test_mounted_files_exist() -> None:
    """Whatever the file mounts from the source tree is in it."""
    sources = [
        volume.split(":")[0]
        for service in merged(BASE, GPU)["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith("/")
    ]
    assert sources
    assert [source for source in sources if not Path(source).exists()] == []
