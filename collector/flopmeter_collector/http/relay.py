"""The Prometheus families of a relay: the upstream collector, and what it does not have yet.

Owns: their names and help texts.
May touch: nothing; pure functions of an immutable status.
Called by http.metrics; relay.wiring makes the status. docs/metrics.md lists the families.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flopmeter_core.kernels.render import Family


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """What a relay says of itself.

    Attributes:
        connected: whether the upstream collector answers.
        refused: whether it refuses this relay, so that a person has to act.
        last_error: why, or why it cannot be reached; empty when all is well.
        backlog_keys: register keys of which the root may lack something.
        backlog_age_s: since when, in seconds of this process' life.
        refused_keys: keys whose newest vector the upstream collector does not count.
        reconnections, batches, vectors, losses: how often since the start.
    """

    connected: bool = False
    refused: bool = False
    last_error: str = ""
    backlog_keys: int = 0
    backlog_age_s: float = 0.0
    refused_keys: int = 0
    reconnections: int = 0
    batches: int = 0
    vectors: int = 0
    losses: int = 0


def relay_families(relay: RelayStatus | None) -> Iterator[Family]:
    """Nothing where the collector is no relay."""
    if relay is None:
        return
    gauges: dict[str, tuple[str, str]] = {
        "site_view": ("1: the totals here are those of one site.", "1"),
        "relay_upstream_connected": (
            "1 while the upstream collector answers.",
            str(int(relay.connected)),
        ),
        "relay_upstream_refused": (
            "1 while the upstream collector refuses this relay; a person has to act.",
            str(int(relay.refused)),
        ),
        "relay_backlog_registers": (
            "Register keys of which the root may lack something.",
            str(relay.backlog_keys),
        ),
        "relay_backlog_age_seconds": (
            "How long ago the oldest change came that the root may lack.",
            f"{relay.backlog_age_s:.3f}",
        ),
        "relay_uncounted_registers": (
            "Register keys counted here that the upstream collector does not count.",
            str(relay.refused_keys),
        ),
    }
    counters: dict[str, tuple[str, int]] = {
        "relay_batches_total": ("Batches sent upstream.", relay.batches),
        "relay_vectors_total": ("Register vectors sent upstream.", relay.vectors),
        "relay_reconnections_total": ("Streams upstream that ended.", relay.reconnections),
        "relay_upstream_losses_total": (
            "Times the upstream ledger was another one, or had gone back.",
            relay.losses,
        ),
    }
    for name, (help_text, text) in gauges.items():
        yield Family(f"flopmeter_{name}", "gauge", help_text, [("", text)])
    for name, (help_text, amount) in counters.items():
        yield Family(f"flopmeter_{name}", "counter", help_text, [("", str(amount))])
