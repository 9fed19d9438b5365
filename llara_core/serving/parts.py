"""Parts of a system, wherever they are stored: in the folders of a run or in an exported folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from llara_core import columns as c
from llara_core import tables
from llara_core.answers.ranking import CatalogueScorer
from llara_core.config import LlmConfig, PromptConfig
from llara_core.errors import ModelError
from llara_core.inference.llm_systems import AnswerLimits, load_system
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.recommenders import checkpoints
from llara_core.serving.new_items import ItemReading
from llara_core.serving.ranking import Ranker


@dataclass(frozen=True)
class Retriever:
    """A recommender or baseline that retrieves items."""

    name: str  # name of the recommender or baseline
    load: Callable[[], CatalogueScorer]  # returns the scorer
    checkpoint: Path | None  # folder of a trained recommender; None for a baseline, which is fitted when it is loaded

    @classmethod
    def trained(cls, name: str, checkpoint: Path, data_hash: str) -> Retriever:
        """Returns a trained recommender; ``data_hash`` as in :func:`checkpoints.load`."""
        return cls(name, lambda: checkpoints.load(checkpoint, name, data_hash), checkpoint)


@dataclass(frozen=True)
class SystemParts:
    """Parts of one system."""

    dataset: str  # key in ``params.yaml``
    system: str  # name of the LLM system, recommender or baseline
    seed: int | None  # training seed; None for a baseline
    wording: ItemWording  # wording of the data set for its items
    max_history_len: int  # most recent items that are read
    n_candidates: int  # items that are retrieved for prompts with candidates
    items: Path  # file of :data:`tables.ITEMS`
    item_reading: ItemReading  # rules by which items, including new ones, are read
    # adapter folder of a tuned LLM system, prompt of an untuned one; None without a language model
    llm: Path | PromptConfig | None
    item_embeddings: Path | None  # file of the embeddings that the adapter requires, if any
    retriever: Retriever | None  # recommender or baseline that retrieves or ranks; None if nothing does

    def read_items(self) -> pd.DataFrame:
        return tables.read_table(self.items, tables.ITEMS)

    def load(self, llm_folder: Path | None, llm: LlmConfig | None, batch_size: int, *, retrieve_only: bool = False) -> Ranker:
        """Loads the parts into memory.

        Args:
            llm_folder: folder written by ``fetch_llm``; None without a language model.
            llm: settings for loading the language model; None without one.
            batch_size: histories per pass of the language model.

        Raises:
            ModelError: a part is missing or damaged, or does not match the others.
        """
        items = self.read_items()
        system = None
        if self.llm is not None and not retrieve_only:
            if llm_folder is None or llm is None:
                raise ModelError(f"{self.system} requires its language model: name the folder")
            limits = AnswerLimits(batch_size)
            system = load_system(self.llm, llm_folder, llm, limits, self.wording, len(items), embeddings=self.item_embeddings)
        retriever = None if self.retriever is None else self.retriever.load()
        labels, texts = items[c.LABEL].to_list(), items[c.TEXT].to_list()
        return Ranker(labels, texts, self.max_history_len, self.n_candidates, retriever, system)
