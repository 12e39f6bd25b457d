"""What stands of models: where they came from, what no agent saw, and what is planned.

Owns: the standing parents, external entries, parties, completeness statements and plans.
May touch: nothing; pure functions of ledger rows.
Called by book, in the order of the ledger; read by assembly.
Explained in docs/runs-and-models.md and docs/adr/0021-attribution.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from flopmeter_collector.ledger.base import Declaration
from flopmeter_collector.model_statements import (
    COMPLETENESS_KIND,
    EXTERNAL_KIND,
    PARENT_KIND,
    PARTY_KIND,
    PLAN_KIND,
    Completeness,
    External,
    PartyRole,
    Planned,
    parse_completeness,
    parse_external,
    parse_parent,
    parse_party,
    parse_plan,
)
from flopmeter_core.errors import DataError
from flopmeter_core.lineage import Lineage


class ModelBook:
    """What stands of models. Every statement is checked before it changes anything."""

    def __init__(self) -> None:
        """Start with nothing declared."""
        self.lineage = Lineage()
        self.externals: dict[str, dict[str, External]] = {}
        self.parties: dict[str, frozenset[tuple[str, PartyRole]]] = {}
        self.completeness: dict[str, Completeness] = {}
        self.plans: dict[str, Planned] = {}
        self._take = {
            PARENT_KIND: self._parent,
            EXTERNAL_KIND: self._external,
            PARTY_KIND: self._party,
            COMPLETENESS_KIND: self._completeness,
            PLAN_KIND: self._plan,
        }

    @property
    def models(self) -> frozenset[str]:
        """Every model that a standing statement names."""
        return self.lineage.models | frozenset(
            {*self.externals, *self.parties, *self.completeness, *self.plans}
        )

    def apply(self, row: Declaration) -> None:
        """Take a statement about a model.

        Raises:
            DataError: it cannot be read, or contradicts what stands; nothing is changed.
        """
        self._take[row.kind](row)

    def holds(self, model: str) -> bool:
        """Whether a model has compute of its own beside runs, or is in a lineage."""
        return model in self.externals or self.lineage.names(model)

    def put_back(self, model: str, entry: External) -> None:
        """Have an external entry stand as it was."""
        self.externals[model] = {**self.externals.get(model, {}), entry.entry: entry}

    def tells_of(self, model: str, reached: Iterable[str]) -> bool:
        """Whether anything but its place in a lineage was said of a model.

        Args:
            model: its name.
            reached: every model whose work counts in it.
        """
        said = model in self.plans or model in self.parties or model in self.completeness
        return said or any(name in self.externals for name in reached)

    def externals_of(self, model: str) -> Mapping[str, External]:
        """A model's external entries, in the order of their names."""
        return dict(sorted(self.externals.get(model, {}).items()))

    def _parent(self, row: Declaration) -> None:
        statement = parse_parent(row.subject, row.body)
        if statement.stands:
            self.lineage.add(statement.model, statement.parent, statement.edge)
        else:
            self.lineage.remove(statement.model, statement.parent)

    def _external(self, row: Declaration) -> None:
        name, entry = parse_external(row.subject, row.body)
        held = self.externals.get(row.subject, {})
        if entry is None and name not in held:
            raise DataError(f"model {row.subject!r} has no external entry {name!r}")
        if entry is not None and name in held:
            raise DataError(
                f"model {row.subject!r} has the external entry {name!r} already; take it back "
                "first, or name another one"
            )
        kept = {other: each for other, each in held.items() if other != name}
        if entry is not None:
            kept[name] = replace(entry, author=row.author, sequence=row.sequence)
        self.externals[row.subject] = kept
        if not kept:
            del self.externals[row.subject]

    def _party(self, row: Declaration) -> None:
        party, role, stands = parse_party(row.subject, row.body)
        held = self.parties.get(row.subject, frozenset())
        if stands == ((party, role) in held):
            raise DataError(
                f"party {party!r} is {'' if stands else 'not '}declared {role} of model "
                f"{row.subject!r}{' already' if stands else ''}"
            )
        self.parties[row.subject] = held | {(party, role)} if stands else held - {(party, role)}
        if not self.parties[row.subject]:
            del self.parties[row.subject]

    def _completeness(self, row: Declaration) -> None:
        said = parse_completeness(row.subject, row.body)
        self.completeness[row.subject] = replace(said, author=row.author, sequence=row.sequence)

    def _plan(self, row: Declaration) -> None:
        plan = parse_plan(row.subject, row.body)
        if plan is not None:
            self.plans[row.subject] = replace(
                plan, sequence=row.sequence, declared_at_ns=row.declared_at_ns
            )
        elif row.subject in self.plans:
            del self.plans[row.subject]
        else:
            raise DataError(f"model {row.subject!r} has no plan to give up")
