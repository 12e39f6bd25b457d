"""The container's health probe: is the daemon in this container doing its work?

Owns: what `healthy` means for a collector (ready to take and commit reports) and for an agent
(its own metrics answer; with --connected also: its stream to the collector is open).
May touch: HTTP on this container's loopback; nothing is written.
Called by the image's HEALTHCHECK and by docker-compose.yml; needs no shell and no package.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

COLLECTOR_URL = "http://127.0.0.1:8426/readyz"
AGENT_URL = "http://127.0.0.1:8427/metrics"
TIMEOUT_S = 3.0


def main(arguments: list[str]) -> int:
    """Probe the collector, the agent, or whichever of the two is here.

    Args:
        arguments: `collector`, `agent` or nothing; `--connected` with `agent` also asks for an
            open stream.

    Returns:
        0 when healthy, 1 when not: the two answers a container engine knows.
    """
    wanted = [argument for argument in arguments if argument != "--connected"]
    if wanted in ([], ["collector"]) and answer(COLLECTOR_URL) is not None:
        return 0
    if wanted in ([], ["agent"]):
        page = answer(AGENT_URL)
        if page is not None:
            return 0 if "--connected" not in arguments or connected(page) else 1
    return 1


def answer(url: str) -> str | None:
    """The body of a page that answers 200, or None."""
    # No proxy: the probe never leaves the container.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            return str(response.read().decode("utf-8"))
    except (OSError, ValueError, urllib.error.URLError):
        return None


def connected(page: str) -> bool:
    """Whether an agent's metrics say that its stream to the collector is open."""
    _, _, after = page.partition("\nflopmeter_collector_connected ")
    return float(after.partition("\n")[0] or 0) == 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
