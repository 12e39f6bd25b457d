"""The worked example of docs/counting.md, metered: by hand and by the command line, to the FLOP.

Every run works as the example says, at a fraction of its size: one busy second
stands for 10^23 FLOP, so the totals are whole numbers of seconds.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter_core.registers import Vector
from flopmeter_core.reports import KeyedVector
from support.collector import running
from support.ingest import RECORD, key, report, stream, vector

RUNS = {
    "east": (60, "base", ["--activity", "pretraining"]),
    "west": (30, "base", ["--activity", "pretraining"]),
    "west-restart": (5, "base", ["--activity", "pretraining", "--disposition", "rolled_back"]),
    "cleaning": (1, "base", ["--activity", "preprocessing"]),
    "samples-kept": (
        1,
        "base",
        [
            "--activity",
            "synthetic_data",
            "--disposition",
            "kept",
            "--data-visibility",
            "non_public",
        ],
    ),
    "samples-discarded": (
        9,
        "base",
        [
            *("--activity", "synthetic_data", "--disposition", "discarded"),
            *("--data-visibility", "non_public"),
        ],
    ),
    "benchmarks": (2, "base", ["--activity", "evaluation"]),
    "tune": (4, "tuned", ["--activity", "finetuning"]),
}
"""Run -> busy seconds (one stands for 10^23 FLOP), model, label."""

BY_HAND = {
    # profile: base everything, base permitted, tuned everything, tuned permitted
    "eu-cumulative": (108, 106, 112, 110),
    "eu-parameter-updates": (95, 95, 99, 99),
    "us-frontier-model": (108, 108, 112, 112),
    "kr-ai-basic-act": (108, 106, 112, 110),
}
"""East 60 + west 30 + restart 5 + cleaning 1 + samples 1 + 9 + benchmarks 2 = 108; the EU and Korea
permit to leave the benchmarks out; updates are 60 + 30 + 5; the tuned model adds 4 to each."""

FORMS = {
    "eu-ai-act": ("eu-cumulative", "eu-parameter-updates"),
    "ca-sb53": ("us-frontier-model",),
    "kr-ai-basic-act": ("kr-ai-basic-act",),
}


def work(seconds: int) -> Vector:
    """So many busy seconds, half of all cycles in tensor cores."""
    return vector(seconds, HMMA_MEGACYCLES=132 * 1980 * seconds // 2)


async def metered(folder: Path) -> None:
    """A ledger to which every run was reported."""
    async with running(folder) as app, stream(app.grpc_address) as sender:
        await sender.greet()
        rows = [
            KeyedVector(key(allocation=f"run:{run}"), number, work(seconds))
            for number, (run, (seconds, _, _)) in enumerate(RUNS.items(), start=1)
        ]
        answer = await sender.exchange(sender.writer.report(report(rows, [RECORD])))
        assert not [ack.reason for ack in answer.acknowledgements if ack.reason]
        await sender.close()


class Desk:
    """The command line on one ledger."""

    def __init__(self, ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
        """Take a ledger."""
        self._ledger, self._capsys = ledger, capsys

    def __call__(self, *words: str) -> Any:
        """What a command answers."""
        self._capsys.readouterr()
        assert main([*words, "--ledger", self._ledger, "--json"]) == 0, words
        return json.loads(self._capsys.readouterr().out)

    def declared(self) -> None:
        """Say what every run was; what lowers a total is approved by two people."""
        office = ["--reason", "office", "--author", "chief"]
        self("role", "grant", "chief", "--role", "owner", *office)
        for name in ("ada", "bob"):
            self("role", "grant", name, "--role", "compliance", *office)
        for run, (_, model, label) in RUNS.items():
            words = ["--model", model, "--format", "bf16", "--recompute", "none", *label]
            self("run", "declare", run, *words, "--reason", "as it was", "--author", "eve")
        self("model", "add-parent", "tuned", "--parent", "base", "--edge", "weights")
        for waiting in self("approve", "list")["lowerings"]:
            for name in ("ada", "bob"):
                words = ["--reason", "seen", "--author", name]
                self("approve", "give", str(waiting["declaration"]), *words)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """The example, metered and declared."""
    asyncio.run(metered(tmp_path))
    found = Desk(str(tmp_path / "ledger.db"), capsys)
    found.declared()
    return found


def test_by_hand_and_by_the_tool(desk: Desk) -> None:
    """Both totals of both models under each law, exactly."""
    unit = {run["run"]: int(run["compute_flop_str"]["best"]) for run in desk("totals")["runs"]}
    one = unit["cleaning"]
    assert unit == {run: seconds * one for run, (seconds, _, _) in RUNS.items()}
    told: dict[str, list[int]] = {profile: [] for profile in BY_HAND}
    for model in ("base", "tuned"):
        for form, profiles in FORMS.items():
            document = desk("report", "--model", model, "--form", form)
            rows = document["sections"][0]["content"]["profiles"]
            assert [row["profile"] for row in rows] == list(profiles)
            for row in rows:
                for which in ("everything", "with_permitted_exclusions"):
                    best, rest = divmod(int(row[which]["best_flop_str"]), one)
                    assert rest == 0
                    told[row["profile"]].append(best)
    assert {profile: tuple(totals) for profile, totals in told.items()} == BY_HAND


def test_the_tuned_model_names_what_it_came_from(desk: Desk) -> None:
    """Inherited work is told apart, and every lowering label is listed with who approved it."""
    document = desk("report", "--model", "tuned")
    sections = {each["field"]: each["content"] for each in document["sections"]}
    assert sections["dependencies"]["base_models"] == [{"model": "base", "by": "weights"}]
    origins = {run["run"]: run["origin"] for run in sections["evidence"]["runs"]}
    assert origins["tune"] == "own"
    assert origins["east"] == "base"
    told = " ".join(sections["evidence"]["lowering_declarations"])
    assert "evaluation" in told
    assert "approved by ada, bob" in told
