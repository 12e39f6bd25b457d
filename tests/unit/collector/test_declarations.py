"""Declarations: what a run may be said to be, and what is refused before it moves a figure."""

from __future__ import annotations

import pytest

from flopmeter_collector.book import Book
from flopmeter_collector.declarations import RunDeclaration, parse_run_declaration
from flopmeter_collector.ledger.base import Declaration
from flopmeter_core.activities import Activity
from flopmeter_core.errors import DataError
from flopmeter_core.formats import parse_format_mix
from flopmeter_core.methods.base import Workload
from flopmeter_core.recompute import parse_recompute


def test_all_fields() -> None:
    """Each field becomes its own type."""
    body = {
        "model": "atlas",
        "format": "fp8=0.9..0.97,bf16=rest",
        "workload": "dense-transformer",
        "activity": "pretraining",
        "recompute": "selective",
    }
    assert parse_run_declaration("alpha", body) == RunDeclaration(
        run="alpha",
        model="atlas",
        formats=parse_format_mix("fp8=0.9..0.97,bf16=rest"),
        workload=Workload.DENSE_TRANSFORMER,
        activity=Activity.PRETRAINING,
        recompute=parse_recompute("selective"),
    )


@pytest.mark.parametrize(
    ("run", "body", "sentence"),
    [
        ("alpha", {"colour": "red"}, "unknown field colour; it may have model, format"),
        ("alpha", {}, "says nothing"),
        ("alpha", {"model": " "}, "field model declared of run 'alpha' is empty"),
        ("alpha", {"model": "a,b"}, "name of a model"),
        ("alpha", {"model": "x" * 201}, "name of a model"),
        ("", {"model": "m"}, "name of a run"),
        ("a(b", {"model": "m"}, "name of a run"),
        ("alpha", {"format": "fp5"}, "unknown number format 'fp5'"),
        ("alpha", {"format": "fp8=2"}, "does not lie between 0 and 1"),
        ("alpha", {"workload": "dense"}, "'dense' is no workload; use one of dense-transformer"),
        ("alpha", {"recompute": "half"}, "'half' is no recompute mode"),
        ("alpha", {"activity": "Pretraining"}, "'Pretraining' is no activity; use one of"),
    ],
)
def test_refused(run: str, body: dict[str, str], sentence: str) -> None:
    """Bad content is refused in one sentence that names the field."""
    with pytest.raises(DataError, match=sentence) as caught:
        parse_run_declaration(run, body)
    assert "\n" not in str(caught.value)


def test_unknown_kind() -> None:
    """A row of a kind this version does not know is refused by its place in the ledger."""
    row = Declaration(7, 0, "ada", "cli", "device", "GPU-0", {"state": "retired"})
    with pytest.raises(DataError, match="declaration 7 has the unknown kind 'device'"):
        Book().apply(row)


def test_ledger_row() -> None:
    """A row of kind run is read by its subject and body."""
    row = Declaration(1, 0, "ada", "cli", "run", "alpha", {"model": "atlas"})
    book = Book()
    assert book.apply(row).runs == {"alpha"}
    assert book.runs == {"alpha": RunDeclaration("alpha", model="atlas")}


def test_override() -> None:
    """A later declaration overrides the fields it has, and only those."""
    first = parse_run_declaration(
        "a", {"model": "m", "format": "fp8", "workload": "moe", "recompute": "none"}
    )
    second = parse_run_declaration("a", {"format": "bf16=1", "activity": "finetuning"})
    assert first.overridden_by(second) == RunDeclaration(
        "a",
        "m",
        parse_format_mix("bf16=1"),
        Workload.MOE,
        Activity.FINETUNING,
        parse_recompute("none"),
    )
