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
from dataclasses import dataclass, field, replace
from typing import TypeVar

from flopmeter_collector.spans import (
    PLACE_FIELDS,
    Segment,
    Span,
    parse_span,
    segments_of,
    with_span,
)
from flopmeter_core.activities import Activity, DataVisibility, Disposition, WorkLabel
from flopmeter_core.allocations import check_name
from flopmeter_core.errors import DataError
from flopmeter_core.formats import FormatMix, parse_format_mix
from flopmeter_core.methods.base import Workload
from flopmeter_core.recompute import RecomputeMode, parse_recompute

RUN_KIND = "run"
"""The kind of declarations that say what a run is."""


@dataclass(frozen=True, slots=True)
class FormatSpan(Span):
    """A number format declared for a part of a run."""

    formats: FormatMix = field(hash=False)


@dataclass(frozen=True, slots=True)
class LabelFields:
    """What was said of work, in the classes that laws tell apart; None where nothing was."""

    activity: Activity | None = None
    disposition: Disposition | None = None
    visibility: DataVisibility | None = None

    def over(self, other: LabelFields) -> LabelFields:
        """These fields, and those of another where these are silent."""
        return LabelFields(
            other.activity if self.activity is None else self.activity,
            other.disposition if self.disposition is None else self.disposition,
            other.visibility if self.visibility is None else self.visibility,
        )

    @property
    def label(self) -> WorkLabel:
        """The label, with what holds where nobody said anything."""
        return WorkLabel(
            self.activity or Activity.UNLABELLED,
            self.disposition or Disposition.KEPT,
            self.visibility or DataVisibility.UNKNOWN,
        )

    @property
    def text(self) -> str:
        """As people read it."""
        named = (
            ("activity", self.activity),
            ("disposition", self.disposition),
            ("data visibility", self.visibility),
        )
        return ", ".join(f"{name} {member}" for name, member in named if member is not None)


SILENT = LabelFields()
"""Nobody said anything."""


@dataclass(frozen=True, slots=True)
class LabelSpan(Span):
    """A label declared for a part of a run."""

    fields: LabelFields


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
        disposition: what became of the result.
        visibility: whether the public can have the data.
        labels: labels that hold for a part of the time or for one phase.
    """

    run: str
    model: str | None = None
    formats: FormatMix | None = None
    workload: Workload | None = None
    activity: Activity | None = None
    recompute: RecomputeMode | None = None
    spans: tuple[FormatSpan, ...] = ()
    disposition: Disposition | None = None
    visibility: DataVisibility | None = None
    labels: tuple[LabelSpan, ...] = ()

    @property
    def dated(self) -> bool:
        """Whether a part of it holds for a part of the time only."""
        return any(span.dated for span in (*self.spans, *self.labels))

    @property
    def whole_label(self) -> LabelFields:
        """What was said of the whole run's work."""
        return LabelFields(self.activity, self.disposition, self.visibility)

    @property
    def labelled(self) -> bool:
        """Whether anything was said of what the work was."""
        return self.whole_label != SILENT or bool(self.labels)

    @property
    def fields(self) -> frozenset[str]:
        """What it says anything of: model, format, workload, recompute, label."""
        said = {
            "model": self.model is not None,
            "format": self.formats is not None or bool(self.spans),
            "workload": self.workload is not None,
            "recompute": self.recompute is not None,
            "label": self.labelled,
        }
        return frozenset(name for name, stated in said.items() if stated)

    def apart(self) -> tuple[RunDeclaration, ...]:
        """The same as declarations of one field each, in an order in which they may be taken."""
        run = self.run
        parts = (
            RunDeclaration(run, model=self.model),
            RunDeclaration(run, formats=self.formats, spans=self.spans),
            RunDeclaration(run, workload=self.workload),
            RunDeclaration(run, recompute=self.recompute),
            RunDeclaration(
                run,
                activity=self.activity,
                disposition=self.disposition,
                visibility=self.visibility,
                labels=self.labels,
            ),
        )
        return tuple(part for part in parts if part.fields)

    def label_segments(self, phase: int) -> list[Segment[WorkLabel]]:
        """The labels of a phase over all time."""
        whole = self.whole_label
        return [
            Segment(
                each.from_ns,
                each.until_ns,
                (whole if each.content is None else each.content.fields.over(whole)).label,
            )
            for each in segments_of(self.labels, phase)
        ]

    def overridden_by(self, later: RunDeclaration) -> RunDeclaration:
        """Take each field of a later declaration that has one, and keep the others.

        Raises:
            DataError: a later span overlaps an earlier one.
        """
        spans, labels = self.spans, self.labels
        for span in later.spans:
            spans = with_span(spans, span)
        for label in later.labels:
            labels = with_span(labels, label)
        return replace(self._under(later), spans=spans, labels=labels)

    def within(self, whole: RunDeclaration) -> RunDeclaration:
        """What holds for a run that is a part of another one: its own word comes first.

        Args:
            whole: what holds for the run it is a part of.
        """
        joined = whole._under(self)
        spans = self.spans if self.spans or self.formats is not None else whole.spans
        return replace(
            joined, run=self.run, spans=spans, labels=self.labels if self.labelled else whole.labels
        )

    def _under(self, first: RunDeclaration) -> RunDeclaration:
        """The fields of another declaration, and this one's where that is silent."""
        return replace(
            self,
            **{name: getattr(first, name) for name in _WHOLE if getattr(first, name) is not None},
        )


