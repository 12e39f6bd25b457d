"""A collector as a process: serves until it is asked to stop, reads the law again when told to.

Owns: the signals of a serving collector, and the order in which it ends.
May touch: the process's signal handlers and log; all else is the app's.
Called by the command line. Explained in docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import functools

from flopmeter_collector.app import CollectorApp
from flopmeter_collector.config import CollectorConfig
from flopmeter_collector.interpreter import Cycles, prefer_answers
from flopmeter_collector.server import GrpcServer
from flopmeter_proto.daemon import logs, signals
from flopmeter_proto.daemon.clock import SystemClock


def run(config: CollectorConfig) -> int:
    """Be a collector until SIGTERM or SIGINT.

    Returns:
        0 after an orderly stop.

    Raises:
        FlopmeterError: with the documented exit code.
    """
    logs.configure(config.log_level)
    prefer_answers()
    cycles = Cycles()
    listen = functools.partial(GrpcServer, opened=cycles.made)
    asyncio.run(_serve(CollectorApp(config, SystemClock(), listen=listen), cycles))
    return 0


async def _serve(app: CollectorApp, cycles: Cycles) -> None:
    with signals.async_stop_event() as stop, signals.on_hangup(app.law.ask):
        watching = asyncio.create_task(cycles.watch(), name="cycles")
        await app.start()
        stopped = asyncio.create_task(stop.wait())
        failed = asyncio.create_task(app.wait_failed())
        try:
            await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            await app.stop()
            watching.cancel()
    if failed.done():
        raise failed.result()
    failed.cancel()
