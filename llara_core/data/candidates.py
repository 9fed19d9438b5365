"""Draws candidate sets: the target of an example among sampled negatives, the same for all systems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from llara_core import columns as c
from llara_core import tables
from llara_core.config import CandidatesConfig, DatasetConfig
from llara_core.errors import DataError

Integers = npt.NDArray[np.int64]

# Number of sets drawn at a time, which bounds the memory. It is part of the protocol: another number changes larger tables.
BLOCK_SETS = 1 << 19


def exclusion(dataset: DatasetConfig, candidates: CandidatesConfig) -> str:
    """Returns the rule for items that are never negatives: ``candidates.exclude``, or ``last_interactions`` for released
    frames, which contain only the histories of their users."""
    return "last_interactions" if dataset.is_presplit else candidates.exclude


class CandidateSampler:
    """Draws the target and uniform negatives, distinct, in random order.

    In training sets an item without training interactions is no negative either: since it is never a target, a model would
    learn that new items are wrong.

    Args:
        interactions: all rows of :data:`tables.INTERACTIONS`, of every split.
        n_items: size of the catalogue, whose ids are ``0 .. n_items - 1``.
        n_candidates: size of a set, target included.
        exclude: rule for items that are never negatives of an example. ``all_interactions``: all items of the user until the
            end of ``split``, before or after the target; ``last_interactions``: the example's history and target only.

    Source: paper, section 5.1.3 (19 non-interacted items; ``all_interactions``). The released code excludes the last 10 items
    only, and draws anew at every access (``last_interactions``). The end of the split matters if a user continues in later
    splits (not under ``user_chronological``): without those items among the negatives of the training sets, their absence would
    reveal the user's future to a model that reads these sets.
    """

    def __init__(self, interactions: pd.DataFrame, n_items: int, split: str, *, n_candidates: int, exclude: str) -> None:
        self._n_candidates = n_candidates
        known = interactions[c.SPLIT].isin(c.UNTIL[split]).to_numpy()
        users, items = interactions[c.USER].to_numpy()[known], interactions[c.ITEM].to_numpy()[known]
        self._pool = np.unique(items) if split == c.TRAIN else np.arange(n_items)
        self._of_users = None
        if exclude == "all_interactions":
            self._of_users = _Excluded.of(users, self._places(items), len(self._pool))

    def sample(self, examples: pa.Table, n_draws: int, rng: np.random.Generator) -> Iterator[pa.Table]:
        """Draws candidate sets for ``E`` rows of :data:`tables.EXAMPLES`, of the sampler's split.

        Yields ``E * n_draws`` rows of :data:`tables.CANDIDATE_SETS`, by example and draw, in parts.

        Raises:
            DataError: an example has fewer eligible negatives than needed.
        """
        block = max(1, BLOCK_SETS // n_draws)
        for first in range(0, len(examples), block):
            yield self._sample_block(examples.slice(first, block), n_draws, rng)

    def _sample_block(self, examples: pa.Table, n_draws: int, rng: np.random.Generator) -> pa.Table:
        if self._of_users is not None:
            group, excluded = examples[c.USER].to_numpy().astype(np.int64), self._of_users
        else:
            group = np.arange(len(examples))
            rows, items = _last_interactions(examples)
            excluded = _Excluded.of(rows, self._places(items), len(self._pool))
        n_negatives = self._n_candidates - 1
        n_eligible = len(self._pool) - excluded.sizes(group)
        _check_enough(examples, n_eligible, n_negatives)
        ranks = _distinct_ranks(np.repeat(n_eligible, n_draws), n_negatives, rng)
        negatives = self._pool[excluded.nth_eligible(np.repeat(group, n_draws), ranks)]
        targets = np.repeat(examples[c.TARGET].to_numpy().astype(np.int64), n_draws)
        sets = rng.permuted(np.column_stack([targets, negatives]), axis=1).astype(np.int32)  # (E * n_draws, C)
        columns = {
            c.EXAMPLE: np.repeat(examples[c.EXAMPLE].to_numpy(), n_draws),
            c.DRAW: np.tile(np.arange(n_draws, dtype=np.int32), len(examples)),
            c.CANDIDATES: tables.list_column(sets),
        }
        return pa.table(columns, schema=tables.CANDIDATE_SETS)

    def _places(self, items: npt.NDArray[np.integer]) -> Integers:
        """Returns the positions of items in the pool of negatives, which contains all of them."""
        return np.searchsorted(self._pool, items)


@dataclass(frozen=True)
class _Excluded:
    """Excluded items of groups of examples (a user, or a single example): ``P`` distinct pairs (group, item), sorted.

    Attributes:
        starts: ``(G + 1,)`` index of each group's first pair.
        keys: ``(P,)`` ascending; group and number of eligible items below the pair's item, as one number.
        n_items: size of the catalogue.
    """

    starts: Integers
    keys: Integers
    n_items: int

    @classmethod
    def of(cls, groups: npt.NDArray[np.integer], items: npt.NDArray[np.integer], n_items: int) -> Self:
        pairs = np.sort(groups.astype(np.int64) * n_items + items)
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # np.unique hashes, which takes several times as long
        group, item = np.divmod(pairs, n_items)
        starts = np.searchsorted(group, np.arange(group[-1] + 2))
        below = item - (np.arange(len(pairs)) - starts[group])
        return cls(starts, group * (n_items + 1) + below, n_items)

    def sizes(self, group: Integers) -> Integers:
        return self.starts[group + 1] - self.starts[group]

    def nth_eligible(self, group: Integers, ranks: Integers) -> Integers:
        """Returns the items ``(N, k)`` at ``ranks`` (0-based, ascending) among those that the group does not exclude.

        With a group's excluded items ``e_0 < e_1 < ...``, exactly ``e_i - i`` eligible items lie below ``e_i``, so the result
        is ``rank`` plus the number of ``i`` with ``e_i - i <= rank``.
        """
        keys = group[:, None] * (self.n_items + 1) + ranks
        return ranks + np.searchsorted(self.keys, keys, side="right") - self.starts[group][:, None]


def _last_interactions(examples: pa.Table) -> tuple[Integers, Integers]:
    """Returns the row number and the id of every item in the histories and of every target."""
    histories = examples[c.HISTORY].combine_chunks()
    rows = np.arange(len(examples))
    groups = np.repeat(rows, histories.value_lengths().to_numpy())
    items = np.concatenate([histories.flatten().to_numpy(), examples[c.TARGET].to_numpy()])
    return np.concatenate([groups, rows]), items.astype(np.int64)


def _check_enough(examples: pa.Table, n_eligible: Integers, needed: int) -> None:
    if len(short := np.flatnonzero(n_eligible < needed)):
        worst = short[np.argmin(n_eligible[short])]
        example = examples.slice(worst, 1).to_pylist()[0]
        raise DataError(
            f"at least {len(short)} {example[c.SPLIT]} examples have fewer than {needed} eligible negatives; example "
            f"{example[c.EXAMPLE]} of user {example[c.USER]} has {n_eligible[worst]}: lower candidates.n_candidates to at most "
            f"{max(n_eligible[worst], 1) + 1}, or use a larger catalogue (`catalogue: full`) or `exclude: last_interactions`"
        )


def _distinct_ranks(n_eligible: Integers, k: int, rng: np.random.Generator) -> Integers:
    """Draws ``k`` distinct numbers uniformly from ``0 .. n_eligible - 1`` for each row, and returns them ``(N, k)``.

    Source: Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987), for all rows at once. It rejects nothing, so its time does
    not depend on how few items are eligible.
    """
    ranks = np.empty((len(n_eligible), k), dtype=np.int64)
    for column in range(k):
        last = n_eligible - k + column
        drawn = rng.integers(0, last, endpoint=True)
        is_drawn = (ranks[:, :column] == drawn[:, None]).any(axis=1)
        ranks[:, column] = np.where(is_drawn, last, drawn)
    return ranks
