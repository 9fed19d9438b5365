"""Schedules of the probability of hybrid prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llara_core.config import CurriculumConfig, Schedule
from llara_core.tuning.curriculum import schedule

SCHEDULES = [name for name in get_args(Schedule) if name != "released"]


def _schedule(name: str, text_share: float = 0.4) -> Callable[[float], float]:
    return schedule(CurriculumConfig(schedule=name, two_stage_text_share=text_share))


# Probabilities at the start, in the middle and at the end.
VALUES = {
    "linear": (0, 1 / 2, 1),
    "direct": (1, 1, 1),
    "two_stage": (0, 1, 1),
    "sqrt": (0, 2**-0.5, 1),
    "quadratic": (0, 1 / 4, 1),
    "cosine": (0, 1 / 2, 1),
    "sigmoid": (0, 1 / 2, 1),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_values(name: str) -> None:
    p = _schedule(name)
    assert [p(0.0), p(0.5), p(1.0)] == pytest.approx(VALUES[name])


def test_the_released_schedule_restarts_in_every_epoch_and_stays_low() -> None:
    p = schedule(CurriculumConfig(schedule="released", two_stage_text_share=0.4), n_epochs=5)
    assert [p(0.0), p(0.1), p(0.3), p(0.5)] == pytest.approx([0, 0.5 / 5, 0.5 / 5, 0.5 / 5])  # the middle of three epochs
    assert p(0.1999) == pytest.approx(1 / 5, abs=1e-3)
    values = [p(row / 10_000) for row in range(10_000)]
    assert sum(values) / len(values) == pytest.approx(1 / 10, abs=1e-3)


@given(st.sampled_from(SCHEDULES), st.floats(0, 1), st.floats(0, 1))
def test_probabilities_never_decrease(name: str, one: float, other: float) -> None:
    p = _schedule(name)
    earlier, later = sorted((one, other))
    assert 0 <= p(earlier) <= p(later) + 1e-12
    assert p(later) <= 1 + 1e-12


@given(st.floats(0, 1), st.floats(0, 1))
def test_two_stage_changes_at_its_share(text_share: float, tau: float) -> None:
    assert _schedule("two_stage", text_share)(tau) == (1.0 if tau >= text_share else 0.0)
