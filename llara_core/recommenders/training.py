"""Training of the sequence recommenders: all positions of a sequence in one pass, early stopping on validation."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from llara_core import columns as c
from llara_core.answers.ranking import catalogue_rank, expected_hit_ratio
from llara_core.config import RecommendersConfig
from llara_core.errors import DataError, ModelError
from llara_core.recommenders.base import SCORING_BATCH, SequenceRecommender, pad_right
from llara_core.runtime import compute, seeding
from llara_core.runtime.curves import LOSS, VALIDATION_HIT_RATIO
from llara_core.runtime.memory import histories_at_a_time

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingOptions:
    """Training options under the keys of the section ``recommenders``."""

    learning_rate: float
    batch_size: int
    loss: str
    max_epochs: int
    patience: int

    @classmethod
    def of(cls, config: RecommendersConfig) -> Self:
        return cls(**config.model_dump(include={key.name for key in fields(cls)}))


@dataclass(frozen=True)
class ValidationSet:
    """Positions of the validation split that have at least one earlier item.

    Attributes:
        histories: ``N`` lists of the user's previous items.
        targets: ``(N,)`` next items.
        seen: ``N`` lists of all items of the user until the end of validation, from which no negative is drawn.
        n_candidates: size of a candidate set, target included.
    """

    histories: list[npt.NDArray[np.int64]]
    targets: npt.NDArray[np.int64]
    seen: list[npt.NDArray[np.int64]]
    n_candidates: int


@dataclass(frozen=True)
class TrainedModel:
    """A model in the state of its best epoch, and its curves: values by name and epoch, counted from 1."""

    model: SequenceRecommender
    l2: float
    best_epoch: int
    validation_score: float
    curves: dict[str, dict[int, float]] = field(default_factory=dict)


def training_sequences(interactions: pd.DataFrame) -> list[npt.NDArray[np.int64]]:
    """Returns the training interactions of each user with at least two, oldest first.

    Raises:
        DataError: there is no such user.
    """
    train = interactions[interactions[c.SPLIT] == c.TRAIN]
    sequences = [rows.to_numpy(dtype=np.int64) for _, rows in train.groupby(c.USER, sort=True)[c.ITEM] if len(rows) > 1]
    if not sequences:
        raise DataError("no user has two training interactions; enlarge `split.train` or lower the minima of the filter")
    return sequences


def validation_set(interactions: pd.DataFrame, max_history_len: int, n_candidates: int, max_positions: int) -> ValidationSet:
    """Returns all validation positions; the reported one per user (a sixtieth of them on MovieLens) is too noisy to select by.

    Args:
        interactions: rows of :data:`tables.INTERACTIONS`, in their order.
        max_history_len: longest history, in items.
        n_candidates: size of a candidate set, target included.
        max_positions: limit on the number of positions; of more, those at equal distances are taken.

    Raises:
        DataError: there is no such position.
    """
    known = interactions[interactions[c.SPLIT].isin(c.UNTIL[c.VALIDATION])]
    users, items = known[c.USER].to_numpy(), known[c.ITEM].to_numpy(dtype=np.int64)
    places = known[c.POSITION].to_numpy()
    asked = np.flatnonzero((known[c.SPLIT] == c.VALIDATION).to_numpy() & (places > 0))
    if not len(asked):
        raise DataError("no validation interaction has an earlier one of its user; enlarge `split.validation`")
    if len(asked) > max_positions:
        asked = asked[np.linspace(0, len(asked) - 1, max_positions).astype(np.int64)]
    starts, ends = np.searchsorted(users, users[asked], side="left"), np.searchsorted(users, users[asked], side="right")
    return ValidationSet(
        [items[max(start, row - max_history_len) : row] for start, row in zip(starts, asked, strict=True)],
        items[asked],
        [items[start:end] for start, end in zip(starts, ends, strict=True)],
        n_candidates,
    )


def search_l2(
    build: Callable[[], SequenceRecommender],
    sequences: Sequence[npt.NDArray[np.int64]],
    validation: ValidationSet,
    l2_grid: Sequence[float],
    options: TrainingOptions,
    seed: int,
    *stream: str,
) -> list[TrainedModel]:
    """Trains once per L2 coefficient, each time from the same random streams; returns one result per coefficient, in order.

    Args:
        build: returns a fresh model, initialised from torch's global generator.
        sequences: training sequences of item ids, oldest first.
        validation: positions that select the epoch and, through the returned scores, the coefficient.
    """
    results = []
    for l2 in l2_grid:
        seeding.seed_torch_globally(seed, "recommender", *stream)
        generator = seeding.numpy_stream(seed, "recommender", *stream)
        result = fit(build(), sequences, validation, l2, options, generator)
        logger.info("l2 %g: validation score %.4f in epoch %d", l2, result.validation_score, result.best_epoch)
        results.append(result)
    return results


def fit(
    model: SequenceRecommender,
    sequences: Sequence[npt.NDArray[np.int64]],
    validation: ValidationSet,
    l2: float,
    options: TrainingOptions,
    generator: np.random.Generator,
) -> TrainedModel:
    """Trains ``model``, on the GPU if there is one, until its validation score stops rising, and restores its best epoch.

    The score is the expected HR@1 over all candidate sets that could be drawn (:func:`expected_hit_ratio`), so it has no
    sampling noise. Training stops after ``patience`` epochs without a rise.

    Raises:
        ModelError: the loss or a validation score is not finite. NaN would otherwise win the search: no item scores higher.

    Source: paper, section 5.1.2 (Adam, 1e-3, 256, L2 grid); a batch holds ``batch_size`` next-item targets, like a batch of 256
    one-target rows, but in windows that share an encoder pass.
    """
    model.to(compute.device())
    is_new = torch.ones(model.n_items, dtype=torch.bool)
    is_new[torch.from_numpy(np.concatenate(sequences))] = False
    model.mark_new(is_new.to(model.output_bias.device))
    optimiser = torch.optim.Adam(model.parameter_groups(l2), lr=options.learning_rate, fused=True)
    losses: dict[int, float] = {}
    scores: dict[int, float] = {}
    best_score, best_epoch, best_state = -1.0, 0, copy.deepcopy(model.state_dict())
    with tqdm(total=options.max_epochs, unit="epoch", desc=f"{type(model).__name__} l2={l2:g}") as bar:
        for epoch in range(1, options.max_epochs + 1):
            losses[epoch] = _train_epoch(model, optimiser, sequences, options, generator)
            if not math.isfinite(losses[epoch]):
                raise _diverged(model, l2, epoch, f"the training loss is {losses[epoch]}", optimiser)
            try:
                scores[epoch] = validation_score(model, validation)
            except DataError as error:
                raise _diverged(model, l2, epoch, "the validation scores are not finite", optimiser) from error
            bar.set_postfix(loss=f"{losses[epoch]:.3f}", validation=f"{scores[epoch]:.4f}", refresh=False)
            bar.update()
            if scores[epoch] > best_score:
                best_score, best_epoch, best_state = scores[epoch], epoch, copy.deepcopy(model.state_dict())
            if epoch - best_epoch >= options.patience:
                break
    model.load_state_dict(best_state)
    model.eval()
    return TrainedModel(model, l2, best_epoch, best_score, {LOSS: losses, VALIDATION_HIT_RATIO: scores})


def validation_score(model: SequenceRecommender, validation: ValidationSet) -> float:
    """Returns the mean expected HR@1 over the validation positions."""
    n, size = len(validation.targets), histories_at_a_time(model.n_items, SCORING_BATCH)
    ranks = [
        catalogue_rank(model.score_catalogue(validation.histories[part]), validation.targets[part], validation.seen[part])
        for part in (slice(start, start + size) for start in range(0, n, size))
    ]
    n_eligible = model.n_items - np.array([len(np.unique(items)) for items in validation.seen])
    return float(expected_hit_ratio(np.concatenate(ranks), n_eligible, validation.n_candidates - 1).mean())


def cut_windows(
    sequences: Sequence[npt.NDArray[np.int64]], window_len: int, padding_idx: int, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Cuts each sequence into consecutive windows from a random offset, so that an item's place differs between epochs.

    Every transition of a sequence is in exactly one window. Returns inputs and targets, both ``(N, T)`` int64 with ``T <=
    window_len`` and padded alike; a target is the item after its input.

    Args:
        sequences: item ids, oldest first, at least two each.
        window_len: inputs per window; the longest history seen in training.
        padding_idx: item id that fills short windows on the right.
    """
    windows = []
    for items in sequences:
        cuts = np.arange(generator.integers(1, window_len + 1), len(items) - 1, window_len)
        starts, ends = [0, *cuts], [*cuts, len(items) - 1]
        windows += [items[start : end + 1] for start, end in zip(starts, ends, strict=True)]
    padded, _ = pad_right(windows, padding_idx)
    inputs, targets = padded[:, :-1].clone(), padded[:, 1:]
    inputs[targets == padding_idx] = padding_idx
    return inputs, targets


