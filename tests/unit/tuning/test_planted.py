"""A planted world in which each of our systems learns in seconds and the paper's form cannot.

The recommender knows the target, and nothing else gives it away: so a system has to read the recommender's score of a
candidate and write that candidate's title. That the paper's form stays at chance says that nothing else leaks the target.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from llara_core.answers.prompts import Query
from llara_core.config import Slot
from llara_core.fetching.llm import fetch_llm
from llara_core.inference.candidate_answers import answer_queries
from llara_core.inference.catalogue import HeadScorer
from llara_core.llm import adapters
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.item_texts import encode_texts
from llara_core.llm.prompts.rendering import render_ranking
from llara_core.objectives.base import DataSizes, TrainingData
from llara_core.tuning.plan import make_plan
from llara_core.tuning.rows import PlanDataset
from llara_core.tuning.trainer import train
from tests.helpers.llm import LABELS, N_ITEMS, WORDING, item_vectors, make_base, make_encoder, system_config
from tests.pipeline.tiny_world import write_tiny_llama

N_CANDIDATES, N_ASKED = 4, 60
CHANCE = 1 / N_CANDIDATES
ERROR = (CHANCE * (1 - CHANCE) / N_ASKED) ** 0.5  # standard error of the hit ratio by chance


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    write_tiny_llama(root / "source", hidden_size=64)
    fetch_llm(str(root / "source"), None, root / "llm")
    return root / "llm"


def _questions(n: int, seed: int) -> TrainingData:
    """Returns questions with random candidates, whose targets only the recommender's scores reveal."""
    rng = np.random.default_rng(seed)
    drawn = np.array([rng.permutation(N_ITEMS)[: N_CANDIDATES + 1] for _ in range(n)])
    places = rng.integers(N_CANDIDATES, size=n)
    # Relative to the rest of a behaviour token: a tiny frozen model with random weights ignores smaller values.
    shown = np.stack([rng.normal(-1.2, 0.6, size=(n, N_CANDIDATES)), np.zeros((n, N_CANDIDATES))], axis=-1)
    shown[np.arange(n), places, 0] = 3.4
    return TrainingData(
        histories=drawn[:, -1:].tolist(),
        targets=drawn[np.arange(n), places].tolist(),
        candidates={(row, 0): drawn[row, :-1].tolist() for row in range(n)},
        scores={(row, 0): shown[row].tolist() for row in range(n)},
        sequences=[],
        labels=LABELS,
        wording=WORDING,
    )


def _hit_ratio(llm: Path, scratch: Path, n_prompts: int, *, slot: Slot, shows_scores: bool) -> float:
    config = system_config(
        prompt={"slot": slot, "recommender_scores": shows_scores, "templates": "first"},
        curriculum={"schedule": "direct"},
        lora={"rank": 8, "alpha": 16.0},
        tune={
            "epochs": 1,
            "max_examples": n_prompts,
            "batch_size": 8,
            "micro_batch_size": 8,
            "learning_rate": 5e-3,
            "checkpoint_every": 10_000,
        },
    )
    data = _questions(n_prompts, seed=2)
    encoder = make_encoder(llm)
    model = adapters.build_model(make_base(llm), encoder, config, item_vectors(), head_vectors=None)
    plan = make_plan(DataSizes([1] * n_prompts, 1, []), config.tune, config.curriculum, sample_templates=False, seed=0)
    train(model, plan, PlanDataset(plan, data, encoder, config.prompt), encoder, config.tune, seed=0, scratch=scratch)
    held_out = _questions(N_ASKED, seed=1)
    queries = [
        Query(
            render_ranking(
                held_out.histories[row],
                held_out.candidates[row, 0],
                LABELS,
                WORDING,
                "hybrid",
                0,
                slot=slot,
                scores=held_out.scores[row, 0] if shows_scores and held_out.scores else None,
            ),
            tuple(LABELS[item] for item in held_out.candidates[row, 0]),
        )
        for row in range(N_ASKED)
    ]
    answers = answer_queries(model.eval(), encoder, queries, batch_size=20, max_new_tokens=20)
    return float(np.mean([LABELS[held_out.targets[row]] == answers.texts[row] for row in range(N_ASKED)]))


def test_a_guided_system_writes_what_the_recommender_puts_first(llm: Path, tmp_path: Path) -> None:
    # Depending on rounding in the first hundred steps, it ends between .4 and .95; similar runs have .85 and more.
    assert _hit_ratio(llm, tmp_path, 4800, slot="before", shows_scores=True) > CHANCE + 3 * ERROR


def test_the_papers_form_cannot_recognise_the_target(llm: Path, tmp_path: Path) -> None:
    without = _hit_ratio(llm, tmp_path, 1200, slot="after", shows_scores=False)
    assert without < CHANCE + 3 * ERROR


def test_a_compact_system_learns_the_next_item(llm: Path, tmp_path: Path) -> None:
    """All users follow one cycle of items."""
    config = system_config(
        prompt={"representation": "compact", "templates": "first"},
        lora={"rank": 8, "alpha": 16.0},
        tune={
            "objective": "next_item",
            "epochs": 20,
            "max_examples": None,
            "batch_size": 8,
            "micro_batch_size": 8,
            "learning_rate": 5e-3,
            "chunk_len": 6,
            "checkpoint_every": 10_000,
        },
    )
    cycle = np.random.default_rng(0).permutation(N_ITEMS)
    sequences = [np.roll(cycle, -start)[:10].tolist() for start in range(N_ITEMS)]
    data = TrainingData([], [], {}, None, sequences, LABELS, WORDING)
    encoder, base = make_encoder(llm), make_base(llm)
    model: HybridLM = adapters.build_model(
        base,
        encoder,
        config,
        item_vectors(),
        head_vectors=item_vectors(),
        item_texts=encode_texts(base, encoder, LABELS, config.prompt.text_dim).vectors,
    )
    plan = make_plan(DataSizes([], 1, [10] * N_ITEMS), config.tune, config.curriculum, sample_templates=False, seed=0)
    train(model, plan, PlanDataset(plan, data, encoder, config.prompt), encoder, config.tune, seed=0, scratch=tmp_path)
    histories = [np.roll(cycle, -start)[:3].tolist() for start in range(N_ITEMS)]
    scores = HeadScorer(model.eval(), encoder, LABELS, WORDING, config.prompt, batch_size=4).score_catalogue(histories)
    following = torch.tensor([np.roll(cycle, -start)[3] for start in range(N_ITEMS)])
    assert (torch.from_numpy(scores).argmax(dim=1) == following).float().mean() > 0.9
