"""Where every artifact lies, relative to the repository root; ``dvc.yaml`` names the same places.

A *cell* is one training run of what answers, ``<name>-<seed>``: ``sasrec-0`` (a recommender), ``llara-0`` (an LLM system).
What no training seed changes goes by its plain name: a baseline (``popularity``), a chat model.
"""

from __future__ import annotations

from pathlib import Path

PARAMS = Path("params.yaml")
SYSTEMS = Path("systems.yaml")  # the other sections, beside PARAMS
PRESETS = Path("presets")
LLM = Path("data/llm")
RESOLVED = Path("data/resolved")
LLM_SOURCE = "source.json"  # in a model folder: where the model came from, and its hash
REPORT = Path("metrics")
PLOTS = Path("metrics/plots")
INTERACTIONS, ITEMS, EXAMPLES = "interactions.parquet", "items.parquet", "examples.parquet"  # the prepared tables
CURVES = Path("metrics/curves")  # apart from the rest of `metrics`, so that the report can depend on all of them


def raw(dataset: str) -> Path:
    return Path("data/raw") / dataset


def own(dataset: str) -> Path:
    """Folder for a user's own files, which no stage writes."""
    return Path("data/own") / dataset


def prepared(dataset: str) -> Path:
    """Folder with the tables of :func:`interactions`, :func:`items` and :func:`examples`."""
    return Path("data/prepared") / dataset


def interactions(dataset: str) -> Path:
    return prepared(dataset) / INTERACTIONS


def items(dataset: str) -> Path:
    return prepared(dataset) / ITEMS


def examples(dataset: str) -> Path:
    return prepared(dataset) / EXAMPLES


def candidates(dataset: str) -> Path:
    """Folder with ``train.parquet``, ``validation.parquet`` and ``test.parquet``, and the folder of :func:`positions`."""
    return Path("data/candidates") / dataset


def positions(dataset: str) -> Path:
    """Folder with ``questions.parquet`` and ``candidates.parquet``; there is none where only the last items are asked for."""
    return at_positions(candidates(dataset))


def at_positions(folder: Path) -> Path:
    """Where the answers to the questions at further positions lie in a cell's folder of predictions, results or metrics."""
    return folder / "positions"


def cell(name: str, seed: int) -> str:
    """Of a recommender or an LLM system."""
    return f"{name}-{seed}"


def fused(name: str) -> str:
    """What an LLM system, or a cell of it, is called when it is fused with its recommender."""
    return f"fused-{name}"


def resolved_system(system: str) -> Path:
    """What an LLM system is, once ``extends`` and the global sections are filled in."""
    return RESOLVED / "systems" / f"{system}.json"


def resolved_recommender(recommender: str) -> Path:
    """What the LLM systems of a run need from a recommender."""
    return RESOLVED / "recommenders" / f"{recommender}.json"


def recommenders(dataset: str) -> Path:
    """Folder with all that the conventional recommenders and the baselines of a data set give."""
    return Path("data/recommenders") / dataset


def checkpoint(dataset: str, cell: str) -> Path:
    """Folder with a trained recommender."""
    return recommenders(dataset) / cell / "checkpoint"


def item_embeddings(dataset: str, cell: str) -> Path:
    return recommenders(dataset) / cell / "item_embeddings.parquet"


def training_scores(dataset: str, cell: str) -> Path:
    """A recommender's scores of the training candidate sets."""
    return recommenders(dataset) / cell / "training_scores.parquet"


def recommender_predictions(dataset: str, cell: str) -> Path:
    """Folder of predictions tables, as in :func:`system_predictions`."""
    return recommenders(dataset) / cell / "predictions"


def baseline_predictions(dataset: str, baseline: str) -> Path:
    """Folder of predictions tables, as in :func:`system_predictions`."""
    return recommenders(dataset) / "baselines" / baseline


def systems(dataset: str) -> Path:
    """Folder with all that the LLM systems of a data set read and give."""
    return Path("data/systems") / dataset


def all_inputs(dataset: str) -> Path:
    """Folder with a folder per LLM cell."""
    return systems(dataset) / "inputs"


def inputs(dataset: str, cell: str) -> Path:
    """Folder with what tells one LLM cell from the others: its configuration, and what it reads of its recommender."""
    return all_inputs(dataset) / cell


def adapter(dataset: str, cell: str) -> Path:
    """Folder of an adapter that was tuned from the language model."""
    return systems(dataset) / "adapters" / cell


def start_of_each(dataset: str) -> Path:
    """File with the start of every LLM system of the run, null where it has none.

    It lies beside the adapters, so that their folder is there in a run that tunes nothing.
    """
    return systems(dataset) / "adapters" / "starts.json"


def starts(dataset: str) -> Path:
    """Folder with a folder per LLM cell."""
    return systems(dataset) / "starts"


def start(dataset: str, cell: str) -> Path:
    """Folder with what one LLM cell is tuned on that goes on from another's adapter, and that adapter."""
    return starts(dataset) / cell


def further(dataset: str, cell: str) -> Path:
    """Folder with the adapter and the curves of an LLM cell that went on from another's adapter."""
    return systems(dataset) / "further" / cell


def further_adapter(dataset: str, cell: str) -> Path:
    return further(dataset, cell) / "adapter"


def further_curves(dataset: str, cell: str) -> Path:
    """DVCLive folder, as :func:`curves`."""
    return further(dataset, cell) / "curves"


def system_predictions(dataset: str, cell: str) -> Path:
    """Folder with one ``<mode>.parquet`` per way of answering (``score``, ``generate``, ``constrained``), and one
    ``<mode>-shuffled.parquet`` where the histories were shuffled; of an LLM cell or a chat model."""
    return systems(dataset) / "predictions" / cell


def fused_predictions(dataset: str, cell: str) -> Path:
    """Folder with ``fused.parquet``: the scores of an LLM cell combined with those of its recommender."""
    return Path("data/fused") / dataset / cell


def recommendations(dataset: str, cell: str) -> Path:
    """Table of what one cell recommends to all users."""
    return Path("data/recommendations") / dataset / f"{cell}.parquet"


def results(dataset: str) -> Path:
    """Folder with what became of every candidate set, by system."""
    return Path("data/results") / dataset


def published(dataset: str) -> Path:
    """Table of the results that published figures rest on; a JSON file of the same name says where they come from."""
    return Path("results") / f"{dataset}.parquet"


def curves(dataset: str, cell: str) -> Path:
    """DVCLive folder with the training curves of one cell that goes on from no other's adapter."""
    return CURVES / dataset / cell


def statistics(dataset: str) -> Path:
    return Path("metrics") / dataset / "statistics.json"


def metrics(dataset: str, cell: str) -> Path:
    """Folder with one JSON file per predictions table of a cell."""
    return Path("metrics") / dataset / "systems" / cell


def deciding(dataset: str, name: str) -> Path:
    """The few figures of one system, or of its fusion, that decide: DVC's metrics."""
    return Path("metrics") / dataset / "main" / f"{name}.json"


def scratch() -> Path:
    """Git-ignored folder for checkpoints of interrupted stages; never an input of another stage."""
    return Path(".scratch")
