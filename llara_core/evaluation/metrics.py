"""Metrics: results per answered candidate set, and aggregates over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from llara_core import columns as c
from llara_core.answers.ranking import check_finite
from llara_core.errors import DataError

Interval = Callable[[npt.ArrayLike, npt.ArrayLike], tuple[float, float]]


def per_set_results(
    predictions: pd.DataFrame,
    candidates: pd.DataFrame,
    examples: pd.DataFrame,
    names: Sequence[str],
    source: str,
    splits: tuple[str, ...] = c.HELD_OUT,
    is_new: npt.NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """Determines for each answered candidate set whether the answer is the target and how the target was ranked.

    Args:
        predictions: rows of :data:`tables.PREDICTIONS`; may cover only the first draws, the same for all of a split.
        candidates: rows of :data:`tables.CANDIDATE_SETS` of both held-out splits.
        examples: rows of :data:`tables.EXAMPLES`.
        names: text that names each item in an answer, by item id.
        source: name of the predictions in error messages.
        splits: splits that must be answered.
        is_new: ``(n_items,)`` bool, items without training interactions; None if there are none.

    Returns:
        Columns user_id, example_id, split, draw, predicted_item, text, ``hit`` (1.0 if the answer is valid and the target, else
        0.0), ``valid`` (1.0 or 0.0), ``contained_hit`` and ``contained_valid`` (by :func:`contained_candidate`,
        NaN if the system writes no text), ``rank`` (1-based rank of the target among the candidates, NaN without scores),
        catalogue_rank (1-based, NaN if not computed), ``new_rank`` (rank among the new candidates, NaN if the target is not
        new), ``n_new`` (number of new candidates), ``target_is_new`` and ``picked_new`` (1.0 or 0.0, the latter for valid
        answers). Ordered by split, example and draw.

    Raises:
        DataError: an unknown, repeated or missing candidate set, an answer that is not among its candidates, or scores that
            do not match the candidates.
    """
    held_out = examples.loc[examples[c.SPLIT].isin(splits), [c.EXAMPLE, c.USER, c.SPLIT, c.TARGET]]
    sets = candidates.merge(held_out, on=c.EXAMPLE, validate="many_to_one")
    if predictions.duplicated(c.SET_KEYS).any():
        raise DataError(f"{source}: answers a candidate set twice; delete it and run `dvc repro` again")
    rows = predictions.merge(sets, on=c.SET_KEYS, how="left", indicator=True)
    unknown = rows.loc[rows["_merge"] != "both", c.SET_KEYS].to_numpy(int)
    if len(unknown):
        raise DataError(
            f"{source}: answers {len(unknown)} candidate sets that do not exist (first: example {unknown[0, 0]}, draw "
            f"{unknown[0, 1]}); it belongs to other candidates: delete it and run `dvc repro` again"
        )
    _check_coverage(rows, sets, source, splits)
    items = np.stack(rows[c.CANDIDATES].to_list())  # (N, C)
    target = rows[c.TARGET].to_numpy()
    valid = rows[c.VALID].to_numpy(bool)
    predicted = rows[c.PREDICTED].fillna(-1).to_numpy(int)
    foreign = valid & ~(items == predicted[:, None]).any(axis=1)
    if foreign.any():
        first = rows.iloc[int(foreign.argmax())]
        raise DataError(
            f"{source}: {foreign.sum()} valid answers are not among their candidates (first: item {first[c.PREDICTED]}, "
            f"example {first[c.EXAMPLE]}, draw {first[c.DRAW]}); such an answer must be marked invalid"
        )
    scores = _scores(rows, items, source)
    place = (items == target[:, None]).argmax(axis=1)
    is_new = np.zeros(items.max(initial=0) + 1, dtype=bool) if is_new is None else is_new
    results = rows[[c.USER, c.EXAMPLE, c.SPLIT, c.DRAW, c.PREDICTED, c.TEXT]].assign(
        **{
            c.HIT: (valid & (predicted == target)).astype(float),
            c.VALID: valid.astype(float),
            **_by_containment(rows, names),
            c.RANK: np.nan if scores is None else rank_of_target(scores, place).astype(float),
            c.CATALOGUE_RANK: rows[c.CATALOGUE_RANK].to_numpy(float, na_value=np.nan),
            c.NEW_RANK: np.nan if scores is None else _new_ranks(scores, place, is_new[items]),
            c.N_NEW: is_new[items].sum(axis=1),
            c.TARGET_IS_NEW: is_new[target].astype(float),
            c.PICKED_NEW: (valid & is_new[np.where(valid, predicted, 0)]).astype(float),
        }
    )
    order = results[c.SPLIT].map({split: place for place, split in enumerate(c.HELD_OUT)})
    return results.assign(order=order).sort_values(["order", c.EXAMPLE, c.DRAW], ignore_index=True).drop(columns="order")


def rank_of_target(scores: npt.NDArray[np.floating], target_index: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Returns the 1-based rank ``(N,)`` of the target; candidates with equal scores rank in candidate order.

    Candidates are shuffled once when they are drawn, so ties are broken at random, but identically every time and for every
    system, and rank 1 is exactly the argmax. A system with constant scores reaches chance level.

    Args:
        scores: ``(N, C)``, higher is better.
        target_index: ``(N,)`` index of the target among the candidates.

    >>> rank_of_target(np.array([[0.1, 0.5, 0.5]]), np.array([2])).tolist()
    [2]
    """
    own = np.take_along_axis(scores, target_index[:, None], axis=1)  # (N, 1)
    earlier = np.arange(scores.shape[1]) < target_index[:, None]  # (N, C)
    ahead: npt.NDArray[np.int64] = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return 1 + ahead


