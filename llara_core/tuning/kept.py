"""Finished adapters, kept in the scratch folder for systems that start from them.

DVC has no edge between two cells of one stage, so a system that starts from another tunes that one itself, unless it finds its
adapter here. What is kept is named by all that made it, so finding it changes no result, only the time.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from pathlib import Path

import llara_core
from llara_core import tables


def kept_adapter(scratch: Path, dataset: str, cell: str, run_key: str) -> Path:
    """Where the adapter of one tuning run lies, if it is kept.

    Args:
        scratch: root of the scratch folder.
        dataset, cell: whose adapter it is.
        run_key: which names the run's configuration, inputs and libraries.
    """
    return scratch / "adapters" / dataset / cell / f"{run_key}-{source_hash()}"


def keep_adapter(adapter: Path, kept: Path) -> None:
    """Copy a finished adapter to its place, and delete older ones of the same cell."""
    with tables.atomic_path(kept) as staged:
        shutil.copytree(adapter, staged)
    drop_older(kept)


def drop_older(kept: Path) -> None:
    """Delete what the cell of a kept adapter keeps beside it."""
    for other in kept.parent.iterdir():
        if other != kept and not other.name.startswith("."):  # the folder of a process that is writing
            shutil.rmtree(other, ignore_errors=True)


@functools.cache
def source_hash() -> str:
    """Of the package's whole code: an adapter that other code tuned is never taken for this code's."""
    root = Path(llara_core.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
