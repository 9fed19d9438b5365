"""Ranks items for histories, and users for items: a recommender retrieves, and a language model, if there is one, orders."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from llara_core.answers.predictions import Questions
from llara_core.answers.ranking import CatalogueScorer, check_finite
from llara_core.errors import ConfigError, DataError
from llara_core.inference.llm_systems import LlmSystem
from llara_core.llm.score_features import normalise_scores
from llara_core.runtime import seeding

logger = logging.getLogger(__name__)

_BLOCK_VALUES = 1 << 24  # scores in memory at a time


@dataclass(frozen=True)
class Ranked:
    """Items and their scores, each ``(n,)``, best first."""

    items: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Ranker:
    """Ranks items for histories."""

    labels: Sequence[str]  # labels of all items, by item id
    texts: Sequence[str]  # titles and attributes of all items, by item id
    max_history_len: int  # most recent items that are read of a history
    n_candidates: int  # items that are retrieved by default for a language model whose prompts list candidates
    retriever: CatalogueScorer | None  # recommender or baseline that retrieves items or ranks alone; None if it is not needed
    llm: LlmSystem | None  # language model, tuned or not; None if the retriever ranks alone

    def rank(
        self, histories: Sequence[Sequence[int]], *, top: int, n_candidates: int | None = None, retrieve_only: bool = False
    ) -> Iterator[Ranked]:
        """Yields the ``top`` items after each history, without items of the history.

        A language model answers as in the evaluation, by the scores of a candidate set: the retrieved items in an order that is
        drawn from the history, since the order is random in tuning as well. A language model that scores the whole catalogue
        ranks all of it, unless ``n_candidates`` is given.

        Rankings are computed in blocks, so that those of many histories need not fit in memory together.

        Args:
            histories: ``B`` lists of item ids, oldest first, as complete as they are known.
            top: items per history; fewer if fewer are left.
            n_candidates: number of items to retrieve for the language model; unused without one.

        Raises:
            DataError: a history is empty, or a score is not finite.
            ConfigError: there is no retriever.
            ModelError: the candidates do not fit into the language model's context.
        """
        if n_empty := sum(not len(history) for history in histories):
            raise DataError(f"{n_empty} of {len(histories)} histories are empty; a recommendation needs at least one item")
        self._log_truncation(histories)
        llm = None if retrieve_only else self.llm
        block = max(1, _BLOCK_VALUES // len(self.labels))
        # The language model has its own progress bar. The argument would override the variable TQDM_DISABLE.
        hidden: dict[str, Any] = {"disable": True} if llm is not None or len(histories) == 1 else {}
        with tqdm(total=len(histories), desc="recommend", unit="history", **hidden) as bar:
            for start in range(0, len(histories), block):
                part = histories[start : start + block]
                yield from self._rank_block(part, llm, top, n_candidates)
                bar.update(len(part))

    def _rank_block(
        self, histories: Sequence[Sequence[int]], llm: LlmSystem | None, top: int, n_candidates: int | None
    ) -> list[Ranked]:
        read = [list(history[-self.max_history_len :]) for history in histories]
        if llm is not None and llm.scores_catalogue and n_candidates is None:
            everything = Ranked(np.arange(len(self.labels)), np.zeros(len(self.labels), dtype=np.float32))
            scored = self._rescored(llm, read, [everything] * len(read))
            return _best_of([_unseen(one, history) for one, history in zip(scored, histories, strict=True)], top)
        if llm is None:
            n_listed = top if self.llm is None or n_candidates is None else min(top, n_candidates)
            return self._retrieve(histories, read, n_listed)
        retrieved = self._retrieve(histories, read, n_candidates or self.n_candidates)
        return _best_of(self._rescored(llm, read, retrieved), top)

    def _retrieve(self, histories: Sequence[Sequence[int]], read: Sequence[Sequence[int]], n: int) -> list[Ranked]:
        if self.retriever is None:
            raise ConfigError("there is no recommender to retrieve items; name one as the retriever")
        scores = self.retriever.score_catalogue(read)
        check_finite(scores)
        everything = np.arange(len(self.labels))
        return _best_of([_unseen(Ranked(everything, row), history) for row, history in zip(scores, histories, strict=True)], n)

    def _rescored(self, llm: LlmSystem, histories: Sequence[Sequence[int]], retrieved: Sequence[Ranked]) -> list[Ranked]:
        """Replaces the scores by those of the language model, in one call per number of candidates."""
        rescored = list(retrieved)
        for size in sorted({len(one.items) for one in retrieved} - {0}):
            rows = [row for row, one in enumerate(retrieved) if len(one.items) == size]
            own_histories, orders = [histories[row] for row in rows], [np.arange(size)] * len(rows)
            if not llm.scores_catalogue:
                streams = [seeding.numpy_stream(0, "recommended candidates", *map(int, history)) for history in own_histories]
                orders = [stream.permutation(size) for stream in streams]
            candidates = np.stack([retrieved[row].items[order] for row, order in zip(rows, orders, strict=True)])
            score_features = None
            if llm.prompt.recommender_scores:
                shown = [retrieved[row].scores[order] for row, order in zip(rows, orders, strict=True)]
                score_features = [normalise_scores(scores) for scores in shown]
            # Without ids, all prompts get the first wording, so a recommendation does not depend on the number of its question.
            of_history = np.arange(len(rows))
            asked = Questions(own_histories, candidates, of_history, self.labels, self.texts, score_features=score_features)
            scores = llm.ask(asked).scores
            check_finite(scores)
            for row, order, values in zip(rows, orders, scores, strict=True):
                rescored[row] = Ranked(retrieved[row].items, values[np.argsort(order)])
        return rescored

    def _log_truncation(self, histories: Sequence[Sequence[int]]) -> None:
        longer = [len(history) for history in histories if len(history) > self.max_history_len]
        if longer and len(histories) == 1:
            logger.info(
                "only the last %d of %d items are read; no item of the history is recommended", self.max_history_len, longer[0]
            )
        elif longer:
            logger.info(
                "%d of %d histories are longer than the %d items that are read; earlier items are not recommended either",
                len(longer),
                len(histories),
                self.max_history_len,
            )


def _unseen(scored: Ranked, history: Sequence[int]) -> Ranked:
    kept = ~np.isin(scored.items, history)
    return Ranked(scored.items[kept], scored.scores[kept])


def _best_of(scored: Sequence[Ranked], n: int) -> list[Ranked]:
    """Returns the ``n`` best items of each, best first, with ties in their given order."""
    orders = [np.argsort(-one.scores, kind="stable")[:n] for one in scored]
    return [Ranked(one.items[order], one.scores[order]) for one, order in zip(scored, orders, strict=True)]


@dataclass(frozen=True)
class AudienceMember:
    """A user and the 1-based rank of the item among the user's recommendations."""

    user: str
    rank: int


