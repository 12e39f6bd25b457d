"""`flopmeter device` on a ledger: what is declared of a device, and where its time went."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.small_ledger import Spoken, small_ledger

FROM, AT = "2026-01-01T00:00:00Z", "2026-01-01T10:00:00Z"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger of one device."""
    return small_ledger(tmp_path, {"run:a": 1})


@pytest.fixture
def say(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Spoken:
    """Commands on it."""
    monkeypatch.setenv("COLUMNS", "200")
    return Spoken(capsys, "--ledger", url)


def test_a_device_is_enrolled_and_retired(say: Spoken) -> None:
    """Each act is one line; the table shows since when, then that it is over."""
    asked = ("device", "enroll", "GPU-9", "--from", FROM, "--node", "n1")
    told = say(*asked, "--part", "h100-sxm5-80gb")
    assert told == (
        f"declaration 1: GPU-9 is enrolled, from {FROM}, part h100-sxm5-80gb, node n1\n"
    )
    row = next(line for line in say("device", "enrolled").splitlines() if "GPU-9" in line)
    assert row.split()[:3] == ["GPU-9", "n1", FROM[:19]]
    told = say("device", "retire", "GPU-9", "--at", AT, "--reason", "sold")
    assert told == f"declaration 2: GPU-9 is retired, at {AT}, reason sold\n"
    row = next(line for line in say("device", "enrolled").splitlines() if "GPU-9" in line)
    assert row.split()[:4] == ["GPU-9", "n1", "retired", "10.0"], "ten hours are accounted for"
    (device,) = [
        each for each in say.document("device", "enrolled")["devices"] if each["device"] == "GPU-9"
    ]
    assert (device["retired"], device["enrolled_seconds"]) == (True, 36_000)


def test_a_node_is_down(say: Spoken) -> None:
    """The JSON has what was declared, by whom, and its place in the ledger."""
    asked = ("device", "down", "node-1", "--from", FROM, "--to", AT, "--reason", "works")
    told = say.document(*asked, "--author", "ann")
    assert (told["sequence"], told["subject"], told["author"]) == (1, "node-1", "ann")
    assert told["declared"] == {"state": "down", "from": FROM, "to": AT, "reason": "works"}


def test_nobody_retires_what_is_unknown(say: Spoken) -> None:
    """A device nobody enrolled or reported is refused in one sentence."""
    told = say.refused("device", "retire", "GPU-8", "--at", AT, "--reason", "sold", code=65)
    assert "ever reported" in told
