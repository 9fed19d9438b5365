"""What an objective is: what a language model is tuned on, and by which loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F

from llara_core.config import PromptConfig, Representation, TuneConfig
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.tree import Tree
from llara_core.prompts.rendering import ItemWording, Opinion, Prompt

IGNORE = -100
Rows = npt.NDArray[np.int64]  # [n, 4]: source, start, stop, draw


@dataclass(frozen=True)
class Units:
    """What there is to learn from.

    Attributes:
        history_lens: ``(n_examples,)`` items in the history of every training example.
        n_draws: candidate sets per training example.
        sequence_lens: ``(n_sequences,)`` items of every training sequence.
    """

    history_lens: Sequence[int] | npt.NDArray[np.integer]
    n_draws: int
    sequence_lens: Sequence[int] | npt.NDArray[np.integer]


@dataclass(frozen=True)
class TrainingData:
    """What prompts are made of.

    Attributes:
        histories, targets: of the training examples, by example number.
        candidates: by (example number, draw). Like the histories and targets, they may be those alone that a plan names in rows
            of objectives that show candidates.
        scores: the recommender's opinions ``(C, 2)`` of these candidates, by the same keys; None for systems that show none.
        sequences: whole training sequences, by sequence number.
        labels: of all items, by item id.
        wording: the dataset's words for items.
        texts: of all items, by item id: title and attributes.
    """

    histories: Sequence[Sequence[int]] | Mapping[int, Sequence[int]]
    targets: Sequence[int] | Mapping[int, int]
    candidates: Mapping[tuple[int, int], Sequence[int]]
    scores: Mapping[tuple[int, int], Sequence[Opinion]] | None
    sequences: Sequence[Sequence[int]]
    labels: Sequence[str]
    wording: ItemWording
    texts: Sequence[str] = ()

    @property
    def units(self) -> Units:
        """The sizes of data that are here as a whole."""
        n_draws = 1 + max((draw for _, draw in self.candidates), default=0)
        return Units(
            [len(self.histories[number]) for number in range(len(self.histories))],
            n_draws,
            [len(items) for items in self.sequences],
        )

    def planned(self, plan: pd.DataFrame) -> TrainingData:
        """What the rows of a plan need: here, all of it."""
        return self


class TrainingSource(Protocol):
    """Training data of which a run may hold only what its plan names: :class:`TrainingData`, or tables on disk.

    Attributes:
        units: the sizes of all of it.
    """

    @property
    def units(self) -> Units: ...

    def planned(self, plan: pd.DataFrame) -> TrainingData:
        """What the rows of ``plan``, made by :func:`llara_core.tuning.plan.make_plan` from the units, need."""


@dataclass(frozen=True)
class EncodedRow:
    """One row as the model trains on it.

    Attributes:
        objective: that the row serves.
        input_ids: of the prompt, and of its answer where there is one.
        prompt: which fills the slots.
        labels: what each position predicts (``IGNORE``: nothing).
        target_place: of the target among the candidates; None where the prompt lists none.
        tree: of the prompt and the answers that are compared, which ``input_ids`` are of; None where the row is one sequence.
        reference: log-likelihoods of these answers by the model that tuning started from; None where the loss needs none.
    """

    objective: str
    input_ids: Sequence[int]
    prompt: Prompt
    labels: Sequence[int]
    target_place: int | None = None
    tree: Tree | None = None
    reference: Sequence[float] | None = None


class Objective(Protocol):
    """One way of tuning a language model; each is an object without state, in a module of its own.

    Attributes:
        n_templates: wordings that its prompts are drawn from.
    """

    n_templates: int

    def epoch_rows(self, units: Units, tune: TuneConfig, seed: int, epoch: int) -> Rows:
        """The rows of one epoch, in training order, from a random stream of its own."""

    def encode(
        self, row: Any, representation: Representation, data: TrainingData, encoder: PromptEncoder, prompt: PromptConfig
    ) -> EncodedRow:
        """A row of the plan as token ids and labels.

        Args:
            row: with the plan's columns as attributes.
            representation: of its items, which the curriculum may have made simpler than ``prompt`` says.
            data: what prompts are made of.
            encoder: of the model's tokenizer.
            prompt: what a prompt shows.
        """

    def batch_tensors(self, rows: Sequence[EncodedRow]) -> dict[str, torch.Tensor]:
        """Tensors that its loss needs beside the prompts and the labels; ``branches`` ``(B, L)`` makes each row a tree."""

    def loss(self, model: HybridLM, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor], tune: TuneConfig) -> torch.Tensor:
        """The loss of a batch, summed over its predicting positions.

        Args:
            model: that is tuned.
            hidden: ``(B, L, D_llm)``, its final hidden states.
            batch: ``input_ids`` and ``labels`` ``(B, L)``, and the tensors of :meth:`batch_tensors`.
            tune: weights of the loss.
        """


def summed_cross_entropy(
    logits_of: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy summed over the positions whose label is not ``IGNORE``.

    Args:
        logits_of: the read-out, ``(N, D_llm) -> (N, n_classes)``.
        hidden: ``(B, L, D_llm)``.
        labels: ``(B, L)`` int64.
    """
    predicting = labels != IGNORE
    # Logits at the predicting positions only: full-vocabulary logits everywhere cost about as much as the LLM itself.
    return F.cross_entropy(logits_of(hidden[predicting]), labels[predicting], reduction="sum")
