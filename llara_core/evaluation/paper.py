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
TABLE_2: dict[str, tuple[PaperResult, ...]] = {
    "movielens_100k": (
        PaperResult("GRU4Rec", 0.3750, 1.0, ours="gru4rec"),
        PaperResult("Caser", 0.3861, 1.0, ours="caser"),
        PaperResult("SASRec", 0.3444, 1.0, ours="sasrec"),
        PaperResult("MoRec", 0.2822, 1.0),
        PaperResult("Llama2, zero-shot", 0.0421, 0.4421),
        PaperResult("GPT-4, zero-shot", 0.2000, 0.9895),
        PaperResult("TALLRec", 0.3895, 0.9263),
        PaperResult("LLaRA (GRU4Rec)", 0.4421, 0.9684, ours="llara-gru4rec"),
        PaperResult("LLaRA (Caser)", 0.4737, 0.9684, ours="llara-caser"),
        PaperResult("LLaRA (SASRec)", 0.4421, 0.9684, ours="llara-sasrec"),
    ),
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
