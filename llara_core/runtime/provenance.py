"""Which machine made a result."""

from __future__ import annotations

import sys

from llara_core.runtime import compute


def hardware() -> str:
    """Processor, threads and instruction set in use, and the GPU where torch is in use and sees one.

    Not the number of cores: it decides nothing (:mod:`llara_core.runtime.compute`), so results on another number are the same
    bytes.
    """
    machine = f"{compute.describe_processor()}, {compute.describe()}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name(0)}"
    return machine
