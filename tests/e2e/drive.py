"""The end-to-end run: everything up, every check, everything down.

Owns: the order, the output, and the exit status.
May touch: what e2e.engine and e2e.checks touch; build/e2e.
Called by tests/e2e/run, in namespaces of its own; `make e2e`.
"""

from __future__ import annotations

import subprocess
import time

import yaml

from e2e import checks, engine
from support.requirements import ROOT


def write_alertmanager() -> None:
    """Give each receiver of the shipped Alertmanager file a destination; nothing else changes."""
    shipped = yaml.safe_load((ROOT / "deploy/alertmanager/alertmanager.yml").read_text())
    for receiver in shipped["receivers"]:
        receiver["webhook_configs"] = [{"url": f"http://webhook:9095/{receiver['name']}"}]
    folder = ROOT / "build/e2e/alertmanager"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(shipped))


def show_logs() -> None:
    """Print the last lines of every container, for whoever looks for the reason."""
    for name, container in engine.containers().items():
        logs = subprocess.run(
            ["podman", "logs", "--tail", "15", container], capture_output=True, text=True
        )
        print(f"--- {name}\n{logs.stdout}{logs.stderr}", flush=True)


def main() -> int:
    """Run it.

    Returns:
        0 when every check held and nothing was left, 1 otherwise.
    """
    write_alertmanager()
    started_s = time.monotonic()
    try:
        with engine.service():
            print(f"images: {checks.images()}", flush=True)
            with engine.probing(), engine.project():
                print(f"up after {time.monotonic() - started_s:.0f} s", flush=True)
                try:
                    for check in checks.CHECKS:
                        print(f"ok {check.__name__}: {check()}", flush=True)
                except AssertionError:
                    show_logs()
                    raise
            print("ok torn down: no container, volume or network left", flush=True)
    except AssertionError as error:
        print(f"FAILED: {error}", flush=True)
        return 1
    took_s = time.monotonic() - started_s
    print(f"e2e passed: {len(checks.CHECKS) + 1} checks in {took_s:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
