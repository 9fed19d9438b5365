"""Ranked items for histories: what a recommender proposes and, where there is one, a language model puts in order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from llara_core.errors import ConfigError, DataError
from llara_core.inference.llm_systems import LlmSystem
from llara_core.predictions import CatalogueScorer, Questions
from llara_core.ranking import check_finite, normalise_scores
from llara_core.runtime import seeding

logger = logging.getLogger(__name__)

_BLOCK_VALUES = 1 << 24  # scores in memory at a time


@dataclass(frozen=True)
class Ranked:
    """Items and their scores, both ``(n,)``, best first."""

    items: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ranker:
    """What ranks items for a history.

    Attributes:
        labels: of all items, by item id.
        max_history_len: most recent items that are read of a history.
        n_candidates: items that are proposed to a language model whose prompts list candidates, unless another number is asked
            for.
        retriever: a recommender or a baseline, which proposes items or ranks by itself; None where nothing needs one.
        system: the language model, tuned or not; None: the retriever alone answers.
    """

    labels: Sequence[str]
    max_history_len: int
    n_candidates: int
    retriever: CatalogueScorer | None
    system: LlmSystem | None

    def rank_each(
        self, histories: Sequence[Sequence[int]], *, top: int, n_candidates: int | None = None, retrieve_only: bool = False
    ) -> Iterator[Ranked]:
        """The ``top`` items to follow each history; nothing that stands anywhere in the history is among them.

        A language model answers as it does in the evaluation, by the scores of a candidate set: what the recommender retrieves,
        in an order drawn from the history, since in tuning the order says nothing either. One that scores the whole catalogue
        ranks all of it, unless ``n_candidates`` is given.

        They come block by block, so that whole rankings of many histories need not be in memory at a time.

        Args:
            histories: ``B`` lists of item ids, oldest first, as far back as they are known.
            top: items per history; fewer come back where fewer are left.
            n_candidates: items that are retrieved.
            retrieve_only: leave out the language model.

        Raises:
            DataError: a history is empty, or a score is not finite.
            ConfigError: nothing can retrieve.
            ModelError: the candidates do not fit into the language model's context.
        """
        if n_empty := sum(not len(history) for history in histories):
            raise DataError(f"{n_empty} of {len(histories)} histories are empty; a recommendation needs at least one item")
        self._log_what_is_read(histories)
        llm = None if retrieve_only else self.system
        block = max(1, _BLOCK_VALUES // len(self.labels))
        # The language model shows its own progress.
        with tqdm(
            total=len(histories), desc="recommend", unit="history", disable=llm is not None or len(histories) == 1
        ) as bar:
            for start in range(0, len(histories), block):
                part = histories[start : start + block]
                yield from self._rank_block(part, llm, top, n_candidates)
                bar.update(len(part))

    def rank(
        self, histories: Sequence[Sequence[int]], *, top: int, n_candidates: int | None = None, retrieve_only: bool = False
    ) -> list[Ranked]:
        """As :meth:`rank_each`, all at once."""
        return list(self.rank_each(histories, top=top, n_candidates=n_candidates, retrieve_only=retrieve_only))

    def _rank_block(
        self, histories: Sequence[Sequence[int]], llm: LlmSystem | None, top: int, n_candidates: int | None
    ) -> list[Ranked]:
        read = [list(history[-self.max_history_len :]) for history in histories]
        if llm is not None and llm.scores_catalogue and n_candidates is None:
            everything = Ranked(np.arange(len(self.labels)), np.zeros(len(self.labels), dtype=np.float32))
            scored = _ask(llm, read, [everything] * len(read), self.labels)
            return _best_of([_unseen(one, history) for one, history in zip(scored, histories, strict=True)], top)
        if llm is None:
            return self._retrieve(histories, read, top if n_candidates is None else min(top, n_candidates))
        retrieved = self._retrieve(histories, read, n_candidates or self.n_candidates)
        return _best_of(_ask(llm, read, retrieved, self.labels), top)

    def _retrieve(self, histories: Sequence[Sequence[int]], read: Sequence[Sequence[int]], n: int) -> list[Ranked]:
        if self.retriever is None:
            raise ConfigError("there is no recommender to retrieve items with; name one as the retriever")
        scores = self.retriever.score_catalogue(read)
        check_finite(scores)
        everything = np.arange(len(self.labels))
        return _best_of([_unseen(Ranked(everything, row), history) for row, history in zip(scores, histories, strict=True)], n)

    def _log_what_is_read(self, histories: Sequence[Sequence[int]]) -> None:
        longer = [len(history) for history in histories if len(history) > self.max_history_len]
        if longer and len(histories) == 1:
            logger.info("the last %d of %d items are read; none of all is recommended", self.max_history_len, longer[0])
        elif longer:
            logger.info(
                "of %d histories %d are longer than the last %d items that are read; none of all their items is recommended",
                len(histories),
                len(longer),
                self.max_history_len,
            )


def _unseen(scored: Ranked, history: Sequence[int]) -> Ranked:
    kept = ~np.isin(scored.items, history)
    return Ranked(scored.items[kept], scored.scores[kept])


def _best_of(scored: Sequence[Ranked], n: int) -> list[Ranked]:
    """The ``n`` best of each, best first; of equal ones the first stays first."""
    orders = [np.argsort(-one.scores, kind="stable")[:n] for one in scored]
    return [Ranked(one.items[order], one.scores[order]) for one, order in zip(scored, orders, strict=True)]


def _ask(llm: LlmSystem, histories: Sequence[Sequence[int]], proposed: Sequence[Ranked], labels: Sequence[str]) -> list[Ranked]:
    """``proposed`` with the language model's scores; histories of equally many candidates are asked together."""
    answered = list(proposed)
    for size in sorted({len(one.items) for one in proposed} - {0}):
        rows = [row for row, one in enumerate(proposed) if len(one.items) == size]
        asked, orders = [histories[row] for row in rows], [np.arange(size)] * len(rows)
        if not llm.scores_catalogue:
            streams = [seeding.numpy_stream(0, "recommended candidates", *map(int, history)) for history in asked]
            orders = [stream.permutation(size) for stream in streams]
        candidates = np.stack([proposed[row].items[order] for row, order in zip(rows, orders, strict=True)])
        score_features = None
        if llm.prompt.recommender_scores:
            score_features = [normalise_scores(proposed[row].scores[order]) for row, order in zip(rows, orders, strict=True)]
        # Without ids, by which a wording would be drawn: on the number of a question no recommendation may depend.
        scores = llm.ask(Questions(asked, candidates, np.arange(len(rows)), labels, score_features=score_features)).scores
        check_finite(scores)
        for row, order, values in zip(rows, orders, scores, strict=True):
            answered[row] = Ranked(proposed[row].items, values[np.argsort(order)])
    return answered
