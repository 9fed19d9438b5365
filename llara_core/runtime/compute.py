"""How many threads compute, and with which instructions: on a CPU both decide the last bits of a result.

A sum is split among the threads, and so rounds differently for another number of them. Therefore no stage leaves the number to
the machine or to the environment: every stage computes with one thread, but for those that run the language model or a
recommender, which take ``llm.threads`` and ``recommenders.threads`` of ``params.yaml``. The number is part of the result,
whatever the number of cores.
"""

from __future__ import annotations

import os
import sys

from threadpoolctl import threadpool_limits

STAGE_THREADS = 1  # of every stage that runs neither

# Read by OpenMP, OpenBLAS and MKL when they are loaded, which may be after `use_threads`.
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def use_threads(n: int) -> None:
    """Compute with exactly ``n`` threads from here on, in libraries that are loaded and in those still to come.

    Args:
        n: threads, whatever the environment says and the machine has.
    """
    os.environ.update(dict.fromkeys(_VARIABLES, str(n)))
    os.environ["OMP_DYNAMIC"] = os.environ["MKL_DYNAMIC"] = "FALSE"  # else they may take fewer on a busy machine
    threadpool_limits(n)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(n)


def describe() -> str:
    """The threads in use and, where torch computes, its kernels' instruction set, e.g. ``2 threads, AVX512 + bfloat16``."""
    torch = sys.modules.get("torch")
    n = int(os.environ.get(_VARIABLES[0], "1")) if torch is None else torch.get_num_threads()
    threads = f"{n} thread{'' if n == 1 else 's'}"
    if torch is None:
        return threads
    return f"{threads}, {torch.backends.cpu.get_cpu_capability()}{' + bfloat16' if computes_bfloat16() else ''}"


def device() -> str:
    """Where torch computes: ``cuda`` where there is a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; without them it is emulated, several times slower than float32."""
    import torch

    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)
