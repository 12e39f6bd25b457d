"""A file that a person names and that is not there: one code and one sentence, in every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from flopmeter.cli import main
from flopmeter_core.errors import UsageError, not_text, unreadable

EXTERNAL = "model add-external m --lower 1e20 --best 1e20 --upper 1e20 --party p"
DETERMINE = "review determine 1 --determination met --date 2026-01-01 --reason x"
COLLECTOR = "collector --ledger {folder}/l.db --grpc-listen 127.0.0.1:0 --http-listen 127.0.0.1:0"

NAMED = (
    "replay {file}",
    "pack {file} --out {folder}/out --part h100-sxm5-80gb --sm-count 132 --max-sm-clock-mhz 1980",
    "estimate --csv {file}",
    "import {file} --ledger {folder}/new.db",
    "import-log {file}",
    "demo --scenario {file}",
    "doctor --config {file}",
    "config print agent --config {file}",
    "thresholds --thresholds-dir {file}",
    "thresholds lint {file}",
    "thresholds update {file} --key {file}",
    "thresholds diff {file} --key {file}",
    "thresholds pack {folder} --key {file} --output {folder}/out",
    EXTERNAL + " --period 2026-01-01..2026-02-01 --source {file} --ledger {folder}/l.db",
    DETERMINE + " --evidence {file} --ledger {folder}/l.db",
    COLLECTOR + " --tls-cert {file} --tls-key {file}",
    COLLECTOR + " --webhook-secret {file} --webhooks http://127.0.0.1:1/",
)


@pytest.mark.parametrize("command", NAMED)
def test_a_file_that_is_not_there(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The code is that of a wrong command, and the sentence names the file and what to do."""
    missing = tmp_path / "none"
    words = [word.format(file=missing, folder=tmp_path) for word in command.split()]
    assert main(words) == UsageError.exit_code
    # What an import draws of its progress is not the sentence.
    err = [line for line in capsys.readouterr().err.splitlines() if "importing" not in line]
    assert len(err) == 1 and err[0].startswith("flopmeter: ") and "; " in err[0]
    assert f"{missing} cannot be read: No such file or directory" in err[0]
    assert list(tmp_path.glob("out*")) == []


def test_what_the_sentence_says() -> None:
    """It says what the file is, why it cannot be read, and what to do; no number of the system."""
    error = unreadable("the key /k", PermissionError(13, "Permission denied"))
    assert str(error) == (
        "the key /k cannot be read: Permission denied; check the path and who may read it"
    )
    assert "cannot be read: too odd" in str(unreadable("x", OSError("too odd")))
    assert not_text("x").exit_code == 65
