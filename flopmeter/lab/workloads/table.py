"""The suite: every workload, explicitly, in the order it runs in.

Owns: the list, its sizes and what each workload would declare.
May touch: nothing.
Called by lab.calibrate.
"""

from __future__ import annotations

from functools import partial

from flopmeter.lab.workloads.attention import attention
from flopmeter.lab.workloads.base import Spec
from flopmeter.lab.workloads.gpt import SMALL, declared_mix, gpt_step
from flopmeter.lab.workloads.matmul import matmul, matmul_fp8, matmul_int8
from flopmeter.lab.workloads.mma import mma_sync
from flopmeter.lab.workloads.plain import copy, elementwise, idle

ON_TILE, OFF_TILE, TINY = 8_192, 8_193, 512

_GIGA = 1 << 30
_half = partial(matmul, dtype="float16")
_brain = partial(matmul, dtype="bfloat16")
_single = partial(matmul, dtype="float32")
_attend = partial(attention, batch=8, heads=16, length=4_096, width=128)


def _format(name: str) -> dict[str, str]:
    return {"format": f"{name}=1"}


SUITE: tuple[Spec, ...] = (
    Spec("idle", "idle", idle, quick=True),
    Spec("fp64-8192", "matmul", partial(matmul, size=ON_TILE, dtype="float64"), _format("fp64")),
    Spec("fp32-8192", "vector", partial(_single, size=ON_TILE)),
    Spec("tf32-8192", "matmul", partial(_single, size=ON_TILE, tf32=True), _format("tf32")),
    Spec("bf16-8192", "matmul", partial(_brain, size=ON_TILE), _format("bf16"), quick=True),
    Spec("bf16-8193", "off-tile", partial(_brain, size=OFF_TILE), _format("bf16")),
    Spec("bf16-512", "small", partial(_brain, size=TINY), _format("bf16")),
    Spec("fp16-8192", "matmul", partial(_half, size=ON_TILE), _format("fp16")),
    Spec(
        "fp16-8192-accumulate-fp16",
        "matmul",
        partial(_half, size=ON_TILE, fp16_accumulate=True),
        _format("fp16"),
    ),
    Spec("fp8-8192", "matmul", partial(matmul_fp8, size=ON_TILE), _format("fp8"), quick=True),
    Spec("int8-8192", "integer", partial(matmul_int8, size=ON_TILE)),
    Spec("mma-sync-fp16", "mma-sync", mma_sync, _format("fp16"), quick=True),
    Spec(
        "mma-sync-fp16-accumulate-fp16",
        "mma-sync",
        partial(mma_sync, fp16_accumulate=True),
        _format("fp16"),
    ),
    Spec("attention-forward", "attention", partial(_attend, backward=False), _format("bf16")),
    Spec("attention-backward", "attention", partial(_attend, backward=True), _format("bf16")),
    Spec(
        "gpt-bf16",
        "training",
        gpt_step,
        {"format": "bf16=1", "workload": "dense-transformer"},
        quick=True,
    ),
    Spec(
        "gpt-fp8",
        "training",
        partial(gpt_step, fp8=True),
        {"format": declared_mix(SMALL), "workload": "dense-transformer"},
    ),
    Spec("elementwise", "vector", partial(elementwise, count=_GIGA // 2)),
    Spec("copy", "memory", partial(copy, count=4 * _GIGA), quick=True),
)
"""Names are unique; the quick suite is what has `quick`."""


def suite(name: str) -> tuple[Spec, ...]:
    """The workloads of ``all`` or ``quick``."""
    return tuple(spec for spec in SUITE if name == "all" or spec.quick)
