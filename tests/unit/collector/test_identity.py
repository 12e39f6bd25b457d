"""Which names a certificate lets its holder use."""

from __future__ import annotations

import pytest

from flopmeter_collector.identity import Identities
from flopmeter_core.errors import NotPermittedError

AUTH = {
    "x509_common_name": [b"node-1"],
    "x509_subject_alternative_name": [b"node-1.example", b"site-1"],
    "transport_security_type": [b"node-3"],
}


def test_names_of_a_certificate() -> None:
    """Common and alternative names stand for the holder, whole; other properties do not."""
    holder = Identities(bound=True).holder(AUTH)
    assert holder.refusal("node-1") == holder.refusal("node-1.example") == ""
    for other in ("node-2", "node-3", "node", "node-1.exampl", ""):
        assert "of node-1 or node-1.example or site-1;" in holder.refusal(other)
        with pytest.raises(NotPermittedError):
            holder.check_node(other)


def test_no_certificate_has_no_name() -> None:
    """Where names are bound, a call without a certificate may use none."""
    assert "certificate of no name" in Identities(bound=True).holder({}).refusal("node-1")


def test_who_forwards() -> None:
    """A holder forwards where any of its names was named."""
    Identities(bound=True, relays=["site-1"]).holder(AUTH).check_relay("r")
    with pytest.raises(NotPermittedError, match="setting relays"):
        Identities(bound=True, relays=["site-2"]).holder(AUTH).check_relay("r")


def test_unbound() -> None:
    """Where names are labels, everybody may use any and forward."""
    holder = Identities().holder(AUTH)
    assert holder.refusal("node-2") == ""
    holder.check_relay("r")
