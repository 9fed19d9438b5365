"""The same seed gives the same draws as in earlier versions (``make_golden.py`` says what to do where it does not)."""

from __future__ import annotations

import json

import pytest

from tests.golden import make_golden

NOW = json.loads(json.dumps(make_golden.values()))
THEN = json.loads(make_golden.GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(THEN))
def test_values_are_those_of_earlier_versions(name: str) -> None:
    assert NOW[name] == THEN[name]


def test_no_value_is_left_out() -> None:
    assert set(NOW) == set(THEN)
