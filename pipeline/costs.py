"""Estimates what the stages will cost at the sizes of a log: straight lines through a few measured runs.

The runs were made on two cores of an AMD EPYC; from ``train_recommender`` on two stages ran at a time, which makes each slower.
Another machine shifts all times together.

======================  ==============================================================================================
``prepare``             4.9, 33 and 55 s, 0.52, 1.31 and 6.2 GB for 1, 5 and 30 million rows (``benchmarks/log_scale.py``)
``sample_candidates``   28, 192 and 418 s for 3.9, 19.8 and 119 million training sets of 20; 0.85, 1.5 and 5.0 GB for 1, 5
                        and 30 million rows; 6.2 for the last with further positions
``train_recommender``   20 epochs on the 67,635 positions and 1,574 items of MovieLens: SASRec 101 s, GRU4Rec 80, Caser 90,
                        MoRec 351; the cost of an item: two epochs on LastFM's 4,606
``score_training``      116 s with two folds, and 372 s with four, for a SASRec that trained for 101 to 108 s
``tune``                1.0 s per prompt of MovieLens and 0.17 s per chunk of 21 items, SmolLM2-135M; with preference tuning
                        and 19 negatives 1.7 times as long, and half as long before that for S-DPO's reference
``predict_llm``         1.0 s per held-out question, in three ways of answering, SmolLM2-135M
======================  ==============================================================================================

The lines miss these points by up to a factor of 2.5 in time and by an eighth in memory, hence the bands; what was not measured
at other sizes has the wide ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llara_core import columns as c
from llara_core.config import OBJECTIVES, Params, TuneConfig
from llara_core.runtime.memory import SCORES_AT_A_TIME, histories_at_a_time

NARROW = (0.5, 3.0), (0.8, 1.3)
"""Lowest and highest time, and memory, as factors of the likely ones."""
WIDE = (0.3, 4.0), (0.5, 2.0)
GB = 1e9

PREPARE_S, PREPARE_S_PER_ROW = 2.0, 2.2e-6
PREPARE_GB, PREPARE_GB_PER_ROW = 0.32, 0.2e-6
SAMPLE_S, SAMPLE_S_PER_SET = 2.0, 5e-6  # sets of 20
SAMPLE_GB, SAMPLE_GB_PER_ROW = 0.72, 0.16e-6
TRAIN_S, TRAIN_S_PER_POSITION, TRAIN_S_PER_LOGIT = 4.0, 36e-6, 24e-9
TRAIN_FACTOR = {"gru4rec": 0.8, "caser": 0.9, "morec": 3.4, "sasrec_text": 3.0}
TRAIN_GB = 0.7
SCORE_FACTOR = 1.15  # time of cross-fitting as a factor of (folds - 1) trainings of the recommender
TUNE_GB = 1.5
PROMPT_S, PREFERENCE_S, QUESTION_S = 1.0, 2.2, 1.0
CHUNK_S = 0.17
SCORE_BYTES = 9  # memory per history and item: the score twice, and a mask
EXAMPLE_BYTES = 60  # memory per training example for the plan: its number, its order and its row


def of_log(facts: Mapping[str, Any], params: Params) -> list[dict[str, Any]]:
    """Returns :func:`estimate` for a log that :func:`llara_core.description.describe.describe` describes; empty if it cannot be
    divided, or is divided already."""
    splits, sizes = facts.get("splits", {}), facts.get("sizes", {})
    chosen = splits.get("by_strategy", {}).get(splits.get("chosen"), {})
    if "rows" not in sizes or "examples" not in chosen:
        return []
    return list(estimate(params, sizes["rows"], splits["items"], splits["interactions"], chosen["examples"]))


def estimate(
    params: Params, n_rows: int, n_items: int, n_interactions: int, examples: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Yields the costs of the stages of a run on one log alone.

    Args:
        n_rows: rows that the reader goes through.
        n_items: items after the filter.
        n_interactions: interactions after the filter.
        examples: number of examples by split.

    Yields:
        For each stage its name, the number of runs, ``seconds`` and ``gigabytes`` of each run (lowest, likely, highest) and,
        as ``because``, the size that decides.
    """
    run, settings = params.run, params.recommenders
    seconds, memory = PREPARE_S + PREPARE_S_PER_ROW * n_rows, PREPARE_GB + PREPARE_GB_PER_ROW * n_rows
    yield _cost("prepare", 1, seconds, memory, f"{n_rows:,} rows", NARROW)
    n_sets = examples[c.TRAIN] * params.candidates.draws.train
    seconds = SAMPLE_S + SAMPLE_S_PER_SET * n_sets * params.candidates.n_candidates / 20
    memory = SAMPLE_GB + SAMPLE_GB_PER_ROW * n_interactions
    yield _cost("sample_candidates", 1, seconds, memory, f"{n_sets:,} sets", NARROW)
    n_scored = 2 if settings.loss == "bce" else n_items
    training = settings.max_epochs * examples[c.TRAIN] * (TRAIN_S_PER_POSITION + TRAIN_S_PER_LOGIT * n_scored)
    logits = 4 * 4 * min(settings.batch_size * n_items, SCORES_AT_A_TIME)
    memory = TRAIN_GB + max(logits, _score_bytes(1024, n_items)) / GB
    for name in run.recommenders:
        seconds = TRAIN_S + TRAIN_FACTOR.get(name, 1.0) * training
        yield _cost(f"train_recommender {name}", len(run.seeds), seconds, memory, f"up to {settings.max_epochs} epochs")
    shown = {params.systems[name].recommender for name in run.systems if params.systems[name].prompt.recommender_scores}
    for name in sorted(str(name) for name in shown):
        seconds = TRAIN_S + SCORE_FACTOR * (settings.folds - 1) * TRAIN_FACTOR.get(name, 1.0) * training
        scores = memory + _score_bytes(4096, n_items) / GB
        yield _cost(f"score_training {name}", len(run.seeds), seconds, scores, f"{settings.folds} folds")
    n_held_out = sum(examples[part] for part in c.HELD_OUT)
    n_scored = n_held_out + examples[c.TEST]
    seconds, scores = TRAIN_S + TRAIN_S_PER_LOGIT * n_scored * n_items, 0.5 + _score_bytes(min(4096, n_held_out), n_items) / GB
    n_runs = len(run.recommenders) * len(run.seeds)
    yield _cost("predict_recommender", n_runs, seconds, scores, f"{n_scored:,} histories")
    yield from _llm_costs(params, examples[c.TRAIN], n_held_out, examples[c.TEST])


