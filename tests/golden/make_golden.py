"""What every random stream gives, as small values: ``python -m tests.golden.make_golden`` writes ``golden.json`` anew.

A difference means that the same parameters and seed now give other numbers: say so under "changes numbers" in the changelog.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from llara_core.config import CurriculumConfig, TuneConfig
from llara_core.data import synthetic
from llara_core.data.candidates import CandidateSampler
from llara_core.data.preparation import prepare
from llara_core.objectives.base import DataSizes
from llara_core.runtime import seeding
from llara_core.tuning.plan import make_plan
from tests.helpers.datasets import dataset_config

GOLDEN = Path(__file__).with_name("golden.json")

DATASET = dataset_config("synthetic")
TUNE = TuneConfig(
    objective="generative",
    epochs=1,
    max_examples=24,
    min_history_len=1,
    batch_size=4,
    micro_batch_size=4,
    learning_rate=1e-3,
    warmup_share=0.1,
    final_lr_share=0.0,
    weight_decay=0.0,
    projector_l2=0.0,
    projector_init="token_scale",
    max_grad_norm=1.0,
    chunk_len=5,
    warm_start_rows=4,
    mixture=0.25,
    ranking_weight=0.0,
    preference_loss="sdpo",
    preference_beta=1.0,
    preference_negatives=3,
    feature_dropout=0.0,
    gradient_checkpointing=False,
    checkpoint_every=1,
)


def values() -> dict[str, Any]:
    """The golden values, as JSON types."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw"
        raw.mkdir()
        synthetic.write(raw)
        raw_hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(raw.iterdir())}
        prepared = prepare(raw, DATASET)
    rng = seeding.numpy_stream(0, "candidates", "synthetic", "test")
    test = prepared.examples.filter(pc.field("split") == "test")
    sampler = CandidateSampler(prepared.interactions, len(prepared.items), "test", n_candidates=5, exclude="all_interactions")
    (sets,) = sampler.sample(test, 1, rng)
    plan = make_plan(
        DataSizes(history_lens=[1] * 50, n_draws=2, sequence_lens=[9, 4, 12]),
        TUNE,
        CurriculumConfig(schedule="linear", two_stage_text_share=0.4),
        sample_templates=True,
        seed=0,
    )
    plan["objective"] = plan["objective"] == "next_item"
    return {
        "stream_seed": seeding.stream_seed(0, "candidates", "movielens", "test"),
        "raw": raw_hashes,
        "statistics": prepared.statistics,
        "candidates": sets["candidates"].to_pylist()[:3],
        "plan": json.loads(plan.drop(columns="p_hybrid").astype(int).to_json(orient="values")),
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(values(), indent=1) + "\n", encoding="utf-8")
