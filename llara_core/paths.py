"""Locations of all artifacts, relative to the repository root; ``dvc.yaml`` names the same ones.

A *training run* is one training of a recommender or an LLM system with one seed. Its name is ``<name>-<seed>``, such as
``sasrec-0`` or ``llara-0``. Baselines and chat models, which no training seed changes, go by their plain names.
"""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
SYSTEMS = Path("systems.yaml")  # the sections that PARAMS lacks
PRESETS = Path("presets")
LLM = Path("data/llm")
RESOLVED = Path("data/resolved")
LLM_SOURCE = "source.json"  # file in a model folder with the origin and the hash of the model
REPORT = Path("metrics")
PLOTS = Path("metrics/plots")
INTERACTIONS, ITEMS, EXAMPLES = "interactions.parquet", "items.parquet", "examples.parquet"  # the prepared tables
USERS = "users.parquet"  # raw ids of the users, beside them
QUESTIONS, CANDIDATE_SETS = "questions.parquet", "candidates.parquet"  # the tables at further positions
ITEM_EMBEDDINGS, TRAINING_SCORES = "item_embeddings.parquet", "training_scores.parquet"  # tables of a recommender
CURVES = Path("metrics/curves")  # holds nothing else, so that the report can depend on it as a whole


def raw(dataset: str) -> Path:
    return Path("data/raw") / dataset


def own(dataset: str) -> Path:
    """Folder of the user's own files, which no stage writes."""
    return Path("data/own") / dataset


def prepared(dataset: str) -> Path:
    """Folder with the tables of :func:`interactions`, :func:`items`, :func:`examples` and :func:`users`."""
    return Path("data/prepared") / dataset


def interactions(dataset: str) -> Path:
    return prepared(dataset) / INTERACTIONS


def items(dataset: str) -> Path:
    return prepared(dataset) / ITEMS


def examples(dataset: str) -> Path:
    return prepared(dataset) / EXAMPLES


def users(dataset: str) -> Path:
    return prepared(dataset) / USERS


def prepared_tables(dataset: str) -> tuple[Path, Path, Path]:
    """Tables that determine all results."""
    return interactions(dataset), items(dataset), examples(dataset)


def candidates(dataset: str) -> Path:
    """Folder with the tables of :func:`candidate_sets` and the folder of :func:`positions`."""
    return Path("data/candidates") / dataset


def candidate_sets(dataset: str, split: str) -> Path:
    """Table of the candidate sets of the examples of one split."""
    return candidates(dataset) / f"{split}.parquet"


def positions(dataset: str) -> Path:
    """Folder with the tables QUESTIONS and CANDIDATE_SETS; missing if only last items are targets."""
    return at_positions(candidates(dataset))


def at_positions(folder: Path) -> Path:
    """Subfolder for further positions in a folder of candidates, or in a system's predictions, results or metrics."""
    return folder / "positions"


def run_name(name: str, seed: int) -> str:
    """Name of a training run of a recommender or an LLM system."""
    return f"{name}-{seed}"


def fused(name: str) -> str:
    """Name of an LLM system, or of one of its training runs, that is fused with its recommender."""
    return f"fused-{name}"


def resolved_system(system: str) -> Path:
    """File with an LLM system's configuration, in which ``extends`` and the global sections are filled in."""
    return RESOLVED / "systems" / f"{system}.json"


def resolved_recommender(recommender: str) -> Path:
    """File that says what the run's LLM systems need from a recommender."""
    return RESOLVED / "recommenders" / f"{recommender}.json"


def recommenders(dataset: str) -> Path:
    """Folder with the outputs of the conventional recommenders and the baselines."""
    return Path("data/recommenders") / dataset


def checkpoint(dataset: str, run_name: str) -> Path:
    """Folder with a trained recommender."""
    return recommenders(dataset) / run_name / "checkpoint"


def item_embeddings(dataset: str, run_name: str) -> Path:
    return recommenders(dataset) / run_name / ITEM_EMBEDDINGS


