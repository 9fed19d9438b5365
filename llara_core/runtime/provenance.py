"""Describes the machine of a result."""

from __future__ import annotations

import sys

from llara_core.runtime import compute


def hardware() -> str:
    """Returns processor, threads and instruction set in use, and the GPU if torch is loaded and sees one.

    The number of cores is left out: it does not affect results (:mod:`llara_core.runtime.compute`).
    """
    machine = f"{compute.describe_processor()}, {compute.describe()}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name(0)}"
    return machine
