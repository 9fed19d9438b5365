"""What the stages will cost at the sizes of a log: a few straight lines through measured runs.

A cost is a constant plus a rate times a size. The times are those of two cores of an AMD EPYC with other work beside; another
machine shifts all of them together.

======================  ==============================================================================================
``prepare``             4.9, 33 and 55 s, 0.52, 1.31 and 6.2 GB for 1, 5 and 30 million rows (``benchmarks/log_scale.py``); 38 s
                        for 30 million on quiet cores
``sample_candidates``   28, 192 and 418 s for 3.9, 19.8 and 119 million training sets of 20; 312 s for the last on quiet cores;
                        0.85, 1.5 and 5.0 GB for 1, 5 and 30 million rows; 6.2 for the last with further positions
``train_recommender``   20 epochs on the 67,635 positions and 1,574 items of MovieLens: SASRec 53 s, GRU4Rec 41, Caser 39, MoRec
                        182; what an item costs: two epochs on LastFM's 4,606
``score_training``      139 s for a SASRec that trained for 53 s
``tune``                0.06 to 0.13 s per prompt of MovieLens, SmolLM2-135M; with preference tuning and 19 negatives 1.7 times
                        as long, and half as long before that for S-DPO's reference
``predict_llm``         0.3 to 0.7 s per held-out question, in three ways of answering, SmolLM2-135M
======================  ==============================================================================================

The lines miss these points by up to a factor of 2.5 in time (a busy machine is that much slower) and by an eighth in memory,
hence :data:`TIME_BAND` and :data:`MEMORY_BAND`; what was not measured at other sizes has :data:`WIDE_BAND`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from llara_core import columns as c
from llara_core.config import OBJECTIVES, Params, TuneConfig
from llara_core.runtime.memory import SCORES_AT_A_TIME, histories_at_a_time

TIME_BAND = (0.5, 3.0)
MEMORY_BAND = (0.8, 1.3)
WIDE_BAND = (0.3, 4.0)
GB = 1e9

PREPARE_S, PREPARE_S_PER_ROW = 2.0, 2.2e-6
PREPARE_GB, PREPARE_GB_PER_ROW = 0.32, 0.2e-6
SAMPLE_S, SAMPLE_S_PER_SET = 2.0, 5e-6  # sets of 20
SAMPLE_GB, SAMPLE_GB_PER_ROW = 0.72, 0.16e-6
TRAIN_S, TRAIN_S_PER_POSITION, TRAIN_S_PER_LOGIT = 4.0, 19e-6, 13e-9
TRAIN_FACTOR = {"gru4rec": 0.8, "caser": 0.75, "morec": 3.4}
TRAIN_GB = 0.7
SCORE_FACTOR = 2.6  # of a recommender's training, for folds - 1 = 3 times its work
TUNE_GB = 1.5
PROMPT_S, PREFERENCE_S, QUESTION_S = 0.09, 0.2, 0.5
CHUNK_S = 0.041
SCORE_BYTES = 9  # of a history and an item: the scores twice, and a mask
EXAMPLE_BYTES = 60  # of a training example, for the plan: its number, its order and its row


@dataclass(frozen=True)
class Cost:
    """What one run of a stage will take; each an estimate with the ends of its band.

    Attributes:
        seconds, gigabytes: lowest, likely, highest.
        runs: cells of the stage, each of which costs this.
        because: the size that decides.
    """

    stage: str
    runs: int
    seconds: list[float]
    gigabytes: list[float]
    because: str


def estimate(facts: Mapping[str, Any], params: Params, n_rows: int) -> list[dict[str, Any]]:
    """The costs of the stages of a run on this log alone.

    Args:
        facts: of :func:`log.describe_log`.
        n_rows: that the reader goes through.
    """
    return [asdict(cost) for cost in _costs(facts["splits"], params, n_rows)]


def _costs(splits: Mapping[str, Any], params: Params, n_rows: int) -> Iterator[Cost]:
    chosen = splits["by_strategy"][splits["chosen"]]
    if "error" in chosen:
        return
    n_items, n_kept = splits["items"], splits["interactions"]
    examples, draws, run = chosen["examples"], params.candidates.draws, params.run
    yield _cost(
        "prepare", 1, PREPARE_S + PREPARE_S_PER_ROW * n_rows, PREPARE_GB + PREPARE_GB_PER_ROW * n_rows, f"{n_rows:,} rows"
    )
    n_sets = examples[c.TRAIN] * draws.train
    width = params.candidates.n_candidates / 20
    yield _cost(
        "sample_candidates",
        1,
        SAMPLE_S + SAMPLE_S_PER_SET * n_sets * width,
        SAMPLE_GB + SAMPLE_GB_PER_ROW * n_kept,
        f"{n_sets:,} sets",
    )
    epochs, batch = params.recommenders.max_epochs, params.recommenders.batch_size
    n_positions = examples[c.TRAIN]
    n_scored = 2 if params.recommenders.loss == "bce" else n_items
    seconds = epochs * n_positions * (TRAIN_S_PER_POSITION + TRAIN_S_PER_LOGIT * n_scored)
    logits = min(batch * n_items, SCORES_AT_A_TIME)
    gigabytes = TRAIN_GB + max(4 * 4 * logits, _scored(1024, n_items) * SCORE_BYTES) / GB
    for name in run.recommenders:
        part = TRAIN_S + TRAIN_FACTOR.get(name, 1.0) * seconds
        why = f"up to {epochs} epochs"
        yield _cost(f"train_recommender {name}", len(run.seeds), part, gigabytes, why, WIDE_BAND)
    shown = {params.systems[name].recommender for name in run.systems if params.systems[name].prompt.recommender_scores}
    for name in sorted(str(name) for name in shown):
        part = TRAIN_S + SCORE_FACTOR * (params.recommenders.folds - 1) / 3 * TRAIN_FACTOR.get(name, 1.0) * seconds
        scores = gigabytes + _scored(4096, n_items) * SCORE_BYTES / GB
        yield _cost(f"score_training {name}", len(run.seeds), part, scores, f"{params.recommenders.folds} folds", WIDE_BAND)
    n_held_out = sum(examples[part] for part in c.HELD_OUT)
    scores = 0.5 + _scored(min(4096, n_held_out), n_items) * SCORE_BYTES / GB
    n_scored = n_held_out + examples[c.TEST]
    seconds = TRAIN_S + TRAIN_S_PER_LOGIT * n_scored * n_items
    why = f"{n_scored:,} histories"
    yield _cost("predict_recommender", len(run.recommenders) * len(run.seeds), seconds, scores, why, WIDE_BAND)
    yield from _llm_costs(params, n_positions, n_held_out, examples[c.TEST])


def _llm_costs(params: Params, n_positions: int, n_held_out: int, n_test: int) -> Iterator[Cost]:
    """Of the language model, at the speed of the default one and with titles of usual length."""
    n_seeds = len(params.run.seeds)
    for name in params.run.systems:
        system = params.systems[name]
        if system.tuned:
            seconds, why = _tuning(system.tune, n_positions)
            gigabytes = TUNE_GB + EXAMPLE_BYTES * n_positions / GB
            stage = "tune" if system.start is None else "tune_further"
            yield _cost(f"{stage} {name}", n_seeds, seconds, gigabytes, why, WIDE_BAND)
        if OBJECTIVES[system.tune.objective].needs_head:
            continue  # the head ranks the catalogue in one pass: seconds
        n_questions = params.inference.max_draws * (n_held_out + n_test * (params.inference.shuffled_histories == "all"))
        why = f"{n_questions:,} questions"
        yield _cost(
            f"predict_llm {name}", n_seeds if system.tuned else 1, 20 + QUESTION_S * n_questions, TUNE_GB, why, WIDE_BAND
        )


def _tuning(tune: TuneConfig, n_positions: int) -> tuple[float, str]:
    """Seconds of one run, and the rows that take them."""
    objective = OBJECTIVES[tune.objective]
    if not objective.shows_candidates:
        n_rows, row_s = n_positions // tune.chunk_len + 1, CHUNK_S
    else:
        n_rows, row_s = n_positions, PREFERENCE_S if objective.needs_start else PROMPT_S
    n_rows = min(tune.epochs * n_rows, tune.max_examples or tune.epochs * n_rows)
    return 20 + row_s * n_rows, f"{n_rows:,} {objective.unit}"


def _scored(histories: int, n_items: int) -> int:
    """Scores of the catalogue in memory at once."""
    return histories_at_a_time(n_items, histories) * n_items


def _cost(stage: str, runs: int, seconds: float, gigabytes: float, because: str, band: tuple[float, float] = TIME_BAND) -> Cost:
    low, high = band
    memory = MEMORY_BAND if band == TIME_BAND else (0.5, 2.0)
    return Cost(
        stage,
        runs,
        [round(low * seconds, 1), round(seconds, 1), round(high * seconds, 1)],
        [round(memory[0] * gigabytes, 2), round(gigabytes, 2), round(memory[1] * gigabytes, 2)],
        because,
    )
