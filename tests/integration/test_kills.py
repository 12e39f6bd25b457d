"""Agent and collector as processes, killed with SIGKILL in turn, lose nothing and add nothing.

The long loop is ``make faults CASE=kills``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.kills import kill_loop


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_in_turn(tmp_path: Path) -> None:
    """After 24 kills the ledger is the truth to the unit, and no answer was ever taken back."""
    result = kill_loop(tmp_path, kills=24, seed=1)
    print(result.line())
    assert result.kills == 24
    assert result.kept, result.line()