def hit_ratio(ranks: npt.ArrayLike, k: int) -> float:
    """Returns the share of targets ranked at ``k`` or better."""
    return float(np.mean(np.asarray(ranks) <= k))


def ndcg(ranks: npt.ArrayLike, k: int) -> float:
    """Returns the mean normalised discounted cumulative gain, which is ``1 / log2(1 + rank)`` up to rank ``k``, and 0 beyond.

    >>> round(ndcg([1, 2, 11], 10), 4)  # (1 + 0.6309 + 0) / 3
    0.5436
    """
    return float(np.mean(discounted_gains(ranks, k)))


def discounted_gains(ranks: npt.ArrayLike, k: int) -> npt.NDArray[np.float64]:
    """Returns the contribution of each target to :func:`ndcg`; NaN where the rank is NaN."""
    rank = np.asarray(ranks, dtype=float)
    return np.where(np.isnan(rank), np.nan, np.where(rank <= k, 1 / np.log2(1 + rank), 0.0))


def mean_reciprocal_rank(ranks: npt.ArrayLike) -> float:
    """Returns the mean of ``1 / rank``."""
    return float(np.mean(1 / np.asarray(ranks, dtype=float)))


@dataclass(frozen=True)
class Metric:
    """A metric of all systems."""

    # computes the metric from rows of :func:`per_set_results` of one split; None if it does not apply to the system
    value: Callable[[pd.DataFrame], float | None]
    heading: str = ""  # column heading in the report's table of all modes; empty if only the metrics files have the metric
    meaning: str = ""  # explanation of that column
    interval_of: str | None = None  # column whose mean the metric is, if it gets an interval


def share(column: str, heading: str, meaning: str, *, with_interval: bool = False) -> Metric:
    """Defines the mean of a column of 0 and 1 that has a value in every row."""
    return Metric(_of_complete(column, pd.Series.mean), heading, meaning, column if with_interval else None)


