"""Lists, claims and bad input of `flopmeter run` and `flopmeter model`, by the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import LONGEST_SENTENCE, main
from flopmeter_collector import backends
from flopmeter_collector.ledger.base import Batch
from flopmeter_core.claims import Claim, ClaimCounts, ClaimKey, ClaimScope
from flopmeter_core.reports import KeyedVector
from support.collector import running
from support.ingest import RECORD, key, report, stream, vector

RUNS = {"base": 3_000, "data": 1_000, "chat": 2_000}
WHY = ("--reason", "seen in the script", "--author")

Say = Callable[..., Any]


async def fed(folder: Path) -> None:
    """Busy seconds of each run, and what their processes claim."""
    async with running(folder) as app, stream(app.grpc_address) as sender:
        await sender.greet()
        for number, (run, seconds) in enumerate(RUNS.items(), start=1):
            keyed = KeyedVector(key(allocation=f"run:{run}"), number, vector(seconds))
            answer = await sender.exchange(sender.writer.report(report([keyed], [RECORD])))
            assert not [ack.reason for ack in answer.acknowledgements if ack.reason]
        await sender.close()
        claims = (
            claim("base", activity="pretraining", format_mix="fp8=1", model="atlas"),
            claim("base", writer=2, activity="pretraining", format_mix="bf16=1"),
            claim("data", activity="evaluation"),
            claim("ghost", activity="poetry"),
        )
        await app._committer.alone(Batch(claims=claims))


def claim(run: str, writer: int = 1, **said: Any) -> Claim:
    """What one process says of its run."""
    whose = ClaimKey(run, "0", ClaimScope.GLOBAL, 0, f"{writer:032x}", 0, 1, **said)
    return Claim(whose, ClaimCounts(1, 1, 1, 1))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A ledger that was reported to."""
    asyncio.run(fed(tmp_path))
    return str(tmp_path / "ledger.db")


@pytest.fixture
def say(url: str, capsys: pytest.CaptureFixture[str]) -> Say:
    """Serve a command; gives its JSON."""

    def said(*words: str) -> Any:
        capsys.readouterr()
        assert main([*words, "--ledger", url, "--json"]) == 0, words
        return json.loads(capsys.readouterr().out)

    return said


@pytest.fixture
def refused(url: str, capsys: pytest.CaptureFixture[str]) -> Say:
    """Serve a command that is refused; gives its one sentence, and nothing was written."""

    def told(code: int, *words: str) -> str:
        before = Path(url).stat().st_mtime_ns, newest(url)
        capsys.readouterr()
        assert main([*words, "--ledger", url]) == code, words
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert len(said) < LONGEST_SENTENCE + 40
        assert said[:-1].isprintable()
        assert newest(url) == before[1]
        return said

    return told


def newest(url: str) -> int:
    """Sequence of the last declaration."""
    ledger = backends.read(url)
    try:
        return max((row.sequence for row in ledger.declarations()), default=0)
    finally:
        ledger.close()


