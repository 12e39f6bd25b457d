"""External compute in ratios: what one person entered lowers no ratio by itself.

Owns: which ratios have a model's work below the line, and whether an entry counts there.
May touch: nothing; pure functions of what stands.
Called by hearing, which lets such an entry wait for people, and by model_assembly.
Explained in docs/runs-and-models.md and docs/adr/0041-entries-in-ratios.md.
"""

from __future__ import annotations

from flopmeter_collector.approvals import APPROVED, Approvals
from flopmeter_core.lineage import MODIFIES, Lineage

RATIO = "ratio"
"""What an entry waits for beside its label, among the fields of `Lowering.about`."""


def ratios_of(lineage: Lineage, model: str) -> tuple[str, ...]:
    """The models whose ratio has a model's work below the line, in the order of their names.

    They were made from it, or from one that came from it.
    """
    reached, waiting, found = {model}, [model], set()
    while waiting:
        at = waiting.pop()
        for child in lineage.children(at):
            if lineage.parents(child)[at] in MODIFIES:
                found.add(child)
            if child not in reached:
                reached.add(child)
                waiting.append(child)
    return tuple(sorted(found))


def is_agreed(approvals: Approvals, sequence: int) -> bool:
    """Whether two people stand behind the declaration of an entry."""
    lowering = approvals.lowerings.get(sequence)
    return lowering is not None and lowering.state == APPROVED
