"""Declarations: what people say readings mean, checked before it can move a figure.

Owns: the fields a declaration of kind ``run`` may have, their meaning, and how a later one of
the same run overrides an earlier one, field by field.
May touch: nothing; pure functions of ledger rows.
Called by the collector's app and the lab (parsing what a ledger holds), by the command line
(checking before it writes) and by totals (which apply the typed form).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.split import GREATEST_PHASE, Span, parse_time, with_span
from flopmeter_core.activities import Activity
from flopmeter_core.allocations import check_name
from flopmeter_core.errors import DataError
from flopmeter_core.formats import FormatMix, parse_format_mix
from flopmeter_core.methods.base import Workload
from flopmeter_core.recompute import RecomputeMode, parse_recompute

RUN_KIND = "run"
"""The only kind of declaration today."""


@dataclass(frozen=True, slots=True)
class RunDeclaration:
    """What was declared of one run; a field nobody declared is None.

    Attributes:
        run: the run's name.
        model: the model the run contributes to.
        formats: the number formats its FLOP ran in, with bounds.
        workload: the class of training.
        activity: what was done, in legal classes.
        recompute: how activations were recomputed; turns executed into model FLOP.
        spans: formats that hold for a part of the time or for one phase; `formats` holds elsewhere.
    """

    run: str
    model: str | None = None
    formats: FormatMix | None = None
    workload: Workload | None = None
    activity: Activity | None = None
    recompute: RecomputeMode | None = None
    spans: tuple[Span, ...] = ()

    @property
    def dated(self) -> bool:
        """Whether a part of it holds for a part of the time only."""
        return any(span.dated for span in self.spans)

    def overridden_by(self, later: RunDeclaration) -> RunDeclaration:
        """Take each field of a later declaration that has one, and keep the others.

        Raises:
            DataError: a later span overlaps an earlier one.
        """
        spans = self.spans
        for span in later.spans:
            spans = with_span(spans, span)
        return RunDeclaration(
            run=self.run,
            model=self.model if later.model is None else later.model,
            formats=self.formats if later.formats is None else later.formats,
            workload=self.workload if later.workload is None else later.workload,
            activity=self.activity if later.activity is None else later.activity,
            recompute=self.recompute if later.recompute is None else later.recompute,
            spans=spans,
        )


def parse_declaration(declaration: Declaration) -> RunDeclaration:
    """Read a ledger row.

    Raises:
        DataError: an unknown kind, or as `parse_run_declaration`.
    """
    if declaration.kind != RUN_KIND:
        raise DataError(
            f"declaration {declaration.sequence} has the unknown kind {declaration.kind!r}; "
            f"this version knows {RUN_KIND!r}, so update flopmeter or correct the kind"
        )
    return parse_run_declaration(declaration.subject, declaration.body)


def parse_run_declaration(run: str, body: Mapping[str, str]) -> RunDeclaration:
    """Read what is declared of a run.

    Args:
        run: the run's name.
        body: ``model``, ``format``, ``workload``, ``activity`` and ``recompute``, each optional;
            or ``format`` with ``from``, ``until`` and ``phase``, at least one of them.

    Raises:
        DataError: an unknown field, an empty body or field, or a text that its field refuses.
    """
    check_name(run, what="run")
    unknown = sorted(body.keys() - _FIELDS)
    if unknown:
        raise DataError(
            f"a declaration of run {run!r} has the unknown field {', '.join(unknown)}; "
            f"it may have {', '.join(_FIELDS)}"
        )
    if not body:
        raise DataError(
            f"a declaration of run {run!r} says nothing; give at least one of {', '.join(_FIELDS)}"
        )
    for field, text in body.items():
        if not str(text).strip():
            raise DataError(
                f"the field {field} declared of run {run!r} is empty; "
                "leave it out to keep what was declared before"
            )
    if "model" in body:
        check_name(body["model"], what="model")
    if body.keys() & _SPAN_FIELDS:
        return RunDeclaration(run=run, spans=(_span(run, body),))
    return RunDeclaration(
        run=run,
        model=body.get("model"),
        formats=parse_format_mix(body["format"]) if "format" in body else None,
        workload=_member(Workload, body, "workload"),
        activity=_member(Activity, body, "activity"),
        recompute=parse_recompute(body["recompute"]) if "recompute" in body else None,
    )


_SPAN_FIELDS = ("from", "until", "phase")
_FIELDS = ("model", "format", "workload", "activity", "recompute", *_SPAN_FIELDS)


def _span(run: str, body: Mapping[str, str]) -> Span:
    """What is declared for a part of the time, or for a phase."""
    if others := sorted(body.keys() - {"format", *_SPAN_FIELDS}):
        raise DataError(
            f"only a format can be declared for a part of run {run!r}; declare {', '.join(others)} "
            "for the whole run, by itself"
        )
    if "format" not in body:
        raise DataError(f"a span of run {run!r} needs the format that it declares")
    from_ns = parse_time(body["from"], what="from") if "from" in body else None
    until_ns = parse_time(body["until"], what="until") if "until" in body else None
    if from_ns is not None and until_ns is not None and until_ns <= from_ns:
        raise DataError(f"until {body['until']} does not lie after from {body['from']}")
    phase = None
    if "phase" in body:
        text = body["phase"]
        if not (text.isascii() and text.isdigit() and len(text) < 11):
            raise DataError(f"phase {text!r} is no number from 0 to {GREATEST_PHASE}")
        phase = int(text)
        if phase > GREATEST_PHASE:
            raise DataError(f"phase {text!r} is no number from 0 to {GREATEST_PHASE}")
    return Span(from_ns, until_ns, phase, parse_format_mix(body["format"]))


_Member = TypeVar("_Member", bound=enum.StrEnum)


def _member(kind: type[_Member], body: Mapping[str, str], field: str) -> _Member | None:
    """The member of an enumeration that a field names, or None where the field is absent."""
    if field not in body:
        return None
    try:
        return kind(body[field])
    except ValueError as error:
        raise DataError(
            f"{body[field]!r} is no {field}; use one of {', '.join(sorted(kind))}"
        ) from error
