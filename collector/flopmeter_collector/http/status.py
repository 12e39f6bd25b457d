"""The collector's Prometheus families about itself: what came in, alerts.

Owns: the metric names of the collector.
May touch: nothing; pure functions of an immutable status.
Called by http.metrics; the collector's app makes the status. docs/metrics.md lists the families.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flopmeter_collector.http.nodes import Reported
from flopmeter_collector.http.relay import RelayStatus
from flopmeter_core.kernels.render import Family, decimal


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What the collector knows of itself; counts since its start.

    Attributes:
        version: the program's version.
        nodes: by name, and with them when each last reported; the collector's own, which grow.
        report_count: reports taken.
        acknowledged_vector_count, refused_vector_count: register vectors answered so.
        over_limit_vector_count: vectors refused because their node has too many registers.
        held_back_report_count: reports after which a node had to wait for its share.
        refused_stream_count: streams not let in.
        open_stream_count: streams open now.
        register_count: keys held now, those that a start has not read yet included.
        unread_register_count: those.
        forked_register_count: keys with two histories; None until all are read.
        quarantined_vector_count: vectors quarantined, repetitions included.
        quarantined_register_count: keys in quarantine that wait for a person.
        quarantined_flop: most likely FLOP of those as they were sent.
        quarantine_overflow_count: vectors refused because the quarantine was full.
        exports_totals: whether the totals of the fleet are among these families.
        commit_count: group commits.
        refused_declaration_count: declarations set aside as unreadable.
        pending_alert_count: transitions no receiver accepted yet.
        delivered_alert_count, failed_alert_count: deliveries that worked, attempts that did not.
        claim_count: claim registers held now.
        refused_claim_count: claims this collector would not take.
        law_read_ns: Unix time in ns at which the law in use was read; 0 where none is.
        law_refused: whether newer files of the law are wrong and not used.
        relay: what a relay says of itself; None where there is no upstream collector.
    """

    version: str = ""
    nodes: Mapping[str, Reported] = field(default_factory=dict)
    report_count: int = 0
    acknowledged_vector_count: int = 0
    refused_vector_count: int = 0
    over_limit_vector_count: int = 0
    held_back_report_count: int = 0
    refused_stream_count: int = 0
    open_stream_count: int = 0
    register_count: int = 0
    unread_register_count: int = 0
    forked_register_count: int | None = 0
    quarantined_vector_count: int = 0
    quarantined_register_count: int = 0
    quarantined_flop: int = 0
    quarantine_overflow_count: int = 0
    exports_totals: bool = True
    commit_count: int = 0
    refused_declaration_count: int = 0
    pending_alert_count: int = 0
    delivered_alert_count: int = 0
    failed_alert_count: int = 0
    claim_count: int = 0
    refused_claim_count: int = 0
    law_read_ns: int = 0
    law_refused: bool = False
    relay: RelayStatus | None = None


def service_families(status: ServiceStatus) -> Iterator[Family]:
    """What came in, what became of it, and the alerts."""
    yield Family(
        "flopmeter_exports_totals",
        "gauge",
        "1 where this collector exports the fleet's totals; of a ledger's collectors one does.",
        [("", str(int(status.exports_totals)))],
    )
    yield Family(
        "flopmeter_law_read_timestamp_seconds",
        "gauge",
        "Unix time at which the law in use was read.",
        [("", decimal(status.law_read_ns, digits=9))] if status.law_read_ns else [],
    )
    for kind, table in (("counter", _counters(status)), ("gauge", _gauges(status))):
        for name, (help_text, amount) in table.items():
            samples = [] if amount is None else [("", str(amount))]
            yield Family(f"flopmeter_{name}", kind, help_text, samples)


def _counters(status: ServiceStatus) -> dict[str, tuple[str, int | None]]:
    return {
        "reports_total": ("Reports taken.", status.report_count),
        "vectors_acknowledged_total": (
            "Register vectors acknowledged after their commit.",
            status.acknowledged_vector_count,
        ),
        "vectors_refused_total": (
            "Register vectors refused, each with its reason to the sender.",
            status.refused_vector_count,
        ),
        "collector_quarantined_vectors_total": (
            "Register vectors kept apart because they cannot be true, repetitions included.",
            status.quarantined_vector_count,
        ),
        "collector_quarantine_overflow_total": (
            "Vectors refused because too many of their node are in quarantine.",
            status.quarantine_overflow_count,
        ),
        "vectors_over_limit_total": (
            "Of the vectors refused those whose node has too many registers or users.",
            status.over_limit_vector_count,
        ),
        "reports_held_back_total": (
            "Reports after which a node had to wait because it sends more than its share.",
            status.held_back_report_count,
        ),
        "streams_refused_total": ("Streams not let in.", status.refused_stream_count),
        "commits_total": ("Group commits of the ledger.", status.commit_count),
        "declarations_refused_total": (
            "Declarations set aside as unreadable.",
            status.refused_declaration_count,
        ),
        "alerts_delivered_total": (
            "Alerts a receiver accepted.",
            status.delivered_alert_count,
        ),
        "alert_failures_total": (
            "Attempts to deliver alerts that failed.",
            status.failed_alert_count,
        ),
        "collector_claims_refused_total": (
            "Claims of training processes this collector would not take.",
            status.refused_claim_count,
        ),
    }


def _gauges(status: ServiceStatus) -> dict[str, tuple[str, int | None]]:
    return {
        "open_streams": ("Streams open now.", status.open_stream_count),
        "registers": ("Register keys held.", status.register_count),
        "registers_unread": (
            "Of those, registers that a start has not read yet; no total is shown meanwhile.",
            status.unread_register_count,
        ),
        "claims": ("Claim registers held.", status.claim_count),
        "collector_quarantined_registers": (
            "Register keys in quarantine that wait for a person; no figure but this counts them.",
            status.quarantined_register_count,
        ),
        "forked_registers": (
            "Register keys with two contradicting histories.",
            status.forked_register_count,
        ),
        "law_refused": (
            "1 while newer files of the law are wrong and those that were read before hold.",
            int(status.law_refused),
        ),
        "alerts_pending": (
            "Transitions no receiver accepted yet.",
            status.pending_alert_count,
        ),
    }
