"""A small world of predictions: 12 held-out users, 3 draws of 5 candidates each, in an empty working folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.answers import predictions
from llara_core.answers.held_out import held_out_candidates, read_held_out
from llara_core.answers.predictions import PredictionMetadata
from llara_core.config import BASELINES, RECOMMENDERS, EvaluationConfig, Params, RunConfig, load_params
from llara_core.evaluation.evaluate import evaluate
from llara_core.evaluation.results import SystemResults, read_results, write_run
from llara_core.evaluation.systems import fused_name, systems_of
from llara_core.report.comparisons import Comparisons, compare_systems

PARAMS = Path(__file__).parents[2] / "params.yaml"
DATASET = "movielens"
N_VALIDATION, N_USERS, N_DRAWS, N_CANDIDATES, N_ITEMS = 5, 12, 3, 5, 30


@dataclass(frozen=True)
class World:
    examples: pd.DataFrame
    candidates: pd.DataFrame
    candidates_hash: str
    put: Callable[..., pd.DataFrame]  # writes one predictions table of a training run, returns its frame
    params: Params

    def on_axes(self, **axes: list[str] | list[int]) -> Params:
        """Returns the parameters with other values of the section ``run``."""
        return self.params.model_copy(update={"run": self.params.run.model_copy(update=axes)})

    def results(self, params: Params) -> list[SystemResults]:
        """Evaluates the predictions as the stage ``evaluate`` does, and reads the results."""
        shutil.rmtree(paths.results(DATASET), ignore_errors=True)
        for run_name, run in evaluate(read_held_out(DATASET), params):
            write_run(paths.results(DATASET) / run_name, run)
        return read_results(DATASET, systems_of(params))

    def compared(self, params: Params) -> Comparisons:
        """Returns the input of the sections of the report."""
        self.results(params)
        return compare_systems(DATASET, params)

    def target_is(self, place: int) -> np.ndarray:
        """Returns scores that rank the target at 1-based ``place`` in every candidate set, with no ties."""
        items = np.stack(self.candidates[c.CANDIDATES].to_list())
        target = self.candidates[[c.EXAMPLE]].merge(self.examples, on=c.EXAMPLE)[[c.TARGET]].to_numpy()
        scores = np.tile(np.arange(N_CANDIDATES, 0, -1.0), (len(items), 1))
        own = (items == target).argmax(axis=1)
        rows = np.arange(len(items))
        scores[rows, own], scores[rows, place - 1] = scores[rows, place - 1], scores[rows, own]
        return scores


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    examples = pd.DataFrame(
        {
            c.EXAMPLE: np.arange(N_USERS),
            c.USER: np.arange(N_USERS) + 100,
            c.SPLIT: [c.VALIDATION] * N_VALIDATION + [c.TEST] * (N_USERS - N_VALIDATION),
            c.HISTORY: [[1, 2]] * N_USERS,
            c.TARGET: rng.integers(N_ITEMS, size=N_USERS),
        }
    )
    tables.write_table(paths.prepared(DATASET) / "examples.parquet", examples, tables.EXAMPLES)
    # In training, one user had the first ten items four times each, the next ten twice, the last ten never.
    trained = np.repeat(np.arange(N_ITEMS - 10), [4] * 10 + [2] * 10)
    interactions = pd.DataFrame(
        {c.USER: 0, c.ITEM: trained, c.TIMESTAMP: 0, c.POSITION: np.arange(len(trained)), c.SPLIT: c.TRAIN}
    )
    tables.write_table(paths.prepared(DATASET) / "interactions.parquet", interactions, tables.INTERACTIONS)
    items = pd.DataFrame({c.ITEM: np.arange(N_ITEMS)})
    items[c.RAW_ITEM] = items[c.ITEM].astype(str)
    items[c.TITLE] = items[c.LABEL] = [f"Film *{item}*" for item in items[c.ITEM]]
    items[c.N_INTERACTIONS] = 1
    items[c.TEXT] = items[c.LABEL]
    tables.write_table(paths.prepared(DATASET) / "items.parquet", items, tables.ITEMS)
    for split in c.HELD_OUT:
        rows = []
        for example, target in examples.loc[examples[c.SPLIT] == split, [c.EXAMPLE, c.TARGET]].itertuples(index=False):
            for draw in range(N_DRAWS):
                negatives = rng.choice(np.setdiff1d(np.arange(N_ITEMS), [target]), N_CANDIDATES - 1, replace=False)
                rows.append((example, draw, rng.permutation(np.append(negatives, target))))
        frame = pd.DataFrame(rows, columns=[c.EXAMPLE, c.DRAW, c.CANDIDATES])
        tables.write_table(paths.candidates(DATASET) / f"{split}.parquet", frame, tables.CANDIDATE_SETS)
    candidates, candidates_hash = held_out_candidates(DATASET)

    def put(
        run_name: str,
        scores: np.ndarray,
        *,
        mode: str = "score",
        draws: int = N_DRAWS,
        shuffled: bool = False,
        texts: list[str] | None = None,
        invalid: int | None = None,
        **facts: object,
    ) -> pd.DataFrame:
        kept = ((candidates[c.DRAW] < draws) & (not shuffled or candidates[c.EXAMPLE] >= N_VALIDATION)).to_numpy()
        frame = predictions.from_scores(candidates[kept].reset_index(drop=True), scores[kept])
        if texts is not None:  # written answers; the scores only determine which one is right
            frame[c.TEXT], frame[c.SCORES] = texts, None
        is_invalid = frame[c.EXAMPLE] == invalid
        frame[c.PREDICTED], frame[c.VALID] = frame[c.PREDICTED].mask(is_invalid), frame[c.VALID] & ~is_invalid
        history = "shuffled" if shuffled else "ordered"
        name, _, seed = run_name.rpartition("-") if "-" in run_name else (run_name, "", "0")
        stated = {"objective": "none", "seed": seed, "candidates_hash": candidates_hash, "history": history} | facts
        folder, system = folder_and_name(run_name, name)
        predictions.write_predictions(folder, frame, PredictionMetadata(dataset=DATASET, system=system, mode=mode, **stated))
        return frame

    def folder_and_name(run_name: str, name: str) -> tuple[Path, str]:
        """Returns the folder of a run's predictions and the name of its system."""
        if name in BASELINES:
            return paths.baseline_predictions(DATASET, run_name), name
        if name in RECOMMENDERS:
            return paths.recommender_predictions(DATASET, run_name), name
        if name.startswith(paths.fused("")):
            key = name.removeprefix(paths.fused(""))
            return paths.fused_predictions(DATASET, run_name), fused_name(key, str(defaults.systems[key].recommender))
        return paths.system_predictions(DATASET, run_name), name

    defaults = load_params(PARAMS)
    run = RunConfig(
        datasets=[DATASET],
        baselines=["popularity"],
        recommenders=["sasrec"],
        systems=["llara"],
        chat_models=[],
        recommend=[],
        seeds=[0],
    )
    evaluation = EvaluationConfig(bootstrap_samples=200, permutation_samples=199, confidence=0.95, seed=0, positions="all")
    budgets = {"generative": {"max_examples": 256, "epochs": 5}, "next_item": {"max_examples": 512}, "preference": {}}
    systems = {
        name: system.model_copy(update={"tune": system.tune.model_copy(update=budgets[system.tune.objective])})
        for name, system in defaults.systems.items()
    }
    params = defaults.model_copy(update={"run": run, "evaluation": evaluation, "systems": systems})
    return World(examples, candidates, candidates_hash, put, params)
