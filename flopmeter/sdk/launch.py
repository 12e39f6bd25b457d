"""What a launcher says of this process: its run, rank and attempt.

Owns: which variables of the environment are read, and in which order.
May touch: the environment, reading; the process' id and clock where no launcher speaks.
Called by meter. Slurm, torchrun and Open MPI are understood; whoever starts processes another
way passes rank and attempt himself (docs/sdk.md).
"""

from __future__ import annotations

import os
import time

RUN_VARIABLE = "FLOPMETER_RUN"
ATTEMPT_VARIABLE = "FLOPMETER_ATTEMPT"

_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_STARTS = (
    "SLURM_JOB_ID",
    "SLURM_RESTART_COUNT",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
)


def run() -> str:
    """The run this process works for; empty leaves it to the agent's own setting."""
    return os.environ.get(RUN_VARIABLE, "")


def rank() -> int:
    """This process' rank among all of the run; 0 where no launcher says one."""
    for name in _RANKS:
        text = os.environ.get(name, "")
        if text.isascii() and text.isdigit():
            return int(text)
    return 0


def attempt() -> str:
    """One start of the run, the same in all of its processes.

    Without a launcher every process is an attempt of its own. With one that names ranks and no
    attempt all starts look alike, and a restart's replayed steps cannot be told from the first
    ones.
    """
    said = os.environ.get(ATTEMPT_VARIABLE, "")
    if said:
        return said
    parts = [os.environ[name] for name in _STARTS if os.environ.get(name)]
    if parts:
        return ".".join(parts)[:100]
    if any(name in os.environ for name in _RANKS):
        return "0"
    return f"{time.time_ns() // 1_000_000_000}.{os.getpid()}"
