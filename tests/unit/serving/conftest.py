"""A finished run in small: twelve films, six users, a recommender and one LLM system of every kind, all with random weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from llara_core import columns as c
from llara_core import paths, tables
from llara_core.config import Params, load_params, resolution
from llara_core.config.resolution import overlay
from llara_core.llm import adapters, inputs, loading
from llara_core.recommenders import checkpoints, models
from llara_core.recommenders.training import TrainedModel
from pipeline.export import main as export
from tests.helpers import params as parameters
from tests.helpers.llm import D_REC, LABELS, N_ITEMS, adapter_metadata, make_model

REPOSITORY = Path(__file__).parents[3]
Exported = Callable[[str], Path]
DATASET, SEED = "movielens", 0
TUNED = ("tallrec", "llara", "llara_guided", "llara_compact")
# Users 0 to 5 have watched 3 to 8 films, each the next one of the list.
HISTORIES = {user: [(2 * user + step) % N_ITEMS for step in range(3 + user)] for user in range(6)}
RUN: dict[str, Any] = {
    "run": {
        "datasets": [DATASET],
        "baselines": ["popularity", "item_knn"],
        "recommenders": ["sasrec"],
        "systems": ["zero_shot", *TUNED],
        "seeds": [SEED],
    },
    "datasets": {DATASET: {"max_history_len": 4}},
    "candidates": {"n_candidates": 5},
    "llm": {"dtype": "float32", "threads": 1},
    "prompt": {"text_dim": 4},
    "systems": {"zero_shot": {"prompt": {"chat_template": False}}},
}


def write_params(root: Path, changes: dict[str, Any]) -> None:
    parameters.write_params(overlay(overlay(parameters.raw_params(), RUN), changes), root)


@pytest.fixture(scope="session")
def finished_run(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, which no test may change."""
    root = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_params(root, {})
        shutil.copytree(tiny_llama, paths.LLM)
        _prepare()
        _train_recommender()
        _tune(load_params())
        for name, hits in (("llara-0", 0.25), ("sasrec-0", 0.5)):
            _measure(name, hits)
    return root


@pytest.fixture
def run(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The finished run as the working folder."""
    monkeypatch.chdir(finished_run)
    return finished_run


@pytest.fixture
def changed_run(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run as the working folder."""
    root = tmp_path / "run"
    shutil.copytree(finished_run, root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope="session")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Gives the exported folder of a system, which no test may change."""
    root = tmp_path_factory.mktemp("exported")

    def folder(system: str) -> Path:
        if not (root / system).exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(finished_run)
                export(DATASET, system, SEED, root / system)
        return root / system

    return folder


@pytest.fixture
def llm(finished_run: Path) -> Path:
    return finished_run / paths.LLM


def _prepare() -> None:
    items = pd.DataFrame({c.ITEM: range(N_ITEMS), c.RAW_ITEM: [str(101 + item) for item in range(N_ITEMS)]})
    items[c.TITLE] = items[c.LABEL] = LABELS
    items[c.N_INTERACTIONS] = 1
    items[c.TEXT] = items[c.LABEL]
    folder = paths.prepared(DATASET)
    tables.write_table(folder / "items.parquet", items, tables.ITEMS)
    rows = [
        (user, item, position, position, c.TRAIN)
        for user, history in HISTORIES.items()
        for position, item in enumerate(history)
    ]
    interactions = pd.DataFrame(rows, columns=[c.USER, c.ITEM, c.TIMESTAMP, c.POSITION, c.SPLIT])
    tables.write_table(folder / "interactions.parquet", interactions, tables.INTERACTIONS)
    users = pd.DataFrame({c.USER: list(HISTORIES), c.RAW_USER: [f"u{user}" for user in HISTORIES]})
    tables.write_table(folder / "users.parquet", users, tables.USERS)
    examples = pd.DataFrame({c.EXAMPLE: [0], c.USER: [0], c.SPLIT: [c.TRAIN], c.HISTORY: [[0, 1]], c.TARGET: [2]})
    tables.write_table(folder / "examples.parquet", examples, tables.EXAMPLES)


def _train_recommender() -> None:
    torch.manual_seed(0)
    arguments = {"n_items": N_ITEMS, "embedding_dim": D_REC, "max_history_len": 4, "dropout": 0.0, "n_layers": 1, "n_heads": 1}
    model = models.build("sasrec", arguments)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    run_name = paths.run_name("sasrec", SEED)
    trained = [TrainedModel(model, 0.0, 1, 0.5)]
    checkpoints.save(paths.checkpoint(DATASET, run_name), trained, "sasrec", arguments, checkpoints.data_hash(DATASET))
    vectors = pd.DataFrame(
        {c.ITEM: range(N_ITEMS), c.LABEL: LABELS, c.VECTOR: list(model.item_embeddings()), c.TEXT_VECTOR: None}
    )
    tables.write_table(paths.item_embeddings(DATASET, run_name), vectors, tables.ITEM_EMBEDDINGS)
    for path in (paths.training_scores(DATASET, run_name), paths.recommender_predictions(DATASET, run_name) / "score.parquet"):
        path.parent.mkdir(exist_ok=True)
        path.touch()  # nothing that recommends reads them


def _tune(params: Params) -> None:
    paths.all_inputs(DATASET).mkdir(parents=True)
    vectors = torch.from_numpy(
        checkpoints.load(
            paths.checkpoint(DATASET, paths.run_name("sasrec", SEED)), "sasrec", checkpoints.data_hash(DATASET)
        ).item_embeddings()
    )
    for name in params.run.systems:
        run_name, config = paths.run_name(name, SEED), params.system(name)
        tables.write_json(paths.resolved_system(name), resolution.resolved(config))
        resolved = resolution.read_resolved(paths.resolved_system(name))
        inputs.write_inputs(paths.inputs(DATASET, run_name), resolved, DATASET, SEED, SEED)
        if not config.tuned:
            continue
        compact = config.prompt.representation == "compact"
        generator = torch.Generator().manual_seed(3)
        model = make_model(
            paths.LLM,
            config.prompt.representation,
            with_head=compact,
            vectors=vectors,
            texts=torch.randn(N_ITEMS, 4, generator=generator) if compact else None,
            prompt=config.prompt.model_dump(),
            tune={"objective": config.tune.objective},
        )
        table = paths.item_embeddings(DATASET, paths.run_name("sasrec", SEED))
        metadata = adapter_metadata(model).model_copy(
            update={
                "dataset": DATASET,
                "system": name,
                "prompt": config.prompt,
                "llm": loading.fingerprint(paths.LLM),
                "item_embeddings": tables.tables_hash(table) if config.shows_behavior else None,
            }
        )
        adapters.save_adapter(paths.adapter(DATASET, run_name), model, metadata)


def _measure(run_name: str, hits: float) -> None:
    means = {"hit_ratio@1": hits, "hit_ratio@1_low": hits - 0.1, "hit_ratio@1_high": hits + 0.1, "valid_ratio": 1.0}
    record = {
        "test": {**means, "n_users": 95, "n_draws": 10},
        "system": run_name.removesuffix("-0"),
        "mode": "score",
        "history": "ordered",
        "seed": 0,
    }
    tables.write_json(paths.metrics(DATASET, run_name) / "score.json", record)
    tables.write_json(paths.metrics(DATASET, run_name) / "score-shuffled.json", {**record, "history": "shuffled"})
