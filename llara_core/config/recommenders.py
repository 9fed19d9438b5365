"""Conventional recommenders and their training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llara_core.config.sections import Dropout, PositiveFloat, PositiveInt, Section

Recommender = Literal["gru4rec", "caser", "sasrec", "morec"]
Baseline = Literal["random", "popularity", "item_knn"]


class RecommenderSection(Section):
    """What each recommender has of its own."""

    l2: list[Annotated[float, Field(ge=0)]] = Field(
        min_length=1, description="L2 coefficients tried; the best on validation is kept (paper: 1e-3 to 1e-7)"
    )
    dropout: Dropout


class Gru4RecConfig(RecommenderSection):
    hidden_dim: PositiveInt
    n_layers: PositiveInt


class CaserConfig(RecommenderSection):
    n_horizontal_filters: PositiveInt = Field(description="per filter height")
    n_vertical_filters: PositiveInt
    window: PositiveInt = Field(description="items that the convolutions see")


class SasRecConfig(RecommenderSection):
    n_layers: PositiveInt
    n_heads: PositiveInt


class MoRecConfig(SasRecConfig):
    """SASRec over encoded titles in place of item ids (paper, section 5.2.1)."""

    encoder: str = Field(
        min_length=1,
        description="embedded:all-minilm-l6-v2, a folder with a BERT-family model, or a model hub id such as "
        "google-bert/bert-base-uncased",
    )
    revision: str | None = Field(min_length=1, description="commit, tag or branch of a hub id; null for the others")
    train_encoder: bool = Field(description="tune the encoder with the rest; false keeps it frozen and encodes titles once")
    encoder_learning_rate: PositiveFloat = Field(description="of the encoder, where it is tuned")


class RecommendersConfig(Section):
    """Training of the sequence recommenders (paper, section 5.1.2)."""

    embedding_dim: PositiveInt
    learning_rate: PositiveFloat
    batch_size: PositiveInt = Field(description="next-item targets per optimiser step; windows of a sequence hold several")
    loss: Literal["cross_entropy", "bce"] = Field(
        description="cross_entropy: softmax over the catalogue; bce: one sampled negative per position (SASRec's original)"
    )
    max_epochs: PositiveInt
    patience: PositiveInt = Field(description="epochs without a better validation score until training stops")
    folds: Annotated[int, Field(ge=2)] = Field(
        description="parts of the training users; the scores of each for LLM training come from a recommender of the others"
    )
    max_validation_positions: PositiveInt = Field(description="positions that the validation score is taken over, at most")
    gru4rec: Gru4RecConfig
    caser: CaserConfig
    sasrec: SasRecConfig
    morec: MoRecConfig

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        if self.morec.train_encoder and self.loss == "bce":
            raise ValueError("morec.train_encoder needs loss: cross_entropy, over the items of a batch")
        for name, section in (("sasrec", self.sasrec), ("morec", self.morec)):
            if self.embedding_dim % section.n_heads:
                raise ValueError(f"embedding_dim {self.embedding_dim} is no multiple of {name}.n_heads {section.n_heads}")
        return self
