"""A site's own law: a row with a condition, the profile it counts by, and its calendar.

Owns: the three files, and the folder a collector reads them from.
May touch: a folder of the caller.
Called by tests of rulings, of a site's own files, and of law that changes while a collector serves.
"""

from __future__ import annotations

from pathlib import Path

ROW_ID = "board-line"
CONDITION = f"{ROW_ID}/public"
PROFILE = "board"

ROW = """
id = "board-line"
jurisdiction = "our company"
time_zone = "UTC"
instrument = "board decision 7"
kind = "statute"
quantity = "counted FLOP"
operator = "above"
value = "{value}"
unit = "FLOP"
subject = "model"
counts = "all but inference"
counting_profile = "board"
verification = "primary"
source = "minutes of the board"
checked_on = 2026-11-21

[[condition]]
id = "public"
role = "required"
text = "the model is offered to the public"

[notice]
weeks = 1
begins = "met"
calendar = "board-days"
to = "the board"
citation = "board decision 7"

[[event]]
event = "applies"
date = 2020-01-01
citation = "minutes of the board"
verification = "primary"
"""

_RULE = """
verdict = "{verdict}"
citation = "minutes of the board"
verification = "primary"
"""

_HEAD = """
id = "board"
title = "What our board counts"
jurisdiction = "our company"
quantity = "counted FLOP"
version = 1
source = "minutes of the board"
checked_on = 2026-11-21
"""


def profile(*, evaluation: str = "may_exclude", finetuning: str = "count") -> str:
    """The profile's file.

    Args:
        evaluation: the verdict on evaluations.
        finetuning: the verdict on finetuning.
    """
    entries = [
        f'[[entry]]\nactivities = ["evaluation"]{_RULE.format(verdict=evaluation)}',
        f'[[entry]]\nactivities = ["finetuning"]{_RULE.format(verdict=finetuning)}',
        f"[[entry]]{_RULE.format(verdict='count')}",
    ]
    rules = ("recomputation", "unattributed", "external", *_EDGES)
    return _HEAD + "\n".join(
        [*entries, *(f"[{rule}]{_RULE.format(verdict='count')}" for rule in rules)]
    )


_EDGES = tuple(f"inherited.{edge}" for edge in ("weights", "merge", "init", "distilled_from"))

CALENDAR = """
id = "board-days"
title = "Our company's working days"
time_zone = "UTC"
first_year = 2020
last_year = 2040
rule = "the day of the event is not counted"
rule_verification = "primary"
source = "minutes of the board"
checked_on = 2026-11-21

[[holiday]]
date = 2026-12-24
name = "the works holiday"
verification = "primary"
"""


def own_law(folder: Path, *, value: str, rules: str = "") -> Path:
    """Write the three files into a folder of their own; returns that, for --thresholds-dir.

    Args:
        folder: of the caller.
        value: the row's number.
        rules: the profile's file; the usual one where empty.
    """
    place = folder / "thresholds.d"
    for each in (place, place / "profiles", place / "calendars"):
        each.mkdir(exist_ok=True)
    (place / "board-line.toml").write_text(ROW.format(value=value))
    (place / "profiles" / "board.toml").write_text(rules or profile())
    (place / "calendars" / "board-days.toml").write_text(CALENDAR)
    return place
