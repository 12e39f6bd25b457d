"""`flopmeter run attach` and its neighbours: the sentence, the JSON, and whose the work is then."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.small_ledger import Spoken, small_ledger

JOBS = ("slurm:c1/1", "slurm:c1/2")


@pytest.fixture
def say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Spoken:
    """Commands on a ledger with two jobs that name no run, and two runs."""
    monkeypatch.setenv("COLUMNS", "200")
    work = {**dict.fromkeys(JOBS, 2), "run:a": 3, "run:b": 1}
    return Spoken(capsys, "--ledger", small_ledger(tmp_path, work))


def owners(say: Spoken) -> dict[str, list[str]]:
    """The runs of every allocation."""
    rows = say.document("run", "allocations")["allocations"]
    return {row["allocation"]: row["runs"] for row in rows}


def test_attach_and_detach(say: Spoken) -> None:
    """Attached work belongs to the run; to take it back lowers a total, so it waits for people."""
    told = say("run", "attach", "a", "--allocation", JOBS[0])
    assert told == f"declaration 1: {JOBS[0]} belongs to run a\n"
    assert owners(say)[JOBS[0]] == ["a"]
    assert owners(say)[JOBS[1]] == []
    out, err = say.both("run", "detach", "a", "--allocation", JOBS[0], "--reason", "a slip")
    assert out == f"declaration 2: once approved, {JOBS[0]} does not belong to run a\n"
    assert "waits for 2 more of 2 people" in err
    assert owners(say)[JOBS[0]] == ["a"]


def test_attach_by_rule(say: Spoken) -> None:
    """A pattern is told as what it is, and takes every allocation that fits."""
    told = say("run", "attach", "a", "--match", "slurm:*")
    assert told == "declaration 1: every allocation that fits slurm:* belongs to run a\n"
    assert [owners(say)[job] for job in JOBS] == [["a"], ["a"]]


def test_dry_run(say: Spoken) -> None:
    """What would move is shown with the figures of both sides, and nothing is written."""
    asked = ("run", "attach", "a", "--match", "slurm:*", "--dry-run")
    document = say.document(*asked)
    assert (document["allocation_count"], document["dry_run"]) == (2, True)
    lines = say(*asked).splitlines()
    assert lines[0] == "would move 2 allocations; nothing is written"
    assert [line.split()[0] for line in lines[1:3]] == list(JOBS)
    assert any(line.split()[0] == "unattributed" for line in lines[3:])
    assert owners(say)[JOBS[0]] == []
    one = say("run", "attach", "a", "--allocation", JOBS[0], "--dry-run")
    assert one.startswith("would move 1 allocation; nothing is written")


def test_dry_run_that_moves_nothing(say: Spoken) -> None:
    """A rule that fits nothing yet moves no figure, and that is said."""
    lines = say("run", "attach", "a", "--match", "slurm:c9/*", "--dry-run").splitlines()
    assert lines == ["would move 0 allocations; nothing is written", "no figure would change"]


def test_dry_run_that_would_wait(say: Spoken) -> None:
    """Taking work from a run lowers its total: the preview says that people are asked first."""
    say("run", "attach", "a", "--match", "slurm:*")
    asked = ("run", "detach", "a", "--match", "slurm:*", "--dry-run", "--reason", "a slip")
    assert "it would lower a legal total: it would wait for two people" in say(*asked)
    document = say.document(*asked)
    assert document["waits_for_approval"] and document["changes"] == []


def test_allocations(say: Spoken) -> None:
    """The list names every allocation and whose it is; what is nobody's is called that."""
    lines = {line.split()[0]: line for line in say("run", "allocations").splitlines() if line}
    assert all("unattributed" in lines[job] for job in JOBS)
    assert lines["run:a"].split()[2:] == ["a", "its", "name"]


def test_rename(say: Spoken) -> None:
    """The sentence has both names; the list of runs has the new one."""
    assert say("run", "rename", "a", "atlas-7b") == "declaration 1: run a is known as atlas-7b\n"
    told = say.document("run", "rename", "a", "atlas-8b")
    assert (told["subject"], told["declared"]) == ("a", {"name": "atlas-8b"})
    assert "in use by another run" in say.refused("run", "rename", "b", "atlas-8b", code=65)


