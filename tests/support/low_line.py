"""A threshold so low that any real work of a test is above it.

Owns: the row, and the folder a collector reads it from.
May touch: a folder of the caller.
Called by tests that need a measured model to cross a line.
"""

from __future__ import annotations

from pathlib import Path

LOW_LINE = "test-line"

_ROW = f"""
id = "{LOW_LINE}"
jurisdiction = "a test"
time_zone = "UTC"
instrument = "a line drawn for a test"
kind = "statute"
quantity = "executed FLOP"
operator = "above"
value = "10^15"
unit = "FLOP"
subject = "model"
counts = "everything"
counting_profile = "everything"
verification = "primary"
source = "this test"
checked_on = 2026-11-21

[[event]]
event = "applies"
date = 2020-01-01
citation = "this test"
verification = "primary"
"""


def low_line(folder: Path) -> Path:
    """Write the row into a folder of its own; returns that, for --thresholds-dir."""
    place = folder / "thresholds.d"
    place.mkdir(exist_ok=True)
    (place / "test-line.toml").write_text(_ROW)
    return place
