"""Questions at further positions for the small world of predictions, and answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers import predictions
from llara_core.answers.held_out import HeldOut, read_positions
from llara_core.answers.predictions import PredictionMetadata

N_CANDIDATES = 5


def ask(examples: pd.DataFrame, n_positions: Sequence[int], dataset: str = "movielens") -> HeldOut:
    """Write so many questions for each user of ``examples``, in their order, and read them back; ranks follow the positions."""
    users = examples.loc[examples.index.repeat(n_positions), [c.USER, c.SPLIT]].reset_index(drop=True)
    ranks = np.concatenate([np.arange(number) for number in n_positions])
    rng = np.random.default_rng(1)
    items = np.array([rng.permutation(30)[:N_CANDIDATES] for _ in ranks])
    questions = users.assign(
        **{
            c.EXAMPLE: np.arange(len(ranks)),
            c.HISTORY: [[1, 2]] * len(ranks),
            c.TARGET: items[:, 2],
            c.POSITION: ranks + 1,
            c.TURN: ranks,
        }
    )
    sets = pd.DataFrame({c.EXAMPLE: np.arange(len(ranks)), c.DRAW: 0, c.CANDIDATES: list(items)})
    folder = paths.positions(dataset)
    tables.write_table(folder / "questions.parquet", questions[tables.POSITIONS.names], tables.POSITIONS)
    tables.write_table(folder / "candidates.parquet", sets, tables.CANDIDATE_SETS)
    asked = read_positions(dataset)
    assert asked is not None
    return asked


def put(asked: HeldOut, folder: Path, right: npt.ArrayLike, *, mode: str = "score", **facts: object) -> Path:
    """Write answers to ``asked`` into the folder of a training run: the target comes first where ``right``, else second."""
    scores = np.tile([5.0, 4.0, 0.0, 2.0, 1.0], (len(asked.candidates), 1))
    scores[:, 2] = np.where(right, 6.0, 4.5)
    stated = {"system": folder.name, "objective": "none", "seed": 0, "candidates_hash": asked.candidates_hash} | facts
    metadata = PredictionMetadata(dataset=asked.dataset, mode=mode, **stated)
    return predictions.write_predictions(asked.folder(folder), predictions.from_scores(asked.candidates, scores), metadata)