def training_scores(dataset: str, run_name: str) -> Path:
    """Table of a recommender's scores of the training candidate sets."""
    return recommenders(dataset) / run_name / TRAINING_SCORES


def recommender_predictions(dataset: str, run_name: str) -> Path:
    """Folder of predictions tables, as in :func:`system_predictions`."""
    return recommenders(dataset) / run_name / "predictions"


def baseline_predictions(dataset: str, baseline: str) -> Path:
    """Folder of predictions tables, as in :func:`system_predictions`."""
    return recommenders(dataset) / "baselines" / baseline


def systems(dataset: str) -> Path:
    """Folder with the inputs and the outputs of the LLM systems."""
    return Path("data/systems") / dataset


def all_inputs(dataset: str) -> Path:
    """Folder with one folder per training run of an LLM system."""
    return systems(dataset) / "inputs"


def inputs(dataset: str, run_name: str) -> Path:
    """Folder with the configuration of one LLM training run and the files of its recommender that it reads."""
    return all_inputs(dataset) / run_name


def adapter(dataset: str, run_name: str) -> Path:
    """Folder of an adapter whose tuning began at the language model."""
    return systems(dataset) / "adapters" / run_name


def start_of_each(dataset: str) -> Path:
    """File with the ``start`` of every LLM system of the run.

    It is stored beside the adapters, so that their folder exists in a run that tunes nothing.
    """
    return systems(dataset) / "adapters" / "starts.json"


def starts(dataset: str) -> Path:
    """Folder with one folder per training run of an LLM system."""
    return systems(dataset) / "starts"


def start(dataset: str, run_name: str) -> Path:
    """Folder with the inputs of one training run that continues from another system's adapter, and that adapter."""
    return starts(dataset) / run_name


def further(dataset: str, run_name: str) -> Path:
    """Folder with the adapter and the curves of a training run that continued from another system's adapter."""
    return systems(dataset) / "further" / run_name


def further_adapter(dataset: str, run_name: str) -> Path:
    return further(dataset, run_name) / "adapter"


def further_curves(dataset: str, run_name: str) -> Path:
    """DVCLive folder with the training curves of a run in :func:`further`."""
    return further(dataset, run_name) / "curves"


def system_predictions(dataset: str, run_name: str) -> Path:
    """Folder with the predictions of an LLM training run or a chat model: one ``<mode>.parquet`` per mode, and one
    ``<mode>-shuffled.parquet`` where histories were shuffled."""
    return systems(dataset) / "predictions" / run_name


def fused_predictions(dataset: str, run_name: str) -> Path:
    """Folder with ``fused.parquet``, the scores of an LLM training run combined with those of its recommender."""
    return Path("data/fused") / dataset / run_name


def recommendations(dataset: str, run_name: str) -> Path:
    """Table with the recommendations of one training run for all users."""
    return Path("data/recommendations") / dataset / f"{run_name}.parquet"


def results(dataset: str) -> Path:
    """Folder with the results per candidate set, by training run."""
    return Path("data/results") / dataset


def published(dataset: str) -> Path:
    """Table of the results behind published figures; a JSON file of the same name records their origin."""
    return Path("results") / f"{dataset}.parquet"


def curves(dataset: str, run_name: str) -> Path:
    """DVCLive folder with the curves of one training run that does not continue from another system's adapter."""
    return CURVES / dataset / run_name


def statistics(dataset: str) -> Path:
    return Path("metrics") / dataset / "statistics.json"


def metrics(dataset: str, run_name: str) -> Path:
    """Folder with one JSON file per predictions table of a training run."""
    return Path("metrics") / dataset / "systems" / run_name


def main_metrics(dataset: str, name: str) -> Path:
    """File with the main metrics of one system or fusion, which ``dvc metrics show`` prints."""
    return Path("metrics") / dataset / "main" / f"{name}.json"


def scratch() -> Path:
    """Git-ignored folder for checkpoints of interrupted stages; never an input of another stage."""
    return Path(".scratch")
