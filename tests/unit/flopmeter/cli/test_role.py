"""`flopmeter role`: who has which role, as people and machines are told it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.small_ledger import Spoken, small_ledger

WHY = ("--reason", "asked by the board", "--author", "ada")


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Spoken:
    """Commands on a ledger."""
    return Spoken(capsys, "--ledger", small_ledger(tmp_path, {"run:a": 1}))


def test_roles_come_and_go(say: Spoken) -> None:
    """A ledger begins without roles; what is granted is listed, what is revoked is not."""
    assert say("role", "list") == "nobody has a role\n"
    assert say.document("role", "list")["people"] == []
    first = say("role", "grant", "ada", "--role", "owner", *WHY)
    assert first == "declaration 1: ada has the role owner\n"
    say("role", "grant", "eva", "--role", "compliance", *WHY)
    say("role", "grant", "ada", "--role", "compliance", *WHY)
    assert say("role", "list") == "ada: compliance, owner\neva: compliance\n"
    told = say("role", "revoke", "eva", "--role", "compliance", *WHY)
    assert told == "declaration 4: eva no longer has the role compliance\n"
    people = say.document("role", "list")["people"]
    assert people == [{"person": "ada", "roles": ["compliance", "owner"]}]


def test_who_does_not_own_the_roles_gives_none(say: Spoken) -> None:
    """Only an owner grants; the refusal leaves the list as it was."""
    say("role", "grant", "ada", "--role", "owner", *WHY)
    asked = ("role", "grant", "eva", "--role", "compliance", "--reason", "x", "--author", "eva")
    assert "'eva' does not own this ledger's roles" in say.refused(*asked, code=65)
    assert say("role", "list") == "ada: owner\n"
