"""The .proto files follow buf's STANDARD rules and stay readable by every released peer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.requirements import ROOT, require

BASELINE = ROOT / "proto/baseline.binpb"
FOUND = 100
"""buf's exit status where it has findings; any other but 0 means it could not run."""


@pytest.fixture(scope="module")
def buf() -> Path:
    """Return buf's program."""
    return require("buf", "run make buf")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the .proto files and buf's settings, to be spoiled."""
    shutil.copytree(ROOT / "proto/flopmeter", tmp_path / "proto/flopmeter")
    shutil.copy(ROOT / "proto/buf.yaml", tmp_path / "proto")
    return tmp_path / "proto"


def run(*command: str | Path) -> tuple[int, str]:
    """Run buf; return its exit status and what it printed."""
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )
    return result.returncode, result.stdout + result.stderr


def a_source(copy: Path) -> Path:
    """Return one .proto file of the copy."""
    return min(copy.glob("flopmeter/ingest/v1/*.proto"))


def test_lint(buf: Path) -> None:
    """Names, folders and comments of the tree's messages are in order."""
    assert run(buf, "lint", ROOT / "proto") == (0, "")


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        ("// Commented.\nmessage lower_case {}", "should be PascalCase"),
        ("message Uncommented {}", "COMMENT_MESSAGE"),
        ("// Commented.\nmessage Planted {\n  string name = 1;\n}", "COMMENT_FIELD"),
        ("// Commented.\nenum Planted {\n  ONE = 0;\n}", "should be suffixed with"),
    ],
)
def test_planted_lint(buf: Path, copy: Path, message: str, rule: str) -> None:
    """A message against the rules is found."""
    source = a_source(copy)
    source.write_text(f"{source.read_text()}\n{message}\n")
    status, printed = run(buf, "lint", "--error-format", "text", copy)
    assert status == FOUND, printed
    assert rule in printed or rule in run(buf, "lint", "--error-format", "json", copy)[1]


def test_breaking(buf: Path) -> None:
    """Nothing that a released agent or collector says has changed its meaning."""
    assert run(buf, "breaking", ROOT / "proto", "--against", BASELINE) == (0, "")


def test_planted_removal(buf: Path, copy: Path) -> None:
    """Messages of the committed baseline that are gone are found."""
    a_source(copy).write_text(
        'syntax = "proto3";\npackage flopmeter.ingest.v1;\n\nmessage Planted {}\n'
    )
    status, printed = run(buf, "breaking", copy, "--against", BASELINE)
    assert status == FOUND, printed
    assert "deleted" in printed


@pytest.mark.parametrize(
    "changed",
    ["int32 device_count = 1;", "int64 card_count = 1;", "int64 device_count = 2;", ""],
    ids=["retyped", "renamed", "moved", "removed"],
)
def test_planted_field(buf: Path, copy: Path, tmp_path: Path, changed: str) -> None:
    """A field retyped, renamed, moved or removed since a baseline is found."""
    source, text = a_source(copy), a_source(copy).read_text()
    source.write_text(f"{text}\nmessage Planted {{ int64 device_count = 1; }}\n")
    baseline = tmp_path / "baseline.binpb"
    assert run(buf, "build", copy, "--output", baseline) == (0, "")
    assert run(buf, "breaking", copy, "--against", baseline) == (0, "")
    source.write_text(f"{text}\nmessage Planted {{ {changed} }}\n")
    status, printed = run(buf, "breaking", copy, "--against", baseline)
    assert status == FOUND, printed
