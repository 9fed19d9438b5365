"""The figures that the LLaRA paper reports, for reading ours beside them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperResult:
    """One row of the paper: hit ratio@1 over 20 candidates, and the share of valid answers (None: it always answers)."""

    system: str
    hit_ratio: float
    valid_ratio: float | None = None


SOURCE = "Liao et al., LLaRA: Large Language-Recommendation Assistant, SIGIR 2024, Table 2"

# Table 2 of the paper by our dataset keys. One candidate set per test user, drawn by the authors and not published, so these
# figures and ours do not rest on the same candidates and must not be tested against each other.
TABLE_2: dict[str, tuple[PaperResult, ...]] = {
    "movielens": (
        PaperResult("GRU4Rec", 0.3750),
        PaperResult("Caser", 0.3861),
        PaperResult("SASRec", 0.3444),
        PaperResult("MoRec", 0.2822),
        PaperResult("Llama2, zero-shot", 0.0421, 0.4421),
        PaperResult("GPT-4, zero-shot", 0.2000, 0.9895),
        PaperResult("TALLRec", 0.3895, 0.9263),
        PaperResult("LLaRA (GRU4Rec)", 0.4421, 0.9684),
        PaperResult("LLaRA (Caser)", 0.4737, 0.9684),
        PaperResult("LLaRA (SASRec)", 0.4421, 0.9684),
    ),
    "steam": (
        PaperResult("GRU4Rec", 0.4168),
        PaperResult("Caser", 0.4368),
        PaperResult("SASRec", 0.4010),
        PaperResult("MoRec", 0.3911),
        PaperResult("Llama2, zero-shot", 0.0135, 0.1653),
        PaperResult("GPT-4, zero-shot", 0.3626, 0.9798),
        PaperResult("TALLRec", 0.4637, 0.9840),
        PaperResult("LLaRA (GRU4Rec)", 0.4924, 0.9975),
        PaperResult("LLaRA (Caser)", 0.4874, 0.9966),
        PaperResult("LLaRA (SASRec)", 0.4949, 0.9975),
    ),
    "lastfm": (
        PaperResult("GRU4Rec", 0.2616),
        PaperResult("Caser", 0.2233),
        PaperResult("SASRec", 0.2233),
        PaperResult("MoRec", 0.1652),
        PaperResult("Llama2, zero-shot", 0.0246, 0.3443),
        PaperResult("GPT-4, zero-shot", 0.3770, 1.0),
        PaperResult("TALLRec", 0.4180, 0.9836),
        PaperResult("LLaRA (GRU4Rec)", 0.4344, 0.9836),
        PaperResult("LLaRA (Caser)", 0.4344, 0.9918),
        PaperResult("LLaRA (SASRec)", 0.4508, 1.0),
    ),
}
