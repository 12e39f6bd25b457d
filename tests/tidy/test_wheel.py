"""The wheel holds the five packages with their data and types, works, and holds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from support.requirements import ROOT
from support.tree import PACKAGES, tracked_files

DATA_SUFFIXES = {".py", ".pyi", ".typed", ".toml", ".sql", ".html", ".css", ".js", ".pxd"}

CONSUMER = """\
from flopmeter_core.errors import FlopmeterError

reveal_type(FlopmeterError("x"))
"""


def run(*command: str | Path) -> str:
    """Run a command outside the tree's import path and return what it printed."""
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=100, cwd="/"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def wheel_names(root: Path) -> set[str]:
    """Return the path inside the wheel of every tracked file the packages should ship."""
    return {
        path.relative_to((root / package).parent).as_posix()
        for path in tracked_files(root)
        for package in PACKAGES
        if path.is_relative_to(root / package) and path.suffix in DATA_SUFFIXES
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of the tree, interpreted; test_build.py has the compiled one."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        env={**os.environ, "FLOPMETER_BUILD": "interpreted"},
        check=True,
        capture_output=True,
        timeout=100,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment; return its Python.

    Third parties are lent by the environment the tests run in; the editable install is not, since
    a .pth file inside a folder named by a .pth file is not read.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install"),
        *("--quiet", "--no-deps", "--no-index", wheel),
    )
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.mark.parametrize("package", PACKAGES)
def test_typed(package: str) -> None:
    """Each package says that it is annotated; without it a user's mypy sees Any, in silence."""
    assert (ROOT / package / "py.typed").is_file()


def test_content(wheel: Path) -> None:
    """Every tracked module, table, schema and marker ships; tests and the like do not."""
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert wheel_names(ROOT) - shipped == set()
    assert {name.split("/")[0] for name in shipped} == {Path(package).name for package in PACKAGES}
    assert {name for name in shipped if name.endswith((".so", ".c", ".pyc", ".proto"))} == set()


def test_entry_point(environment: Path) -> None:
    """The installed command answers, from the wheel and not from the tree."""
    assert "flopmeter" in run(environment.parent / "flopmeter", "--help")
    place = run(environment, "-c", "import flopmeter_core; print(flopmeter_core.__file__)")
    assert Path(place).is_relative_to(environment.parent.parent)


def test_consumer(environment: Path, tmp_path: Path) -> None:
    """A user's mypy in strict mode sees our types."""
    consumer = tmp_path / "consumer.py"
    consumer.write_text(CONSUMER)
    printed = run(
        *(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-incremental"),
        *("--python-executable", environment, consumer),
    )
    assert 'Revealed type is "flopmeter_core.errors.FlopmeterError"' in printed
