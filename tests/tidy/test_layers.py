"""The dependency contracts of pyproject.toml hold, and each of them can be seen to break.

A contract with a misspelt module name is kept for ever; so every contract has a violation planted
in a copy of the source tree here, and a new contract without one fails this file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.requirements import ROOT
from support.tree import PACKAGES

Plant = dict[str, str]
"""Files to write into the copy: path from the root to source text."""

VIOLATIONS: list[tuple[str, Plant]] = [
    ("packages", {"core/flopmeter_core/planted.py": "import flopmeter_proto\n"}),
    ("packages", {"proto/flopmeter_proto/planted.py": "import flopmeter_agent\n"}),
    ("packages", {"agent/flopmeter_agent/planted.py": "import flopmeter_collector\n"}),
    ("packages", {"collector/flopmeter_collector/planted.py": "import flopmeter_agent\n"}),
    ("packages", {"collector/flopmeter_collector/planted.py": "import flopmeter.sdk\n"}),
    ("layers", {"flopmeter/lab/planted.py": "import flopmeter.cli\n"}),
    (
        "layers",
        {
            "flopmeter/sdk/planted.py": "import flopmeter_agent\n",
            "flopmeter/sdk/__init__.py": "",
        },
    ),
    ("core-pure", {"core/flopmeter_core/planted.py": "import os.path\n"}),
    ("core-pure", {"core/flopmeter_core/planted.py": "def now():\n    from time import time\n"}),
    ("core-pure", {"core/flopmeter_core/planted.py": "from google.protobuf import message\n"}),
    ("agent-light", {"agent/flopmeter_agent/planted.py": "import rich.console\n"}),
    ("agent-light", {"proto/flopmeter_proto/planted.py": "import click\n"}),
    ("messages", {"agent/flopmeter_agent/planted.py": "import flopmeter_proto.ingest.v1\n"}),
    (
        "messages",
        {
            "proto/flopmeter_proto/planted.py": (
                "from flopmeter_proto.ingest.v1 import ingest_service_pb2\n"
            )
        },
    ),
    (
        "backend-choice",
        {
            "collector/flopmeter_collector/planted_service.py": "from .ledger import planted\n",
            "collector/flopmeter_collector/ledger/planted.py": "",
        },
    ),
    (
        "backend-choice",
        {
            "flopmeter/cli/planted.py": "import flopmeter_collector.ledger.planted\n",
            "collector/flopmeter_collector/ledger/planted.py": "",
        },
    ),
    (
        "sensors",
        {
            "agent/flopmeter_agent/sensors/planted_a.py": "from . import planted_b\n",
            "agent/flopmeter_agent/sensors/planted_b.py": "",
        },
    ),
    (
        "allocations",
        {
            "agent/flopmeter_agent/allocations/__init__.py": "",
            "agent/flopmeter_agent/allocations/planted_a.py": "from . import planted_b\n",
            "agent/flopmeter_agent/allocations/planted_b.py": "",
        },
    ),
    (
        "ledger-backends",
        {
            "collector/flopmeter_collector/ledger/planted_a.py": "from . import planted_b\n",
            "collector/flopmeter_collector/ledger/planted_b.py": "",
        },
    ),
]


def contract_ids() -> list[str]:
    """Return the ids of all contracts in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [contract["id"] for contract in project["tool"]["importlinter"]["contracts"]]


def lint_imports(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the source tree under root, which hides the installed one."""
    roots = (str(root / folder) for folder in (".", "core", "agent", "collector", "proto"))
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache", *options],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages and their contracts, to be spoiled."""
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_hold() -> None:
    """Every import of the tree points the way the contracts allow."""
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_contract_has_a_violation() -> None:
    """No contract is trusted that has not been seen to break."""
    assert set(contract_ids()) == {contract for contract, _ in VIOLATIONS}


@pytest.mark.parametrize(
    ("contract", "plant"),
    VIOLATIONS,
    ids=[f"{contract}-{next(iter(plant))}" for contract, plant in VIOLATIONS],
)
def test_contract_breaks(copy: Path, contract: str, plant: Plant) -> None:
    """The contract reports the planted import and names the planted module."""
    for path, text in plant.items():
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_text(text)
    result = lint_imports(copy, "--contract", contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "0 kept, 1 broken" in result.stdout
    assert "planted" in result.stdout
