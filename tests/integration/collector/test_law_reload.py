"""A collector process reads the law again on SIGHUP, and goes on when a file is wrong."""

from __future__ import annotations

import signal
import time
import urllib.request
from pathlib import Path

from support.collector import Child, child
from support.own_law import ROW_ID, own_law

LIMIT_S = 60.0


def _waited(process: Child, path: str, words: str) -> str:
    """What a path says once these words stand in it."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        text: str = urllib.request.urlopen(f"http://{process.http}{path}").read().decode()
        if words in text:
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


def test_sighup_reads_the_law_again(tmp_path: Path) -> None:
    """The new value is used without a restart; a wrong file is told and the old value stays."""
    folder = own_law(tmp_path, value="10^20")
    flags = ("--thresholds-dir", str(folder), "--http-listen", "127.0.0.1:0")
    with child(tmp_path / "ledger.db", *flags) as collector:
        value = 'flopmeter_threshold_compute_flop{threshold="board-line"'
        assert f'{value},jurisdiction="our company"}} {10**20}\n' in _waited(
            collector, "/metrics", "flopmeter_law_refused 0"
        )
        own_law(tmp_path, value="3*10^20")
        collector.process.send_signal(signal.SIGHUP)
        _waited(collector, "/metrics", f'{value},jurisdiction="our company"}} {3 * 10**20}\n')
        (folder / "board-line.toml").write_text("id = ")
        collector.process.send_signal(signal.SIGHUP)
        text = _waited(collector, "/metrics", "flopmeter_law_refused 1")
        assert f"{3 * 10**20}\n" in text and ROW_ID in text
        assert "board-line.toml" in _waited(collector, "/", "are not used")
        own_law(tmp_path, value="4*10^20")
        collector.process.send_signal(signal.SIGHUP)
        _waited(collector, "/metrics", f'{value},jurisdiction="our company"}} {4 * 10**20}\n')
        assert collector.process.poll() is None
