"""What a system that recommends is made of, and where these parts lie: in the folders of a run, or in an exported one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from llara_core import columns as c
from llara_core import tables
from llara_core.config import LlmConfig, PromptConfig
from llara_core.errors import ModelError
from llara_core.inference.llm_systems import AnswerLimits, load_system
from llara_core.predictions import CatalogueScorer
from llara_core.prompts.rendering import ItemWording
from llara_core.recommenders import checkpoints
from llara_core.serving.new_items import ItemReading
from llara_core.serving.ranking import Ranker


@dataclass(frozen=True)
class Retriever:
    """A recommender or a baseline.

    Attributes:
        name: of it.
        load: gives the scorer.
        checkpoint: folder of a trained recommender; None: a baseline, which is fitted where it is loaded.
    """

    name: str
    load: Callable[[], CatalogueScorer]
    checkpoint: Path | None

    @classmethod
    def trained(cls, name: str, checkpoint: Path, data_hash: str) -> Retriever:
        """A trained recommender; ``data_hash`` as of :func:`checkpoints.load`."""
        return cls(name, lambda: checkpoints.load(checkpoint, name, data_hash), checkpoint)


@dataclass(frozen=True)
class Parts:
    """One system that recommends.

    Attributes:
        dataset: key in ``params.yaml``.
        system: name of the LLM system, recommender or baseline.
        seed: training seed; None for a baseline.
        wording: the data set's words for items.
        max_history_len: most recent items that are read.
        n_candidates: items that are retrieved for prompts with candidates.
        items: file of :data:`tables.ITEMS`.
        item_reading: how these were read, and new ones are.
        llm: adapter folder of a tuned LLM system, the prompt of an untuned one; None: no language model.
        item_embeddings: file that the adapter is bound to, where it is.
        retriever: None where nothing retrieves.
    """

    dataset: str
    system: str
    seed: int | None
    wording: ItemWording
    max_history_len: int
    n_candidates: int
    items: Path
    item_reading: ItemReading
    llm: Path | PromptConfig | None
    item_embeddings: Path | None
    retriever: Retriever | None

    def read_items(self) -> pd.DataFrame:
        return tables.read_table(self.items, tables.ITEMS)

    def load(self, llm_folder: Path | None, llm: LlmConfig | None, batch_size: int, *, retrieve_only: bool = False) -> Ranker:
        """Everything in memory, ready to rank.

        Args:
            llm_folder: made by ``fetch_llm``; None where there is no language model.
            llm: how the language model is loaded, likewise.
            batch_size: histories per pass of it.
            retrieve_only: leave the language model out.

        Raises:
            ModelError: a part is missing or damaged, or does not belong to the others.
        """
        labels = self.read_items()[c.LABEL].to_list()
        system = None
        if self.llm is not None and not retrieve_only:
            if llm_folder is None or llm is None:
                raise ModelError(f"{self.system} needs the language model that it was made for: name its folder")
            limits = AnswerLimits(batch_size)
            system = load_system(self.llm, llm_folder, llm, limits, self.wording, len(labels), embeddings=self.item_embeddings)
        retriever = None if self.retriever is None else self.retriever.load()
        return Ranker(labels, self.max_history_len, self.n_candidates, retriever, system)
