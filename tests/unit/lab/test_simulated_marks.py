"""Text about one run, model or review says that its figures are made up, where they are."""

from __future__ import annotations

from typing import Any

import pytest

from flopmeter.lab.details_view import model_view, run_view
from flopmeter_collector.declarations import parse_run_declaration
from flopmeter_collector.presentation import totals_document
from flopmeter_collector.totals import Totals
from support.totals import AS_OF_NS, POSITION, busy_vector, feed, h100, key_of, table, thresholds


@pytest.mark.parametrize("simulated", [True, False])
def test_the_first_line_says_it(simulated: bool) -> None:
    """Before any figure, and only then."""
    totals = Totals(table(), simulated=simulated)
    record = h100(simulated=simulated)
    feed(totals, key_of(record, "run:a"), record, busy_vector(100))
    totals.declare(parse_run_declaration("a", {"model": "m"}))
    document: Any = totals_document(totals.snapshot(AS_OF_NS, POSITION), thresholds())
    for view, row in ((run_view, document["runs"][0]), (model_view, document["models"][0])):
        first = next(iter(view(row, could_add=0, lowerings=())))
        assert first.startswith("SIMULATED") is simulated
