"""Puts the allocation sources together as the settings ask, and keeps them until the agent stops.

Owns: which sources there are on this node, where they read, and what is said at the start.
May touch: the folders of run files and prolog files (making them), the kubelet's socket through
its source, the site key's file.
Called by app, which hands the table to the loop; docs/allocations.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from flopmeter_agent.allocations.base import Source
from flopmeter_agent.allocations.cgroup import CgroupSource
from flopmeter_agent.allocations.explicit import RUNS_FOLDER, ExplicitSource
from flopmeter_agent.allocations.slurm import ALLOC_FOLDER, SlurmSource
from flopmeter_agent.allocations.table import AllocationTable
from flopmeter_agent.config import AgentConfig
from flopmeter_agent.procfs import Processes
from flopmeter_agent.site_key import SiteKey, open_site_key
from flopmeter_agent.watching import Watcher
from flopmeter_core.errors import FlopmeterError
from flopmeter_proto.daemon.clock import Clock
from flopmeter_proto.daemon.logs import fields

logger = logging.getLogger(__name__)

AUTO = "auto"


@contextlib.contextmanager
def allocating(
    config: AgentConfig, clock: Clock, *, changed: Callable[[], object]
) -> Iterator[AllocationTable | None]:
    """Look for the users of devices until the block ends; yields the table.

    Whatever is wrong with a source is logged and stops that source only.

    Args:
        config: which sources, and where.
        clock: says how old what they know is.
        changed: told when something changed, so that a reading is taken at once.
    """
    with contextlib.ExitStack() as stack:
        try:
            key = open_site_key(config.site_key, config.state)
        except FlopmeterError as error:
            if config.site_key is not None:
                raise
            logger.error("no allocations are told apart", extra=fields(reason=str(error)))
            yield None
            return
        news = threading.Event()

        def noted() -> None:
            news.set()
            changed()

        processes = Processes(clock)
        made, folders = _sources(config, clock, key, processes, noted)
        explicit = made.get("exec")
        table = AllocationTable(
            [made[name] for name in config.allocations],
            processes,
            explicit if isinstance(explicit, ExplicitSource) else None,
        )
        stack.callback(table.close)
        watcher = Watcher(folders, noted)
        stack.callback(watcher.close)
        table.follow, table.news = watcher.follow, news
        table.quiet_clock, table.is_told = clock, lambda: watcher.sees_folders
        logger.info(
            "users of devices are told apart",
            extra=fields(sources=", ".join(config.allocations), folder=config.allocations_folder),
        )
        yield table


def _sources(
    config: AgentConfig,
    clock: Clock,
    key: SiteKey,
    processes: Processes,
    changed: Callable[[], object],
) -> tuple[dict[str, Source], list[Path]]:
    """The sources that are asked for by name, and the folders they read."""
    made: dict[str, Source] = {}
    folders: list[Path] = []
    if "exec" in config.allocations:
        folders.append(config.allocations_folder / RUNS_FOLDER)
        _make(folders[-1], 0o1777)
        made["exec"] = ExplicitSource(folders[-1], processes.user_of)
    if "slurm" in config.allocations:
        folders.append(config.allocations_folder / ALLOC_FOLDER)
        _make(folders[-1], 0o755)
        made["slurm"] = SlurmSource(folders[-1], config.cluster)
    if "kubernetes" in config.allocations:
        # Its messages are loaded here only.
        from flopmeter_agent.allocations.kubernetes import KubernetesSource

        socket = kubelet_socket(config.kubelet_socket)
        made["kubernetes"] = KubernetesSource(key, clock, socket=socket, changed=changed)
    if "cgroup" in config.allocations:
        made["cgroup"] = CgroupSource(key)
    return made, folders


def kubelet_socket(setting: str) -> Path | None:
    """The kubelet's socket; None where there is none or none is wanted."""
    from flopmeter_agent.allocations.kubernetes import KUBELET_SOCKET

    if setting != AUTO:
        return Path(setting) if setting else None
    # Not its existence alone: without the right to look into the folder nothing is seen of it.
    return KUBELET_SOCKET if os.access(KUBELET_SOCKET, os.R_OK | os.W_OK) else None


def _make(folder: Path, mode: int) -> None:
    """Make a folder that others write to, where its parent is there; else the source finds none."""
    try:
        folder.mkdir(mode=mode)
        folder.chmod(mode)  # whatever the umask
    except FileExistsError:
        pass
    except OSError as error:
        logger.info(
            "a folder for allocations cannot be made; it is looked for at each reading",
            extra=fields(folder=folder, reason=os.strerror(error.errno or 0)),
        )