def _diverged(model: SequenceRecommender, l2: float, epoch: int, symptom: str, optimiser: torch.optim.Optimizer) -> ModelError:
    rates = [f"{group['rate_key']} (now {group['lr']:g})" for group in optimiser.param_groups]
    return ModelError(f"{type(model).__name__} with l2 {l2:g}, epoch {epoch}: {symptom}; lower {' or '.join(rates)}")


def _train_epoch(
    model: SequenceRecommender,
    optimiser: torch.optim.Optimizer,
    sequences: Sequence[npt.NDArray[np.int64]],
    options: TrainingOptions,
    generator: np.random.Generator,
) -> float:
    model.train()
    device = model.output_bias.device
    inputs, targets = cut_windows(sequences, model.max_history_len, model.padding_idx, generator)
    order = torch.from_numpy(generator.permutation(len(inputs)))
    batch_size = max(1, options.batch_size // model.max_history_len)
    losses = []
    for batch in torch.split(order, batch_size):
        model.start_batch(inputs[batch], targets[batch])
        loss = _loss(model, inputs[batch].to(device), targets[batch].to(device), options.loss)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    model.end_epoch()
    return float(np.mean(losses))


def _loss(model: SequenceRecommender, inputs: Tensor, targets: Tensor, kind: str) -> Tensor:
    real = targets != model.padding_idx
    states, items = model.encode(inputs)[real], targets[real]
    if kind == "cross_entropy":
        return model.softmax_loss(states, items)
    # Negatives are uniform over the other items; the original excludes the user's whole sequence, which a window does not know.
    negatives = (items + torch.randint(1, model.n_items, items.shape, device=items.device)) % model.n_items
    positive, negative = model.pair_logits(states, items), model.pair_logits(states, negatives)
    return -(F.logsigmoid(positive) + F.logsigmoid(-negative)).mean()