def _llm_costs(params: Params, n_positions: int, n_held_out: int, n_test: int) -> Iterator[dict[str, Any]]:
    """Yields the costs of the language model, at the speed of the default one and with titles of usual length."""
    n_seeds = len(params.run.seeds)
    for name in params.run.systems:
        system = params.systems[name]
        if system.tuned:
            seconds, why = _tuning(system.tune, n_positions)
            stage = "tune" if system.start is None else "tune_further"
            yield _cost(f"{stage} {name}", n_seeds, seconds, TUNE_GB + EXAMPLE_BYTES * n_positions / GB, why)
        if not OBJECTIVES[system.tune.objective].needs_head:  # the head ranks the catalogue in one pass: seconds
            n_questions = params.inference.max_draws * (n_held_out + n_test * (params.inference.shuffled_histories == "all"))
            seconds, n_runs = 20 + QUESTION_S * n_questions, n_seeds if system.tuned else 1
            yield _cost(f"predict_llm {name}", n_runs, seconds, TUNE_GB, f"{n_questions:,} questions")


def _tuning(tune: TuneConfig, n_positions: int) -> tuple[float, str]:
    """Returns the seconds of one run, and the rows that take them."""
    objective = OBJECTIVES[tune.objective]
    if not objective.shows_candidates:
        n_rows, row_s = n_positions // tune.chunk_len + 1, CHUNK_S
    else:
        n_rows, row_s = n_positions, PREFERENCE_S if objective.needs_start else PROMPT_S
    n_rows = min(tune.epochs * n_rows, tune.max_examples or tune.epochs * n_rows)
    return 20 + row_s * n_rows, f"{n_rows:,} {objective.unit}"


def _score_bytes(histories: int, n_items: int) -> int:
    """Returns the bytes of the catalogue's scores that are in memory at once."""
    return histories_at_a_time(n_items, histories) * n_items * SCORE_BYTES


def _cost(
    stage: str,
    runs: int,
    seconds: float,
    gigabytes: float,
    because: str,
    bands: tuple[tuple[float, float], tuple[float, float]] = WIDE,
) -> dict[str, Any]:
    (fast, slow), (small, large) = bands
    return {
        "stage": stage,
        "runs": runs,
        "seconds": [round(factor * seconds, 1) for factor in (fast, 1, slow)],
        "gigabytes": [round(factor * gigabytes, 2) for factor in (small, 1, large)],
        "because": because,
    }