def test_lists(url: str, say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    """Largest first or by name, filtered, with what waits; the same figures as the totals."""
    say("run", "declare", "base", "--model", "atlas", "--format", "bf16=1")
    say("run", "label", "data", "--activity", "evaluation")
    rows = say("run", "list")["runs"]
    assert [row["run"] for row in rows] == ["base", "chat", "data"]
    assert [row["model"] for row in rows] == ["atlas", "chat", "data"]
    totals = {run["run"]: run["compute_flop_str"] for run in say("totals")["runs"]}
    assert {row["run"]: row["compute_flop_str"] for row in rows} == totals

    def names(*words: str) -> list[str]:
        return [row["run"] for row in say("run", "list", *words)["runs"]]

    assert names("--sort", "name") == ["base", "chat", "data"]
    assert names("--match", "*a*a*") == ["data"]
    assert names("--model", "atlas") == ["base"]
    assert names("--undeclared") == ["base", "chat", "data"], "nobody labelled base"
    assert names("--waiting") == ["data"]
    as_alerts_say = rows[1]["metrics_id"]
    assert names("--match", as_alerts_say) == ["chat"]
    assert names("--match", f"{as_alerts_say[:-1]}*") == [], "a pattern fits no id by chance"
    models = say("model", "list")["models"]
    assert [row["model"] for row in models] == ["atlas", "chat", "data"]
    assert [row["waiting"] for row in models] == [0, 0, 1]
    (state,) = {row["state"] for row in models}
    assert [r["model"] for r in say("model", "list", "--state", state, "--match", "c*")["models"]]
    assert main(["run", "list", "--ledger", url]) == 0
    shown = capsys.readouterr().out
    assert "undeclared" in shown and all(row["metrics_id"] in shown for row in rows)
    assert main(["model", "list", "--ledger", url]) == 0
    shown = capsys.readouterr().out
    assert all(row["metrics_id"] in shown for row in models)
    (found,) = say("model", "list", "--match", models[0]["metrics_id"])["models"]
    assert say("model", "show", found["metrics_id"])["model"]["model"] == "atlas"
    assert main(["model", "list", "--match", "x*", "--ledger", url]) == 0
    assert "no models fit" in capsys.readouterr().out


def test_claims_are_adopted_in_a_persons_name(url: str, say: Say, refused: Say) -> None:
    """What all processes say may be adopted, with a reason; what lowers a total waits."""
    told = {(row["run"], row["field"]): row for row in say("run", "claims")["claims"]}
    assert told["base", "activity"]["processes"] == 2
    assert told["base", "model"]["claimed"] == "atlas"
    assert len([row for row in say("run", "claims", "base")["claims"]]) == 4
    assert "claim several of format (bf16=1; fp8=1)" in refused(
        65, "run", "adopt", "base", "--format", *WHY, "ada"
    )
    assert "name what is adopted" in refused(64, "run", "adopt", "base", *WHY, "ada")
    assert "no process claims a model" in refused(
        65, "run", "adopt", "data", "--model", *WHY, "ada"
    )
    assert "is no activity" in refused(65, "run", "adopt", "ghost", "--activity", *WHY, "ada")
    written = say("run", "adopt", "base", "--activity", "--model", *WHY, "ada")
    assert (written["source"], written["author"]) == ("claim", "ada")
    assert written["waits_for_approval"] is False
    shown = say("run", "show", "base")["run"]
    assert (shown["declared"]["activity"], shown["model"]) == ("pretraining", "atlas")
    rows = {(row["field"], row["claimed"]): row for row in say("run", "claims", "base")["claims"]}
    assert rows["activity", "pretraining"]["adopted"] is True
    assert say("run", "adopt", "data", "--activity", *WHY, "ada")["waits_for_approval"] is True
    assert say("run", "show", "data")["run"]["declared"]["activity"] is None


HOSTILE = ("x" * 65_536, "a\x1b[31m", "a\x00b", "", "b\u0430se")
"""64 KiB, control characters, nothing, and a look-alike of ``base``."""

ASKING = (
    ("run", "show"), ("run", "label", "--activity", "pretraining"), ("run", "end"),
    ("run", "reopen"), ("run", "claims"), ("run", "adopt", "--activity"),
    ("run", "detach", "--allocation", "slurm:c/1"), ("run", "split", "--into", "p", "--phase", "1"),
    ("run", "merge", "--into", "chat"), ("run", "rename", "new"),
    ("model", "show"), ("model", "party", "--party", "x", "--role", "provider"),
    ("model", "complete", "--complete", "no", "--statement", "x"),
    ("model", "add-parent", "--parent", "base"), ("model", "remove-external", "--entry", "x"),
    ("approve", "give"), ("approve", "refuse"),
)  # fmt: skip


@pytest.mark.parametrize("words", ASKING, ids=lambda words: " ".join(words[:2]))
def test_names_that_nobody_has(words: tuple[str, ...], refused: Say) -> None:
    """An unknown, hostile or look-alike name: one sentence, exit 64 or 65, nothing written."""
    wanting = {"end", "reopen", "adopt", "give", "refuse"}
    reason = ("--reason", "x") if words[1] in wanting else ()
    for name in ("nobody", *HOSTILE):
        try:
            refused(64, *words[:2], *words[2:], *reason, "--", name)
        except AssertionError:
            refused(65, *words[:2], *words[2:], *reason, "--", name)


@pytest.mark.parametrize(
    ("code", "words", "sentence"),
    [
        (64, ("run", "label", "base"), "at least one of --activity"),
        (64, ("run", "label", "base", "--phase", "1"), "at least one of --activity"),
        (65, ("run", "label", "base", "--activity", "sleep"), "is no activity"),
        (65, ("run", "split", "base", "--into", "p"), "needs the part that goes"),
        (65, ("run", "split", "base", "--into", "p", "--from", "2026-01-01T00:00:00Z"),
         "no hour of run 'base' is recorded yet"),
        (65, ("run", "split", "base", "--into", "chat", "--phase", "1"), "work of its own"),
        (65, ("run", "split", "base", "--into", "b\u0430se", "--phase", "1"), "looks like"),
        (65, ("run", "rename", "base", "chat"), "in use by another run"),
        (65, ("run", "rename", "base", "x" * 65_536), "has 1 to 200"),
        (65, ("run", "merge", "base", "--into", "base"), "cannot be its own part"),
        (64, ("run", "merge", "base", "--into", "nobody"), "no run is named 'nobody'"),
        (65, ("run", "declare", "base", "--model", "x" * 65_536), "has 1 to 200"),
        (65, ("run", "declare", "base", "--format", "x" * 65_536), "unknown number format"),
        (65, ("run", "declare", "base", "--model", "dat\u0430"), "looks like"),
        (65, ("run", "declare", "base"), "says nothing"),
        (65, ("run", "declare", "base", "--model", "m", "--author", "\x1b[31m"), "an author has"),
        (65, ("run", "attach", "base"), "one allocation or one pattern"),
        (65, ("run", "attach", "base", "--match", "*" * 20), "at most 8 stars"),
        (64, ("model", "plan", "base", "--lower", "1", "--best", "2", "--upper", "3"),
         "give --from and --until"),
        (65, ("model", "plan", "base", "--lower", "3", "--best", "2", "--upper", "1", "--from",
              "2026-01-01", "--until", "2026-02-01"), "not in order"),
        (65, ("model", "plan", "base", "--lower", "1", "--best", "2", "--upper", "9e99", "--from",
              "2026-01-01", "--until", "2026-02-01"), "no number of FLOP"),
        (65, ("model", "plan", "base", "--lower", "1", "--best", "2", "--upper", "3", "--from",
              "2026-02-01", "--until", "2026-01-01"), "does not lie after"),
        (65, ("model", "add-parent", "base", "--parent", "base"), "cannot be its parent"),
        (65, ("model", "add-parent", "base", "--parent", "chat", "--edge", "love"), "is no edge"),
        (65, ("model", "add-parent", "base", "--parent", "chat", "--undo"), "no declared parent"),
        (65, ("model", "party", "base", "--party", "x", "--role", "king"), "is no role"),
        (65, ("model", "complete", "base", "--complete", "so", "--statement", "x"), "is no comp"),
        (64, ("model", "add-external", "base", "--lower", "1", "--best", "1", "--upper", "1",
              "--period", "2026", "--party", "x", "--source", "/nowhere"), "names no two days"),
        (64, ("model", "add-external", "base", "--lower", "1", "--best", "1", "--upper", "1",
              "--period", "2026-01-01..2026-02-01", "--party", "x", "--source", "/nowhere"),
         "cannot be read"),
        (64, ("run", "list", "--model", "nobody"), "no run is of model"),
        (65, ("run", "list", "--match", ""), "a pattern has 1 to"),
        (64, ("model", "list", "--line", "nowhere"), "no model is held against"),
        (64, ("model", "list", "--state", "happy"), "no model is 'happy'"),
        (65, ("role", "grant", "a\x07", "--role", "owner", "--reason", "x"), "owns this ledger"),
        (65, ("role", "grant", "ada", "--role", "king", "--reason", "x"), "is no role"),
        (65, ("role", "revoke", "ada", "--role", "owner", "--reason", "x"), "owns this ledger"),
        (65, ("approve", "give", "7", "--reason", "x"), "does not wait for approval"),
    ],
)  # fmt: skip
def test_bad_input(code: int, words: tuple[str, ...], sentence: str, refused: Say) -> None:
    """One clear sentence, the exit code of its kind, and nothing is changed."""
    if "grant" in words or "revoke" in words:
        sentence = sentence if "king" in words else ""
    assert sentence in refused(code, *words)


def test_a_circle_and_an_overlap(say: Say, refused: Say) -> None:
    """A model cannot come from what came from it, and labels of parts lie side by side."""
    say("model", "add-parent", "chat", "--parent", "base")
    assert "cannot be its parent" in refused(65, "model", "add-parent", "base", "--parent", "chat")
    say("run", "split", "base", "--into", "p", "--phase", "1")
    assert "overlaps the part" in refused(65, "run", "split", "base", "--into", "q", "--phase", "1")
    assert "in a circle" in refused(65, "run", "merge", "p", "--into", "base")


def test_a_declaration_that_the_ledger_lost_is_no_success(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that fails over without its newest commits: exit 74, and say it again."""
    opened, count = backends._for_declaring, []

    def fails_over(url: str) -> Any:
        count.append(url)
        ledger = opened(url)
        if len(count) > 1:
            monkeypatch.setattr(ledger, "declarations", lambda *, after=0: [])
        return ledger

    monkeypatch.setattr(backends, "_for_declaring", fails_over)
    assert main(["run", "declare", "base", "--model", "m", "--ledger", url]) == 74
    assert "lost its newest commits; say it again" in capsys.readouterr().err
