"""Named random streams."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from llara_core.runtime.seeding import numpy_stream, seed_torch_globally, stream_seed


def test_a_stream_depends_on_seed_and_every_name() -> None:
    seeds = {
        stream_seed(0, "candidates", "test"),
        stream_seed(1, "candidates", "test"),
        stream_seed(0, "candidates", "train"),
        stream_seed(0, "candidates"),
        stream_seed(0, "candidates", "test", 1),
        stream_seed(0, "test", "candidates"),
        stream_seed(0, "candidatestest"),
    }
    assert len(seeds) == 7


def test_a_stream_seed_fits_what_numpy_and_torch_take() -> None:
    assert all(0 <= stream_seed(seed, "x") < 2**63 for seed in range(1000))


def test_a_stream_is_the_same_in_another_process() -> None:
    code = "from llara_core.runtime.seeding import stream_seed; print(stream_seed(3, 'tune', 7))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(answer.stdout) == stream_seed(3, "tune", 7)


def test_drawing_more_from_one_stream_leaves_another_alone() -> None:
    before = numpy_stream(0, "test").integers(1000, size=5)
    numpy_stream(0, "train").integers(1000, size=100)
    assert np.array_equal(numpy_stream(0, "test").integers(1000, size=5), before)


def test_global_seeding_fixes_initialisation() -> None:
    try:
        seed_torch_globally(0, "init")
        first = torch.nn.Linear(3, 3).weight.clone()
        seed_torch_globally(0, "init")
        assert torch.equal(first, torch.nn.Linear(3, 3).weight)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
