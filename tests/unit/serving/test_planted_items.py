"""An own shop in which categories decide: a new product comes first to those who buy its kind, without training.

Once with the categories of the new products as they are, and once with those of their neighbours: nothing else may decide.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import tables
from llara_core.config import load_params
from llara_core.data.preparation import Prepared, prepare
from llara_core.llm.item_vectors import load_item_vectors, load_text_vectors
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.recommenders import checkpoints, models, training
from llara_core.serving import Model, bundle, load
from llara_core.serving.new_items import ItemReading
from llara_core.serving.parts import Retriever, SystemParts
from llara_core.tuning.tune import tune
from tests.helpers.datasets import dataset_config
from tests.helpers.llm import LLM, DataInMemory, system_config, tuning_setting
from tests.helpers.text_encoder import write_tiny_bert
from tests.unit.serving.conftest import REPOSITORY

CATEGORIES = ["gardening", "KITCHEN", "1926-1947", "(=^.^=)"]  # each of its own characters, which are what a random model tells
PER_CATEGORY, N_CUSTOMERS = 5, 48
COLUMNS = {"user": "customer", "item": "sku", "time": "time", "rating": None, "item_id": "sku", "title": "name"}
CONFIG = dataset_config(
    "log", columns={**COLUMNS, "attributes": ["category"]}, max_history_len=PER_CATEGORY, noun="product", verb="bought"
)
OWN = "sasrec_text"
TUNE = {
    "objective": "next_item",
    "new_share": 0.2,
    "epochs": 6,
    "max_examples": None,
    "batch_size": 16,
    "micro_batch_size": 16,
    "chunk_len": PER_CATEGORY,
    "learning_rate": 1e-2,
    "checkpoint_every": 1000,
}


def name(rng: np.random.Generator) -> str:
    return "".join(rng.choice([*"aeiou"]) + rng.choice([*"bdfglmnrst"]) for _ in range(2)).capitalize()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Products of four categories; a customer buys all of one, in any order. Their names say nothing."""
    root, rng = tmp_path_factory.mktemp("shop"), np.random.default_rng(0)
    products = [(f"{category[0]}{number}", name(rng), category) for category in CATEGORIES for number in range(PER_CATEGORY)]
    pd.DataFrame(products, columns=["sku", "name", "category"]).to_csv(root / "items.csv", index=False)
    rows = [
        (customer, f"{CATEGORIES[customer % 4][0]}{number}", PER_CATEGORY * customer + place)
        for customer in range(N_CUSTOMERS)
        for place, number in enumerate(rng.permutation(PER_CATEGORY))
    ]
    pd.DataFrame(rows, columns=["customer", "sku", "time"]).to_csv(root / "interactions.csv", index=False)
    new = pd.DataFrame({"sku": ["new 0", "new 1", "new 2", "new 3"], "name": [name(rng) for _ in CATEGORIES]})
    for turn in (0, 1):
        new.assign(category=np.roll(CATEGORIES, turn)).to_csv(root / f"new-{turn}.csv", index=False)
    write_tiny_bert(root / "encoder")
    prepared = prepare(root, CONFIG)
    tables.write_table(root / "items.parquet", prepared.items, tables.ITEMS)
    train_recommender(root, prepared)
    return root


def train_recommender(root: Path, prepared: Prepared) -> None:
    params = load_params(REPOSITORY / "params.yaml").recommenders
    section = params.sasrec_text.model_copy(update={"encoder": str(root / "encoder"), "n_layers": 1, "n_heads": 1})
    params = params.model_copy(update={"embedding_dim": 16, OWN: section})
    build, arguments = models.builder(OWN, params, prepared.items, PER_CATEGORY, lambda *_: root / "encoder")
    trained = training.search_l2(
        build,
        training.training_sequences(prepared.interactions),
        training.validation_set(prepared.interactions, PER_CATEGORY, 5, 100),
        [0.0],
        training.TrainingOptions(1e-2, 32, "cross_entropy", max_epochs=8, patience=8),
        0,
        OWN,
    )
    model = checkpoints.save(root / "checkpoint", trained, OWN, arguments, "d" * 64, checkpoints.TextSource.of(section)).model
    frame = prepared.items[[c.ITEM, c.LABEL]].assign(
        **{c.VECTOR: list(model.item_embeddings()), c.TEXT_VECTOR: list(model.text_embeddings())}
    )
    tables.write_table(root / "item_embeddings.parquet", frame, tables.ITEM_EMBEDDINGS)


