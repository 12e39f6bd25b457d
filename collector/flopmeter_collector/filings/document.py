"""A report as one document: what every rendering of it is made of.

Owns: the order of a report, its title, its three times and the words that it is a draft.
May touch: nothing; pure functions of the facts and the form.
Called by lab.filing_acts; rendered by filings.markdown and filings.html.
Explained in docs/filings.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from flopmeter_collector.documents import Json
from flopmeter_collector.filings.blocks import DRAFT
from flopmeter_collector.filings.facts import ModelFacts
from flopmeter_collector.filings.sections import SECTIONS
from flopmeter_collector.presentation import utc_text
from flopmeter_core.filings import FieldId, Form, Precision

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class SignOff:
    """Who takes responsibility for a filed version, and when (Unix time in ns)."""

    name: str
    signed_at_ns: int


def build(
    facts: ModelFacts,
    form: Form,
    *,
    recipient: str,
    made_at_ns: int,
    sign_off: SignOff | None = None,
) -> Json:
    """Put the facts into the form.

    Args:
        facts: of one model.
        form: what is asked for.
        recipient: whose precision holds.
        made_at_ns: Unix time in ns: a label.
        sign_off: who signed it; without one it is a draft.

    Raises:
        DataError: a recipient the form does not know.
    """
    basis = facts.basis
    numbers = _compute_precision(form, recipient)
    sections: list[Json] = []
    for field in form.fields:
        precision = form.precision(field, recipient)
        content = (
            None
            if precision is Precision.WITHHELD
            else SECTIONS[field.id](facts, form, precision, numbers)
        )
        sections.append(
            {
                "field": field.id.value,
                "source": field.source,
                "precision": precision.value,
                "content": content,
            }
        )
    return {
        "schema": SCHEMA,
        "form": form.id,
        "title": form.title,
        "jurisdiction": form.jurisdiction,
        "model": facts.model,
        "recipient": recipient,
        "recipient_name": form.readers[recipient],
        "simulated": facts.simulated,
        "standing_words": DRAFT
        if sign_off is None
        else f"signed off by {sign_off.name} on {utc_text(sign_off.signed_at_ns)}",
        "made_at": utc_text(made_at_ns),
        "measured_to": utc_text(basis.measured_to_ns),
        "law_as_of": basis.law_as_of.isoformat(),
        "known_at": basis.known_at,
        "retention": {
            "years": form.retention_years,
            "from": "the placing on the market",
            "source": form.retention_source,
        },
        "sections": sections,
    }


def _compute_precision(form: Form, recipient: str) -> Precision:
    """How exactly a recipient is told FLOP, wherever they stand."""
    for field in form.fields:
        if field.id is FieldId.COMPUTE:
            return form.precision(field, recipient)
    return Precision.WITHHELD
