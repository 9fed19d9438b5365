"""Sets and describes the number of threads and the instruction set, which affect the last bits of results on a CPU.

A sum is split among the threads, so its rounding depends on their number. No stage leaves the number to the machine or to
the environment: every stage computes with one thread, except those that run the language model or a recommender, which use
``llm.threads`` and ``recommenders.threads`` of ``params.yaml``, whatever the number of cores.

The stages of recommenders also fix the instruction set (:func:`pin_kernels`).
"""

from __future__ import annotations

import functools
import os
import platform
import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

STAGE_THREADS = 1  # threads of a stage that runs neither language model nor recommender

# OpenMP, OpenBLAS and MKL read these when they are loaded, which may be after `use_threads`.
_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# torch, oneDNN and MKL read these when they are loaded. Only MKL's COMPATIBLE is the same on Intel's processors and on others.
_KERNELS = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_CBWR": "COMPATIBLE"}
_KERNELS_NEED = {"avx2", "fma"}
# Flags of /proc/cpuinfo that affect kernels and speed, with their names in results.
_FEATURES = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bfloat16", "amx_bf16": "AMX"}


def use_threads(n: int) -> None:
    """Computes with exactly ``n`` threads from here on, in libraries that are loaded now or later."""
    os.environ.update(dict.fromkeys(_VARIABLES, str(n)))
    os.environ["OMP_DYNAMIC"] = os.environ["MKL_DYNAMIC"] = "FALSE"  # otherwise they may take fewer on a busy machine
    threadpool_limits(n)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(n)


def pin_kernels() -> None:
    """Fixes the instructions of torch, oneDNN and MKL on every x86 processor with AVX2; must run before torch is loaded.

    By default they use the best instructions of a processor, and MKL treats Intel and AMD differently. Other processors
    and operating systems without /proc/cpuinfo keep the default.
    """
    if _KERNELS_NEED.issubset(cpu_info().get("flags", "").split()):
        os.environ.update(_KERNELS)


def kernels_are_pinned() -> bool:
    """Returns whether :func:`pin_kernels` took effect."""
    return all(os.environ.get(name) == value for name, value in _KERNELS.items())


@functools.cache
def cpu_info() -> dict[str, str]:
    """Returns Linux's description of the first processor, by field; empty on other operating systems."""
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return {}
    first, _, _ = file.read_text(encoding="utf-8").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def describe_processor() -> str:
    """Returns name, vendor, family, model and features, e.g. ``AMD EPYC (AuthenticAMD 25-17: AVX2, AVX-512)``."""
    info = cpu_info()
    if "model name" not in info:
        return platform.processor() or platform.machine()
    flags = info.get("flags", "").split()
    features = ", ".join(name for flag, name in _FEATURES.items() if flag in flags)
    number = f"{info.get('vendor_id', '?')} {info.get('cpu family', '?')}-{info.get('model', '?')}"
    return f"{info['model name']} ({number}{f': {features}' if features else ''})"


def describe() -> str:
    """Returns the threads in use and, if torch is loaded, its instruction set, e.g. ``2 threads, AVX512 + bfloat16``."""
    torch = sys.modules.get("torch")
    n = int(os.environ.get(_VARIABLES[0], "1")) if torch is None else torch.get_num_threads()
    threads = f"{n} thread{'' if n == 1 else 's'}"
    if torch is None:
        return threads
    kernels = torch.backends.cpu.get_cpu_capability()
    if kernels_are_pinned():
        return f"{threads}, {kernels} pinned"
    return f"{threads}, {kernels}{' + bfloat16' if computes_bfloat16() else ''}"


def hardware() -> str:
    """Returns processor, threads and instruction set in use, and the GPU if torch is loaded and sees one.

    The number of cores is left out, since it does not affect results.
    """
    torch = sys.modules.get("torch")
    gpu = f", {torch.cuda.get_device_name(0)}" if torch is not None and torch.cuda.is_available() else ""
    return f"{describe_processor()}, {describe()}{gpu}"


def device() -> str:
    """Returns torch's device: ``cuda`` if there is a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def computes_bfloat16() -> bool:
    """Returns whether the processor has bfloat16 instructions; emulation is several times slower than float32."""
    import torch

    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)
