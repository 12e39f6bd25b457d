"""What each allocation source needs on this node, whether it has it, and what is lost without.

Owns: the findings of ``flopmeter doctor --agent``.
May touch: /proc, the folders of run files and prolog files, the kubelet's socket, the driver; all
reading, and asked once by a person, never by an agent at work.
Called by the command line as the user who runs it: run it as the agent's own user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from flopmeter_agent.allocations.base import Finding
from flopmeter_agent.allocations.explicit import RUNS_FOLDER
from flopmeter_agent.allocations.slurm import ALLOC_FOLDER, SlurmSource
from flopmeter_agent.config import AgentConfig
from flopmeter_agent.procfs import PROC

_INITIAL_PID_NAMESPACE = 0xEFFF_FFFC
_INITIAL_USER_NAMESPACE = 0xEFFF_FFFD
"""Inode numbers of the host's own namespaces (include/linux/proc_ns.h, PROC_*_INIT_INO)."""

_KUBELET_FOLDER = Path("/var/lib/kubelet")


def findings(config: AgentConfig, proc: Path = PROC) -> Iterator[Finding]:
    """Look at everything that tells users of devices apart.

    Args:
        config: the agent's settings.
        proc: where procfs is.
    """
    sight = sight_of_processes(proc)
    if config.run:
        yield Finding(
            "run",
            "nothing",
            True,
            f"every device works for run {config.run!r}",
            "no source is asked: users of one node are not told apart",
        )
        return
    if "exec" in config.allocations:
        yield _exec(config.allocations_folder / RUNS_FOLDER, sight)
    if "slurm" in config.allocations:
        yield _prolog(config)
    if "kubernetes" in config.allocations:
        yield _kubelet(config)
    yield Finding(
        "processes",
        "to see other users' processes in /proc: no hidepid, the host's PID namespace",
        not sight,
        sight or "processes of every user are in sight",
        "what was not stated of a device is none; runs are told only for stated jobs",
    )
    yield _driver()
    yield Finding(
        "site_key",
        "a file that the agent's user may read",
        True if config.site_key is not None else None,
        f"{config.site_key}" if config.site_key is not None else "the agent makes one of its own",
        "the same namespace or cgroup has another hash on each node",
    )


def sight_of_processes(proc: Path = PROC) -> str:
    """Why processes of other users cannot be seen; empty where they can."""
    reasons = []
    if _inode(proc / "self/ns/pid") not in (None, _INITIAL_PID_NAMESPACE):
        reasons.append("this is another PID namespace than the host's (in a pod: hostPID: true)")
    if _inode(proc / "self/ns/user") not in (None, _INITIAL_USER_NAMESPACE):
        reasons.append("this is a private user namespace (of a unit: PrivateUsers=no)")
    try:
        (proc / "1/stat").read_text(errors="replace")
        (proc / "1/cgroup").read_text(errors="replace")
    except FileNotFoundError:
        reasons.append(
            "processes of others are hidden (hidepid; of a unit: ProtectProc=default): give the "
            "agent the group of the mount option gid="
        )
    except OSError as error:
        reasons.append(f"processes of others cannot be read ({error.strerror})")
    return "; ".join(reasons)


def _exec(runs: Path, sight: str) -> Finding:
    if not runs.is_dir():
        found, has = f"{runs} is not there; the agent makes it at its start", None
    elif runs.stat().st_mode & 0o1777 != 0o1777:
        found, has = f"not every user may write to {runs}: chmod 1777 {runs}", False
    else:
        found, has = sight or f"{runs} is open to every user", not sight
    return Finding(
        "exec",
        f"the folder {runs} with mode 1777, and sight of processes",
        has,
        found,
        "runs that flopmeter exec names are told only for jobs that a prolog stated",
    )


def _prolog(config: AgentConfig) -> Finding:
    folder = config.allocations_folder / ALLOC_FOLDER
    source = SlurmSource(folder, config.cluster)
    source.look()
    stated = source.statements()
    has: bool | None = True if stated else None
    found = f"{len(stated)} device(s) have a job"
    if source.counters.problem:
        has, found = False, source.counters.problem
    elif not stated:
        found = f"no prolog has written to {folder} (no job now, or none is installed)"
    return Finding(
        "slurm",
        "a root prolog and epilog (deploy/slurm); the agent itself nothing",
        has,
        found,
        "a job has a device only while its processes are seen on it",
    )


def _kubelet(config: AgentConfig) -> Finding:
    from flopmeter_agent.allocating import AUTO
    from flopmeter_agent.allocations.kubernetes import KUBELET_SOCKET

    setting = config.kubelet_socket
    socket = KUBELET_SOCKET if setting == AUTO else Path(setting)
    has: bool | None
    if not setting:
        has, found = None, "kubelet_socket is empty: nobody is asked"
    elif os.access(socket, os.R_OK | os.W_OK):
        has, found = True, f"{socket} may be used"
    elif not _KUBELET_FOLDER.is_dir() and setting == AUTO:
        has, found = None, "no kubelet is on this node"
    else:
        has, found = False, f"{socket} may not be used by user {os.geteuid()}, or is not there"
    return Finding(
        "kubernetes",
        "user id 0, because root owns the kubelet's socket; no capability",
        has,
        found,
        "pods are told only by processes on a device",
    )


def _driver() -> Finding:
    needs = "nothing of its own; in MIG mode the driver tells each MIG device's"
    lost = "devices are only what was stated of them, and sharing is not noticed"
    try:
        import pynvml

        from flopmeter_agent.sensors.nvml.driver import (
            DriverError,
            Query,
            ask,
            close_driver,
            open_driver,
        )
        from flopmeter_agent.sensors.nvml.processes import ProcessList
    except ModuleNotFoundError as error:
        return Finding("driver", needs, None, f"the module {error.name} is not installed", lost)
    try:
        open_driver(None)
    except DriverError as error:
        return Finding("driver", needs, None, str(error), lost)
    try:
        count = ask(pynvml.nvmlDeviceGetCount)
        lists = []
        for place in range(count):
            handle = ask(pynvml.nvmlDeviceGetHandleByIndex, place)
            mode = Query(pynvml.nvmlDeviceGetMigMode, handle)()
            lists.append(ProcessList(handle).read(mig=bool(mode and mode[0])))
    except DriverError as error:
        return Finding("driver", needs, False, str(error), lost)
    finally:
        close_driver()
    told = [listed for listed in lists if listed is not None]
    found = f"{len(told)} of {count} device(s) tell their processes, {sum(map(len, told))} now"
    return Finding("driver", needs, len(told) == count, found, lost)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
