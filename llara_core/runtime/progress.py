"""The progress of a stage: one percentage over all of its named phases.

A script opens :func:`stage`, and the functions that it calls open a :func:`phase` for each part of the work. A :func:`bar`
inside moves the stage's bar within its phase; outside a stage, it is a bar of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from tqdm import tqdm

# By these words `pipeline.repro` distinguishes the stage's percentage from those of libraries' bars.
FORMAT = "{desc}: {percentage:3.0f}% of the stage|{bar}| {elapsed}<{remaining}{postfix}"


class Bar(Protocol):
    """The interface by which a loop reports its progress."""

    def update(self, n: int = 1) -> Any:
        """Adds ``n`` finished units."""

    def set_postfix_str(self, s: str) -> Any:
        """Shows a text beside the bar."""


@dataclass
class _Stage:
    """The bar of the stage, and the interval in which the current phase moves it, as two shares."""

    shown: tqdm[Any]
    low: float = 0.0
    high: float = 1.0

    def move_to(self, share: float) -> None:
        self.shown.update(share - self.shown.n)


_open: list[_Stage] = []  # at most one


@contextmanager
def stage() -> Iterator[None]:
    """Shows one bar for everything inside the block."""
    with tqdm(total=1.0, desc="starting", bar_format=FORMAT) as shown:
        _open.append(_Stage(shown))
        try:
            yield
        finally:
            _open.pop()


@contextmanager
def phase(name: str, low: float, high: float) -> Iterator[None]:
    """Marks a part of the enclosing phase's work.

    Args:
        name: name to show; if empty, the enclosing phase's name stays.
        low, high: shares of the enclosing phase's time at beginning and end.
    """
    if not _open:
        yield
        return
    current = _open[0]
    outer_low, outer_high = current.low, current.high
    width = outer_high - outer_low
    current.low, current.high = outer_low + low * width, outer_low + high * width
    if name:
        current.shown.set_description_str(name, refresh=False)
    current.move_to(current.low)
    current.shown.refresh()
    try:
        yield
        current.move_to(current.high)
    finally:
        current.low, current.high = outer_low, outer_high


@contextmanager
def bar(total: int, *, desc: str, unit: str, initial: int = 0) -> Iterator[Bar]:
    """Shows the progress of a loop over ``total`` units, of which ``initial`` are done; ``desc`` is shown outside a stage."""
    if not _open:
        delay_s = 1.0 if total > 1 else math.inf  # neither a quick answer nor a single one shows a bar
        with tqdm(total=total, initial=initial, desc=desc, unit=unit, delay=delay_s) as own:
            yield own
        return
    yield _PartBar(_open[0], total, initial)


@contextmanager
def without_loading_bar() -> Iterator[None]:
    """Hides transformers' bar over a model's tensors, which would come between a question at a terminal and its answer."""
    from transformers.utils import logging

    were_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if were_shown:
            logging.enable_progress_bar()


class _PartBar:
    """A loop that moves the stage's bar."""

    def __init__(self, current: _Stage, total: int, done: int) -> None:
        self._current, self._total, self._done = current, max(total, 1), done
        self.update(0)

    def update(self, n: int = 1) -> None:
        self._done += n
        width = self._current.high - self._current.low
        self._current.move_to(self._current.low + width * min(self._done / self._total, 1.0))

    def set_postfix_str(self, s: str) -> None:
        self._current.shown.set_postfix_str(s, refresh=False)
