"""Saves and loads trained recommenders: ``model.safetensors``, ``config.json`` and the hyper-parameter search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from llara_core import paths, tables
from llara_core.config.recommenders import MoRecConfig, RecommenderSection
from llara_core.config.sections import Section
from llara_core.errors import DataError, ModelError
from llara_core.recommenders import models
from llara_core.recommenders.base import SequenceRecommender
from llara_core.runtime import compute

if TYPE_CHECKING:
    from llara_core.recommenders.training import TrainedModel

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
SEARCH = "search.json"


class TextSource(Section):
    """The source of a recommender's text vectors, under the keys of its section in ``params.yaml``."""

    encoder: str
    revision: str | None
    item_text: Literal["title", "full"]
    train_encoder: bool

    @classmethod
    def of(cls, section: RecommenderSection) -> Self | None:
        """Returns the source that a section names; None if its recommender reads no texts."""
        return cls(**section.model_dump(include=set(cls.model_fields))) if isinstance(section, MoRecConfig) else None


class CheckpointMetadata(Section):
    """The content of a checkpoint's ``config.json``.

    Attributes:
        type: name of the recommender, e.g. ``sasrec``.
        arguments: keyword arguments of the model's class, ``n_items`` among them.
        data_hash: hash of the training data (:func:`data_hash`).
        l2, best_epoch, validation_score: coefficient, epoch and score of the kept run of the search.
        texts: source of the text vectors; None if there are none.
    """

    type: str
    arguments: dict[str, Any]
    data_hash: str
    l2: float
    best_epoch: int
    validation_score: float
    hardware: str
    texts: TextSource | None = None


def data_hash(dataset: str) -> str:
    """Hashes the prepared tables, from which recommenders learn and are evaluated."""
    return tables.tables_hash(*paths.prepared_tables(dataset))


def save(
    folder: Path,
    results: Sequence[TrainedModel],
    name: str,
    arguments: dict[str, Any],
    data_hash: str,
    texts: TextSource | None = None,
) -> TrainedModel:
    """Writes the best of ``results``, the first among equal ones, and the scores of all, and returns the best.

    ``folder`` is replaced as a whole once everything is written.
    """
    best = max(results, key=lambda result: result.validation_score)
    metadata = CheckpointMetadata(
        type=name, arguments=arguments, data_hash=data_hash, hardware=compute.hardware(), texts=texts, **_summary(best)
    )
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in best.model.state_dict().items()}
    with tables.atomic_path(folder) as staged:
        staged.mkdir()
        save_file(weights, staged / WEIGHTS)
        tables.write_json(staged / CONFIG, metadata.model_dump())
        tables.write_json(staged / SEARCH, [_summary(result) for result in results])
    return best


def load(folder: Path, name: str, expected_data_hash: str) -> SequenceRecommender:
    """Loads a frozen recommender from the folder of :func:`save` in evaluation mode, onto the GPU if there is one.

    Raises:
        ModelError: the checkpoint is of another recommender or of other data, is damaged, or has weights that are not finite.
    """
    metadata = read_metadata(folder)
    if metadata.type != name:
        raise ModelError(f"{folder}: holds a {metadata.type}, but {name} is expected; name the folder of a {name}")
    if metadata.data_hash != expected_data_hash:
        raise ModelError(
            f"{folder}: trained on other data (hash {metadata.data_hash[:12]}, the prepared data has {expected_data_hash[:12]}"
            "); run `dvc repro train_recommender` again"
        )
    model, path = models.build(name, metadata.arguments), folder / WEIGHTS
    try:
        model.load_state_dict(load_file(path), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: weights do not load ({error}); run `dvc repro train_recommender` again") from error
    if bad := [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]:
        raise ModelError(
            f"{path}: holds values that are not finite, e.g. in {bad[0]}; "
            "train it again with a lower recommenders.learning_rate"
        )
    return model.to(compute.device()).eval().requires_grad_(False)


def read_metadata(folder: Path) -> CheckpointMetadata:
    """Reads a checkpoint's ``config.json``.

    Raises:
        ModelError: the folder holds no recommender.
    """
    try:
        return CheckpointMetadata.model_validate(tables.read_json(folder / CONFIG))
    except DataError as error:
        raise ModelError(str(error)) from error
    except ValidationError as error:
        raise ModelError(f"{folder / CONFIG}: describes no recommender; run `dvc repro train_recommender` again") from error


def _summary(result: TrainedModel) -> dict[str, Any]:
    return {"l2": result.l2, "best_epoch": result.best_epoch, "validation_score": result.validation_score}
