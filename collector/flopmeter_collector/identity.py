"""Who a sender is: its node's name held against the names in its certificate.

Owns: which names a certificate stands for, who may forward for others, and the sentences.
May touch: nothing; what gRPC verified of the certificate comes with each call.
Called by the collector's service before anything of a stream is merged.
Explained in docs/security.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flopmeter_core.devices import DeviceRecord
from flopmeter_core.errors import NotPermittedError

_NAMES = ("x509_common_name", "x509_subject_alternative_name")
"""Properties of a verified certificate, as gRPC calls them."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the certificate a call was made with.

    Attributes:
        names: what its certificate calls it; None where names are labels that anybody may use.
        forwards: whether it may report for nodes of other names.
    """

    names: frozenset[str] | None = None
    forwards: bool = True

    def check_node(self, node: str) -> None:
        """Refuse an agent that is not the node it says it is.

        Raises:
            NotPermittedError: its certificate has another name.
        """
        reason = self.refusal(node)
        if reason:
            raise NotPermittedError(reason)

    def check_relay(self, relay: str) -> None:
        """Refuse a relay that was not named to this collector.

        Raises:
            NotPermittedError: none of its certificate's names is among `relays`.
        """
        if not self.forwards:
            raise NotPermittedError(
                f"relay {relay} shows a certificate of {self._shown()}, which may not report for "
                "other nodes; name it in the setting relays of this collector"
            )

    def refusal(self, node: str) -> str:
        """Why a node's readings are not taken from this holder; empty when they are."""
        if self.names is None or node in self.names:
            return ""
        return (
            f"node {node} shows a certificate of {self._shown()}; give the agent the name in its "
            "certificate with --node, or a certificate in its name"
        )

    def strangers(self, records: Iterable[DeviceRecord]) -> dict[str, str]:
        """Of these records those whose readings are not taken from this holder: why not, by id."""
        if self.names is None:
            return {}
        reasons = {record.record_id: self.refusal(record.node) for record in records}
        return {name: reason for name, reason in reasons.items() if reason}

    def _shown(self) -> str:
        return " or ".join(sorted(self.names or ())) or "no name"


class Identities:
    """Tells who made a call."""

    def __init__(self, *, bound: bool = False, relays: Iterable[str] = ()) -> None:
        """Prepare.

        Args:
            bound: whether nodes are held to the names in their certificates.
            relays: names of certificates whose holders forward for others, where `bound`.
        """
        self._bound = bound
        self._relays = frozenset(relays)

    def holder(self, auth: Mapping[str, Iterable[bytes]]) -> Holder:
        """Who holds a certificate.

        Args:
            auth: the authenticated properties of a call; empty where none was shown.
        """
        if not self._bound:
            return Holder()
        found = (raw for name in _NAMES for raw in auth.get(name, ()))
        names = frozenset(raw.decode("utf-8", "replace") for raw in found)
        return Holder(names, forwards=bool(names & self._relays))
