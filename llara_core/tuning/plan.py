"""The whole tuning run as a table, made before it starts.

Training walks the plan. So what a row shows does not depend on workers, processes or interruptions (the released code kept the
curriculum's step counter in its data-loader workers, where it restarted with every epoch), and a resumed run goes on at row k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import seeding
from llara_core.config import CurriculumConfig, TuneConfig
from llara_core.errors import ConfigError
from llara_core.prompts.rendering import N_TEMPLATES
from llara_core.tuning.curriculum import schedule

Rows = npt.NDArray[np.int64]  # [n, 4]: source, start, stop, draw


@dataclass(frozen=True)
class Units:
    """What there is to learn from.

    Attributes:
        history_lens: ``(n_examples,)`` items in the history of every training example, the units of ``generative``.
        n_draws: candidate sets per training example.
        sequence_lens: ``(n_sequences,)`` items of every training sequence, from which ``next_item`` takes chunks.
    """

    history_lens: Sequence[int]
    n_draws: int
    sequence_lens: Sequence[int]


def make_plan(
    units: Units, tune: TuneConfig, curriculum: CurriculumConfig, *, sample_templates: bool, seed: int
) -> pd.DataFrame:
    """Expand a configuration into the rows of a tuning run.

    Args:
        units: the training data's sizes.
        tune: objective, epochs, budget, shortest history, batch size, warm start and mixture.
        curriculum: the schedule of hybrid prompts.
        sample_templates: draw the wording of every row; else the first is used throughout.
        seed: of the training run; every choice has a named stream of its own.

    Returns:
        One row per prompt, in training order: ``next_item`` (which objective), ``source`` (example or sequence number),
        ``start`` and ``stop`` (items of a chunk, half-open), ``draw`` (candidate set), ``template``, ``p_hybrid`` (p(k/T)) and
        ``hybrid`` (drawn with it). Every batch of ``tune.batch_size`` rows serves one objective. Last batches that would be
        short, of the warm start and of the rest, are left out.

    Raises:
        ConfigError: the data and the budget do not fill one batch.
    """
    main_next_item = tune.objective == "next_item"
    epochs = {False: _ranking_epochs(units, tune.min_history_len, seed), True: _chunk_epochs(units, tune.chunk_len, seed)}
    main_rows = sum(len(epochs[main_next_item](epoch)) for epoch in range(tune.epochs))
    n_rows = min(main_rows, tune.max_examples or main_rows)
    if n_rows < tune.batch_size:
        raise ConfigError(
            f"tuning has {n_rows} rows, which do not fill one batch of tune.batch_size {tune.batch_size}; lower the batch size "
            "or tune.min_history_len, or raise tune.max_examples"
        )
    warm_batches = tune.warm_start_rows // tune.batch_size
    n_batches = warm_batches + n_rows // tune.batch_size
    auxiliary = seeding.numpy_stream(seed, "plan", "mixture").random(n_batches) < tune.mixture
    auxiliary[:warm_batches] = True
    next_item = np.repeat(auxiliary != main_next_item, tune.batch_size)

    rows = np.empty((len(next_item), 4), dtype=np.int64)
    for objective in (False, True):
        rows[next_item == objective] = _take(epochs[objective], int((next_item == objective).sum()))
    p_of = schedule(curriculum)
    p = np.array([p_of(k / len(rows)) for k in range(len(rows))])
    return pd.DataFrame(
        {
            "next_item": next_item,
            "source": rows[:, 0],
            "start": rows[:, 1],
            "stop": rows[:, 2],
            "draw": rows[:, 3],
            "template": _templates(next_item, seed) if sample_templates else 0,
            "p_hybrid": p,
            "hybrid": seeding.numpy_stream(seed, "plan", "curriculum").random(len(rows)) < p,
        }
    )


def _ranking_epochs(units: Units, min_history_len: int, seed: int) -> Callable[[int], Rows]:
    long_enough = np.asarray(units.history_lens) >= min_history_len

    def epoch_rows(epoch: int) -> Rows:
        order = seeding.numpy_stream(seed, "plan", "examples", epoch).permutation(len(long_enough))
        order = order[long_enough[order]]
        rows = np.zeros((len(order), 4), dtype=np.int64)
        rows[:, 0], rows[:, 3] = order, epoch % units.n_draws
        return rows

    return epoch_rows


def _chunk_epochs(units: Units, chunk_len: int, seed: int) -> Callable[[int], Rows]:
    """Chunks that overlap by one item, so that every item but a sequence's first is a target once an epoch.

    Each sequence is cut at another random phase in every epoch; so no item is always the first of its chunk.
    """

    def epoch_rows(epoch: int) -> Rows:
        rng = seeding.numpy_stream(seed, "plan", "chunks", epoch)
        stride = chunk_len - 1
        phases = rng.integers(stride, size=len(units.sequence_lens))
        rows = [
            (sequence, max(start, 0), min(start + chunk_len, length), 0)
            for sequence, (length, phase) in enumerate(zip(units.sequence_lens, phases, strict=True))
            for start in range(-int(phase), length - 1, stride)  # so a chunk has two items at least, a target among them
        ]
        return rng.permutation(np.array(rows, dtype=np.int64).reshape(-1, 4))

    return epoch_rows


def _take(epoch_rows: Callable[[int], Rows], n_rows: int) -> Rows:
    taken: list[Rows] = [np.empty((0, 4), dtype=np.int64)]
    while (have := sum(map(len, taken))) < n_rows:
        epoch = epoch_rows(len(taken) - 1)
        if len(epoch) == 0:
            raise ConfigError("the data has no rows for tune.warm_start_rows or tune.mixture to train on; set both to 0")
        taken.append(epoch[: n_rows - have])
    return np.concatenate(taken)


def _templates(next_item: npt.NDArray[np.bool_], seed: int) -> Rows:
    uniform = seeding.numpy_stream(seed, "plan", "templates").random(len(next_item))
    counts = np.where(next_item, N_TEMPLATES["next_item"], N_TEMPLATES["generative"])
    return (uniform * counts).astype(np.int64)
