"""The build hook: compiles the kernels beside their sources, or leaves them to run as plain Python.

Owns: which form a build has, and the compilation of a copy of the kernels that have C types.
May touch: a temporary folder; in an editable install the extensions beside the kernels.
Called by hatchling for each wheel and editable install, and by the tests; flopmeter itself never
imports it. Explained in docs/adr/0031-kernels-compiled-by-the-block.md.

FLOPMETER_BUILD says which form: ``interpreted``, ``compiled`` (fails where that cannot be), or
``auto``, which compiles where there are Cython and a C compiler and otherwise says why not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNELS = Path("core/flopmeter_core/kernels")
PACKAGE = "flopmeter_core.kernels"
FORMS = ("auto", "compiled", "interpreted")

LIMITED_API = "0x030B0000"
"""The stable interface of CPython 3.11: one extension serves 3.11 and every later version."""

DIRECTIVES = {
    # The annotations are for people and mypy; C types are stated in the .pxd alone.
    "annotation_typing": False,
    # Each kernel holds the lengths of its buffers against each other before its loop.
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
}


class CompiledKernels(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled kernels to a wheel, or puts them beside their sources when editable."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before anything is packed.

        Args:
            version: ``editable`` or ``standard``.
            build_data: what hatchling packs; extensions and the platform's tag are added to it.

        Raises:
            RuntimeError: FLOPMETER_BUILD is misspelt, or is ``compiled`` and compiling failed.
        """
        form = os.environ.get("FLOPMETER_BUILD", "auto")
        if form not in FORMS:
            raise RuntimeError(f"FLOPMETER_BUILD is {form!r}; use one of {', '.join(FORMS)}")
        beside = Path(self.root) / KERNELS
        self._scratch = Path(tempfile.mkdtemp(prefix="flopmeter-kernels-"))
        built: list[Path] = []
        if form != "interpreted":
            try:
                built = compile_kernels(beside, self._scratch)
            except Exception as error:  # a compiler fails in more ways than can be named
                if form == "compiled":
                    raise RuntimeError(
                        f"the kernels could not be compiled ({_brief(error)}); install a C "
                        "compiler and Python's headers, or set FLOPMETER_BUILD=interpreted"
                    ) from error
                self.app.display_warning(
                    f"flopmeter will run interpreted: its kernels were not compiled "
                    f"({_brief(error)})"
                )
        if version == "editable":
            put_beside(built, beside)
        elif built:
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"cp311-abi3-{platform}"
            for extension in built:
                place = f"flopmeter_core/kernels/{extension.name}"
                build_data["force_include"][str(extension)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what the compilation left."""
        shutil.rmtree(self._scratch, ignore_errors=True)


def put_beside(built: list[Path], beside: Path) -> None:
    """Make the extensions beside the kernels exactly those that were built: all, or none."""
    for old in beside.glob("*.so"):
        old.unlink()
    for extension in built:
        # Renamed into place: a process that has the old one loaded keeps its own file.
        waiting = beside / f".{extension.name}"
        shutil.copyfile(extension, waiting)
        waiting.rename(beside / extension.name)


def compile_kernels(beside: Path, scratch: Path) -> list[Path]:
    """Compile every kernel that has C types (a .pxd) beside it, all or none.

    A copy is compiled: Cython ignores a .pxd in silence where a parent folder has no
    ``__init__.py``, and each copy ends with a line that refuses to serve beside another source.

    Args:
        beside: the folder of the kernels.
        scratch: an empty folder for everything that comes of it.

    Returns:
        The extensions, in `scratch`.

    Raises:
        RuntimeError: there is no compiler, or not every kernel came of it.
        Exception: there is no Cython, or it or the compiler failed.
    """
    compiler = (os.environ.get("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise RuntimeError(f"there is no C compiler {compiler}")
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    folder = scratch / Path(*PACKAGE.split("."))
    folder.mkdir(parents=True)
    for parent in (folder, folder.parent):
        (parent / "__init__.py").touch()
    extensions = []
    for types in sorted(beside.glob("*.pxd")):
        source = types.with_suffix(".py").read_bytes()
        copy = folder / f"{types.stem}.py"
        copy.write_bytes(source + guard(source, types.read_bytes()).encode())
        shutil.copyfile(types, folder / types.name)
        extensions.append(
            Extension(
                f"{PACKAGE}.{types.stem}",
                [str(copy)],
                define_macros=[("Py_LIMITED_API", LIMITED_API), ("CYTHON_LIMITED_API", "1")],
                # -fwrapv: a difference that leaves int64 is defined; no kernel uses its result.
                extra_compile_args=["-O3", "-g0", "-fwrapv"],
                py_limited_api=True,
            )
        )
    modules = cythonize(
        extensions,
        build_dir=str(scratch / "c"),
        include_path=[str(scratch)],
        language_level=3,
        quiet=True,
        compiler_directives=DIRECTIVES,
    )
    distribution = Distribution({"ext_modules": modules})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = str(scratch / "lib")
    command.build_temp = str(scratch / "tmp")
    command.parallel = len(modules)
    command.ensure_finalized()
    command.run()
    built = sorted((scratch / "lib").rglob("*.so"))
    if len(built) != len(extensions):
        raise RuntimeError(f"{len(built)} of {len(extensions)} kernels came of it")
    return built


def guard(source: bytes, types: bytes) -> str:
    """The lines that make a compiled kernel refuse to run beside another source than its own."""
    return (
        f"\nfrom {PACKAGE} import refuse_stale\n"
        f'SOURCE_SHA256 = "{hashlib.sha256(source).hexdigest()}"\n'
        f'TYPES_SHA256 = "{hashlib.sha256(types).hexdigest()}"\n'
        "refuse_stale(__name__, __file__, SOURCE_SHA256)\n"
    )


def _brief(error: Exception) -> str:
    """The first line of what went wrong."""
    return (str(error) or type(error).__name__).strip().splitlines()[0]
