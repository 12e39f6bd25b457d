"""Hot loops in plain integer Python, each behind one module; those over blocks may run compiled.

Owns: the refusal of an extension that was compiled of another source than the one beside it.
May touch: the sources in this folder, read only, and only where a kernel runs compiled.
Called by each compiled kernel as it is loaded; docs/adr/0031-kernels-compiled-by-the-block.md.
Python prefers an extension to the module beside it, so a forgotten one would count by old rules.
"""

from __future__ import annotations

import hashlib

from flopmeter_core.errors import UsageError


def refuse_stale(name: str, extension: str, digest: str) -> None:
    """Refuse a compiled kernel whose source has changed since.

    Args:
        name: the kernel's full module name.
        extension: the path of its extension.
        digest: SHA-256 of the source it was compiled of, in hexadecimal.

    Raises:
        UsageError: the source beside it is another one, or is missing.
    """
    folder = extension.rpartition("/")[0]
    source = f"{folder}/{name.rpartition('.')[2]}.py"
    try:
        with open(source, "rb") as file:
            same = hashlib.sha256(file.read()).hexdigest() == digest
    except OSError:
        same = False
    if not same:
        raise UsageError(
            f"{extension} was compiled of another {source}; run `make venv` (or reinstall "
            "flopmeter) to compile it again, or delete it to run interpreted"
        )
