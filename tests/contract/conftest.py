"""A place for a ledger of each implementation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ledger_places import UrlPlace
from support.ledgers import KINDS, new_ledger


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UrlPlace]:
    """An empty place for one ledger of each implementation."""
    kept = UrlPlace(new_ledger(request.param, tmp_path))
    yield kept
    kept.close()
