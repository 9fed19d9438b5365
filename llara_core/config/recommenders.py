"""Section ``recommenders``, and the names of recommenders and baselines."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from llara_core.config.sections import Dropout, PositiveFloat, PositiveInt, Section, one_of, unknown
from llara_core.errors import ConfigError


class RecommenderSection(Section):
    """Options of one recommender.

    Attributes:
        training_keys: keys that concern the training; the others are arguments of the class.
        reads_titles: whether it represents items by their titles.
    """

    training_keys: ClassVar[frozenset[str]] = frozenset({"l2"})
    reads_titles: ClassVar[bool] = False

    l2: list[Annotated[float, Field(ge=0)]] = Field(
        min_length=1, description="L2 coefficients to try; the best on validation is kept (paper: 1e-3 to 1e-7)"
    )
    dropout: Dropout

    def check(self, name: str, shared: RecommendersConfig) -> None:
        """Checks the options against the shared ones.

        Args:
            name: name of the recommender.
            shared: section ``recommenders``.

        Raises:
            ValueError: two options contradict each other; the message names both.
        """


class Gru4RecConfig(RecommenderSection):
    """GRU4Rec, a recurrent network."""

    hidden_dim: PositiveInt
    n_layers: PositiveInt


class CaserConfig(RecommenderSection):
    """Caser, a convolutional network."""

    n_horizontal_filters: PositiveInt = Field(description="horizontal filters per height")
    n_vertical_filters: PositiveInt
    window: PositiveInt = Field(description="number of last items that the convolutions read")


class SasRecConfig(RecommenderSection):
    """SASRec, a causal Transformer."""

    n_layers: PositiveInt
    n_heads: PositiveInt

    def check(self, name: str, shared: RecommendersConfig) -> None:
        if shared.embedding_dim % self.n_heads:
            raise ValueError(f"embedding_dim {shared.embedding_dim} is not a multiple of {name}.n_heads {self.n_heads}")


class MoRecConfig(SasRecConfig):
    """SASRec over encoded titles instead of item ids (paper, section 5.2.1)."""

    training_keys: ClassVar = frozenset({"l2", "encoder", "revision", "item_text", "train_encoder", "encoder_learning_rate"})
    reads_titles: ClassVar = True

    encoder: str = Field(
        min_length=1,
        description="embedded:all-minilm-l6-v2, a folder with a BERT-family model, or a model hub id such as "
        "google-bert/bert-base-uncased",
    )
    revision: str | None = Field(min_length=1, description="commit, tag or branch of a hub id; null otherwise")
    item_text: Literal["title", "full"] = Field(
        default="title", description="encoded text of an item. title: its title; full: also its year and attributes"
    )
    train_encoder: bool = Field(description="whether the encoder is trained; false keeps it frozen and encodes titles once")
    encoder_learning_rate: PositiveFloat = Field(description="learning rate of a trained encoder")

    def check(self, name: str, shared: RecommendersConfig) -> None:
        super().check(name, shared)
        if self.train_encoder and shared.loss == "bce":
            raise ValueError(f"{name}.train_encoder needs loss: cross_entropy, over the items of a batch")


class SasRecTextConfig(MoRecConfig):
    """SASRec over ids and encoded texts, which also recommends items without interactions."""

    new_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of the items that are treated as new at each training step, so that texts learn to represent them"
    )


class RecommendersConfig(Section):
    """Training options of the sequence recommenders (paper, section 5.1.2), and a section for each of them."""

    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        description="CPU threads; another number changes the last bits of results; more than one pays off for catalogues of "
        "many thousand items"
    )
    embedding_dim: PositiveInt
    learning_rate: PositiveFloat
    batch_size: PositiveInt = Field(description="next-item targets per optimiser step; a window of a sequence has several")
    loss: Literal["cross_entropy", "bce"] = Field(
        description="cross_entropy: softmax over the catalogue; bce: one sampled negative per position (SASRec's original)"
    )
    max_epochs: PositiveInt
    patience: PositiveInt = Field(description="epochs without a better validation score after which training stops")
    folds: Annotated[int, Field(ge=2)] = Field(
        description="parts of the training users; scores of each part for LLM tuning come from a recommender of the others"
    )
    max_validation_positions: PositiveInt = Field(description="maximum number of positions in the validation score")
    gru4rec: Gru4RecConfig
    caser: CaserConfig
    sasrec: SasRecConfig
    morec: MoRecConfig
    sasrec_text: SasRecTextConfig

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        for name in RECOMMENDERS:
            self.options_of(name).check(name, self)
        return self

    def options_of(self, name: str) -> RecommenderSection:
        """Returns the section of one recommender.

        Raises:
            ConfigError: no recommender has this name.
        """
        if name not in RECOMMENDERS:
            raise ConfigError(unknown(name, "recommender", RECOMMENDERS))
        section: RecommenderSection = getattr(self, name)
        return section


RECOMMENDERS: dict[str, type[RecommenderSection]] = {
    name: field.annotation
    for name, field in RecommendersConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, RecommenderSection)
}

BASELINES = (
    "random",
    "popularity",
    "item_knn",
    "content_knn",
)


Recommender = Annotated[str, Field(min_length=1), one_of(RECOMMENDERS, "recommender")]
Baseline = Annotated[str, Field(min_length=1), one_of(BASELINES, "baseline")]


def takes_no_new_items(name: str, why: str = "it knows items by the ids that it was trained with") -> str:
    """Returns the error message for new items that a system cannot recommend."""
    able = [each for each, section in RECOMMENDERS.items() if section.reads_titles]
    return (
        f"{name} cannot take new items: {why}; {' and '.join(able)} read an item's text: train one of them (run.recommenders) "
        "and use it, or an LLM system on it, such as compact_on_text or guided_on_text (run.systems)"
    )
