"""The figures that the LLaRA paper reports, for reading ours beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.config import Params
from llara_core.evaluation.comparison import SystemResult
from llara_core.evaluation.systems import System

SOURCE = "Liao et al., LLaRA: Large Language-Recommendation Assistant, SIGIR 2024"

# Table 2 of the paper by the `format` of our datasets. One candidate set per test user, drawn by the authors and not published,
# so these figures and ours do not rest on the same candidates and must not be tested against each other.
_RECOMMENDERS = {"gru4rec": "GRU4Rec", "caser": "Caser", "sasrec": "SASRec", "morec": "MoRec"}
ZERO_SHOT, CHAT, TALLREC = "Llama2, zero-shot", "GPT-4, zero-shot", "TALLRec"
_SYSTEMS = (
    *_RECOMMENDERS.values(), ZERO_SHOT, CHAT, TALLREC, "LLaRA (GRU4Rec)", "LLaRA (Caser)", "LLaRA (SASRec)",
)  # fmt: skip
_HIT_RATIOS = {
    "movielens_100k": (0.3750, 0.3861, 0.3444, 0.2822, 0.0421, 0.2000, 0.3895, 0.4421, 0.4737, 0.4421),
    "steam": (0.4168, 0.4368, 0.4010, 0.3911, 0.0135, 0.3626, 0.4637, 0.4924, 0.4874, 0.4949),
    "lastfm_2k": (0.2616, 0.2233, 0.2233, 0.1652, 0.0246, 0.3770, 0.4180, 0.4344, 0.4344, 0.4508),
}
_VALID_RATIOS = {
    "movielens_100k": (1, 1, 1, 1, 0.4421, 0.9895, 0.9263, 0.9684, 0.9684, 0.9684),
    "steam": (1, 1, 1, 1, 0.1653, 0.9798, 0.9840, 0.9975, 0.9966, 0.9975),
    "lastfm_2k": (1, 1, 1, 1, 0.3443, 1, 0.9836, 0.9836, 0.9918, 1),
}
# Table 3, LLaRA on SASRec: hit ratio@1 by curriculum.
_TABLE_3 = {
    "movielens_100k": {"direct": 0.4211, "two_stage": 0.4316, "linear": 0.4421},
    "steam": {"direct": 0.4899, "two_stage": 0.4840, "linear": 0.4949},
    "lastfm_2k": {"direct": 0.4508, "two_stage": 0.4344, "linear": 0.4508},
}
_N_CANDIDATES = 20
_MIN_USER_INTERACTIONS = {"steam": 20}
_TWO_STAGE_TEXT_SHARE = 0.4


@dataclass(frozen=True)
class PaperResult:
    """One row of the paper's Table 2.

    Attributes:
        system: its name there.
        hit_ratio: hit ratio@1 over 20 candidates.
        valid_ratio: share of valid answers.
    """

    system: str
    hit_ratio: float
    valid_ratio: float


def table_2(params: Params, dataset: str) -> list[PaperResult]:
    """The paper's rows for the data set; none where it does not have it, or selects, splits or samples it by another rule."""
    if not _has(params, dataset):
        return []
    name = params.dataset(dataset).format
    rows = zip(_SYSTEMS, _HIT_RATIOS[name], _VALID_RATIOS[name], strict=True)
    return [PaperResult(*row) for row in rows]


def counterparts(row: PaperResult, results: Sequence[SystemResult], params: Params) -> list[SystemResult]:
    """Those of ``results`` that repeat a row of Table 2."""
    return [result for result in results if name_in_table_2(result, params) == row.system]


def name_in_table_2(result: SystemResult, params: Params) -> str | None:
    """What the paper calls the system, by what it is, whatever its name here; None where the paper does not have it.

    The paper's LLMs are tuned on answers alone and answer with free text.
    """
    system = result.answers.system
    if system.kind == "recommender":
        return _RECOMMENDERS.get(system.key)
    if result.mode != "generate":
        return None
    if system.kind == "chat":
        return CHAT
    if system.kind == "untuned":
        return ZERO_SHOT if params.system(system.key).prompt.representation == "title" else None
    if system.kind != "tuned" or not _tuned_as_in_the_paper(system, params):
        return None
    config = params.system(system.key)
    if config.prompt.representation == "title":
        return TALLREC
    if config.prompt.representation == "hybrid" and config.curriculum.schedule == "linear":
        return f"LLaRA ({_RECOMMENDERS.get(str(system.recommender), system.recommender)})"
    return None


def curriculum_hit_ratio(result: SystemResult, params: Params, dataset: str) -> float | None:
    """The paper's hit ratio@1 for the system's curriculum (Table 3), None where it has none."""
    system = result.answers.system
    if system.kind != "tuned" or system.recommender != "sasrec" or result.mode != "generate" or not _has(params, dataset):
        return None
    own = params.system(system.key)
    if own.prompt.representation != "hybrid" or not _tuned_as_in_the_paper(system, params):
        return None
    if own.curriculum.schedule == "two_stage" and own.curriculum.two_stage_text_share != _TWO_STAGE_TEXT_SHARE:
        return None
    return _TABLE_3[params.dataset(dataset).format].get(own.curriculum.schedule)


def _tuned_as_in_the_paper(system: System, params: Params) -> bool:
    config = params.system(system.key)
    only_answers = config.tune.objective == "generative" and not config.tune.warm_start_rows and not config.tune.mixture
    return only_answers and (config.ablation.llm_weights, config.ablation.item_vectors) == ("pretrained", "recommender")


def _has(params: Params, dataset: str) -> bool:
    config = params.dataset(dataset)
    if config.is_presplit or config.format not in _HIT_RATIOS or params.candidates.n_candidates != _N_CANDIDATES:
        return False
    if config.min_user_interactions != _MIN_USER_INTERACTIONS.get(config.format, config.min_user_interactions):
        return False
    return config.split.strategy == "user_chronological"
