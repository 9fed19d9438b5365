"""Where every artifact lies, relative to the repository root; ``dvc.yaml`` names the same places.

A *cell* is one thing that answers: ``sasrec-0`` (recommender, seed), ``llara-sasrec-0`` (system, recommender, seed),
``tallrec-0`` (a system without a recommender), ``fused-llara-sasrec-0`` (an LLM cell with its recommender), or the plain name
of what is not trained here: a baseline (``popularity``), an untuned system (``zero_shot``), a chat model.
"""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
PRESETS = Path("presets")
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


def llm_cell(system: str, recommender: str | None, seed: int) -> str:
    return f"{llm_system(system, recommender)}-{seed}"


def llm_system(system: str, recommender: str | None) -> str:
    """What the report calls a tuned system: its cell without the seed."""
    return system if recommender is None else f"{system}-{recommender}"


def fused_cell(llm_cell: str) -> str:
    return f"fused-{llm_cell}"


def recommender(dataset: str, cell: str) -> Path:
    return Path("data/recommenders") / dataset / cell


def item_embeddings(dataset: str, cell: str) -> Path:
    return Path("data/item_embeddings") / dataset / f"{cell}.parquet"


def training_scores(dataset: str, cell: str) -> Path:
    """A recommender's scores of the training candidate sets."""
    return Path("data/training_scores") / dataset / f"{cell}.parquet"


def system(name: str) -> Path:
    return Path("data/systems") / f"{name}.json"


def adapter(dataset: str, cell: str) -> Path:
    return Path("data/adapters") / dataset / cell


def predictions(dataset: str, cell: str) -> Path:
    """Folder with one ``<mode>.parquet`` per way of answering (``score``, ``generate``, ``constrained``, ``fused``), and one
    ``<mode>-shuffled.parquet`` where the histories were shuffled."""
    return Path("data/predictions") / dataset / cell


def curves(dataset: str, cell: str) -> Path:
    """DVCLive folder with the training curves of one cell."""
    return CURVES / dataset / cell


def statistics(dataset: str) -> Path:
    return Path("metrics") / dataset / "statistics.json"


def metrics(dataset: str, cell: str) -> Path:
    """Folder with one JSON file per file of :func:`predictions`."""
    return Path("metrics") / dataset / "systems" / cell


def scratch() -> Path:
    """Git-ignored folder for checkpoints of interrupted stages; never an input of another stage."""
    return Path(".scratch")
