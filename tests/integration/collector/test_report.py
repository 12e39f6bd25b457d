"""Reports through the command line: from a ledger, at three times, filed and compared."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter_core.registers import Vector
from flopmeter_core.reports import KeyedVector
from support.collector import running
from support.ingest import RECORD, hourly, key, report, stream, vector

HOURS = 10
SECONDS = 3_000
RUNS = ("base-a", "base-b", "eval")


def work(seconds: int) -> Vector:
    """So many busy seconds, half of all cycles in tensor cores."""
    return vector(seconds, HMMA_MEGACYCLES=132 * 1980 * seconds // 2)


async def fed(address: str) -> None:
    """Ten hours of each run one after the other, beginning at Unix time 0."""
    async with stream(address) as sender:
        await sender.greet()
        for number, run in enumerate(RUNS):
            allocation = f"run:{run}"
            rows = [
                hourly(
                    hour,
                    number * HOURS + hour + 1,
                    work((hour + 1) * SECONDS),
                    allocation=allocation,
                )
                for hour in range(HOURS)
            ]
            keyed = KeyedVector(
                key(allocation=allocation), (number + 1) * HOURS, work(HOURS * SECONDS)
            )
            answer = await sender.exchange(
                sender.writer.report(report([keyed], [RECORD], hours=rows))
            )
            assert not [ack.reason for ack in answer.acknowledgements if ack.reason]
        await sender.close()


async def made(folder: Path) -> None:
    """A ledger that was reported to."""
    async with running(folder) as app:
        await fed(app.grpc_address)


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    """Three runs, two of them declared to make up one model."""
    asyncio.run(made(tmp_path))
    url = str(tmp_path / "ledger.db")
    for run, activity in (("base-a", "pretraining"), ("base-b", "finetuning")):
        words = ["--model", "base", "--activity", activity, "--format", "bf16"]
        assert main(["run", "declare", run, *words, "--ledger", url]) == 0
    return url


Ask = Callable[..., Any]


@pytest.fixture
def ask(ledger: str, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Serve a command on the ledger and read the JSON it prints."""

    def asked(*words: str) -> Any:
        capsys.readouterr()
        assert main([*words, "--ledger", ledger, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return asked


def agree(ask: Ask) -> None:
    """Have two people stand behind everything that waits."""
    why = ("--reason", "asked", "--author")
    for person, role in (("ada", "owner"), ("ben", "compliance"), ("eva", "compliance")):
        ask("role", "grant", person, "--role", role, *why, "ada")
    for row in ask("approve", "list")["lowerings"]:
        for person in ("ben", "eva") if row["state"] == "pending" else ():
            ask("approve", "give", str(row["declaration"]), *why, person)


def section(document: Any, field: str) -> Any:
    """One field of a report."""
    return next(s["content"] for s in document["sections"] if s["field"] == field)


def best(document: Any, profile: str = "eu-cumulative") -> int:
    """The headline figure, exactly."""
    rows = section(document, "compute")["profiles"]
    (row,) = (each for each in rows if each["profile"] == profile)
    return int(row["everything"]["best_flop_str"])


def test_the_report_is_the_totals(ask: Ask) -> None:
    """The headline is the model's total, to the FLOP, and leads back to its registers."""
    totals = ask("totals")
    (model,) = (each for each in totals["models"] if each["model"] == "base")
    document = ask("report", "--model", "base")
    assert best(document) == int(model["compute_flop_str"]["best"])
    evidence = section(document, "evidence")
    assert [(run["run"], run["register_count"]) for run in evidence["runs"]] == [
        ("base-a", 1),
        ("base-b", 1),
    ]
    assert evidence["ledger"]["commit_number"] == totals["ledger"]["commit_number"]
    assert len(evidence["ledger"]["registers_sha256"]) == 64
    assert document["standing_words"] == "draft for counsel, not legal advice"


def test_measured_to_a_time(ask: Ask) -> None:
    """At the end of the fourth hour four tenths are in; half an hour later the same, surely."""
    whole = best(ask("report", "--model", "base"))
    at_four = ask("report", "--model", "base", "--measured-to", "1970-01-01T04:00:00Z")
    half_past = ask("report", "--model", "base", "--measured-to", "1970-01-01T04:30:00Z")
    assert best(at_four) * 10 == pytest.approx(whole * 4, rel=1e-12)
    assert best(half_past) == best(at_four)
    uppers = [
        int(section(each, "compute")["profiles"][0]["everything"]["ceiling_flop_str"])
        for each in (at_four, half_past)
    ]
    assert uppers[1] > uppers[0]
    assert section(half_past, "training_time")["wall_clock_days"] == "0.17"


def test_known_at_a_declaration(ask: Ask) -> None:
    """Before the second declaration the model had one run."""
    first = ask("report", "--model", "base", "--known-at", "1")
    assert [run["run"] for run in section(first, "evidence")["runs"]] == ["base-a"]
    assert first["known_at"] == 1


def test_law_as_of_a_day(ask: Ask) -> None:
    """The same figures under the law of another day."""
    states = {
        day: [
            (line["threshold"], line["status"])
            for line in section(ask("report", "--model", "base", "--law-as-of", day), "standing")[
                "lines"
            ]
        ]
        for day in ("2023-12-01", "2025-01-15", "2025-08-02")
    }
    assert ("eu-ai-act-51-2", None) in states["2023-12-01"]
    assert ("eu-ai-act-51-2", "adopted") in states["2025-01-15"]
    assert ("eu-ai-act-51-2", "in_force") in states["2025-08-02"]


def test_filed_and_compared(ask: Ask, ledger: str) -> None:
    """What was filed comes back as it was; a later declaration shows as a difference."""
    filed = ask(
        *("report", "file", "--model", "base", "--recipient", "ai-office"),
        *("--signed-by", "Ada Example", "--reason", "notification"),
        *("--placed-on-market", "2026-11-01"),
    )
    shown = ask("report", "show", str(filed["declaration"]))
    assert shown == filed["document"]
    assert shown["standing_words"].startswith("signed off by Ada Example")
    (row,) = ask("report", "filed")["filed"]
    assert (row["version"], row["kept_until"]) == (1, "2036-11-01")
    unchanged = ask("report", "--model", "base")["since_filed"]
    assert {each["difference_flop_str"] for each in unchanged["figures"]} == {"0"}
    assert main(["run", "declare", "eval", "--model", "base", "--ledger", ledger]) == 0
    changed = ask("report", "--model", "base")["since_filed"]
    moved = [row for row in changed["figures"] if row["bound"] == "best"]
    assert all(int(row["difference_flop_str"]) > 0 for row in moved)
    assert changed["basis"]["known_at"] == {"filed": 2, "now": 4}


def test_the_ledger_still_verifies(ask: Ask, ledger: str) -> None:
    """A filed version moves no total and breaks no audit chain."""
    before = ask("totals")["models"]
    ask("report", "file", "--model", "base", "--signed-by", "Ada", "--reason", "x")
    assert ask("totals")["models"] == before
    assert main(["ledger", "verify", "--ledger", ledger]) == 0


def test_every_model_on_one_page(ask: Ask, ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Headroom is value less figure; the page says what comes next."""
    page = ask("report", "--all-models", "--law-as-of", "2026-11-30")
    assert [row["model"] for row in page["models"]] == ["base", "eval"]
    for line in page["models"][0]["lines"]:
        if line["threshold"] == "eu-ai-act-51-2":
            assert int(line["headroom_flop_str"]) == 10**25 - int(line["counted_flop_str"])
    assert ["2027-01-01", "ny-raise-2026"] in [
        [row["date"], row["threshold"]] for row in page["upcoming"]
    ]
    assert main(["report", "--all-models", "--ledger", ledger]) == 0
    assert "# Every model against every line" in capsys.readouterr().out


def test_html_is_one_file(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The page loads nothing."""
    capsys.readouterr()
    assert main(["report", "--model", "base", "--html", "--ledger", ledger]) == 0
    page = capsys.readouterr().out
    assert page.startswith("<!doctype html>")
    assert "<script" not in page and "http" not in page


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--model", "nobody"], "no model 'nobody'"),
        (["--model", "base", "--form", "mars"], "no form 'mars'; there are"),
        (["--model", "base", "--recipient", "press"], "no recipient 'press'"),
        (["--model", "base", "--known-at", "99"], "none with sequence 99"),
        (["--model", "base", "--measured-to", "2999-01-01T00:00:00Z"], "lies ahead"),
        (["--model", "base", "--measured-to", "yesterday"], "is no time"),
        (["--model", "base", "--law-as-of", "soon"], "is no date"),
        (
            ["--model", "base", "--as-of", "1970-01-01T01:00:00Z", "--law-as-of", "2026-01-01"],
            "sets",
        ),
        (
            ["--model", "base", "--measured-to", "1969-01-01T00:00:00Z"],
            "before 1970",
        ),
        ([], "--all-models"),
        (["--model", "base", "--law-as-of", "1850-01-01"], "before the first law of the catalogue"),
        (["--model", "base", "--law-as-of", "9000-01-01"], "too far ahead"),
        (
            ["--all-models", "--measured-to", "1970-01-01T00:00:01Z"],
            "the law as of 1970-01-01 lies before",
        ),
        (["--all-models", "--measured-to", "1970-01-01T00:00:00Z"], "nothing was recorded up to"),
        (["show", "1"], "declaration 1 filed no report; see `flopmeter report filed`"),
        (["--model", "base", "--html", "--json"], "give one"),
        (["show", "1", "--html", "--json"], "give one"),
        (
            ["file", "--model", "base", "--signed-by", "Ada\nExample", "--reason", "r"],
            "printable characters in one line",
        ),
        (
            ["file", "--model", "base", "--signed-by", "A", "--reason", "r", "--author", "\x07"],
            "an author has",
        ),
        *(
            (
                ["file", "--model", "base", "--signed-by", "Ada", "--reason", "r",
                 "--placed-on-market", day],
                sentence,
            )
            for day, sentence in (
                ("1800-01-01", "lies before 2012-01-01"),
                ("2900-01-01", "lies ahead"),
                ("soon", "is no date"),
            )
        ),
        (
            ["file", "--model", "base", "--signed-by", "Ada", "--reason", "r",
             "--law-as-of", "1850-01-01"],
            "before the first law",
        ),
    ],
)  # fmt: skip
def test_one_sentence(
    words: list[str], sentence: str, ledger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong question gets one sentence that says what to do."""
    capsys.readouterr()
    assert main(["report", *words, "--ledger", ledger]) != 0
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert main(["report", "filed", "--ledger", ledger]) == 0
    assert "no such report was filed" in capsys.readouterr().out


def test_hints(ask: Ask) -> None:
    """Runs side by side on as many devices at one cadence are listed with their joint total."""
    totals = {run["run"]: int(run["compute_flop_str"]["best"]) for run in ask("totals")["runs"]}
    (hint,) = ask("run", "hints")["hints"]
    assert set(hint["runs"]) <= set(totals)
    assert int(hint["joint_flop_str"]) == sum(totals[run] for run in hint["runs"])


def test_what_was_entered_counts_by_its_own_period(ask: Ask, tmp_path: Path) -> None:
    """An entry that is not over yet is possible and not sure; one that had not begun is neither."""
    source = tmp_path / "invoice.txt"
    source.write_text("100 EFLOP")
    before = ask("report", "--model", "base", "--measured-to", "1970-01-01T05:00:00Z")
    ask(
        *("model", "add-external", "base", "--entry", "api"),
        *("--lower", "1e20", "--best", "1e20", "--upper", "1e20", "--party", "other"),
        *("--period", "1970-01-01..1970-01-02", "--source", str(source)),
    )
    after = ask("report", "--model", "base", "--measured-to", "1970-01-01T05:00:00Z")
    whole = ask("report", "--model", "base", "--measured-to", "1970-01-03T00:00:00Z")
    assert best(after) == best(before)
    ceilings = [
        int(section(each, "compute")["profiles"][0]["everything"]["ceiling_flop_str"])
        for each in (before, after)
    ]
    assert ceilings[1] - ceilings[0] == 10**20
    assert best(whole) > 10**20


@pytest.mark.parametrize("entry", ["api", "api: 2026"])
@pytest.mark.parametrize("model", ["base", "eval"])
def test_an_entry_that_had_not_begun_counts_nowhere(
    ask: Ask, tmp_path: Path, entry: str, model: str
) -> None:
    """Not in its own model and not in one that came from it, whatever the entry is called."""
    source = tmp_path / "invoice.txt"
    source.write_text("100 EFLOP")
    flop = ("--lower", "1e20", "--best", "1e20", "--upper", "1e20", "--party", "other")
    ask("model", "add-parent", "eval", "--parent", "base", "--edge", "weights")
    ask(
        *("model", "add-external", "eval", "--entry", "first", *flop),
        *("--period", "1970-01-01..1970-01-02", "--source", str(source)),
    )
    noon = ("report", "--model", model, "--measured-to", "1970-01-01T12:00:00Z")
    before = section(ask(*noon), "compute")["profiles"][0]["everything"]
    ask(
        *("model", "add-external", "base", "--entry", entry, *flop),
        *("--period", "1970-01-05..1970-01-06", "--source", str(source)),
    )
    assert section(ask(*noon), "compute")["profiles"][0]["everything"] == before
    later = ask("report", "--model", model, "--measured-to", "1970-01-07T00:00:00Z")
    assert best(later) >= 10**20


def test_a_part_has_its_own_time_and_devices_are_counted_once(ask: Ask) -> None:
    """What was split off begins where it was split off; one device of two runs is one device."""
    document = ask("report", "--model", "base")
    (use,) = section(document, "hardware_time")["devices"]
    assert use["device_count"] == 1
    ask("run", "split", "base-a", "--into", "tail", "--from", "1970-01-01T04:00:00Z")
    ask("run", "declare", "tail", "--model", "other")
    agree(ask)
    told = section(ask("report", "--model", "other"), "training_time")
    assert told["from"] == "1970-01-01T04:00:00Z"


def test_a_parent_nobody_knows_is_said(ask: Ask) -> None:
    """A slip of the pen in a parent's name does not make a silent zero."""
    ask("model", "add-parent", "base", "--parent", "nosuch", "--edge", "weights")
    told = section(ask("report", "--model", "base"), "compute_method")["assumptions"]
    assert "the compute of nosuch is not known here and counts nothing" in told


def test_a_report_tells_the_difference_to_the_filed_version(
    ask: Ask, ledger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In Markdown too."""
    ask("report", "file", "--model", "base", "--signed-by", "Ada", "--reason", "x")
    capsys.readouterr()
    assert main(["report", "--model", "base", "--ledger", ledger]) == 0
    assert "Since version 1, filed by declaration 3" in capsys.readouterr().out


def test_which_requirement(ask: Ask, ledger: str) -> None:
    """A modification's own work stands beside the lines for it, with the ratio and what it asks."""
    for run, model in (("base-b", "tuned"), ("base-a", "first")):
        assert main(["run", "declare", run, "--model", model, "--ledger", ledger]) == 0
    agree(ask)
    assert main(["model", "add-parent", "tuned", "--parent", "first", "--ledger", ledger]) == 0
    told = section(ask("report", "--model", "tuned"), "standing")
    lines = {line["threshold"]: line for line in told["modifications"]}
    assert set(lines) == {"eu-modification", "eu-modification-systemic"}
    for line in lines.values():
        assert (line["original"], line["ratio_str"]["best"], line["number_met"]) == (
            "first",
            "1",
            True,
        )
        assert line["conditions_state"] == "unknown"
    assert told["requirement"].startswith("the compute test is met of eu-modification")
    assert told["requirement"].count("(over first)") == 2
    shared = section(ask("report", "--model", "tuned", "--recipient", "ai-office"), "standing")
    assert {line["ratio_str"] for line in shared["modifications"]} == {None}
    first = section(ask("report", "--model", "first"), "standing")
    assert first["modifications"] == []
    assert first["requirement"] == "the compute test of none of these lines is met"
