"""Which code and which machine made a result."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

from llara_core import compute

# What decides results; documents and the results themselves do not, so that committing those names no other code.
_CODE = ("pipeline", "llara_core", "dvc.yaml", "params.yaml", "pyproject.toml", "requirements.lock")


def code_commit() -> str:
    """The last commit that changed code or parameters, or ``unknown`` outside a Git repository with one."""
    commit = _git("log", "-1", "--format=%H", "--", *_CODE)
    if not commit:
        return "unknown"
    return f"{commit[:12]}, with uncommitted changes" if _git("status", "--porcelain", "--", *_CODE) else commit[:12]


def hardware() -> str:
    """Processor, threads and instruction set in use, and the GPU where torch is in use and sees one.

    Not the number of cores: it decides nothing (:mod:`llara_core.compute`), so the same results on another number are the same
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


def _git(*arguments: str) -> str:
    try:
        answer = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
