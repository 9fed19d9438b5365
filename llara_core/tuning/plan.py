"""The whole tuning run as a table, made before it starts.

Training walks the plan. So what a row shows does not depend on workers, processes or interruptions (the released code kept the
curriculum's step counter in its data-loader workers, where it restarted with every epoch), and a resumed run goes on at row k.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core.config import OBJECTIVES, CurriculumConfig, TuneConfig
from llara_core.errors import ConfigError
from llara_core.objectives.base import Rows, Units
from llara_core.objectives.registry import load_objective
from llara_core.runtime import seeding
from llara_core.tuning.curriculum import schedule


def make_plan(
    units: Units, tune: TuneConfig, curriculum: CurriculumConfig, *, sample_templates: bool, seed: int, first_epoch: int = 0
) -> pd.DataFrame:
    """Expand a configuration into the rows of a tuning run.

    Args:
        units: the training data's sizes.
        tune: objective, epochs, budget, shortest history, batch size, warm start and mixture.
        curriculum: the schedule of hybrid prompts.
        sample_templates: draw the wording of every row; else the first is used throughout.
        seed: of the training run; every choice has a named stream of its own.
        first_epoch: number of the first epoch; each has an order of its own, so a run that goes on counts those of its start.

    Returns:
        One row per prompt, in training order: ``objective``, ``source`` (example or sequence number), ``start`` and ``stop``
        (items of a chunk, or of the negatives those that are compared; half-open), ``draw`` (candidate set), ``template``,
        ``p_hybrid`` (p(k/T)) and ``hybrid`` (drawn with it). Every batch of ``tune.batch_size`` rows serves one objective. Last
        batches that would be short, of the warm start and of the rest, are left out.

    Raises:
        ConfigError: the data and the budget do not fill one batch.
    """
    main = tune.objective
    partner = OBJECTIVES[main].partner or main  # without a partner, no row is auxiliary
    epochs = range(first_epoch, first_epoch + tune.epochs)
    main_rows = sum(len(load_objective(main).epoch_rows(units, tune, seed, epoch)) for epoch in epochs)
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
        rows[objectives == objective] = _take(objective, units, tune, seed, first_epoch, int((objectives == objective).sum()))
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


def _take(objective: str, units: Units, tune: TuneConfig, seed: int, first_epoch: int, n_rows: int) -> Rows:
    """The first ``n_rows`` rows of an objective, over as many epochs as they take."""
    taken: list[Rows] = [np.empty((0, 4), dtype=np.int64)]
    while (have := sum(map(len, taken))) < n_rows:
        epoch = load_objective(objective).epoch_rows(units, tune, seed, first_epoch + len(taken) - 1)
        if len(epoch) == 0:
            raise ConfigError("the data has no rows for tune.warm_start_rows or tune.mixture to train on; set both to 0")
        taken.append(epoch[: n_rows - have])
    return np.concatenate(taken)


def _templates(objectives: npt.NDArray[np.str_], seed: int) -> npt.NDArray[np.int64]:
    uniform = seeding.numpy_stream(seed, "plan", "templates").random(len(objectives))
    counts = np.array([load_objective(objective).n_templates for objective in objectives])
    templates: npt.NDArray[np.int64] = (uniform * counts).astype(np.int64)
    return templates
