"""The plan of a tuning run: a table of all its rows, built before training.

Because training follows the plan, the content of a row does not depend on workers, processes or interruptions, and a resumed
run continues at row k. (The released code keeps the curriculum's step counter in data-loader workers, where it restarts with
every epoch.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core.config import OBJECTIVES, CurriculumConfig, TuneConfig
from llara_core.errors import ConfigError
from llara_core.objectives import registry
from llara_core.objectives.base import DataSizes, Rows
from llara_core.runtime import seeding
from llara_core.tuning.curriculum import schedule


def make_plan(
    sizes: DataSizes, tune: TuneConfig, curriculum: CurriculumConfig, *, sample_templates: bool, seed: int, first_epoch: int = 0
) -> pd.DataFrame:
    """Expands a configuration into the rows of a tuning run.

    Args:
        sizes: sizes of the training data.
        tune: objective, epochs, budget, shortest history, batch size, warm start and mixture.
        curriculum: schedule of hybrid prompts.
        sample_templates: whether the wording of each row is drawn; otherwise the first one is used.
        seed: training seed; every choice has a named random stream.
        first_epoch: number of the first epoch. Each epoch has its own order, so a run that continues from another system's
            adapter counts on from the epochs of that system.

    Returns:
        One row per prompt, in training order: ``objective``, ``source`` (example or sequence number), ``start`` and ``stop``
        (half-open range of a chunk's items, or of the compared negatives), ``draw`` (candidate set), ``template``, ``p_hybrid``
        (p(k/T)) and ``hybrid`` (drawn with this probability). Every batch of ``tune.batch_size`` rows has one objective.
        Incomplete last batches of the warm start and of the rest are omitted.

    Raises:
        ConfigError: the data and the budget do not fill one batch.
    """
    main = tune.objective
    partner = OBJECTIVES[main].partner or main  # without a partner, no row is auxiliary
    epochs = range(first_epoch, first_epoch + tune.epochs)
    main_rows = sum(len(registry.OBJECTIVES[main].epoch_rows(sizes, tune, seed, epoch)) for epoch in epochs)
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
    objectives = np.repeat(np.where(auxiliary, partner, main), tune.batch_size)

    rows = np.empty((len(objectives), 4), dtype=np.int64)
    for objective in {main, partner}:
        rows[objectives == objective] = _take(objective, sizes, tune, seed, first_epoch, int((objectives == objective).sum()))
    p_of = schedule(curriculum, tune.epochs)
    p = np.array([p_of(k / len(rows)) for k in range(len(rows))])
    return pd.DataFrame(
        {
            "objective": objectives,
            "source": rows[:, 0],
            "start": rows[:, 1],
            "stop": rows[:, 2],
            "draw": rows[:, 3],
            "template": _templates(objectives, seed) if sample_templates else 0,
            "p_hybrid": p,
            "hybrid": seeding.numpy_stream(seed, "plan", "curriculum").random(len(rows)) < p,
        }
    )


def _take(objective: str, sizes: DataSizes, tune: TuneConfig, seed: int, first_epoch: int, n_rows: int) -> Rows:
    """Returns the first ``n_rows`` rows of an objective, over as many epochs as needed."""
    taken: list[Rows] = [np.empty((0, 4), dtype=np.int64)]
    while (n_taken := sum(map(len, taken))) < n_rows:
        epoch = registry.OBJECTIVES[objective].epoch_rows(sizes, tune, seed, first_epoch + len(taken) - 1)
        if len(epoch) == 0:
            raise ConfigError("the data has no rows for tune.warm_start_rows or tune.mixture to train on; set both to 0")
        taken.append(epoch[: n_rows - n_taken])
    return np.concatenate(taken)


def _templates(objectives: npt.NDArray[np.str_], seed: int) -> npt.NDArray[np.int64]:
    uniform = seeding.numpy_stream(seed, "plan", "templates").random(len(objectives))
    counts = np.array([registry.OBJECTIVES[objective].n_templates for objective in objectives])
    templates: npt.NDArray[np.int64] = (uniform * counts).astype(np.int64)
    return templates
