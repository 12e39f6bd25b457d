"""The front door: exit codes, one sentence a failure, and nothing loaded before it is needed."""

from __future__ import annotations

import builtins
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import click
import pytest

from flopmeter.cli import COMMANDS, Entry, group, main
from flopmeter_core.errors import DataError, FlopmeterError, NotPermittedError

HEAVY = ("grpc", "starlette", "uvicorn", "rich", "google", "http.server", "pynvml", "psutil")


def loaded_by(*arguments: str) -> set[str]:
    """The packages a command line loads, by their first name."""
    script = (
        "import contextlib, io, json, sys\n"
        "from flopmeter.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    code = main({list(arguments)!r})\n"
        "assert code == 0, code\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("arguments", [["--help"], ["agent", "--help"], ["collector", "--help"]])
def test_help_is_light(arguments: Sequence[str]) -> None:
    """Help loads neither gRPC nor HTTP nor tables."""
    assert loaded_by(*arguments).isdisjoint(HEAVY)


def test_help_loads_no_command() -> None:
    """The list of commands comes from the table alone."""
    assert "flopmeter_agent" not in loaded_by("--help")
    assert "flopmeter_collector" not in loaded_by("--help")


def test_agent_needs_no_command_line() -> None:
    """The agent itself imports neither click nor rich."""
    script = (
        "import sys, flopmeter_agent.app\n"
        "sys.exit(' '.join({'click', 'rich'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of the table has its module, whose first words are the table's; none is cut."""
    assert main([name, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert COMMANDS[name].summary.rstrip(".") in text
    assert "..." not in text.partition("Commands:")[2]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the distribution's."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("flopmeter ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["agnt"],
            "flopmeter: No such command 'agnt'. Did you mean 'agent'? See `flopmeter --help`",
        ),
        (["xyzzy"], "flopmeter: No such command 'xyzzy'; see `flopmeter --help`"),
        (["totals", "--nonsense"], "flopmeter: No such option '--nonsense'"),
        (["run", "declare", "x"], "flopmeter: Missing option '--ledger'; see"),
        (["config", "print", "nobody"], "flopmeter: Invalid value for"),
        (["agent", "--sample-period-s", "fast"], "flopmeter: --sample-period-s must be a number"),
        (["totals", "--collector", "x", "--ledger", "y"], "flopmeter: --collector and --ledger"),
        (["totals", "--collector", "127.0.0.1"], "flopmeter: '127.0.0.1' is no URL"),
    ],
)
def test_usage(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong command line ends in one sentence and exit code 64."""
    assert main(arguments) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(sentence)
    assert captured.err.count("\n") == 1


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the help is shown, as a usage error."""
    assert main([]) == 64
    assert "Commands:" in capsys.readouterr().err


def planted(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    """Put a command `planted` into the table that ends in `failure`."""

    @click.command("planted")
    def command() -> None:
        raise failure

    module = ModuleType("flopmeter.cli.planted")
    module.__dict__["command"] = command
    monkeypatch.setitem(sys.modules, "flopmeter.cli.planted", module)
    monkeypatch.setitem(COMMANDS, "planted", Entry("planted", "Fail.", ("collector",)))


@pytest.mark.parametrize(
    ("failure", "code", "sentence"),
    [
        (FlopmeterError("no answer; try again"), 1, "flopmeter: no answer; try again\n"),
        (DataError("line 3 is\ngarbled"), 65, "flopmeter: line 3 is garbled\n"),
        (NotPermittedError("the ledger is real"), 77, "flopmeter: the ledger is real\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ModuleNotFoundError("No module named 'grpc'", name="grpc.aio"),
            64,
            "flopmeter: `flopmeter planted` needs the module grpc; "
            "install it with: pip install '.[collector]' from a checkout\n",
        ),
    ],
)
def test_failures(
    failure: BaseException,
    code: int,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each failure has its exit code, and at most one sentence."""
    planted(monkeypatch, failure)
    assert main(["planted"]) == code
    assert capsys.readouterr().err.lstrip() == sentence


def test_defect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A defect shows its traceback for a report, ends in a sentence, and is no usage error."""
    planted(monkeypatch, RuntimeError("odd"))
    assert main(["planted"]) == 70
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert text.endswith("flopmeter: internal error: RuntimeError('odd'); please report this\n")


def test_missing_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A command whose extra is not installed names it; one that is broken does not."""
    real = builtins.__import__

    def without_grpc(name: str, *rest: Any, **options: Any) -> ModuleType:
        if name.partition(".")[0] == "grpc":
            raise ModuleNotFoundError("No module named 'grpc'", name="grpc")
        return real(name, *rest, **options)

    for name in [n for n in sys.modules if n.startswith(("flopmeter_collector.app", "grpc"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("server", "service", "app"):
        monkeypatch.delitem(sys.modules, f"flopmeter_collector.{name}", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_grpc)
    assert main(["collector"]) == 64
    assert capsys.readouterr().err == (
        "flopmeter: `flopmeter collector` needs the module grpc; "
        "install it with: pip install '.[collector]' from a checkout\n"
    )


def test_broken_installation_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of flopmeter itself that is missing is a defect, not an extra."""
    monkeypatch.setitem(COMMANDS, "planted", Entry("no_such_module", "Fail."))
    assert main(["planted"]) == 70


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_broken_pipe(form: list[str]) -> None:
    """A reader that has gone ends a command quietly, with the code the page promises."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flopmeter", "device", "list", *form],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (done.stderr, done.returncode) == ("", 141)


def test_broken_pipe_on_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is that of a program a closed pipe ended."""
    planted(monkeypatch, BrokenPipeError())
    duplicated: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "dup2", lambda source, target: duplicated.append((source, target)))
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    assert main(["planted"]) == 141
    assert len(duplicated) == 1


def test_table_matches_group() -> None:
    """The group knows exactly the table's commands."""
    context = click.Context(group)
    assert group.list_commands(context) == list(COMMANDS)
    assert group.get_command(context, "nobody") is None
    for entry in COMMANDS.values():
        module = importlib.import_module(f"flopmeter.cli.{entry.module}")
        assert isinstance(module.command, click.Command)
