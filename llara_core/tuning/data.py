"""The stage's input tables as training data."""

from __future__ import annotations

from collections.abc import Sequence

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.prompts.rendering import Words
from llara_core.tuning.rows import TrainingData


def load_training_data(dataset: str, labels: Sequence[str], words: Words) -> tuple[TrainingData, str]:
    """Training examples, their candidates and the sequences they come from, and a hash of it all."""
    prepared, candidates_file = paths.prepared(dataset), paths.candidates(dataset) / "train.parquet"
    interactions = tables.read_table(prepared / "interactions.parquet", tables.INTERACTIONS)
    examples = tables.read_table(prepared / "examples.parquet", tables.EXAMPLES)
    examples = examples[examples[c.SPLIT] == c.TRAIN].reset_index(drop=True)
    number = {example: index for index, example in enumerate(examples[c.EXAMPLE])}
    candidates = tables.read_table(candidates_file, tables.CANDIDATE_SETS)
    in_training = interactions[interactions[c.SPLIT] == c.TRAIN]
    sequences = in_training.groupby(c.USER, sort=True)[c.ITEM].agg(list)
    data = TrainingData(
        histories=[history.tolist() for history in examples[c.HISTORY]],
        targets=examples[c.TARGET].to_list(),
        candidates={
            (number[example], draw): items.tolist()
            for example, draw, items in zip(candidates[c.EXAMPLE], candidates[c.DRAW], candidates[c.CANDIDATES], strict=True)
        },
        sequences=[sequence for sequence in sequences if len(sequence) >= 2],
        labels=labels,
        words=words,
    )
    files = [prepared / f"{name}.parquet" for name in ("interactions", "items", "examples")]
    return data, tables.tables_hash(*files, candidates_file)
