"""What is done with reports: made, filed in a person's name, listed, and given back.

Owns: the documents of `flopmeter report`, and the declaration and audit row of a filing.
May touch: one ledger, through the collector's backends; the clock it is given.
Called by `flopmeter report`; docs/filings.md.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterable
from typing import Any

from flopmeter.lab.report_reading import Reading, Times, opened, read
from flopmeter.lab.reporting import facts_of, standings
from flopmeter.lab.stating import check_author
from flopmeter_collector import backends
from flopmeter_collector.custody import check_reason
from flopmeter_collector.documents import Json
from flopmeter_collector.filings.board import Board, BoardRow, upcoming_dates
from flopmeter_collector.filings.board import document as board_document
from flopmeter_collector.filings.document import SignOff, build
from flopmeter_collector.filings.versions import (
    FILING_KIND,
    Filed,
    check_signer,
    difference,
    filed_versions,
    statement,
)
from flopmeter_collector.held import held_at, local_date
from flopmeter_collector.law_days import check_law_day, day_not_ahead
from flopmeter_collector.ledger.base import AuditRow, Declaration
from flopmeter_collector.presentation import utc_text
from flopmeter_core.counting import count
from flopmeter_core.errors import UsageError
from flopmeter_core.filings import FULL_READERS, INTERNAL, Form, builtin_forms
from flopmeter_core.interval import sum_figures
from flopmeter_core.lawbook import LawBook
from flopmeter_proto.daemon.clock import Clock


def form_named(name: str) -> Form:
    """A built-in form.

    Raises:
        UsageError: there is none of that name.
    """
    forms = builtin_forms()
    if name not in forms:
        raise UsageError(f"no form {name!r}; there are {', '.join(forms)}")
    return forms[name]


def report(
    url: str,
    model: str,
    form: Form,
    *,
    recipient: str,
    times: Times,
    law: LawBook,
    clock: Clock,
) -> Json:
    """A report of one model, with the difference to the version filed last.

    Raises:
        UsageError: no such model, recipient, time or declaration.
        DataError, StorageError: the ledger cannot be read.
    """
    now_ns = clock.wall_ns()
    with opened(url) as ledger:
        reading = read(ledger, times, now_ns=now_ns, law=law.rows)
        facts = facts_of(reading, model, form, law)
        filed = filed_versions(ledger.declarations(), model=model, form=form.id)
    told = build(facts, form, recipient=recipient, made_at_ns=now_ns)
    if recipient in FULL_READERS:
        told["since_filed"] = difference(filed[-1], told) if filed else None
    return told


def board(url: str, *, times: Times, law: LawBook, clock: Clock) -> Json:
    """Every model of a ledger against every line that holds.

    Raises:
        UsageError, DataError, StorageError: as `report`.
    """
    with opened(url) as ledger:
        reading = read(ledger, times, now_ns=clock.wall_ns(), law=law.rows)
    if reading.cut and not any(each.figures.total.ceiling for each in reading.at_most.models):
        raise UsageError(
            f"nothing was recorded up to {utc_text(reading.measured_to_ns)}; give a later time"
        )
    day = reading.law_as_of or local_date(reading.measured_to_ns, "UTC")
    # By itself a table without lines would say that nothing is near any.
    check_law_day(day, law.rows, option="the law as of")
    return board_document(
        Board(
            measured_to=utc_text(reading.measured_to_ns),
            law_as_of=day,
            rows=tuple(_board_rows(reading, law)),
            upcoming=upcoming_dates((row for row in law.rows if not row.demonstration), day),
            unattributed_upper_flop=reading.at_most.unattributed.figures.total.upper,
        )
    )


def _board_rows(reading: Reading, law: LawBook) -> Iterable[BoardRow]:
    lines = (
        held_at(law.rows, reading.measured_to_ns)
        if reading.law_as_of is None
        else [row for row in law.rows if row.held_on(reading.law_as_of)]
    )
    for model in reading.at_most.models:
        parts = reading.parts(model)
        held = [row for row in lines if model.simulated or not row.demonstration]
        counted = {
            name: count(
                parts, law.profiles[name], decision=model.rulings.decision(law.profiles[name])
            )
            for name in {row.counting_profile for row in held}
        }
        yield BoardRow(
            model=model.model,
            executed=sum_figures(part.figures for part in parts).total,
            simulated=model.simulated,
            standings=standings(model, counted, held, reading),
            rulings=model.rulings,
        )


def file_report(
    url: str,
    model: str,
    form: Form,
    *,
    recipient: str,
    times: Times,
    law: LawBook,
    signed_by: str,
    placed_on_market: str | None,
    author: str,
    reason: str,
    clock: Clock,
) -> Json:
    """File a report in a person's name; it is kept in the ledger for good.

    Args:
        url: the ledger.
        model: its name.
        form: what is asked for.
        recipient: whose precision holds.
        times: the three.
        law: rows and counting profiles.
        signed_by: the named person.
        placed_on_market: the day the model was placed on the market, where it was.
        author: who files it.
        reason: why, for the audit log.
        clock: dates it.

    Raises:
        UsageError: no such model, recipient, time or declaration.
        DataError: nobody is named, no reason, or a day on which no model was placed on a market;
            nothing is written.
        StorageError: the ledger cannot be read or written.
    """
    check_reason(reason)
    check_author(author)
    check_signer(signed_by)
    now_ns = clock.wall_ns()
    placed = placed_on_market and day_not_ahead(
        placed_on_market, now_ns, what="the day of the placing on the market"
    )
    with opened(url) as ledger:
        reading = read(ledger, times, now_ns=now_ns, law=law.rows)
        facts = facts_of(reading, model, form, law)
    sign_off = SignOff(signed_by, now_ns)
    told, exact = (
        build(facts, form, recipient=each, made_at_ns=now_ns, sign_off=sign_off)
        for each in (recipient, INTERNAL)
    )
    body = statement(told, exact, signed_by=signed_by, placed_on_market=placed or None)
    content = {name: body[name] for name in ("form", "recipient", "signed_by", "sha256")}
    written = backends.declare(
        url,
        Declaration(0, now_ns, author, "cli", FILING_KIND, model, body),
        audit=AuditRow(
            0,
            now_ns,
            author,
            reason,
            "file report",
            json.dumps({"model": model, **content}, sort_keys=True),
        ),
    )
    return {
        "schema": 1,
        "declaration": written.sequence,
        "model": model,
        **content,
        "document": told,
    }


def filed(url: str, *, model: str | None, form: str | None) -> list[Json]:
    """Every filed version, with the last day it has to be kept.

    Raises:
        DataError: one is not what was filed.
        UsageError, StorageError: the ledger cannot be read.
    """
    forms = builtin_forms()
    return [
        {
            "declaration": each.sequence,
            "model": each.model,
            "form": each.form,
            "recipient": each.recipient,
            "version": each.version,
            "filed_at": utc_text(each.filed_at_ns),
            "author": each.author,
            "signed_by": each.signed_by,
            "sha256": each.sha256,
            "simulated": each.document["simulated"],
            "placed_on_market": _text(each.placed_on_market),
            "kept_until": _text(each.kept_until(forms[each.form].retention_years))
            if each.form in forms
            else None,
        }
        for each in _filed(url, model=model, form=form)
    ]


def filed_document(url: str, sequence: int) -> Json:
    """A filed version as its recipient got it.

    Raises:
        UsageError: that declaration filed nothing.
    """
    for each in _filed(url):
        if each.sequence == sequence:
            return each.document
    raise UsageError(
        f"declaration {sequence} filed no report; see `flopmeter report filed` for those that did"
    )


def _filed(url: str, **chosen: Any) -> list[Filed]:
    with contextlib.closing(backends.read(url)) as ledger:
        return filed_versions(ledger.declarations(), **chosen)


def _text(day: datetime.date | None) -> str | None:
    return None if day is None else day.isoformat()
