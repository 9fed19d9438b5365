"""Which machine made a result."""

from __future__ import annotations

import re

from llara_core import provenance


def test_the_hardware_names_the_cores() -> None:
    assert re.search(r".+, [1-9]\d* cores", provenance.hardware())
