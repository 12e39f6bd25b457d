"""What is said of a forecast, in the same words on the page and in the command line.

Owns: these phrases.
May touch: nothing.
Called by http.page_legal and lab.legal_view_text; docs/forecast.md says what they rest on.
"""

from __future__ import annotations

NO_PACE = "no pace: no day of history yet, or no work for two weeks"
"""Where neither pace nor plan gives a date (`core.pace.pace_of` has both lengths)."""


def basis_words(*, paced: bool) -> str:
    """What a date rests on.

    Args:
        paced: whether it is the model's own pace; else what was planned.
    """
    return "at this pace" if paced else "by its plan"


def never_words(*, paced: bool) -> str:
    """That a line is not crossed."""
    return f"not {basis_words(paced=paced)}"
