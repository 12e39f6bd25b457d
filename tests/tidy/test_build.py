"""The build hook: one wheel with all kernels compiled, or an interpreted one that works."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from support.forms import KERNELS, compiled_folder, hook
from support.requirements import ROOT, require

SMALL = """\
def half(number):
    return number // 2
"""
SMALL_TYPES = "cpdef half(long long number)\n"


class Said:
    """Stands in for hatch's console."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self.warnings: list[str] = []

    def display_warning(self, text: str) -> None:
        """Note a warning."""
        self.warnings.append(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with two small kernels."""
    require("cc", "apt-get install gcc")
    kernels = tmp_path / hook().KERNELS
    kernels.mkdir(parents=True)
    for name in ("first", "second"):
        (kernels / f"{name}.py").write_text(SMALL)
        (kernels / f"{name}.pxd").write_text(SMALL_TYPES)
    return tmp_path


def built(tree: Path, version: str) -> tuple[dict[str, Any], list[str]]:
    """Run the hook on a tree; what it adds to the wheel, and what it warns of."""
    said = Said()
    made = hook().CompiledKernels(str(tree), {}, None, None, str(tree / "dist"), "wheel", said)
    data: dict[str, Any] = {"force_include": {}}
    made.initialize(version, data)
    data["sizes"] = {name: Path(name).stat().st_size for name in data["force_include"]}
    made.finalize(version, data, "")
    return data, said.warnings


def compiler(folder: Path, script: str) -> str:
    """A C compiler of its own, as the variable CC names it."""
    path = folder / "mycc"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def extensions(tree: Path) -> list[str]:
    """The extensions beside the kernels of a tree."""
    return sorted(path.name for path in (tree / hook().KERNELS).glob("*.so"))


def test_compiled_wheel(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled wheel says its platform, serves every later Python, and holds all kernels."""
    monkeypatch.setenv("FLOPMETER_BUILD", "compiled")
    data, warnings = built(tree, "standard")
    assert data["tag"] == "cp311-abi3-" + sysconfig.get_platform().replace("-", "_")
    assert data["pure_python"] is False
    assert sorted(data["force_include"].values()) == [
        "flopmeter_core/kernels/first.abi3.so",
        "flopmeter_core/kernels/second.abi3.so",
    ]
    assert all(data["sizes"].values())
    assert warnings == []
    assert extensions(tree) == []


def test_interpreted_wheel(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreted wheel is one for every platform, and nothing is compiled for it."""
    monkeypatch.setenv("FLOPMETER_BUILD", "interpreted")
    monkeypatch.setattr(hook(), "compile_kernels", None)
    assert built(tree, "standard") == ({"force_include": {}, "sizes": {}}, [])


def test_misspelt(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form nobody knows is refused, with those there are."""
    monkeypatch.setenv("FLOPMETER_BUILD", "fast")
    with pytest.raises(RuntimeError, match="use one of auto, compiled, interpreted"):
        built(tree, "standard")


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_no_compiler(tree: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Without a compiler auto warns and builds an interpreted form; compiled says what to do."""
    monkeypatch.setenv("CC", "/nowhere/cc")
    monkeypatch.setenv("FLOPMETER_BUILD", "auto")
    data, (warning,) = built(tree, version)
    assert data == {"force_include": {}, "sizes": {}}
    assert "will run interpreted" in warning
    assert "there is no C compiler /nowhere/cc" in warning
    monkeypatch.setenv("FLOPMETER_BUILD", "compiled")
    with pytest.raises(RuntimeError, match="set FLOPMETER_BUILD=interpreted"):
        built(tree, version)


def test_half_way(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that fails at the second kernel leaves none, nor any of an earlier build."""
    monkeypatch.setenv("FLOPMETER_BUILD", "auto")
    built(tree, "editable")
    assert extensions(tree) == ["first.abi3.so", "second.abi3.so"]
    script = 'case "$*" in *second*) exit 1;; esac; exec cc "$@"'
    monkeypatch.setenv("CC", compiler(tree, script))
    _, (warning,) = built(tree, "editable")
    assert "will run interpreted" in warning
    assert extensions(tree) == []


def test_editable_forms(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreted installation removes the extensions of a compiled one."""
    (tree / hook().KERNELS / "first.abi3.so").touch()
    monkeypatch.setenv("FLOPMETER_BUILD", "interpreted")
    built(tree, "editable")
    assert extensions(tree) == []


LOAD = """
import importlib.util, pathlib, sys
name = pathlib.Path(sys.argv[1]).name.partition(".")[0]
spec = importlib.util.spec_from_file_location(name, sys.argv[1])
module = importlib.util.module_from_spec(spec)
try:
    spec.loader.exec_module(module)
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(module.SOURCE_SHA256, module.TYPES_SHA256)
"""


def load(extension: Path) -> subprocess.CompletedProcess[str]:
    """Load an extension in a process of its own, since one is loaded only once in each."""
    command = [sys.executable, "-c", LOAD]
    return subprocess.run(
        [*command, extension], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("change", ["edited", "missing"])
def test_stale(tmp_path: Path, change: str) -> None:
    """A compiled kernel beside another source than its own is refused, with what to do."""
    for path in compiled_folder().glob("columns.*"):
        shutil.copy(path, tmp_path)
    extension, source = tmp_path / "columns.abi3.so", tmp_path / "columns.py"
    assert load(extension).returncode == 0
    if change == "edited":
        source.write_text(source.read_text() + "\n# one line more\n")
    else:
        source.unlink()
    refused = load(extension).stderr
    assert refused.startswith(f"UsageError: {extension} was compiled of another {source}; run")
    assert refused.count("\n") == 1


def test_installed_forms() -> None:
    """What is installed here is of the sources here: all kernels compiled, or none."""
    installed = {path.name.partition(".")[0] for path in KERNELS.glob("*.so")}
    assert installed in (set(), {path.stem for path in KERNELS.glob("*.pxd")})
    for name in installed:
        parts = [(KERNELS / f"{name}.{suffix}").read_bytes() for suffix in ("py", "pxd")]
        digests = [hashlib.sha256(part).hexdigest() for part in parts]
        assert load(KERNELS / f"{name}.abi3.so").stdout.split() == digests


def test_other_platform(tmp_path: Path) -> None:
    """A wheel of another platform is refused by its name, in one sentence; nothing is installed."""
    wheel = tmp_path / "flopmeter-0.1.0-cp311-abi3-linux_none.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("flopmeter_core/__init__.py", "")
    target = tmp_path / "target"
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps"]
    done = subprocess.run(
        [*pip, "--target", target, wheel], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert f"{wheel.name} is not a supported wheel on this platform" in done.stderr
    assert not target.exists()


@pytest.mark.slow
def test_real_wheel(tmp_path: Path) -> None:
    """The wheel of this tree, compiled, counts as the sources do once it is installed."""
    require("cc", "apt-get install gcc")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    environ = {**os.environ, "FLOPMETER_BUILD": "compiled"}
    subprocess.run(
        [*build, "--directory", tmp_path], cwd=ROOT, env=environ, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("flopmeter-*-cp311-abi3-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = (
        "import array, flopmeter_core.kernels.columns as k; w = array.array('Q', [0, 0, 0]);"
        " k.dot(array.array('q', [2**62]), array.array('q', [2**62]), w); print(k.__file__, w[1])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.split() == [
        str(tmp_path / "site/flopmeter_core/kernels/columns.abi3.so"),
        str(2**60),
    ]


def test_interpreted_run() -> None:
    """A run that is to be interpreted counts with the sources, whatever is installed."""
    program = (
        "from support.forms import interpret; interpret();"
        " from flopmeter_core.kernels import columns; import flopmeter_core.columns as user;"
        " print(columns.__file__, user.kernels is columns)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    ).stdout
    assert told.split() == [str(KERNELS / "columns.py"), "True"]


def test_the_image_is_built_from_all_a_build_needs() -> None:
    """What the build reads at the top of the tree reaches the builder, and its tools stay there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = (ROOT / "deploy/Containerfile").read_text()
    let_in = (ROOT / "deploy/Containerfile.dockerignore").read_text().splitlines()
    for name in ("pyproject.toml", "hatch_build.py", project["project"]["readme"]):
        assert re.search(rf"^COPY .*\b{re.escape(name)}\b", copied, re.MULTILINE), name
        assert f"!{name}" in let_in
    (removed,) = re.findall(r"uninstall --yes \\\n((?: .*\n)+)", copied)
    for requirement in project["build-system"]["requires"]:
        assert re.split(r"[<>=]", requirement)[0] in removed.split()
