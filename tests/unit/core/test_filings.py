"""Forms are data: a wrong one is named with what is wrong, and no recipient is told by accident."""

from __future__ import annotations

import pytest

from flopmeter_core.data import builtin_filing_texts
from flopmeter_core.errors import DataError
from flopmeter_core.filings import Precision, builtin_forms, parse_form

NAME, TEXT = next(iter(builtin_filing_texts().items()))


def test_the_shipped_text_is_a_form() -> None:
    """What the wrong ones below are made of is right."""
    form = parse_form(TEXT, name=NAME)
    assert builtin_forms()[form.id] == form


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("id = ", "id == ", "is not valid TOML"),
        ("title = ", "titel = ", "titel, title is missing or unknown"),
        ("retention_years = ", 'retention_years = "many" #', "cannot be read"),
    ],
)
def test_a_form_that_cannot_be_read(before: str, after: str, said: str) -> None:
    """One sentence with the form's name."""
    with pytest.raises(DataError, match=said) as found:
        parse_form(TEXT.replace(before, after, 1), name="mine.toml")
    assert "mine.toml" in str(found.value)


def test_a_field_that_no_law_asks_for() -> None:
    """Every field names its source."""
    lines = TEXT.splitlines()
    field = lines.index("[[field]]")
    place = next(n for n in range(field, len(lines)) if lines[n].startswith("source = "))
    lines[place] = 'source = ""'
    with pytest.raises(DataError, match="has no source; every field names what asks"):
        parse_form("\n".join(lines), name="mine.toml")


def test_a_recipient_without_a_precision() -> None:
    """Nobody is told everything because a line was forgotten."""
    text = TEXT.replace("[recipients]\n", '[recipients]\nneighbour = "the house next door"\n', 1)
    assert text != TEXT
    with pytest.raises(DataError, match="must have a precision for each of"):
        parse_form(text, name="mine.toml")


def test_an_unknown_recipient_is_told_nothing() -> None:
    """Who the form does not name gets a refusal, and who is inside gets all."""
    form = parse_form(TEXT, name=NAME)
    for field in form.fields:
        assert form.precision(field, "internal") is Precision.FULL
        with pytest.raises(DataError):
            form.precision(field, "neighbour")
