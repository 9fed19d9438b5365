"""The interface of objectives: the rows on which a language model is tuned, and the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from llara_core.config import PromptConfig, Representation, TuneConfig
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.prompts.rendering import ItemWording, Prompt, ScoreFeatures
from llara_core.llm.tree import Tree

IGNORE = -100
Rows = npt.NDArray[np.int64]  # (n, 4): source, start, stop, draw


@dataclass(frozen=True)
class DataSizes:
    """Sizes of the training data, from which a plan is built.

    Attributes:
        history_lens: ``(n_examples,)`` items in the history of every training example.
        n_draws: number of candidate sets per training example.
        sequence_lens: ``(n_sequences,)`` items of every training sequence.
    """

    history_lens: Sequence[int] | npt.NDArray[np.integer]
    n_draws: int
    sequence_lens: Sequence[int] | npt.NDArray[np.integer]


@dataclass(frozen=True)
class TrainingData:
    """The content of training prompts.

    Attributes:
        histories, targets: history and target of each training example, by example number.
        candidates: candidate item ids by (example number, draw). Like histories and targets, they may be limited to the rows
            of a plan whose objectives show candidates.
        scores: score features ``(C, 2)`` of these candidates, by the same keys; None for systems that show none.
        sequences: whole training sequences, by sequence number.
        labels: display name of each item, indexed by item id.
        texts: title and attributes of each item, indexed by item id.
    """

    histories: Sequence[Sequence[int]] | Mapping[int, Sequence[int]]
    targets: Sequence[int] | Mapping[int, int]
    candidates: Mapping[tuple[int, int], Sequence[int]]
    scores: Mapping[tuple[int, int], Sequence[ScoreFeatures]] | None
    sequences: Sequence[Sequence[int]]
    labels: Sequence[str]
    wording: ItemWording
    texts: Sequence[str] = ()


@dataclass(frozen=True)
class EncodedRow:
    """One row as token ids.

    Attributes:
        input_ids: token ids of the prompt, followed by the answer if there is one.
        prompt: rendered prompt, whose items fill the slots.
        labels: target of each position, ``IGNORE`` where nothing is predicted.
        target_place: place of the target among the candidates; None if the prompt lists none.
        tree: tree of the prompt and the compared answers, with the same ``input_ids``; None if the row is one sequence.
        reference: log-likelihood of each compared answer before tuning; None if the loss needs none.
    """

    objective: str
    input_ids: Sequence[int]
    prompt: Prompt
    labels: Sequence[int]
    target_place: int | None = None
    tree: Tree | None = None
    reference: Sequence[float] | None = None


class Objective(Protocol):
    """One way of tuning a language model; each is a stateless object in its own module.

    Attributes:
        n_templates: number of wordings from which its prompts are drawn.
    """

    n_templates: int

    def epoch_rows(self, sizes: DataSizes, tune: TuneConfig, seed: int, epoch: int) -> Rows:
        """Returns the rows of one epoch, in training order, drawn from a random stream of its own."""

    def encode(
        self, row: Any, representation: Representation, data: TrainingData, encoder: PromptEncoder, prompt: PromptConfig
    ) -> EncodedRow:
        """Encodes a row of the plan as token ids and labels.

        Args:
            row: row with the plan's columns as attributes.
            representation: representation of its items; the curriculum may replace the one in ``prompt`` by a simpler one.
        """

    def batch_tensors(self, rows: Sequence[EncodedRow]) -> dict[str, torch.Tensor]:
        """Returns the tensors that the loss needs in addition; with ``branches`` ``(B, L)`` among them, each row is a tree."""

    def loss(self, model: HybridLM, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor], tune: TuneConfig) -> torch.Tensor:
        """Returns the loss of a batch, summed over its predicting positions.

        Args:
            hidden: ``(B, L, D_llm)``, final hidden states of the batch.
            batch: ``input_ids`` and ``labels`` ``(B, L)``, and the tensors of :meth:`batch_tensors`.
            tune: tuning settings, which hold the weights of the loss.
        """