def of_ranks(measure: Callable[[pd.Series], float], heading: str = "", meaning: str = "", *, column: str = c.RANK) -> Metric:
    """Defines a function of the targets' ranks, by default those among the candidates."""
    return Metric(_of_complete(column, measure), heading, meaning)


def hit_ratio_among_valid(results: pd.DataFrame) -> float | None:
    """Returns the share of hits among the valid answers; None without a valid answer."""
    return float(results.loc[results[c.VALID] == 1, c.HIT].mean()) if results[c.VALID].any() else None


def _of_complete(column: str, measure: Callable[[pd.Series], float]) -> Callable[[pd.DataFrame], float | None]:
    return lambda results: float(measure(results[column])) if results[column].notna().all() else None


# Metrics by their names in the metrics files, in the order of these files and of the report.
METRICS = {
    "hit_ratio@1": share(c.HIT, "HR@1", "hit ratio; an invalid answer is a miss", with_interval=True),
    "valid_ratio": share(c.VALID, "Valid", "share of answers that are a candidate's title (or number)"),
    "hit_ratio@1_among_valid": Metric(hit_ratio_among_valid, "HR@1 of valid", "hit ratio among the valid answers"),
    "hit_ratio@1_contained": share(
        c.CONTAINED_HIT, "HR@1, contained", "hit ratio with validity as in the next column, over all sets", with_interval=True
    ),
    "valid_ratio_contained": share(
        c.CONTAINED_VALID,
        "Valid, contained",
        "share of texts that contain exactly one candidate's title, the rule of the paper's code",
    ),
    "hit_ratio@3": of_ranks(partial(hit_ratio, k=3), "HR@3", "target among the first 3 candidates"),
    "hit_ratio@5": of_ranks(partial(hit_ratio, k=5), "HR@5", "target among the first 5 candidates"),
    "hit_ratio@10": of_ranks(partial(hit_ratio, k=10), "HR@10", "target among the first 10 candidates"),
    "ndcg@3": of_ranks(partial(ndcg, k=3)),
    "ndcg@5": of_ranks(partial(ndcg, k=5)),
    "ndcg@10": of_ranks(partial(ndcg, k=10), "NDCG@10", "over the candidates"),
    "mrr": of_ranks(mean_reciprocal_rank, "MRR", "mean reciprocal rank over the candidates"),
    "hit_ratio@10_catalogue": of_ranks(
        partial(hit_ratio, k=10), "Catalogue HR@10", "target among the first 10 of all items", column=c.CATALOGUE_RANK
    ),
    "ndcg@10_catalogue": of_ranks(partial(ndcg, k=10), column=c.CATALOGUE_RANK),
    "mrr_catalogue": of_ranks(mean_reciprocal_rank, column=c.CATALOGUE_RANK),
}


def aggregate(results: pd.DataFrame, interval: Interval) -> dict[str, float]:
    """Computes all metrics over the candidate sets of one split.

    Args:
        results: rows of :func:`per_set_results` of one split; several seeds follow each other.
        interval: computes the ends of an interval of the mean from values ``(N,)`` and their users ``(N,)``.

    Returns:
        The :data:`METRICS` that apply to the system, some with the ends of their interval (``_low``, ``_high``), and the
        numbers of examples, users and draws.

    Source:
        Paper, section 5.1.3, defines hit ratio and valid ratio. Its released code divides the hits by the valid answers in one
        place and by all answers in another; here each variant has its own name. ``_contained``: valid as in that code.
        ``_catalogue``: over all items instead of the candidates.
    """
    means: dict[str, float] = {}
    for name, metric in METRICS.items():
        value = metric.value(results)
        if value is not None:
            means[name] = value
            if metric.interval_of is not None:
                means[f"{name}_low"], means[f"{name}_high"] = interval(results[metric.interval_of], results[c.USER])
    sizes = {"n_examples": c.EXAMPLE, "n_users": c.USER, "n_draws": c.DRAW}
    return means | {name: int(results[column].nunique()) for name, column in sizes.items()}


