"""Every random number of the project comes from a named stream made here."""

from __future__ import annotations

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """The 63-bit seed of the random stream ``names`` under ``seed``.

    Streams of different names are independent, so that drawing more from one (say, another epoch of training candidates)
    never changes another (the test candidates).

    Args:
        seed: the user's seed, >= 0.
        names: what the stream is for, outermost first, e.g. ``("candidates", "movielens", "test")``.

    >>> stream_seed(0, "candidates", "test") == stream_seed(0, "candidates", "test")
    True
    >>> stream_seed(0, "candidates", "test") == stream_seed(0, "candidates", "train")
    False
    """
    digest = hashlib.sha256("\x1f".join([str(seed), *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for the stream ``names`` (see :func:`stream_seed`)."""
    return np.random.default_rng(stream_seed(seed, *names))


def seed_torch_globally(seed: int, *names: str | int) -> None:
    """Seed torch's global generators, which initialisation and dropout draw from, and ask for deterministic kernels.

    Deterministic kernels are requested with ``warn_only``: where CUDA has none for an operation the run goes on, and is then
    not bit-exact. On CPU two runs from the same inputs give the same bytes.
    """
    import torch

    torch.manual_seed(stream_seed(seed, *names))
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would also fill every new tensor, which changes no result of code that writes before it reads, and takes 4 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
