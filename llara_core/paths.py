"""Where every artifact lies, relative to the repository root; ``dvc.yaml`` names the same places.

A *cell* is one trained thing: ``sasrec-0`` (recommender, seed), ``llara-sasrec-0`` (system, recommender, seed),
``fused-llara-sasrec-0`` (an LLM cell with its recommender) or a baseline's plain name (``popularity``).
"""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
LLM = Path("data/llm")
LLM_SOURCE = "source.json"  # in a model folder: where the model came from, and its hash
REPORT = Path("metrics")
PLOTS = Path("metrics/plots")
CURVES = Path("metrics/curves")  # apart from the rest of `metrics`, so that the report can depend on all of them


def raw(dataset: str) -> Path:
    return Path("data/raw") / dataset


def own(dataset: str) -> Path:
    """Folder for a user's own files, which no stage writes."""
    return Path("data/own") / dataset


def prepared(dataset: str) -> Path:
    """Folder with ``interactions.parquet``, ``items.parquet`` and ``examples.parquet``."""
    return Path("data/prepared") / dataset


def candidates(dataset: str) -> Path:
    """Folder with ``train.parquet``, ``validation.parquet`` and ``test.parquet``."""
    return Path("data/candidates") / dataset


def recommender_cell(recommender: str, seed: int) -> str:
    return f"{recommender}-{seed}"


def llm_cell(system: str, recommender: str, seed: int) -> str:
    return f"{system}-{recommender}-{seed}"


def fused_cell(llm_cell: str) -> str:
    return f"fused-{llm_cell}"


def recommender(dataset: str, cell: str) -> Path:
    return Path("data/recommenders") / dataset / cell


def item_embeddings(dataset: str, cell: str) -> Path:
    return Path("data/item_embeddings") / dataset / f"{cell}.parquet"


def system(name: str) -> Path:
    return Path("data/systems") / f"{name}.json"


def adapter(dataset: str, cell: str) -> Path:
    return Path("data/adapters") / dataset / cell


def predictions(dataset: str, cell: str) -> Path:
    """Folder with one ``<mode>.parquet`` per way of answering (``score``, ``generate``, ``constrained``, ``fused``)."""
    return Path("data/predictions") / dataset / cell


def curves(dataset: str, cell: str) -> Path:
    """DVCLive folder with the training curves of one cell."""
    return CURVES / dataset / cell


def statistics(dataset: str) -> Path:
    return Path("metrics") / dataset / "statistics.json"


def metrics(dataset: str, cell: str) -> Path:
    """Folder with one ``<mode>.json`` per way of answering."""
    return Path("metrics") / dataset / "systems" / cell


def scratch() -> Path:
    """Git-ignored folder for checkpoints of interrupted stages; never an input of another stage."""
    return Path(".scratch")
