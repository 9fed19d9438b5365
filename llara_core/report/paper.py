"""Results reported in the LLaRA paper, and the systems of a run that reproduce them."""

from __future__ import annotations

from dataclasses import dataclass

from llara_core.config import Params, SystemConfig
from llara_core.evaluation.comparison import ComparedSystem

SOURCE = "Liao et al., LLaRA: Large Language-Recommendation Assistant, SIGIR 2024"

# Table 2 of the paper by the `format` of our datasets. The authors drew one candidate set per test user and did not publish it:
# these results and ours rest on different candidates and must not be tested against each other.
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
    """One row of the paper's Table 2."""

    system: str  # name of the system in the paper
    hit_ratio: float  # hit ratio@1 over 20 candidates
    valid_ratio: float  # share of valid answers


def table_2(params: Params, dataset: str) -> list[PaperResult]:
    """Returns the paper's rows for the data set; none if it lacks the data or its selection, split or sampling differs."""
    if not _has(params, dataset):
        return []
    name = params.dataset(dataset).format
    rows = zip(_SYSTEMS, _HIT_RATIOS[name], _VALID_RATIOS[name], strict=True)
    return [PaperResult(*row) for row in rows]


def name_in_table_2(ours: ComparedSystem, params: Params) -> str | None:
    """Returns the paper's name for a system, decided by its configuration and not by its name; None if the paper lacks it.

    The paper's LLMs answer with free text.
    """
    system = ours.system
    if system.kind == "recommender":
        return _RECOMMENDERS.get(system.key)
    if ours.mode != "generate":
        return None
    if system.kind == "chat":
        return CHAT
    config = params.system(system.key)
    if system.kind == "untuned":
        return ZERO_SHOT if config.prompt.representation == "title" else None
    if config.prompt.representation == "title" and _is_tuned_as_in_the_paper(config):
        return TALLREC
    if _is_llara(config) and config.curriculum.schedule in ("linear", "released"):  # the paper's text, and its code
        return f"LLaRA ({_RECOMMENDERS.get(str(system.recommender), system.recommender)})"
    return None


def curriculum_hit_ratio(ours: ComparedSystem, params: Params, dataset: str) -> float | None:
    """Returns the paper's hit ratio@1 for the system's curriculum (Table 3); None if it has none."""
    system = ours.system
    if system.kind != "tuned" or system.recommender != "sasrec" or ours.mode != "generate" or not _has(params, dataset):
        return None
    config = params.system(system.key)
    if not _is_llara(config):
        return None
    if config.curriculum.schedule == "two_stage" and config.curriculum.two_stage_text_share != _TWO_STAGE_TEXT_SHARE:
        return None
    return _TABLE_3[params.dataset(dataset).format].get(config.curriculum.schedule)


def _is_llara(config: SystemConfig) -> bool:
    """Returns whether a tuned system is the paper's LLaRA, with any curriculum: behaviour tokens follow titles, and nothing is
    added."""
    prompt = config.prompt
    shown = (prompt.representation, prompt.slot, prompt.recommender_scores) == ("hybrid", "after", False)
    return shown and _is_tuned_as_in_the_paper(config)


def _is_tuned_as_in_the_paper(config: SystemConfig) -> bool:
    """Returns whether a system is tuned only on answers, with a pretrained language model and the recommender's embeddings."""
    tune, ablation = config.tune, config.ablation
    only_answers = tune.objective == "generative" and not (tune.warm_start_rows or tune.mixture or tune.ranking_weight)
    return only_answers and (ablation.llm_weights, ablation.item_vectors) == ("pretrained", "recommender")


def _has(params: Params, dataset: str) -> bool:
    config = params.dataset(dataset)
    if config.is_presplit or config.format not in _HIT_RATIOS or params.candidates.n_candidates != _N_CANDIDATES:
        return False
    if config.min_user_interactions != _MIN_USER_INTERACTIONS.get(config.format, config.min_user_interactions):
        return False
    return config.split.strategy == "user_chronological"
