"""Matrix instructions of the older family, mma.sync, without memory: the other peak of Hopper.

Owns: the kernel's text, its launch and its FLOP.
May touch: the device through the torch it is handed, which compiles the kernel with NVRTC.
Called by workloads.table.

Formula: one mma.sync.m16n8k16 of a warp is 2 x 16 x 8 x 16 = 4096 FLOP (PTX ISA, "Warp Level
Matrix Instructions"). Nothing else multiplies matrices in the kernel, so the count is exact. The
kernel is plain CUDA with PTX inside: no header and no compiler beside torch's own is needed.
"""

from __future__ import annotations

from typing import Any

from flopmeter.lab.workloads.base import CannotRunError, Prepared, Torch

FLOP_PER_INSTRUCTION = 2 * 16 * 8 * 16
CHAINS = 4
"""Instructions of a warp that do not wait for each other."""
LOOPS = 4_096
WARPS_PER_BLOCK = 8
BLOCKS_PER_SM = 2

_WARP = 32

_FP32 = (
    "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
    "{%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
)
_FP16 = "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1},{%2,%3,%4,%5},{%6,%7},{%0,%1};"


def kernel_source(*, fp16_accumulate: bool) -> str:
    """The kernel `mma_loop(out, loops)`: every warp issues `loops` x `CHAINS` instructions."""
    kind, count, letter = ("unsigned", 2, "r") if fp16_accumulate else ("float", 4, "f")
    text = _FP16 if fp16_accumulate else _FP32
    outputs = ",".join(f'"+{letter}"(d[c][{place}])' for place in range(count))
    return f"""
extern "C" __global__ void mma_loop(float* out, int loops) {{
    unsigned a = 0x3c003c00u + threadIdx.x, b = 0x2e662e66u;
    {kind} d[{CHAINS}][{count}];
    for (int c = 0; c < {CHAINS}; c++)
        for (int i = 0; i < {count}; i++) d[c][i] = ({kind})0;
    for (int l = 0; l < loops; l++) {{
        #pragma unroll
        for (int c = 0; c < {CHAINS}; c++)
            asm volatile("{text}"
                : {outputs} : "r"(a), "r"(a), "r"(a), "r"(a), "r"(b), "r"(b));
    }}
    float sum = 0;
    for (int c = 0; c < {CHAINS}; c++)
        for (int i = 0; i < {count}; i++) sum += (float)d[c][i];
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}}
"""


def flop_of_launch(block_count: int) -> int:
    """FLOP of one launch."""
    return block_count * WARPS_PER_BLOCK * LOOPS * CHAINS * FLOP_PER_INSTRUCTION


def mma_sync(torch: Torch, device: str, *, fp16_accumulate: bool = False) -> Prepared:
    """FP16 products in registers, added up in FP32 or FP16."""
    compile_kernel = getattr(torch.cuda, "_compile_kernel", None)
    if compile_kernel is None:
        raise CannotRunError("this torch cannot compile a kernel by itself (2.9 and newer can)")
    try:
        kernel: Any = compile_kernel(kernel_source(fp16_accumulate=fp16_accumulate), "mma_loop")
    except Exception as error:  # whatever the compiler says is the reason it is not run
        raise CannotRunError(f"the mma.sync kernel was not compiled: {error}") from error
    blocks = torch.cuda.get_device_properties(device).multi_processor_count * BLOCKS_PER_SM
    threads = WARPS_PER_BLOCK * _WARP
    out = torch.empty(blocks * threads, device=device, dtype=torch.float32)

    def step() -> object:
        return kernel(grid=(blocks, 1, 1), block=(threads, 1, 1), args=[out, LOOPS])

    flop = flop_of_launch(blocks)
    return Prepared(
        step=step,
        flop_model=flop,
        flop_issued=flop,
        source="4096 FLOP an mma.sync.m16n8k16 of a warp (PTX ISA), times instructions issued",
    )
