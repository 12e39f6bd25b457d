"""Counting profiles as text: what a file may say, and that it says something of everything."""

from __future__ import annotations

import pytest

from flopmeter_core.activities import Activity, Disposition, WorkLabel
from flopmeter_core.counting import Verdict
from flopmeter_core.data import builtin_profile_texts
from flopmeter_core.errors import DataError
from flopmeter_core.profiles import DEFAULT_PROFILE, builtin_profiles, parse_profile, parse_profiles
from flopmeter_core.verification import Verification

TEXT = builtin_profile_texts()["everything.toml"]
RULE = """[[entry]]
verdict = "count"
"""


def test_files_are_named_by_their_id() -> None:
    """A reader finds a profile under its id, and the default is there."""
    assert {f"{name}.toml" for name in builtin_profiles()} == set(builtin_profile_texts())
    assert DEFAULT_PROFILE in builtin_profiles()


def test_first_rule_decides() -> None:
    """Rules are read from top to bottom."""
    first = """[[entry]]
activities = ["evaluation"]
dispositions = ["kept"]
verdict = "exclude"
citation = "c"
verification = "unverified"

"""
    profile = parse_profile(TEXT.replace(RULE, first + RULE), name="mine.toml")
    assert profile.entry(WorkLabel(Activity.EVALUATION)).verdict is Verdict.EXCLUDE
    discarded = WorkLabel(Activity.EVALUATION, Disposition.DISCARDED)
    assert profile.entry(discarded).verdict is Verdict.COUNT
    assert profile.verification is Verification.UNVERIFIED


CHANGES = [
    (RULE, RULE.replace("count", "add"), "unknown word 'add'"),
    (RULE, RULE + 'activities = ["pretrainign"]\n', "unknown word 'pretrainign'"),
    (RULE, RULE + 'activities = ["pretraining"]\n', "has no entry for finetuning"),
    (RULE, RULE + "activities = []\n", "must be a list of words"),
    (RULE, RULE + 'activities = "pretraining"\n', "must be a list of words"),
    (RULE, RULE + 'colour = "red"\n', "unknown field colour"),
    (RULE, f'{RULE}citation = "c"\nverification = "primary"\n\n{RULE}', "never decides"),
    (RULE, "[[entry]]\n", "entry 1 lacks the field verdict"),
    ('verification = "primary"', 'verification = "sure"', "unknown word 'sure'"),
    ("version = 1", "version = 0", "version must be a whole number"),
    ("checked_on = 2026-11-21", 'checked_on = "soon"', "must be a date"),
    ("checked_on = 2026-11-21\n", "", "lacks the field checked_on"),
    ('id = "everything"', 'id = ""', "id must be a text"),
    ('id = "everything"', 'id = "everything"\ncolour = 1', "unknown field colour"),
    ("[inherited.weights]", "[inherited.wieghts]", "unknown field wieghts"),
    ("[external]", "[outside]", "unknown field outside"),
    ('title = "', "title = ", "not valid TOML"),
    ("[recomputation]", "[[recomputation]]", "must be a table of fields"),
]


@pytest.mark.parametrize(("good", "bad", "sentence"), CHANGES)
def test_bad_profile(good: str, bad: str, sentence: str) -> None:
    """Each thing a profile may not say is refused, with the file's name."""
    assert good in TEXT
    with pytest.raises(DataError, match=sentence) as caught:
        parse_profile(TEXT.replace(good, bad, 1), name="mine.toml")
    assert "mine.toml" in str(caught.value)


def test_doubled_id() -> None:
    """Two files with one id would make the law depend on their order."""
    with pytest.raises(DataError, match="two counting profiles have the id everything"):
        parse_profiles({"a.toml": TEXT, "b.toml": TEXT})
