"""Threshold rows as text: what a row may say, and one sentence for what it may not."""

from __future__ import annotations

import pytest

from flopmeter_core.catalogue import Kind
from flopmeter_core.data import builtin_thresholds
from flopmeter_core.errors import DataError
from flopmeter_core.profiles import DEFAULT_PROFILE
from flopmeter_core.threshold_files import parse_catalogue, parse_threshold
from flopmeter_core.verification import Verification

FILES = builtin_thresholds()
ROW = FILES["ny-raise-2026.toml"]
PLAIN = """id = "own"
jurisdiction = "here"
instrument = "our rule"
kind = "guidance"
quantity = "FLOP"
operator = "at_least"
value = "10^24"
unit = "FLOP"
counts = "all"
verification = "primary"
source = "our board"
checked_on = 2026-11-21

[[event]]
event = "guidance_issued"
date = 2026-01-01
citation = "minutes"
verification = "primary"
"""


def test_builtin_rows() -> None:
    """The shipped rows lie in files of their names, smallest number first within a unit."""
    rows = parse_catalogue(FILES)
    assert {f"{row.id}.toml" for row in rows} == set(FILES)
    assert {row.id for row in rows if row.demonstration} == {"demo-line"}
    for unit in {row.unit for row in rows}:
        values = [row.exact for row in rows if row.unit is unit]
        assert values == sorted(values)


def test_a_plain_row() -> None:
    """What a site's own row has to say fits on a page; the rest has a default."""
    row = parse_threshold(PLAIN, name="own.toml")
    assert row.kind is Kind.GUIDANCE and row.counting_profile == DEFAULT_PROFILE
    assert row.time_zone == "UTC" and row.notice is None and not row.planned_counts


def test_verification_is_the_weakest() -> None:
    """One unverified number, operator or date makes the row unverified."""
    primary = parse_threshold(PLAIN, name="own.toml")
    assert primary.verification is Verification.PRIMARY
    split = '{ number = "primary", operator = "unverified" }'
    operator = PLAIN.replace('verification = "primary"', f"verification = {split}", 1)
    assert parse_threshold(operator, name="own.toml").verification is Verification.UNVERIFIED
    date = PLAIN[::-1].replace('"yramirp"', '"yradnoces"', 1)[::-1]
    assert parse_threshold(date, name="own.toml").verification is Verification.SECONDARY


SIGNED = 'citation = "L.2026, ch. 96, signed 27 March 2026"\n'
EVENT = 'event = "adopted"\ndate = 2026-03-27'

CHANGES = [
    ('value = "10^26"', "value = 1e26", "value must be a text"),
    ('value = "10^26"', 'value = "1e26"', "not an exact number"),
    ('value = "10^26"', 'value = "0"', "above 0"),
    ('unit = "FLOP"', 'unit = "FLOPS"', "unit has the unknown word 'FLOPS'"),
    ('unit = "FLOP"\n', "", "lacks the field unit"),
    ('operator = "above"', 'operator = "over"', "operator has the unknown word 'over'"),
    ('kind = "statute"', 'kind = "law"', "kind has the unknown word"),
    ('kind = "statute"', 'kind = "bill"', "adopted cannot happen to a bill"),
    ('kind = "statute"', 'kind = "guidance"', "adopted cannot happen to a guidance"),
    ('kind = "statute"', 'kind = "proposed_rule"', "adopted cannot happen to a proposed_rule"),
    ('subject = "model"', 'subject = "city"', "subject has the unknown word"),
    ("checked_on = 2026-11-21", 'checked_on = "soon"', "checked_on must be a date"),
    ("checked_on = 2026-11-21", "checked_on = 2026-11-21T00:00:00Z", "must be a date"),
    ('id = "ny-raise-2026"', 'id = " "', "id must be a text that is not empty"),
    ('id = "ny-raise-2026"', 'id = "NY RAISE"', "is no name"),
    ('id = "ny-raise-2026"', 'colour = "red"\nid = "n"', "unknown field colour"),
    ('unit = "FLOP"', "unit = FLOP", "not valid TOML"),
    ("planned_counts = true", "planned_counts = 1", "planned_counts must be true or false"),
    ('supersedes = ["ny-raise-2025"]', "supersedes = 1", "supersedes must be a list"),
    ('verification = "secondary"', 'verification = "sure"', "verification has the unknown word"),
    (EVENT, 'event = "signed"\ndate = 2026-03-27', "event has the unknown word 'signed'"),
    (EVENT, 'event = "adopted"', "event 1 lacks the field date"),
    (EVENT, 'event = "adopted"\ndate = "March"', "date must be a date"),
    (EVENT, 'event = "adopted"\ndate = 2026-13-27', "not valid TOML"),
    (EVENT, 'event = "adopted"\ndate = "unknown"', "needs a reason"),
    (EVENT, f'{EVENT}\nreason = "r"', "a known date has none"),
    (EVENT, f"{EVENT}\nknown_by = 2026-03-27", "known_by belongs to an unknown date"),
    (EVENT, 'event = "adopted"\ndate = 2028-03-27', "not in the order of their dates"),
    (SIGNED, "", "event 1 lacks the field citation"),
    (SIGNED, 'citation = ""\n', "event 1: citation must be a text"),
    ("[[event]]", "[event]", "not valid TOML"),
    ('source = "', 'source = "\\u001b[2J', "one line without control characters"),
    ('source = "', f'source = "{65_536 * "x"}', "at most 4096 characters"),
]


@pytest.mark.parametrize(("good", "bad", "sentence"), CHANGES)
def test_bad_row(good: str, bad: str, sentence: str) -> None:
    """Each thing a row may not say is refused, with the row's file and the field."""
    assert good in ROW
    with pytest.raises(DataError, match=sentence) as caught:
        parse_threshold(ROW.replace(good, bad, 1), name="mine.toml")
    assert "mine.toml" in str(caught.value)


BESIDES = [
    ('\n[[condition]]\nid = "a"\nrole = "maybe"\ntext = "t"\n', "role has the unknown word"),
    ('\n[[condition]]\nid = "a"\nrole = "required"\n', "condition 1 lacks the field text"),
    (2 * '\n[[condition]]\nid = "a"\nrole = "required"\ntext = "t"\n', "another condition"),
    ("\n[notice]\nweeks = 0\n", "weeks must be a whole number from 1"),
    ("\n[notice]\nweeks = 2\n", "notice lacks the field begins"),
    ("\n[notice]\nmonths = 2\n", "notice has the unknown field months"),
    ("\n[[event]]\n", "event 2 lacks the field event"),
]


@pytest.mark.parametrize(("more", "sentence"), BESIDES)
def test_bad_part(more: str, sentence: str) -> None:
    """Conditions, notices and events are checked like the row."""
    with pytest.raises(DataError, match=sentence):
        parse_threshold(PLAIN + more, name="mine.toml")


def test_no_events() -> None:
    """A law without any date says nothing of any day; only the demonstration needs none."""
    with pytest.raises(DataError, match="no event with a date"):
        parse_threshold(PLAIN[: PLAIN.index("[[event]]")], name="mine.toml")


def test_doubled_id() -> None:
    """Two files with one id would make the law depend on their order."""
    with pytest.raises(DataError, match="two threshold files have the id ny-raise-2026"):
        parse_catalogue({"a.toml": ROW, "b.toml": ROW})
