"""Both forms of a kernel: its source as Python runs it, and what a C compiler makes of it.

Owns: the loading of each form, and the compilation of sources where nothing is installed of them.
May touch: build/kernels, where compilations are kept by what they were made of; a C compiler.
Called by the tests of the kernels, and by conftest where a whole run is to be interpreted.

A defect planted into a kernel is thus looked for in both forms, in a copy of the tree too.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from support.requirements import ROOT, missing

KERNELS = ROOT / "core/flopmeter_core/kernels"
INTERPRETED, COMPILED = "interpreted", "compiled"
FORMS = (INTERPRETED, COMPILED)


def hook() -> ModuleType:
    """The build hook, as a module."""
    return _load("hatch_build", ROOT / "hatch_build.py")


@cache
def kernel(name: str, form: str) -> ModuleType:
    """A kernel in one form.

    Args:
        name: of the module, such as ``columns``.
        form: INTERPRETED or COMPILED; the test ends as `missing` does where nothing compiles.
    """
    if form == INTERPRETED:
        return _load(f"interpreted.{name}", KERNELS / f"{name}.py")
    return _load(f"compiled.{name}", compiled_folder() / f"{name}.abi3.so")


def interpret() -> None:
    """Have the kernels run interpreted in this process, whatever is installed."""
    package = importlib.import_module("flopmeter_core.kernels")
    for types in KERNELS.glob("*.pxd"):
        module = _load(f"{package.__name__}.{types.stem}", types.with_suffix(".py"))
        sys.modules[module.__name__] = module
        setattr(package, types.stem, module)


@cache
def compiled_folder() -> Path:
    """A folder with every compiled kernel beside its source: the installed ones where they are."""
    installed = {path.name.partition(".")[0] for path in KERNELS.glob("*.so")}
    if installed == {path.stem for path in KERNELS.glob("*.pxd")}:
        return KERNELS
    parts = [ROOT / "hatch_build.py", *sorted(KERNELS.glob("*.p[xy]*"))]
    digest = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:16]
    folder = ROOT / "build/kernels" / digest
    if not folder.is_dir():
        if shutil.which("cc") is None:
            missing("cc is not installed: apt-get install gcc")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            done = Path(scratch) / "done"
            done.mkdir()
            for extension in hook().compile_kernels(KERNELS, Path(scratch)):
                shutil.copy(extension, done)
                shutil.copy(KERNELS / f"{extension.name.partition('.')[0]}.py", done)
            done.rename(folder)
    return folder


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