def exported(root: Path, llm: Path | None = None) -> Model:
    """The recommender, or with ``llm`` a compact system on it, loaded from the folder that an export writes."""
    system = "sasrec_text" if llm is None else "compact_on_text"
    parts = SystemParts(
        dataset="shop",
        system=system,
        seed=0,
        wording=ItemWording.of(CONFIG),
        max_history_len=PER_CATEGORY,
        n_candidates=5,
        items=root / "items.parquet",
        item_reading=ItemReading.of(CONFIG),
        llm=None if llm is None else root / "adapter",
        item_embeddings=None if llm is None else root / "item_embeddings.parquet",
        retriever=Retriever.trained(OWN, root / "checkpoint", "d" * 64),
    )
    if not (root / system).exists():
        bundle.write_parts(root / system, parts, "log", LLM, root if llm is None else llm)
    return load(root / system, llm=llm)


def first_to_those_who_have_the_others(model: Model, new: Path) -> list[tuple[str, bool]]:
    """By category, what is recommended first to customers who have all products of it that training saw."""
    model.add_items_from(new)
    histories = [[f"{category[0]}{number}" for number in range(PER_CATEGORY)] for category in CATEGORIES]
    return [(one.item, one.is_new) for history in histories for one in model.recommend(history, top=1)]


@pytest.mark.parametrize("turn", [0, 1])
def test_a_recommender_on_text_finds_those_who_buy_its_kind(turn: int, shop: Path) -> None:
    found = first_to_those_who_have_the_others(exported(shop), shop / f"new-{turn}.csv")
    assert found == [(f"new {(number + turn) % 4}", True) for number in range(4)]


@pytest.fixture(scope="module")
def compact_shop(shop: Path, tiny_llama: Path) -> Path:
    """The shop with a compact system on its recommender."""
    items = tables.read_table(shop / "items.parquet", tables.ITEMS)
    vectors, vectors_hash = load_item_vectors(shop / "item_embeddings.parquet", len(items))
    log = pd.read_csv(shop / "interactions.csv")
    ids = log["sku"].map(dict(zip(items[c.RAW_ITEM], items[c.ITEM], strict=True)))
    sequences = ids.to_numpy().reshape(N_CUSTOMERS, PER_CATEGORY).tolist()
    labels, texts = items[c.LABEL].to_list(), items[c.TEXT].to_list()
    setting = tuning_setting(
        tiny_llama,
        shop,
        dataset="shop",
        recommender=OWN,
        data=DataInMemory([], [], {}, None, sequences, labels, ItemWording.of(CONFIG), texts),
        item_vectors=vectors,
        text_vectors=load_text_vectors(shop / "item_embeddings.parquet", len(items)),
        embeddings_hash=vectors_hash,
        head_dim=16,
    )
    config = system_config(prompt={"representation": "compact", "item_text": "full", "text_dim": 6}, tune=TUNE)
    tune("compact_on_text", config, setting, adapter_folder=shop / "adapter", curves_folder=shop / "curves")
    return shop


@pytest.mark.parametrize("turn", [0, 1])
def test_so_does_a_compact_llm_system_on_it(turn: int, compact_shop: Path, tiny_llama: Path) -> None:
    found = first_to_those_who_have_the_others(exported(compact_shop, tiny_llama), compact_shop / f"new-{turn}.csv")
    assert found == [(f"new {(number + turn) % 4}", True) for number in range(4)]