_WHOLE = ("model", "formats", "workload", "activity", "recompute", "disposition", "visibility")


def parse_run_declaration(run: str, body: Mapping[str, str]) -> RunDeclaration:
    """Read what is declared of a run.

    Args:
        run: the run's name.
        body: ``model``, ``format``, ``workload``, ``recompute`` and the label's ``activity``,
            ``disposition`` and ``data_visibility``, each optional; or format and label with
            ``from``, ``until`` and ``phase``, at least one of them. A label may have a ``reason``.

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
    if not body.keys() - {"reason"}:
        raise DataError(
            f"a declaration of run {run!r} says nothing; give at least one of "
            f"{', '.join(_SAYING_FIELDS)}"
        )
    for name, text in body.items():
        if not str(text).strip():
            raise DataError(
                f"the field {name} declared of run {run!r} is empty; "
                "leave it out to keep what was declared before"
            )
    if "model" in body:
        check_name(body["model"], what="model")
    if body.keys() & set(PLACE_FIELDS):
        return _partial(run, body)
    label = label_fields(body)
    return RunDeclaration(
        run=run,
        model=body.get("model"),
        formats=parse_format_mix(body["format"]) if "format" in body else None,
        workload=_member(Workload, body, "workload"),
        recompute=parse_recompute(body["recompute"]) if "recompute" in body else None,
        activity=label.activity,
        disposition=label.disposition,
        visibility=label.visibility,
    )


LABEL_FIELDS = ("activity", "disposition", "data_visibility")
_SAYING_FIELDS = ("model", "format", "workload", "recompute", *LABEL_FIELDS)
_FIELDS = (*_SAYING_FIELDS, *PLACE_FIELDS, "reason")


def _partial(run: str, body: Mapping[str, str]) -> RunDeclaration:
    """What is declared for a part of the time, or for a phase."""
    if others := sorted(body.keys() - {"format", *LABEL_FIELDS, *PLACE_FIELDS, "reason"}):
        raise DataError(
            f"only a format and a label can be declared for a part of run {run!r}; declare "
            f"{', '.join(others)} for the whole run, by itself"
        )
    label = label_fields(body)
    if "format" not in body and label == SILENT:
        raise DataError(f"a span of run {run!r} needs the format or the label that it declares")
    place = parse_span(body).place
    return RunDeclaration(
        run=run,
        spans=(FormatSpan(*place, parse_format_mix(body["format"])),) if "format" in body else (),
        labels=() if label == SILENT else (LabelSpan(*place, label),),
    )


def label_fields(body: Mapping[str, str]) -> LabelFields:
    """What a body says of the work.

    Raises:
        DataError: a word that its field does not know.
    """
    return LabelFields(
        _member(Activity, body, "activity"),
        _member(Disposition, body, "disposition"),
        _member(DataVisibility, body, "data_visibility"),
    )


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
