"""Candidate sets: the target of an example among sampled negatives, fixed once for all systems."""

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

# Sets drawn at a time, which bounds the memory. Part of the protocol: another number gives other sets to larger tables.
BLOCK_SETS = 1 << 19


def exclusion(dataset: DatasetConfig, candidates: CandidatesConfig) -> str:
    """Which items are never negatives: what ``candidates.exclude`` says; of data that come split, which tell nothing of a user
    but histories, always ``last_interactions``.
    """
    return "last_interactions" if dataset.is_presplit else candidates.exclude


class CandidateSampler:
    """Draws the target and uniform negatives, distinct, in random order.

    Args:
        interactions: all rows of :data:`tables.INTERACTIONS`, of every split.
        n_items: size of the catalogue, whose ids are ``0 .. n_items - 1``.
        split: that the examples are of.
        n_candidates: target included.
        exclude: which items are never negatives of an example. ``all_interactions``: everything the user interacted with until
            the end of ``split``, before or after the target; ``last_interactions``: the example's history and target only.

    In training sets an item without training interactions is no negative either: it is never a target, so a model would learn
    that what is new is wrong.

    Source: paper, section 5.1.3 (19 non-interacted items; ``all_interactions``). The released code draws outside the last 10
    items only, anew at every access (``last_interactions``). The end of the split matters wherever a user goes on in later
    splits (not under ``user_chronological``): if those items were no negatives of the training sets either, their absence would
    tell a model that reads these sets what its users do later.
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
        """Draw ``n_draws`` candidate sets per example.

        Args:
            examples: ``E`` rows of :data:`tables.EXAMPLES`, of the sampler's split.

        Returns:
            ``E * n_draws`` rows of :data:`tables.CANDIDATE_SETS`, by example and draw, in parts.

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
        offsets = np.arange(len(sets) + 1, dtype=np.int32) * self._n_candidates
        columns = {
            c.EXAMPLE: np.repeat(examples[c.EXAMPLE].to_numpy(), n_draws),
            c.DRAW: np.tile(np.arange(n_draws, dtype=np.int32), len(examples)),
            c.CANDIDATES: pa.ListArray.from_arrays(offsets, sets.ravel()),
        }
        return pa.table(columns, schema=tables.CANDIDATE_SETS)

    def _places(self, items: npt.NDArray[np.integer]) -> Integers:
        """Places of items in the pool that negatives are drawn from; every one of them is there."""
        return np.searchsorted(self._pool, items)


@dataclass(frozen=True)
class _Excluded:
    """Excluded items of groups of examples (a user, or a single example): ``P`` distinct pairs (group, item), sorted.

    Attributes:
        starts: ``(G + 1,)`` first pair of each group.
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
        """The item that is number ``rank`` (0-based, ascending) among those its group does not exclude, ``(N, k)``.

        With a group's excluded items ``e_0 < e_1 < ...``, exactly ``e_i - i`` eligible items lie below ``e_i``; so the wanted
        item is ``rank`` plus the number of ``i`` with ``e_i - i <= rank``.
        """
        wanted = group[:, None] * (self.n_items + 1) + ranks
        return ranks + np.searchsorted(self.keys, wanted, side="right") - self.starts[group][:, None]


def _last_interactions(examples: pa.Table) -> tuple[Integers, Integers]:
    """Row number and item of every item in the histories and of the targets."""
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
            f"{example[c.SPLIT]} examples have fewer than {needed} eligible negatives, {len(short)} among the first: "
            f"example {example[c.EXAMPLE]} of user {example[c.USER]} has {n_eligible[worst]}; lower candidates.n_candidates to "
            f"at most {max(n_eligible[worst], 1) + 1}, or use a larger catalogue (`catalogue: full`) or "
            "`exclude: last_interactions`"
        )


def _distinct_ranks(n_eligible: Integers, k: int, rng: np.random.Generator) -> Integers:
    """For each row a uniform random subset of ``k`` of the numbers ``0 .. n_eligible - 1``, ``(N, k)``.

    Source: Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987), all rows at once: it needs no rejection, so its time does
    not depend on how few items are eligible.
    """
    ranks = np.empty((len(n_eligible), k), dtype=np.int64)
    for column in range(k):
        last = n_eligible - k + column
        drawn = rng.integers(0, last, endpoint=True)
        taken = (ranks[:, :column] == drawn[:, None]).any(axis=1)
        ranks[:, column] = np.where(taken, last, drawn)
    return ranks
