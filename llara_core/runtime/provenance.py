"""Which machine made a result."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from llara_core.runtime import compute


def hardware() -> str:
    """Processor, threads and instruction set in use, and the GPU where torch is in use and sees one.

    Not the number of cores: it decides nothing (:mod:`llara_core.runtime.compute`), so results on another number are the same
    bytes.
    """
    machine = f"{_processor()}, {compute.describe()}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name(0)}"
    return machine


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