def test_merge(say: Spoken) -> None:
    """A run becomes a part of another one, and one of its own again."""
    assert say("run", "merge", "b", "--into", "a") == "declaration 1: run b is a part of run a\n"
    assert owners(say)["run:b"] == ["a"]
    told, _ = say.both("run", "merge", "b", "--into", "a", "--undo", "--reason", "a slip")
    assert "run b is a run of its own again, not a part of run a" in told


def test_split(say: Spoken) -> None:
    """A phase becomes a run of its own, and belongs to the run again."""
    asked = ("run", "split", "a", "--into", "a2", "--from", "1970-01-01T01:00:00Z")
    told, _ = say.both(*asked, "--reason", "another model")
    assert "the part of run a (from 1970-01-01T01:00:00Z on) is run a2" in told
    told, _ = say.both(*asked, "--reason", "a slip", "--undo")
    assert "the part of run a (from 1970-01-01T01:00:00Z on) belongs to it again" in told


def test_a_hand_beside_a_rule(say: Spoken) -> None:
    """Whichever comes second says that both speak, and that the hand counts; no sum moves by it."""
    say("run", "attach", "b", "--allocation", JOBS[1])
    out, err = say.both("run", "attach", "a", "--match", "slurm:*")
    assert "a hand goes before a rule, so what was attached by hand stays: slurm:c1/2 (b)" in err
    assert owners(say) == {JOBS[0]: ["a"], JOBS[1]: ["b"], "run:a": ["a"], "run:b": ["b"]}
    rows = say.document("run", "allocations")["allocations"]
    by = {row["allocation"]: row["by"] for row in rows}
    assert by[JOBS[0]] == ["rule slurm:*"]
    assert by[JOBS[1]] == ["hand", "rule slurm:*"]
    assert by["run:a"] == ["its name"]
    assert "hand, before rule slurm:*" in say("run", "allocations")
    out, err = say.both("run", "attach", "b", "--allocation", JOBS[0], "--reason", "a slip")
    assert "once approved" in out
    assert "the rule 'slurm:*' of run 'a' fits it as well, and a hand goes before a rule" in err
    _, err = say.both("run", "attach", "a", "--allocation", JOBS[0])
    assert err == ""


def test_two_hands(say: Spoken) -> None:
    """The first word stands, and the second is told which that is and how to take it back."""
    say("run", "attach", "a", "--allocation", JOBS[0])
    part = ("--from", "1970-01-01T00:30:00Z", "--until", "1970-01-01T01:30:00Z")
    _, err = say.both("run", "attach", "b", "--allocation", JOBS[0], *part, code=65)
    assert (
        "slurm:c1/1 is attached by hand to run 'a' (all of its time), which overlaps what you say "
        "(from 1970-01-01T00:30:00Z until 1970-01-01T01:30:00Z)" in err
    )
    assert "the first word stands until it is taken back: `flopmeter run detach`" in err


def test_one_source_entered_twice(say: Spoken, tmp_path: Path) -> None:
    """Both count, and whoever entered the second is told so; another month is no repetition."""
    say("run", "declare", "a", "--model", "m")
    for name in ("first.pdf", "copy.pdf"):
        (tmp_path / name).write_text("bill")
    (tmp_path / "other.pdf").write_text("another bill")

    def enter(file: str, month: int, *more: str) -> str:
        asked = ["model", "add-external", "m", "--party", "p", "--source", str(tmp_path / file)]
        bounds = [word for each in ("lower", "best", "upper") for word in (f"--{each}", "1e20")]
        period = ("--period", f"2026-{month:02}-01..2026-{month + 1:02}-01")
        return say.both(*asked, *bounds, *period, *more)[1]

    assert enter("first.pdf", 1) == enter("other.pdf", 1) == ""
    assert enter("first.pdf", 2, "--entry", "february") == ""
    told = enter("copy.pdf", 1)
    assert "entry 'first.pdf' of model m rests on the same file for the same time, and both" in told
    assert "`flopmeter model remove-external m --entry copy.pdf`" in told
    (model,) = (row for row in say.document("totals")["models"] if row["model"] == "m")
    assert int(model["compute_flop_str"]["best"]) >= 4 * 10**20
