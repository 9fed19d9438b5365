"""Which machine made a result."""

from __future__ import annotations

import re

from llara_core.runtime import provenance


def test_the_hardware_names_threads_and_instructions() -> None:
    import torch

    found = re.fullmatch(r".+, ([1-9]\d*) threads?, (.+)", provenance.hardware())
    assert found
    assert int(found[1]) == torch.get_num_threads()
    assert found[2].startswith(torch.backends.cpu.get_cpu_capability())
