"""The number of threads comes from the parameters, never from the environment, and results name it."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from llara_core.config import load_params
from llara_core.runtime import compute
from pipeline import predict_recommender, score_training, stage, train_recommender

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


@pytest.mark.parametrize("name", ["train_recommender", "score_training", "predict_recommender", "export_embeddings"])
def test_the_stages_of_recommenders_pin_their_kernels_before_torch_is_loaded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    monkeypatch.setattr(stage, "run", lambda main, **options: called.append(options))
    monkeypatch.delitem(sys.modules, f"pipeline.{name}", raising=False)
    runpy.run_module(f"pipeline.{name}", run_name="__main__")
    assert called == [{"pin_kernels": True}]
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys, pipeline.{name}; print('torch' in sys.modules)"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "False\n"


def test_kernels_are_pinned_only_where_the_processor_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(compute, "cpu_info", lambda: {"flags": "sse4_2 avx"})
    compute.pin_kernels()
    assert not compute.kernels_are_pinned()
    monkeypatch.setattr(compute, "cpu_info", lambda: {"flags": "avx avx2 fma"})
    compute.pin_kernels()
    assert compute.kernels_are_pinned()


@pytest.mark.parametrize("module", [train_recommender, score_training, predict_recommender])
def test_recommenders_compute_with_threads_of_their_own(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything else; the stage is stopped there."""
    params = load_params()
    params = params.model_copy(update={"recommenders": params.recommenders.model_copy(update={"threads": 3})})

    def use_threads(n: int) -> None:
        raise StopIteration(n)

    monkeypatch.setattr(module, "load_params", lambda: params)
    monkeypatch.setattr(module.compute, "use_threads", use_threads)
    with pytest.raises(StopIteration) as stopped:
        module.main("movielens", "sasrec", 0)
    assert stopped.value.value == 3


def test_the_hardware_names_threads_and_instructions() -> None:
    import torch

    match = re.fullmatch(r".+\), ([1-9]\d*) threads?, (.+)", compute.hardware())
    assert match
    assert int(match[1]) == torch.get_num_threads()
    assert match[2].startswith(torch.backends.cpu.get_cpu_capability())


def test_processors_that_compute_otherwise_have_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    amd = {"model name": "AMD EPYC", "vendor_id": "AuthenticAMD", "cpu family": "25", "model": "17"}
    intel = {"model name": "Intel(R) Xeon(R) Processor", "vendor_id": "GenuineIntel", "cpu family": "6", "model": "143"}
    names = []
    for info, flags in ((amd, "avx2 avx512f avx512_bf16"), (intel, "avx2 avx512f avx512_bf16 amx_bf16"), (intel, "avx2")):
        monkeypatch.setattr(compute, "cpu_info", lambda info=info, flags=flags: info | {"flags": flags})
        names.append(compute.hardware().partition("), ")[0])
    assert names == [
        "AMD EPYC (AuthenticAMD 25-17: AVX2, AVX-512, bfloat16",
        "Intel(R) Xeon(R) Processor (GenuineIntel 6-143: AVX2, AVX-512, bfloat16, AMX",
        "Intel(R) Xeon(R) Processor (GenuineIntel 6-143: AVX2",
    ]
