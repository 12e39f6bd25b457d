"""The committed code of the wire format is what `make proto` writes from the .proto files."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.requirements import ROOT
from support.tree import GENERATED

PROTO = "proto/flopmeter/ingest/v1"


def generate(root: Path, out: Path) -> None:
    """Write the code of root's .proto files under out, as `make proto` does."""
    out.mkdir()
    sources = sorted((root / PROTO).glob("*.proto"))
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-Iflopmeter_proto={root}/proto/flopmeter",
            *(f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")),
            *(f"flopmeter_proto/ingest/v1/{path.name}" for path in sources),
        ],
        check=True,
        timeout=60,
    )


def findings(root: Path, scratch: Path) -> list[str]:
    """Name the generated files under root that differ from fresh ones, lack, or have no source."""
    generate(root, scratch / "fresh")
    fresh, kept = scratch / "fresh/flopmeter_proto/ingest/v1", root / GENERATED / "v1"
    wanted = {path.name for path in fresh.iterdir()}
    present = {path.name for path in kept.glob("*_pb2*")}
    return (
        [f"{name}: not generated yet" for name in sorted(wanted - present)]
        + [f"{name}: has no .proto file" for name in sorted(present - wanted)]
        + [
            f"{name}: out of date"
            for name in sorted(wanted & present)
            if not filecmp.cmp(fresh / name, kept / name, shallow=False)
        ]
    )


def test_tree(tmp_path: Path) -> None:
    """Nobody has edited generated code, nor forgotten `make proto`."""
    assert findings(ROOT, tmp_path) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the .proto files and their code, to be spoiled."""
    for folder in (PROTO, GENERATED):
        shutil.copytree(ROOT / folder, tmp_path / "copy" / folder)
    return tmp_path / "copy"


def test_planted_change(copy: Path, tmp_path: Path) -> None:
    """A field added to a .proto file without `make proto` is found."""
    source = min((copy / PROTO).glob("*.proto"))
    source.write_text(source.read_text() + "\nmessage Planted { string name = 1; }\n")
    assert f"{source.stem}_pb2.py: out of date" in findings(copy, tmp_path)


def test_planted_leftover(copy: Path, tmp_path: Path) -> None:
    """Code whose .proto file is gone is found."""
    (copy / GENERATED / "v1/planted_pb2.py").write_text("")
    assert findings(copy, tmp_path) == ["planted_pb2.py: has no .proto file"]


def test_planted_lack(copy: Path, tmp_path: Path) -> None:
    """A .proto file without code is found."""
    source = min((copy / PROTO).glob("*.proto"))
    (copy / GENERATED / f"v1/{source.stem}_pb2.py").unlink()
    assert findings(copy, tmp_path) == [f"{source.stem}_pb2.py: not generated yet"]
