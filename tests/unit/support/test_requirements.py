"""The rule that decides whether a test without its server is skipped or failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.requirements import find, require


def plant_tool(folder: Path) -> Path:
    """Put a program named some-server into a folder."""
    folder.mkdir(parents=True)
    tool = folder / "some-server"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    return tool


def test_missing_tool_skips_with_its_reason(tmp_path: Path) -> None:
    """A plain run goes on without the program and says which one and how to get it."""
    with pytest.raises(pytest.skip.Exception, match="some-server is not installed: ask for it"):
        require("some-server", "ask for it", root=tmp_path, environ={"PATH": ""})


def test_missing_tool_fails_where_all_is_required(tmp_path: Path) -> None:
    """CI cannot pass by testing less."""
    with pytest.raises(pytest.fail.Exception, match="REQUIRE_ALL=1, but some-server"):
        require("some-server", root=tmp_path, environ={"PATH": "", "REQUIRE_ALL": "1"})


@pytest.mark.parametrize("setting", ["", "0"])
def test_only_one_means_required(tmp_path: Path, setting: str) -> None:
    """REQUIRE_ALL empty or 0 is as good as unset."""
    with pytest.raises(pytest.skip.Exception):
        require("some-server", root=tmp_path, environ={"PATH": "", "REQUIRE_ALL": setting})


def test_tool_on_path_is_found(tmp_path: Path) -> None:
    """A program on PATH is returned by its whole path."""
    tool = plant_tool(tmp_path / "bin")
    assert require("some-server", root=tmp_path, environ={"PATH": str(tool.parent)}) == tool


def test_own_tool_comes_before_path(tmp_path: Path) -> None:
    """The pinned tool of the tree wins over another version on PATH."""
    plant_tool(tmp_path / "bin")
    own = plant_tool(tmp_path / "build/buf/node_modules/.bin")
    assert find("some-server", root=tmp_path, environ={"PATH": str(tmp_path / "bin")}) == own
