"""A compiled kernel beside another source than its own is refused, with what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from flopmeter_core.errors import UsageError
from flopmeter_core.kernels import refuse_stale

NAME = "flopmeter_core.kernels.merge"


def test_the_source_it_was_compiled_of(tmp_path: Path) -> None:
    """It is loaded."""
    (tmp_path / "merge.py").write_bytes(b"x = 1\n")
    digest = hashlib.sha256(b"x = 1\n").hexdigest()
    refuse_stale(NAME, str(tmp_path / "merge.abi3.so"), digest)


@pytest.mark.parametrize("source", [b"x = 2\n", None])
def test_another_source(source: bytes | None, tmp_path: Path) -> None:
    """One that was changed since, or that is not there, is refused in one sentence."""
    if source is not None:
        (tmp_path / "merge.py").write_bytes(source)
    digest = hashlib.sha256(b"x = 1\n").hexdigest()
    with pytest.raises(UsageError, match=r"was compiled of another .*merge\.py; run `make venv`"):
        refuse_stale(NAME, str(tmp_path / "merge.abi3.so"), digest)
