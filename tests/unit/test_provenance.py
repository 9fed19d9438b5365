"""The description of a result's machine."""

from __future__ import annotations

import re

import pytest

from llara_core.runtime import compute


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
