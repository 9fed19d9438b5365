"""The figures that the LLaRA paper reports, for reading ours beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llara_core.evaluation.comparison import SystemResult


@dataclass(frozen=True)
class PaperResult:
    """One row of the paper.

    Attributes:
        system: its name there.
        hit_ratio: hit ratio@1 over 20 candidates.
        valid_ratio: share of valid answers.
        ours: the name of the same system here; None where there is none.
    """

    system: str
    hit_ratio: float
    valid_ratio: float
    ours: str | None = None


SOURCE = "Liao et al., LLaRA: Large Language-Recommendation Assistant, SIGIR 2024, Table 2"

# Table 2 of the paper by the `format` of our datasets. One candidate set per test user, drawn by the authors and not published,
# so these figures and ours do not rest on the same candidates and must not be tested against each other.
_SYSTEMS = (
    ("GRU4Rec", "gru4rec"),
    ("Caser", "caser"),
    ("SASRec", "sasrec"),
    ("MoRec", None),
    ("Llama2, zero-shot", None),
    ("GPT-4, zero-shot", None),
    ("TALLRec", None),
    ("LLaRA (GRU4Rec)", "llara-gru4rec"),
    ("LLaRA (Caser)", "llara-caser"),
    ("LLaRA (SASRec)", "llara-sasrec"),
)
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
STEAM_MIN_USER_INTERACTIONS = 20
TABLE_2: dict[str, tuple[PaperResult, ...]] = {
    name: tuple(
        PaperResult(system, hit_ratio, valid_ratio, ours)
        for (system, ours), hit_ratio, valid_ratio in zip(_SYSTEMS, hit_ratios, _VALID_RATIOS[name], strict=True)
    )
    for name, hit_ratios in _HIT_RATIOS.items()
}


def counterpart(result: SystemResult, published: Sequence[PaperResult]) -> PaperResult | None:
    """The row of ``published`` that ``result`` repeats: the paper's LLMs are tuned on answers and answer with free text."""
    if result.kind == "llm" and (result.objective, result.mode) != ("generative", "generate"):
        return None
    return next((row for row in published if row.ours == result.system), None)


def without_counterpart(results: Sequence[SystemResult], published: Sequence[PaperResult]) -> list[PaperResult]:
    """The rows of ``published`` that none of ``results`` repeats, in the paper's order."""
    repeated = [counterpart(result, published) for result in results]
    return [row for row in published if row not in repeated]
