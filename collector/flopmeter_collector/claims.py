"""The claim registers of all runs, and what they add up to.

Owns: the merge of claims, their limits, and what is not committed or not added up yet.
May touch: nothing; exact integers in memory, no clock, no I/O.
Called by intake (merges), the committer (takes what changed), publish (takes changed totals).
Explained in docs/sdk.md. A claim never enters a metered figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from flopmeter_core.claim_sums import ClaimTotals, add_up_each
from flopmeter_core.claims import Claim, ClaimKey

MAXIMUM_CLAIMS = 2_000_000
MAXIMUM_CLAIMS_PER_RUN = 200_000
"""Registers kept; a further one is refused with a sentence, so that nobody can fill the memory."""


def totals_of(
    claims: Mapping[str, tuple[Claim, ...]],
) -> Mapping[str, tuple[ClaimTotals, ...]]:
    """What the claims of each run add up to by quantity; 100,000 ranks take half a second."""
    return {run: add_up_each(of_run) for run, of_run in claims.items()}


class ClaimTable:
    """All claim registers. The same set of claims gives the same totals in whatever order."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_run: dict[str, dict[ClaimKey, Claim]] = {}
        self._count = 0
        self._uncommitted: dict[ClaimKey, Claim] = {}
        self._changed: set[str] = set()
        self.refused_count = 0
        self.on_change: Callable[[ClaimKey], None] | None = None
        """Told of each register that is new or has higher counts; a relay forwards them."""

    def __len__(self) -> int:
        """Registers held."""
        return self._count

    def restore(self, claims: Iterable[Claim]) -> None:
        """Take what a ledger holds; it is committed already."""
        for claim in claims:
            self._keep(claim)

    def absorb(self, claims: Iterable[Claim]) -> None:
        """Take what other collectors committed; the ledger has it already."""
        for claim in claims:
            known = self._by_run.get(claim.key.run, {}).get(claim.key)
            if known is not None:
                counts = known.counts.joined(claim.counts)
                claim = Claim(claim.key, counts, max(known.sequence, claim.sequence))
            if claim != known:
                self._keep(claim)

    def merge(self, claim: Claim) -> str:
        """Merge one claim; returns why it was not taken, else an empty text."""
        known = self._by_run.get(claim.key.run, {}).get(claim.key)
        if known is None:
            reason = self._refusal(claim.key.run)
            if reason:
                self.refused_count += 1
                return reason
        else:
            counts = known.counts.joined(claim.counts)
            if counts == known.counts:
                return ""
            claim = Claim(claim.key, counts, max(known.sequence, claim.sequence))
        self._keep(claim)
        self._uncommitted[claim.key] = claim
        if self.on_change is not None:
            self.on_change(claim.key)
        return ""

    def all(self) -> Iterator[Claim]:
        """Every register."""
        for of_run in self._by_run.values():
            yield from of_run.values()

    def get(self, key: ClaimKey) -> Claim:
        """The register of a key.

        Raises:
            KeyError: there is none.
        """
        return self._by_run[key.run][key]

    @property
    def uncommitted(self) -> bool:
        """Whether anything changed that no commit was given yet."""
        return bool(self._uncommitted)

    def take_uncommitted(self) -> tuple[Claim, ...]:
        """What changed since the last call, for one commit."""
        taken = tuple(self._uncommitted.values())
        self._uncommitted = {}
        return taken

    def take_changed(self) -> Mapping[str, tuple[Claim, ...]]:
        """All claims of each run of which one changed since the last call: a copy."""
        changed, self._changed = self._changed, set()
        return {run: tuple(self._by_run[run].values()) for run in sorted(changed)}

    def _keep(self, claim: Claim) -> None:
        of_run = self._by_run.setdefault(claim.key.run, {})
        self._count += claim.key not in of_run
        of_run[claim.key] = claim
        self._changed.add(claim.key.run)

    def _refusal(self, run: str) -> str:
        if self._count >= MAXIMUM_CLAIMS:
            return f"this collector keeps {MAXIMUM_CLAIMS} claims and no more; find who claims so"
        if len(self._by_run.get(run, ())) >= MAXIMUM_CLAIMS_PER_RUN:
            return (
                f"run {run} has {MAXIMUM_CLAIMS_PER_RUN} claims already; claim with scope global, "
                "from one process a node"
            )
        return ""
