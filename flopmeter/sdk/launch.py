"""What a launcher says of this process: its run, rank and attempt.

Owns: which variables of the environment are read, and in which order.
May touch: the environment, reading; the process' id and clock where no launcher speaks; the log,
once, where restarts cannot be told apart.
Called by meter. Nothing here raises or waits.

An attempt has to be the same text in all processes of one start, and another one at the next
start. Sources: torch/distributed/elastic/agent/server/api.py and run.py (PyTorch 2.13); the
OUTPUT ENVIRONMENT VARIABLES of srun(1); Open MPI 5 and PMIx 4 (a namespace a launch); the
environment of HPE PALS, Cray ALPS and Flux (an application id a launch).
"""

from __future__ import annotations

import os
import time

RUN_VARIABLE = "FLOPMETER_RUN"
ATTEMPT_VARIABLE = "FLOPMETER_ATTEMPT"
LABEL_VARIABLES = {
    "model": "FLOPMETER_MODEL",
    "activity": "FLOPMETER_ACTIVITY",
    "format": "FLOPMETER_FORMAT",
}
"""What `flopmeter exec` was told of the run, for the claims of the command."""

_RANKS = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("PALS_RANKID", "PALS_SIZE"),
    ("ALPS_APP_PE", ""),
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
)
"""Of each launcher the rank and the number of ranks."""

_LAUNCH_IDS = ("PALS_APID", "ALPS_APP_ID", "FLUX_JOB_ID")
"""Drawn anew at each launch, common to all of its ranks."""

_SLURM_OF_PMIX = "slurm.pmix"
_NO_RUN_ID = ("", "none")
"""torchrun's run id where several nodes were started without --rdzv-id."""

_LONGEST_ATTEMPT = 100

_ADVICE = (
    "flopmeter cannot tell a restart of this run from its first start, so replayed steps would "
    "count once: set FLOPMETER_ATTEMPT, or meter(attempt=...), to a text that is the same on all "
    "ranks and another one at each start"
)
_said = False


def run() -> str:
    """The run this process works for; empty leaves it to the agent's own setting."""
    return os.environ.get(RUN_VARIABLE, "")


def label(name: str) -> str:
    """What ``flopmeter exec`` was told under a name; empty where nothing was."""
    return os.environ.get(LABEL_VARIABLES[name], "")


def rank() -> int:
    """This process' rank among all of the run; 0 where no launcher says one."""
    for name, _ in _RANKS:
        found = _number(name)
        if found is not None:
            return found
    return 0


def attempt() -> str:
    """One start of the run, the same in all of its processes.

    Without a launcher, or alone in its world, every process is an attempt of its own. Where a
    launcher of several ranks names nothing that changes at a restart, all starts look alike, and
    rank 0 says once what to set.
    """
    said = os.environ.get(ATTEMPT_VARIABLE, "")
    if said:
        return said
    parts, certain = _launch()
    if not certain and _alone():
        return f"{time.time_ns() // 1_000_000_000}.{os.getpid()}"
    if not certain:
        _advise()
    return ".".join(parts)[:_LONGEST_ATTEMPT] or "0"


def _launch() -> tuple[list[str], bool]:
    """What names this launch, and whether the next one is sure to be named otherwise."""
    parts = []
    certain = False
    job = os.environ.get("SLURM_JOB_ID")
    if job:
        parts += [job, *_given("SLURM_RESTART_COUNT"), *_slurm_step()]
        certain = True
    ids = list(_given(*_LAUNCH_IDS))
    namespace = os.environ.get("PMIX_NAMESPACE", "")
    if namespace and not namespace.startswith(_SLURM_OF_PMIX):  # that is the job and step
        ids.append(namespace)
    torchrun = os.environ.get("TORCHELASTIC_RUN_ID")
    if torchrun is not None:
        if torchrun not in _NO_RUN_ID:
            ids.append(torchrun)
        certain = certain or bool(ids)
        if _number("GROUP_WORLD_SIZE") in (None, 1):
            return [*parts, *ids, *_given("TORCHELASTIC_RESTART_COUNT")], certain
        # Each node counts the failures of its own workers only, so the counts of one start differ.
        return [*parts, *ids], certain and not _number("TORCHELASTIC_MAX_RESTARTS")
    return [*parts, *ids], certain or bool(ids)


def _slurm_step() -> list[str]:
    """Slurm's step, where all ranks are in it; a script may start one step a node."""
    world = _number("WORLD_SIZE")
    tasks, nodes = _number("SLURM_STEP_NUM_TASKS"), _number("SLURM_STEP_NUM_NODES")
    by_node = (nodes or 0) * (_number("LOCAL_WORLD_SIZE") or 0)
    whole = world is None or world in (tasks, by_node)
    return _given("SLURM_STEP_ID") if whole else []


def _alone() -> bool:
    """Whether no launcher speaks, or says that this is the only rank."""
    for name, world in _RANKS:
        if _number(name) is not None:
            return _number(world) == 1
    return True


def _advise() -> None:
    global _said
    if not _said and rank() == 0:
        _said = True
        import logging  # here, because `flopmeter exec` has no time for it

        logging.getLogger("flopmeter").warning(_ADVICE)


def _given(*names: str) -> list[str]:
    return [os.environ[name] for name in names if os.environ.get(name)]


def _number(name: str) -> int | None:
    text = os.environ.get(name, "") if name else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
