"""Creates the named random streams from which every random number of the project comes."""

from __future__ import annotations

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """Returns the 63-bit seed of the random stream ``names`` (outermost first) under the user's ``seed`` (>= 0).

    Streams of different names are independent, so drawing more from one (say, another epoch of training candidates) never
    changes another (the test candidates).

    >>> stream_seed(0, "candidates", "test") == stream_seed(0, "candidates", "test")
    True
    >>> stream_seed(0, "candidates", "test") == stream_seed(0, "candidates", "train")
    False
    """
    digest = hashlib.sha256("\x1f".join([str(seed), *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(seed: int, *names: str | int) -> np.random.Generator:
    """Returns a NumPy generator for the stream ``names`` (see :func:`stream_seed`)."""
    return np.random.default_rng(stream_seed(seed, *names))


def seed_torch_globally(seed: int, *names: str | int) -> None:
    """Seeds torch's global generators, which initialisation and dropout use, and requests deterministic kernels.

    The request is made with ``warn_only``: an operation without a deterministic CUDA kernel still runs, but is not bit-exact.
    On a CPU two runs from the same inputs give the same bytes.
    """
    import torch

    torch.manual_seed(stream_seed(seed, *names))
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling new tensors takes 4 % of a step, and changes no result of code that writes before it reads.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