def audiences(ranked: Iterable[Ranked], users: Sequence[str], items: Sequence[int], top: int) -> list[list[AudienceMember]]:
    """Returns for each item the ``top`` users for whom it ranks highest, best first, without users whose list lacks it.

    Equal ranks are ordered by the item's softmax probability, since scores are not comparable across histories.

    Args:
        ranked: ranking of all items for each user.
        users: names of the users, in the same order.
        items: item ids.
    """
    wanted = np.asarray(items, dtype=np.int64)
    ranks = np.zeros((len(items), len(users)), dtype=np.int64)  # 0: not in the list
    shares = np.zeros(ranks.shape)
    for column, one in enumerate(ranked):
        rank_of = np.zeros(1 + max(wanted.max(initial=0), one.items.max(initial=0)), dtype=np.int64)
        rank_of[one.items] = np.arange(1, len(one.items) + 1)
        ranks[:, column] = rank_of[wanted]
        is_listed = ranks[:, column] > 0
        share = np.exp(one.scores - one.scores.max(initial=-np.inf), dtype=np.float64)
        shares[is_listed, column] = share[ranks[is_listed, column] - 1] / share.sum()
    members = []
    for row in range(len(items)):
        order = [column for column in np.lexsort((-shares[row], ranks[row])).tolist() if ranks[row, column]]
        members.append([AudienceMember(users[column], int(ranks[row, column])) for column in order[:top]])
    return members
