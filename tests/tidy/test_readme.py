"""What the README tells a reader to type works, and prints what the README shows.

A fenced `console` block is marked by the comment above it: `run` runs its commands, `run: slow`
those that take seconds, and `exists` only checks command and flags. Of the output shown, each line
has to be printed, in that order; a README may leave lines out, and must not show others.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click
import pytest

from flopmeter import cli
from support.requirements import ROOT

README = ROOT / "README.md"

_BLOCK = re.compile(r"(?:<!-- ([\w: ]+) -->\n)?```(\w*)\n(.*?)```", re.DOTALL)

LIMIT_S = 240
"""The slow command takes twenty seconds of a core, which a busy machine may not have for long."""

COLUMNS = "112"
"""Width of the terminal the README was written on."""


@dataclass(frozen=True)
class Example:
    """One command of a block, and what the README says it prints."""

    mark: str
    command: str
    shown: tuple[str, ...]


def examples(text: str) -> list[Example]:
    """The commands of all console blocks."""
    found = []
    for mark, language, body in _BLOCK.findall(text):
        if language != "console":
            continue
        for piece in re.split(r"(?m)^\$ ", body)[1:]:
            command, *shown = piece.splitlines()
            found.append(Example(mark, command, tuple(line for line in shown if line.strip())))
    return found


def squeezed(line: str) -> str:
    """A line with its columns drawn together: widths of columns are not promised."""
    return " ".join(line.split())


def missing(shown: Sequence[str], printed: Sequence[str]) -> list[str]:
    """Lines that are shown and were not printed after the ones before them."""
    left = iter([squeezed(line) for line in printed])
    return [line for line in shown if not any(squeezed(line) in candidate for candidate in left)]


def check_exists(command: str) -> None:
    """Resolve a command and its flags without running it.

    Raises:
        click.UsageError: a command or a flag that flopmeter lacks.
    """
    program, *words = shlex.split(command)
    if program != "flopmeter":
        raise click.UsageError(f"{program} is not ours")
    found: click.Command = cli.group
    context = click.Context(found, info_name=program)
    while isinstance(found, click.Group):
        name, found_or_none, words = found.resolve_command(context, words)
        assert found_or_none is not None
        found = found_or_none
        context = click.Context(found, parent=context, info_name=name)
    found.parse_args(context, words)


EXAMPLES = examples(README.read_text("utf-8"))


def test_marks() -> None:
    """Every console block says how it is checked, and each way has a block."""
    assert {example.mark for example in EXAMPLES} == {"run", "run: slow", "exists"}


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(e, id=e.command[:40], marks=[pytest.mark.slow] if "slow" in e.mark else [])
        for e in EXAMPLES
        if e.mark.startswith("run")
    ],
)
def test_run(example: Example) -> None:
    """The command succeeds and prints what is shown."""
    program, *words = shlex.split(example.command)
    assert program == "flopmeter"
    environ = {k: v for k, v in os.environ.items() if not k.startswith("FLOPMETER_")}
    done = subprocess.run(
        [sys.executable, "-m", "flopmeter", *words],
        cwd=ROOT,
        env=environ | {"COLUMNS": COLUMNS},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert missing(example.shown, done.stdout.splitlines()) == []


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.mark == "exists"], ids=str)
def test_exists(example: Example) -> None:
    """The command and its flags are there."""
    check_exists(example.command)


# --- each check is seen to fail ------------------------------------------------------------------


def test_planted_output() -> None:
    """A line that is not printed, or printed before its turn, is named; columns may widen."""
    assert missing(["a  1", "b 2"], ["head", "a 1", "x", "b   2 more"]) == []
    assert missing(["b 2", "a 1"], ["a 1", "b 2"]) == ["a 1"]
    assert missing(["c"], ["a 1"]) == ["c"]


@pytest.mark.parametrize(
    "command",
    [
        "flopmeter sums",
        "flopmeter run announce x",
        "flopmeter totals --ledgers x",
        "flopmeter run declare x",
        "other totals",
    ],
)
def test_planted_command(command: str) -> None:
    """A command, a flag or a required argument that does not fit is found."""
    with pytest.raises(click.UsageError):
        check_exists(command)


def test_planted_mark() -> None:
    """A block without a mark is seen as such, and its commands are read."""
    found = examples("```console\n$ flopmeter a\nout\n$ flopmeter b\n```\n```\n$ c\n```\n")
    assert [(e.mark, e.command, e.shown) for e in found] == [
        ("", "flopmeter a", ("out",)),
        ("", "flopmeter b", ()),
    ]
