"""The stage's input tables as training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import ScoreSource
from llara_core.errors import DataError
from llara_core.objectives.base import TrainingData
from llara_core.prompts.rendering import ItemWording
from llara_core.ranking import opinion, shuffled_opinion


def load_training_data(
    dataset: str, labels: Sequence[str], wording: ItemWording, scores_file: Path | None, source: ScoreSource, seed: int
) -> tuple[TrainingData, str]:
    """Training examples, their candidates and the sequences they come from, and a hash of it all.

    Args:
        dataset: key in ``params.yaml``.
        labels: of all items.
        wording: the dataset's words for items.
        scores_file: the recommender's scores of the candidates, for prompts that show them; None for the others.
        source: which of these scores are shown.
        seed: training seed, of shuffled scores.

    Raises:
        DataError: a table is missing, or the scores are of other candidates.
    """
    prepared, candidates_file = paths.prepared(dataset), paths.candidates(dataset) / "train.parquet"
    interactions = tables.read_table(prepared / "interactions.parquet", tables.INTERACTIONS)
    examples = tables.read_table(prepared / "examples.parquet", tables.EXAMPLES)
    examples = examples[examples[c.SPLIT] == c.TRAIN].reset_index(drop=True)
    number = {example: index for index, example in enumerate(examples[c.EXAMPLE])}
    candidates = tables.read_table(candidates_file, tables.CANDIDATE_SETS)
    in_training = interactions[interactions[c.SPLIT] == c.TRAIN]
    sequences = in_training.groupby(c.USER, sort=True)[c.ITEM].agg(list)
    scores = None
    if scores_file is not None:
        table = tables.read_table(scores_file, tables.TRAINING_SCORES)
        if tables.table_metadata(scores_file).get("candidates_hash") != tables.tables_hash(candidates_file):
            raise DataError(f"{scores_file}: scores other candidate sets than {candidates_file}; run `dvc repro`")
        shown = opinion(np.stack(table[c.IN_SAMPLE if source == "in_sample" else c.OUT_OF_FOLD].to_list()))
        if source == "shuffled":
            shown = shuffled_opinion(shown, seed, "train")
        scores = dict(zip(zip(candidates[c.EXAMPLE].map(number), candidates[c.DRAW], strict=True), shown, strict=True))
    data = TrainingData(
        histories=[history.tolist() for history in examples[c.HISTORY]],
        targets=examples[c.TARGET].to_list(),
        candidates={
            (number[example], draw): items.tolist()
            for example, draw, items in zip(candidates[c.EXAMPLE], candidates[c.DRAW], candidates[c.CANDIDATES], strict=True)
        },
        scores=scores,
        sequences=[sequence for sequence in sequences if len(sequence) >= 2],
        labels=labels,
        wording=wording,
    )
    files = [prepared / f"{name}.parquet" for name in ("interactions", "items", "examples")]
    files += [candidates_file] if scores_file is None else [candidates_file, scores_file]
    return data, tables.tables_hash(*files)
