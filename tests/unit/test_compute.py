"""The number of threads comes from the parameters, never from the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from llara_core.config import load_params
from pipeline import predict_recommender, score_training, train_recommender

REPOSITORY = Path(__file__).parents[2]
# A product large enough to be shared among threads, in torch and in NumPy, loaded after and before the number is set.
CODE = """
import hashlib, os
import numpy
from llara_core.runtime import compute
compute.use_threads({threads})
import torch
a = torch.randn(300, 20000, generator=torch.Generator().manual_seed(0))
b = numpy.random.default_rng(0).standard_normal((300, 20000), dtype=numpy.float32)
results = (a.sum(), a @ a.T, torch.nn.functional.cross_entropy(a, torch.zeros(300, dtype=torch.long)))
digest = hashlib.sha256(b"".join(result.numpy().tobytes() for result in results) + (b @ b.T).tobytes())
print(torch.get_num_threads(), compute.describe().partition(",")[0], digest.hexdigest())
"""


def compute_with(threads: int, environment: str | None) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    if environment is not None:
        variables |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), environment)
    command = [sys.executable, "-c", CODE.format(threads=threads)]
    answer = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


@pytest.mark.parametrize(("threads", "described"), [(1, "1 thread"), (2, "2 threads")])
def test_the_environment_changes_neither_the_number_of_threads_nor_a_byte(threads: int, described: str) -> None:
    outputs = {environment: compute_with(threads, environment) for environment in (None, "1", "2", "3")}
    assert len(set(outputs.values())) == 1, outputs
    assert outputs[None].startswith(f"{threads} {described} ")


@pytest.mark.parametrize("stage", [train_recommender, score_training, predict_recommender])
def test_recommenders_compute_with_threads_of_their_own(stage: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything else; the stage is stopped there."""
    params = load_params()
    params = params.model_copy(update={"recommenders": params.recommenders.model_copy(update={"threads": 3})})

    def use_threads(n: int) -> None:
        raise StopIteration(n)

    monkeypatch.setattr(stage, "load_params", lambda: params)
    monkeypatch.setattr(stage.compute, "use_threads", use_threads)
    with pytest.raises(StopIteration) as stopped:
        stage.main("movielens", "sasrec", 0)
    assert stopped.value.value == 3
