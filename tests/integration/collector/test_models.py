"""Models and labels through the command line, while a collector serves and after it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab.ledger_totals import ledger_totals
from flopmeter_collector.presentation import totals_document
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import running
from support.ingest import RECORD, key, report, stream, vector
from support.ledgers import KINDS, new_ledger

RUNS = ("base", "data", "chat")


async def fed(address: str) -> None:
    """A thousand busy seconds of each run."""
    async with stream(address) as sender:
        await sender.greet()
        for number, run in enumerate(RUNS, start=1):
            keyed = KeyedVector(key(allocation=f"run:{run}"), number, vector(1_000))
            answer = await sender.exchange(sender.writer.report(report([keyed], [RECORD])))
            assert not [ack.reason for ack in answer.acknowledgements if ack.reason]
        await sender.close()


def served(tmp_path: Path, url: str, *commands: list[str]) -> dict[str, Any]:
    """The totals a collector serves after these commands; the same offline and rebuilt."""
    ledger = ["--ledger", url]

    async def scenario() -> Any:
        async with running(tmp_path, ledger=url) as app:
            await fed(app.grpc_address)
            await app.evaluate_now()
            for words in commands:
                assert await asyncio.to_thread(main, [*words, *ledger]) == 0, words
            published = await app.evaluate_now()
            return totals_document(
                published.snapshot, app.thresholds, published.legal
            ), app.thresholds

    document, thresholds = asyncio.run(scenario())
    offline = ledger_totals(url, thresholds, SystemClock())
    for field in ("runs", "models", "lowerings", "unattributed"):
        assert offline[field] == document[field]
    assert main(["ledger", "rebuild", *ledger]) == 0
    assert main(["ledger", "verify", *ledger]) == 0
    found: dict[str, Any] = json.loads(json.dumps(document))
    return found


def by(document: dict[str, Any], kind: str) -> dict[str, Any]:
    """Rows of a document by name."""
    return {row[kind]: row for row in document[f"{kind}s"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_from_another(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Own, inherited and entered compute, each once, and what stands beside them."""
    source = tmp_path / "invoice.txt"
    source.write_text("100,000 device hours")
    url = new_ledger(kind, tmp_path)
    document = served(
        tmp_path,
        url,
        ["run", "declare", "data", "--model", "base"],
        ["model", "add-parent", "chat", "--parent", "base"],
        [
            "model", "add-external", "base", "--lower", "1e18", "--best", "2e18", "--upper",
            "3e18", "--period", "2026-01-01..2026-02-01", "--party", "Example Cloud", "--source",
            str(source),
        ],
        ["model", "plan", "next", "--lower", "1e25", "--best", "2e25", "--upper", "3e25",
         "--from", "2026-12-01", "--until", "2027-03-01"],
        ["model", "party", "chat", "--party", "Example Lab", "--role", "modifier"],
        ["model", "complete", "chat", "--complete", "no", "--statement", "evaluation is missing"],
    )  # fmt: skip
    models = by(document, "model")
    one = int(by(document, "run")["chat"]["compute_flop_str"]["best"])
    assert int(models["base"]["compute_flop_str"]["best"]) == 2 * one + 2 * 10**18
    assert int(models["chat"]["compute_flop_str"]["best"]) == 3 * one + 2 * 10**18
    assert models["chat"]["inherited_runs"] == ["base", "data"]
    assert models["chat"]["own_flop_str"]["best"] == str(one)
    (entry,) = models["base"]["externals"]
    assert entry["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert models["next"]["planned"]["compute_flop_str"]["best"] == str(2 * 10**25)
    (held,) = models["chat"]["modifications"]
    whole = 2 * one  # What one person entered is in the total, and in no ratio.
    assert held["ratio"]["best"] == pytest.approx(one / whole)
    capsys.readouterr()
    ledger = ["--ledger", url]
    assert main(["model", "show", "chat", *ledger]) == 0
    said = capsys.readouterr().out
    for told in ("came from base (weights)", "own work over that of base", "complete: no"):
        assert told in said
    assert main(["model", "show", "chat", "--json", *ledger]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == models["chat"]
    for words, sentence in (
        (["model", "show", "nobody"], "no model is named"),
        (["model", "add-parent", "base", "--parent", "chat"], "cannot be its parent"),
        (["model", "add-parent", "nobody", "--parent", "chat"], "no model is named"),
        (["model", "plan", "Base", "--lower", "1", "--best", "1", "--upper", "1", "--from",
          "2026-01-01", "--until", "2026-01-02"], "looks like"),
        (["model", "remove-external", "base", "--entry", "x"], "has no external entry"),
        (["model", "add-external", "base", "--lower", "1", "--best", "1", "--upper", "1",
          "--period", "foo", "--party", "x", "--source", str(source)], "names no two days"),
        (["model", "add-external", "base", "--lower", "1", "--best", "1", "--upper", "1",
          "--period", "1800-01-01..1801-01-01", "--party", "x", "--source", str(source)],
         "lies outside 1970-01-01 to 2100-12-31"),
        (["model", "complete", "base", "--complete", "no", "--statement", "\x07"], "printable"),
    ):  # fmt: skip
        assert main([*words, *ledger]) in (64, 65)
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_lowering_label(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It waits, is shown, and holds once two people stand behind it; as of before it did not."""
    who = ("--reason", "seen", "--author")
    url = new_ledger(kind, tmp_path)
    document = served(
        tmp_path,
        url,
        ["run", "label", "data", "--activity", "evaluation", *who, "zoe"],
        ["role", "grant", "ada", "--role", "owner", *who, "ada"],
        ["role", "grant", "ben", "--role", "compliance", *who, "ada"],
        ["role", "grant", "eva", "--role", "compliance", *who, "ada"],
        ["approve", "give", "1", *who, "ben"],
    )
    assert "waits for 2 more of 2 people" in capsys.readouterr().err
    run = by(document, "run")["data"]
    assert (run["waiting_labels"], run["parts"][0]["activity"]) == (1, "unlabelled")
    (lowering,) = document["lowerings"]
    assert (lowering["state"], lowering["author"]) == ("pending", "zoe")
    ledger = ["--ledger", url]
    assert main(["approve", "give", "1", *who, "ben", *ledger]) == 65
    assert "another person has to approve it" in capsys.readouterr().err
    assert main(["approve", "give", "1", *who, "eva", *ledger]) == 0
    assert "is approved, with 2 of 2 people" in capsys.readouterr().out
    assert main(["run", "show", "data", "--json", *ledger]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["run"]["parts"][0]["activity"] == "evaluation"
    assert [each["person"] for each in shown["lowerings"][0]["people"]] == ["ben", "eva"]
    assert main(["run", "show", "data", *ledger]) == 0
    assert "is approved; behind it: ben, eva" in capsys.readouterr().out
    for words in (["approve", "list"], ["role", "list"]):
        assert main([*words, *ledger]) == 0
        assert "eva" in capsys.readouterr().out
    for as_of, activity in (("5", None), ("6", "evaluation")):
        assert main(["recompute", "--as-of", as_of, "--json", *ledger]) == 0
        rows = json.loads(capsys.readouterr().out)["runs"]
        declared = next(row["after"]["declared"] for row in rows if row["run"] == "data")
        assert declared["activity"] == activity
    assert main(["ledger", "verify", *ledger]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_work_moved_under_an_approved_label(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One person cannot move a run's work under an approved label: the split waits for two."""
    why = ("--reason", "seen", "--author")
    url = new_ledger(kind, tmp_path)
    document = served(
        tmp_path,
        url,
        ["role", "grant", "ada", "--role", "owner", *why, "ada"],
        ["role", "grant", "ben", "--role", "compliance", *why, "ada"],
        ["role", "grant", "eva", "--role", "compliance", *why, "ada"],
        ["run", "split", "data", "--into", "ev", "--phase", "9", *why, "mal"],
        ["run", "label", "ev", "--activity", "evaluation", *why, "ben"],
        ["approve", "give", "5", *why, "eva"],
        ["run", "split", "data", "--into", "ev", "--phase", "0", *why, "mal"],
    )
    told = capsys.readouterr()
    assert "of more work) lowers what is counted of model data" in told.err
    assert (
        "declaration 7: once approved, the part of run data (all of its time, phase 0) is run ev"
        in told.out
    )
    rows = by(document, "run")
    assert {part["activity"] for part in rows["data"]["parts"]} == {"unlabelled"}
    assert [each["state"] for each in document["lowerings"]] == ["approved", "pending"]
    ledger = ["--ledger", url]
    for person in ("ben", "eva"):
        assert main(["approve", "give", "7", *why, person, *ledger]) == 0
    capsys.readouterr()
    assert main(["run", "show", "ev", "--json", *ledger]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {part["activity"] for part in shown["run"]["parts"]} == {"evaluation"}


WHY = ("--reason", "seen", "--author")
ENTERED = [
    "model", "add-external", "m", "--entry", "cloud", "--lower", "1e18", "--best", "2e18",
    "--upper", "3e18", "--period", "2026-01-01..2026-02-01", "--party", "Example Cloud",
]  # fmt: skip
STATED = [
    ["role", "grant", "ada", "--role", "owner", *WHY, "ada"],
    ["role", "grant", "ben", "--role", "compliance", *WHY, "ada"],
    ["role", "grant", "eva", "--role", "compliance", *WHY, "ada"],
    ["run", "declare", "base", "--model", "m"],
    ["run", "attach", "base", "--match", "slurm:*"],
    ["model", "add-parent", "chat", "--parent", "m"],
]
TAKEN_BACK = [
    ["run", "detach", "base", "--match", "slurm:*"],
    ["run", "declare", "base", "--model", "other"],
    ["run", "declare", "base", "--format", "tf32=1", "--workload", "moe"],
    ["run", "declare", "base", "--recompute", "full"],
    ["model", "remove-external", "m", "--entry", "cloud"],
    ["model", "add-parent", "chat", "--parent", "m", "--undo"],
    ["model", "add-parent", "chat", "--parent", "m", "--edge", "distilled_from"],
]


@pytest.mark.parametrize("kind", KINDS)
def test_one_person_lowers_nothing(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Detaching, another model, entries and parents taken back, a slower format: all wait."""
    source = tmp_path / "invoice.txt"
    source.write_text("100,000 device hours")
    url = new_ledger(kind, tmp_path)
    entered = str(len(STATED) + 1)
    agreed = [["approve", "give", entered, *WHY, person] for person in ("ben", "eva")]
    alone, stated = TAKEN_BACK, [*STATED, [*ENTERED, "--source", str(source)], *agreed]
    before = by(served(tmp_path, url, *stated), "model")
    ledger = ["--ledger", url]
    capsys.readouterr()
    for words in alone:
        assert main([*words, *WHY, "mal", *ledger]) == 0, words
        told = capsys.readouterr()
        assert "so it waits for 2 more of 2 people" in told.err, words
        assert "once approved" in told.out, words
    document = ledger_totals(url, (), SystemClock())
    after = by(json.loads(json.dumps(document)), "model")
    for model in ("m", "chat"):
        assert after[model]["compute_flop_str"] == before[model]["compute_flop_str"]
    said: Any = document["lowerings"]
    (of_ratio, *waiting) = said
    assert (of_ratio["state"], of_ratio["models"]) == ("approved", ["chat"])
    assert [row["state"] for row in waiting] == ["pending"] * len(alone)
    assert [row["models"] for row in waiting] == [["m"]] * 5 + [["chat"]] * 2
    numbers = [row["declaration"] for row in waiting]
    assert after["m"]["lowerings"] == numbers[:5]
    every = [int(entered), *numbers]
    assert after["chat"]["lowerings"] == every, "of what it came from too"
    for name, at in (("m", numbers[:5]), ("chat", every)):
        assert main(["model", "show", name, "--json", *ledger]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert [row["declaration"] for row in shown["lowerings"]] == at
    for number in (numbers[1], numbers[4]):
        for person in ("ben", "eva"):
            assert main(["approve", "give", str(number), *WHY, person, *ledger]) == 0
    lowered = by(json.loads(json.dumps(ledger_totals(url, (), SystemClock()))), "model")
    assert "m" not in lowered, "nothing is left of it"
    assert int(lowered["other"]["compute_flop_str"]["best"]) > 0
    assert lowered["chat"]["lowerings"] == every
    assert main(["ledger", "rebuild", *ledger]) == 0
    assert main(["ledger", "verify", *ledger]) == 0
