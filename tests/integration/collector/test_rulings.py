"""What people rule of a model, from the command to state, page, alert and report."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from flopmeter.cli import main
from flopmeter.lab.ledger_totals import ledger_totals
from flopmeter_collector import backends
from flopmeter_collector.app import CollectorApp
from flopmeter_collector.law_memory import ACTION
from flopmeter_core.reports import KeyedVector
from flopmeter_proto.daemon.clock import SystemClock
from support.collector import running
from support.ingest import RECORD, key, report, stream, vector
from support.ledgers import KINDS, new_ledger
from support.own_law import CONDITION, PROFILE, ROW_ID, own_law, profile

WHO = ("--reason", "seen", "--author")
DATE = ("--date", "2026-11-29")


async def fed(address: str) -> None:
    """Some seconds of training, and half as many of evaluation, of one model."""
    async with stream(address) as sender:
        await sender.greet()
        for number, (run, seconds) in enumerate((("train", 100), ("bench", 50)), start=1):
            work = vector(seconds, HMMA_MEGACYCLES=132 * 1980 * seconds // 2)
            keyed = KeyedVector(key(allocation=f"run:{run}"), number, work)
            answer = await sender.exchange(sender.writer.report(report([keyed], [RECORD])))
            assert not [ack.reason for ack in answer.acknowledgements if ack.reason]
        await sender.close()


class Site:
    """A collector on a site's own law, and the command line on its ledger."""

    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        """In a folder, on a ledger."""
        self.folder = folder
        self.url = url
        self.law = own_law(folder, value="10^30")
        self._capsys = capsys
        self.app: CollectorApp

    async def run(self, *words: str, code: int = 0) -> str:
        """Run a command on the ledger and read what it prints; its errors where it fails."""
        self._capsys.readouterr()
        told = [*words, "--ledger", self.url]
        assert await asyncio.to_thread(main, told) == code, self._capsys.readouterr()
        said = self._capsys.readouterr()
        return said.err if code else said.out + said.err

    async def line(self) -> Any:
        """How the model stands to the site's line, as the collector shows it now."""
        await self.app.evaluate_now()
        url = f"http://{self.app.http_address}/api/v1/totals"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
        (model,) = json.loads(text)["models"]
        return next((row for row in model["thresholds"] if row["id"] == ROW_ID), None)

    async def page(self, path: str = "/") -> str:
        """What a reader sees."""
        url = f"http://{self.app.http_address}{path}"
        text: bytes = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
        return text.decode()

    async def report(self) -> Any:
        """The board page, whose lines are every row's."""
        folder = ("--thresholds-dir", str(self.law))
        text = await self.run("report", "--all-models", *folder, "--json")
        return json.loads(text)

    async def alerts(self) -> list[Any]:
        """Every alert there was."""
        url = f"http://{self.app.http_address}/api/v1/totals"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
        found: list[Any] = json.loads(text)["alerts"]
        return [row for row in found if row["threshold"] == ROW_ID]


Scenario = Callable[[Site], Awaitable[None]]


def play(
    scenario: Scenario,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str = "sqlite",
) -> str:
    """Run a scenario on a site that was reported to; what it serves is what its ledger says."""
    site = Site(folder, new_ledger(kind, folder), capsys)

    async def played() -> None:
        async with running(
            folder, ledger=site.url, http_listen="127.0.0.1:0", thresholds_dir=site.law
        ) as site.app:
            await fed(site.app.grpc_address)
            for run in ("train", "bench"):
                await site.run("run", "declare", run, "--model", "m", "--format", "bf16=1")
            await scenario(site)
            await site.app.evaluate_now()
            rows = site.app.thresholds
            served = json.loads(await site.page("/api/v1/totals"))
            offline = json.loads(json.dumps(ledger_totals(site.url, rows, SystemClock())))
            for field in ("models", "lowerings", "alerts", "reviews"):
                assert offline[field] == served[field], field

    asyncio.run(played())
    assert main(["ledger", "rebuild", "--ledger", site.url, "--thresholds-dir", str(site.law)]) == 0
    assert main(["ledger", "verify", "--ledger", site.url]) == 0
    return site.url


async def roles(site: Site) -> None:
    """Ben and Eva may stand behind what lowers."""
    await site.run("role", "grant", "ada", "--role", "owner", *WHO, "ada")
    for person in ("ben", "eva"):
        await site.run("role", "grant", person, "--role", "compliance", *WHO, "ada")


async def lower_line(site: Site, flop: int) -> None:
    """Draw the line anew, and let the collector read it."""
    own_law(site.folder, value=str(flop))
    site.app.law.ask()
    await site.app.evaluate_now()


