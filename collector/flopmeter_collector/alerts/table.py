"""Whom alerts are told: one receiver for each address in the settings.

Owns: the explicit list of kinds of receivers.
May touch: the file of the webhooks' secret, reading.
Called by the collector's app.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flopmeter_collector.alerts.alertmanager import AlertmanagerReceiver
from flopmeter_collector.alerts.receivers import Receiver, check_receiver
from flopmeter_collector.alerts.webhook import WebhookReceiver
from flopmeter_core.errors import UsageError, unreadable

SHORTEST_SECRET = 16
"""Bytes; a shorter one could be guessed."""


def receivers_of(
    alertmanagers: Sequence[str],
    webhooks: Sequence[str],
    *,
    secret_file: Path | None,
    ledger_id: str,
    simulated: bool,
    allow_off_loopback: bool,
) -> list[Receiver]:
    """Make the receivers of the settings.

    Args:
        alertmanagers: addresses of Alertmanagers.
        webhooks: addresses of other endpoints.
        secret_file: what signs the webhooks' bodies; None leaves them unsigned.
        ledger_id: of the ledger whose alerts are told.
        simulated: whether that is simulated.
        allow_off_loopback: whether simulated alerts may leave this host.

    Raises:
        UsageError: an address that cannot be used, or is given twice; a secret that cannot be
            read or is too short.
        NotPermittedError: a simulated alert would leave this host.
    """
    for what, urls in (("Alertmanager", alertmanagers), ("webhook", webhooks)):
        for url in urls:
            check_receiver(
                url, what=what, simulated=simulated, allow_off_loopback=allow_off_loopback
            )
    both = [*alertmanagers, *webhooks]
    if len(set(both)) < len(both):
        raise UsageError("an address is given twice among alertmanager and webhooks; leave one out")
    secret = _secret(secret_file) if secret_file is not None else None
    return [
        *map(AlertmanagerReceiver, alertmanagers),
        *(WebhookReceiver(url, ledger_id=ledger_id, secret=secret) for url in webhooks),
    ]


def _secret(path: Path) -> bytes:
    try:
        secret = path.read_bytes().strip()
    except OSError as error:
        raise unreadable(f"webhook_secret {path}", error) from error
    if len(secret) < SHORTEST_SECRET:
        raise UsageError(
            f"webhook_secret {path} holds {len(secret)} bytes; put at least {SHORTEST_SECRET} "
            "random ones into it"
        )
    return secret
