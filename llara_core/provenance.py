"""Which code and which machine made a result."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

# What decides results; documents and the results themselves do not, so that committing those names no other code.
_CODE = ("pipeline", "llara_core", "dvc.yaml", "params.yaml", "pyproject.toml", "requirements.lock")


def code_commit() -> str:
    """The last commit that changed code or parameters, or ``unknown`` outside a Git repository with one."""
    commit = _git("log", "-1", "--format=%H", "--", *_CODE)
    if not commit:
        return "unknown"
    return f"{commit[:12]}, with uncommitted changes" if _git("status", "--porcelain", "--", *_CODE) else commit[:12]


def hardware() -> str:
    """Processor, cores at hand, and the GPU where torch is in use and sees one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{_processor()}, {cores} cores"
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