def rounded(means: dict[str, float]) -> dict[str, float]:
    """Rounds to four decimals, a tenth of the effect of one hit in 1,000."""
    return {name: round(value, 4) for name, value in means.items()}


def contained_candidate(text: str, labels: Sequence[str]) -> int | None:
    """Returns the index of the only candidate whose label occurs in the first line of ``text``; None for none or several.

    Args:
        text: answer without its prompt.
        labels: names of the candidates, as in :func:`answers.parsing.parse_answer`.

    Source:
        The paper's released code, whose valid ratios the paper reports: case is ignored and lines after the first are dropped.

    >>> contained_candidate("I would say Aliens", ["Alien", "Heat"])
    0
    >>> contained_candidate("Aliens", ["Alien", "Aliens"]) is None
    True
    """
    answer = text.strip().partition("\n")[0].lower()
    contained = [index for index, label in enumerate(labels) if label.strip().lower() in answer]
    return contained[0] if len(contained) == 1 else None


def _by_containment(rows: pd.DataFrame, names: Sequence[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Computes ``contained_hit`` and ``contained_valid`` of every row."""
    by_rule = np.full((2, len(rows)), np.nan)
    for place, (text, items, target) in enumerate(zip(rows[c.TEXT], rows[c.CANDIDATES], rows[c.TARGET], strict=True)):
        if isinstance(text, str):
            chosen = contained_candidate(text, [names[item] for item in items])
            by_rule[:, place] = (chosen is not None and items[chosen] == target, chosen is not None)
    return {c.CONTAINED_HIT: by_rule[0], c.CONTAINED_VALID: by_rule[1]}


def _check_coverage(rows: pd.DataFrame, sets: pd.DataFrame, source: str, splits: tuple[str, ...]) -> None:
    for split in splits:
        expected = sets.loc[sets[c.SPLIT] == split]
        answered = rows.loc[rows[c.SPLIT] == split]
        missing = set(expected[c.EXAMPLE]) - set(answered[c.EXAMPLE])
        if missing:
            raise DataError(
                f"{source}: {len(missing)} of {expected[c.EXAMPLE].nunique()} {split} examples are not answered (first: "
                f"{min(missing)}); a hit ratio over the rest would not be comparable: predict all of them"
            )
        draws = np.sort(answered[c.DRAW].unique())
        sizes = answered.groupby(c.EXAMPLE).size()
        if not np.array_equal(draws, np.sort(expected[c.DRAW].unique())[: len(draws)]) or (sizes != len(draws)).any():
            raise DataError(
                f"{source}: {split} example {sizes.idxmin()} answers {sizes.min()} of the draws {draws.tolist()}; every "
                "example must answer the same first draws, or some users would count more than others"
            )


def _new_ranks(
    scores: npt.NDArray[np.float64], place: npt.NDArray[np.integer], is_new: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Returns the rank of the target among the new candidates; NaN if the target is not new."""
    ranks = rank_of_target(np.where(is_new, scores, -np.inf), place)
    return np.where(np.take_along_axis(is_new, place[:, None], axis=1)[:, 0], ranks, np.nan)


def _scores(rows: pd.DataFrame, items: npt.NDArray[np.int32], source: str) -> npt.NDArray[np.float64] | None:
    """Returns the checked scores ``(N, C)``; None if the mode has none."""
    unscored = rows[c.SCORES].isna()
    if unscored.all():
        return None
    if unscored.any():
        raise DataError(f"{source}: {unscored.sum()} of {len(rows)} candidate sets have no scores; a mode has all or none")
    if (rows[c.SCORES].map(len) != items.shape[1]).any():
        raise DataError(f"{source}: a list of scores does not have the {items.shape[1]} entries of its candidate set")
    scores = np.stack(rows[c.SCORES].to_list()).astype(float)
    check_finite(scores, rows[c.EXAMPLE], source)
    return scores