async def declared_not_met(site: Site, condition: tuple[str, ...], folder: tuple[str, ...]) -> None:
    """Two people stand behind it, and everything says so."""
    told = await site.run(*condition, "--not-met", *WHO, "ben")
    assert "waits for 1 more of 2 people" in told and "once approved" in told
    assert (await site.line())["state"] == "above"
    waiting = json.loads(await site.run("approve", "list", "--json"))["lowerings"]
    assert [(each["label"], each["state"]) for each in waiting] == [
        (f"condition public of {ROW_ID} not met", "pending")
    ]
    await site.run("approve", "give", str(waiting[0]["declaration"]), *WHO, "eva")
    row = await site.line()
    assert row["state"] == "conditions_not_met"
    assert row["state_words"].startswith("compute test met, declared not met by ben on 20")
    (declared,) = row["declared_conditions"]
    assert [each["person"] for each in declared["approved_by"]] == ["ben", "eva"]
    assert declared["reason"] == "seen"
    assert "declared not met by ben on 20" in await site.page()
    assert [alert["status"] for alert in await site.alerts()] == ["over"]
    assert "declared not met by ben on" in await site.run("model", "show", "m", *folder)
    assert "public not met by ben on" in await site.run("thresholds", "show", ROW_ID, *folder)
    (model,) = (await site.report())["models"]
    line = next(each for each in model["lines"] if each["threshold"] == ROW_ID)
    assert line["state_words"] == row["state_words"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_condition_from_command_to_report(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unknown, declared met, declared not met by two people, taken back: everywhere alike."""

    async def scenario(site: Site) -> None:
        whole = int((await site.line())["counted_flop_str"]["best"])
        await lower_line(site, whole // 10)
        unknown = "compute test met, other conditions unknown"
        row = await site.line()
        assert (row["state"], row["conditions_state"]) == ("above", "unknown")
        assert row["state_words"] == unknown
        page = await site.page()
        assert unknown in page and ">ABOVE" not in page
        metric = "flopmeter_model_threshold_conditions_unknown{"
        (sample,) = [
            each
            for each in (await site.page("/metrics")).splitlines()
            if each.startswith(metric) and ROW_ID in each
        ]
        assert sample.endswith(" 1")
        assert [alert["status"] for alert in await site.alerts()] == ["firing"]
        said = await site.run("thresholds", "show", ROW_ID, "--thresholds-dir", str(site.law))
        assert "nothing: other conditions are unknown for every model" in said
        folder = ("--thresholds-dir", str(site.law))
        condition = ("model", "condition", "m", CONDITION, *folder)

        await site.run(*condition, "--met", *WHO, "zoe")
        row = await site.line()
        assert row["state_words"] == "compute test met, other conditions declared met"
        assert row["state"] == "above"

        await roles(site)
        await declared_not_met(site, condition, folder)

        await site.run(*condition, "--undo", *WHO, "zoe")
        assert (await site.line())["state_words"] == unknown
        assert [alert["status"] for alert in await site.alerts()] == ["over", "firing"]
        assert "nothing is left to take back" in await site.run(
            *condition, "--undo", *WHO, "zoe", code=65
        )

    url = play(scenario, tmp_path, capsys, kind)
    with contextlib.closing(backends.read(url)) as opened:
        states = [row.after for row in opened.transitions() if row.threshold == ROW_ID]
    assert states == ["above", "conditions_not_met", "above"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_decision_from_command_to_report(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A decision moves state, alert and report to the permitted total; both stay shown."""

    async def scenario(site: Site) -> None:
        folder = ("--thresholds-dir", str(site.law))
        await roles(site)
        await site.run("run", "label", "bench", "--activity", "evaluation", *WHO, "ben")
        waiting = json.loads(await site.run("approve", "list", "--json"))["lowerings"]
        await site.run("approve", "give", str(waiting[-1]["declaration"]), *WHO, "eva")
        row = await site.line()
        whole = int(row["everything_flop_str"]["best"])
        permitted = int(row["permitted_flop_str"]["best"])
        assert permitted < whole == int(row["counted_flop_str"]["best"])
        await lower_line(site, (whole + permitted) // 2)
        assert (await site.line())["state"] == "above"
        decide = ("model", "decide", "m", "--profile", PROFILE, *DATE, *folder)
        for words, sentence in (
            (("--leave-out", "pretraining"), "does not permit leaving out pretraining"),
            (("--leave-out", "cooking"), "is no word for work"),
            (("--leave-out", "finetuning/*"), "it permits evaluation"),
            ((), "say what is left out"),
        ):
            said = await site.run(*decide, *words, *WHO, "ben", code=64 if not words else 65)
            assert sentence in said and said.count("\n") == 1
        told = await site.run(*decide, "--leave-out", "evaluation", *WHO, "ben")
        assert "waits for 1 more" in told
        assert (await site.line())["state"] == "above"
        waiting = json.loads(await site.run("approve", "list", "--json"))["lowerings"]
        number = waiting[-1]["declaration"]
        await site.run("approve", "give", str(number), *WHO, "eva")

        row = await site.line()
        assert (row["state"], row["decision"]) == ("below", number)
        assert row["counted_flop_str"]["best"] == str(permitted)
        assert row["everything_flop_str"]["best"] == str(whole)
        assert [alert["status"] for alert in await site.alerts()] == ["over"]
        assert f"evaluation left out by decision {number}" in await site.page()
        shown = await site.run("model", "show", "m", *folder)
        for told in ("left out under board: evaluation, decided by ben", "behind it: ben, eva"):
            assert told in shown
        (model,) = (await site.report())["models"]
        assert "evaluation left out, decided by ben on 2026-11-29" in model["decisions"][0]
        line = next(each for each in model["lines"] if each["threshold"] == ROW_ID)
        assert line["counted_flop_str"] == str(permitted)

        await site.run(*decide, "--withdraw", *WHO, "zoe")
        row = await site.line()
        assert (row["state"], row["decision"]) == ("above", None)
        lowerings = json.loads(await site.run("approve", "list", "--json"))["lowerings"]
        assert lowerings[-1]["state"] == "superseded"

    url = play(scenario, tmp_path, capsys, kind)
    with contextlib.closing(backends.read(url)) as opened:
        history = [row for row in opened.history() if row.model == "m"]
    assert any(row.revalued for row in history)


def test_a_profile_that_permits_no_more_is_counted_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A decision never leaves out what the law in use does not permit; the change is the law's."""

    async def scenario(site: Site) -> None:
        await roles(site)
        await site.run("run", "label", "bench", "--activity", "evaluation", *WHO, "ben")
        waiting = json.loads(await site.run("approve", "list", "--json"))["lowerings"]
        await site.run("approve", "give", str(waiting[-1]["declaration"]), *WHO, "eva")
        decide = ("model", "decide", "m", "--profile", PROFILE, *DATE, *WHO, "ben")
        folder = ("--thresholds-dir", str(site.law))
        await site.run(*decide, "--leave-out", "evaluation", *folder)
        lowerings = json.loads(await site.run("approve", "list", "--json"))["lowerings"]
        await site.run("approve", "give", str(lowerings[-1]["declaration"]), *WHO, "eva")
        row = await site.line()
        whole, permitted = (
            int(row[name]["best"]) for name in ("everything_flop_str", "counted_flop_str")
        )
        value = str((whole + permitted) // 2)
        await lower_line(site, int(value))
        assert (await site.line())["state"] == "below"
        own_law(site.folder, value=value, rules=profile(evaluation="count"))
        site.app.law.ask()
        row = await site.line()
        assert (row["state"], row["counted_flop_str"]["best"]) == ("above", str(whole))

    url = play(scenario, tmp_path, capsys)
    with contextlib.closing(backends.read(url)) as opened:
        (row,) = [row for row in opened.transitions() if row.threshold == ROW_ID]
    assert (row.after, row.figures["cause"]) == ("above", "law")
    # The calendar of the site counts the period: one week, by the clock of its zone.
    assert row.figures["review_due_on"].endswith("(UTC)")


def test_a_line_that_was_lowered_while_no_collector_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next start records the crossing as the law's, and the audit log has both laws."""

    async def scenario(site: Site) -> None:
        best = int((await site.line())["counted_flop_str"]["best"])
        await lower_line(site, 2 * best)
        assert (await site.line())["state"] == "below"
        told.append((site.law, best))

    told: list[tuple[Path, int]] = []
    url = play(scenario, tmp_path, capsys)
    ((law, best),) = told
    own_law(tmp_path, value=str(best // 2))

    async def again() -> None:
        async with running(tmp_path, ledger=url, thresholds_dir=law) as app:
            await app.evaluate_now()

    asyncio.run(again())
    with contextlib.closing(backends.read(url)) as opened:
        (row,) = [row for row in opened.transitions() if row.threshold == ROW_ID]
        laws = [json.loads(each.content) for each in opened.audit() if each.action == ACTION]
    assert (row.after, row.figures["cause"]) == ("above", "law")
    assert laws[-1][ROW_ID].startswith(f"{best // 2} ")
    assert len(laws) >= 2


def test_a_label_waits_by_the_sites_own_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A label that only the site's profile counts less waits; another law lets it hold again."""

    async def scenario(site: Site) -> None:
        await site.run("run", "label", "train", "--activity", "finetuning", *WHO, "zoe")

        async def activity() -> Any:
            await site.app.evaluate_now()
            document = json.loads(await site.page("/api/v1/totals"))
            (run,) = [run for run in document["runs"] if run["run"] == "train"]
            return run["parts"][0]["activity"], run["waiting_labels"]

        assert await activity() == ("finetuning", 0)
        for rules, found in (
            (profile(finetuning="may_exclude"), ("unlabelled", 1)),
            (profile(), ("finetuning", 0)),
            (profile(finetuning="exclude"), ("unlabelled", 1)),
        ):
            own_law(site.folder, value="10^30", rules=rules)
            site.app.law.ask()
            assert await activity() == found

    play(scenario, tmp_path, capsys)
