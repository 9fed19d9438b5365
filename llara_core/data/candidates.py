"""Candidate sets: the target of an example among sampled negatives, fixed once for all systems."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.errors import DataError

Integers = npt.NDArray[np.int64]


def sample_candidates(
    examples: pd.DataFrame,
    interactions: pd.DataFrame,
    n_items: int,
    *,
    n_candidates: int,
    n_draws: int,
    exclude: str,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Draw ``n_draws`` candidate sets per example: the target and uniform negatives, distinct, in random order.

    Args:
        examples: rows of :data:`tables.EXAMPLES`, ``E`` of them.
        interactions: all rows of :data:`tables.INTERACTIONS`, of every split.
        n_items: size of the catalogue, whose ids are ``0 .. n_items - 1``.
        n_candidates: target included.
        exclude: which items are never negatives. ``all_interactions``: everything the user ever interacted with, before or
            after the target; ``last_interactions``: the example's history and target only.

    Returns:
        ``E * n_draws`` rows of :data:`tables.CANDIDATE_SETS`, by example and draw.

    Raises:
        DataError: an example has fewer eligible negatives than needed.

    Source: paper, section 5.1.3 (19 non-interacted items; ``all_interactions``). The released code draws outside the last 10
    items only, anew at every access (``last_interactions``).
    """
    group, excluded = _exclusions(examples, interactions, exclude)
    n_eligible = n_items - np.bincount(excluded[:, 0])[group]
    _check_enough(examples, n_eligible, n_candidates - 1)
    ranks = _distinct_ranks(np.repeat(n_eligible, n_draws), n_candidates - 1, rng)
    negatives = _nth_eligible(np.repeat(group, n_draws), ranks, excluded, n_items)
    targets = np.repeat(examples[c.TARGET].to_numpy(dtype=np.int64), n_draws)
    sets = rng.permuted(np.column_stack([targets, negatives]), axis=1).astype(np.int32)  # (E * n_draws, C)
    return pd.DataFrame(
        {
            c.EXAMPLE: np.repeat(examples[c.EXAMPLE].to_numpy(), n_draws),
            c.DRAW: np.tile(np.arange(n_draws), len(examples)),
            c.CANDIDATES: list(sets),
        }
    )


def _exclusions(examples: pd.DataFrame, interactions: pd.DataFrame, exclude: str) -> tuple[Integers, Integers]:
    """Group of each example, ``(E,)``, and the sorted distinct pairs (group, excluded item), ``(P, 2)``.

    Examples of one group exclude the same items: a group is a user, or a single example.
    """
    if exclude == "all_interactions":
        group = examples[c.USER].to_numpy(dtype=np.int64)
        return group, np.unique(interactions[[c.USER, c.ITEM]].to_numpy(dtype=np.int64), axis=0)
    group = np.arange(len(examples), dtype=np.int64)
    lengths = examples[c.HISTORY].map(len).to_numpy()
    histories = np.concatenate(examples[c.HISTORY].to_list()).astype(np.int64)
    seen = np.column_stack([np.repeat(group, lengths), histories])
    return group, np.unique(np.vstack([seen, np.column_stack([group, examples[c.TARGET].to_numpy()])]), axis=0)


def _check_enough(examples: pd.DataFrame, n_eligible: Integers, needed: int) -> None:
    if len(short := np.flatnonzero(n_eligible < needed)):
        worst = short[np.argmin(n_eligible[short])]
        example = examples.iloc[worst]
        raise DataError(
            f"{len(short)} of {len(examples)} {example[c.SPLIT]} examples have fewer than {needed} eligible negatives: "
            f"example {example[c.EXAMPLE]} of user {example[c.USER]} has {n_eligible[worst]}; lower candidates.n_candidates to "
            f"at most {n_eligible[worst] + 1}, or use a larger catalogue (`catalogue: full`) or `exclude: last_interactions`"
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


def _nth_eligible(group: Integers, ranks: Integers, excluded: Integers, n_items: int) -> Integers:
    """The item that is number ``rank`` (0-based, ascending) among those its group does not exclude, ``(N, k)``.

    With a group's excluded items ``e_0 < e_1 < ...``, exactly ``e_i - i`` eligible items lie below ``e_i``; so the wanted item
    is ``rank`` plus the number of ``i`` with ``e_i - i <= rank``.
    """
    starts = np.searchsorted(excluded[:, 0], np.arange(excluded[-1, 0] + 1))
    below = excluded[:, 1] - (np.arange(len(excluded)) - starts[excluded[:, 0]])
    keys = excluded[:, 0] * (n_items + 1) + below  # ascending: groups ascend, and `below` ascends in each
    wanted = group[:, None] * (n_items + 1) + ranks
    passed: Integers = np.searchsorted(keys, wanted, side="right") - starts[group][:, None]
    return ranks + passed
