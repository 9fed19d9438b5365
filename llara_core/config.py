"""``params.yaml`` as frozen, checked objects: the one place for a hyper-parameter.

:func:`load_params` checks the whole file at once and names every error with its key and the allowed values.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from llara_core import paths
from llara_core.errors import ConfigError
from llara_core.overlays import resolve_systems

Recommender = Literal["gru4rec", "caser", "sasrec", "morec"]
Baseline = Literal["random", "popularity", "item_knn"]
Objective = Literal["generative", "next_item"]
Representation = Literal["hybrid", "text", "title", "behavior", "compact", "index"]
Slot = Literal["after", "before"]
# Those whose prompts with candidates have a slot per item.
WITH_SLOTS: tuple[Representation, ...] = ("hybrid", "text", "behavior")
# Those that show behaviour tokens, and so need a recommender.
WITH_BEHAVIOR: tuple[Representation, ...] = ("hybrid", "behavior", "compact")
ScoreSource = Literal["out_of_fold", "in_sample", "shuffled"]
Schedule = Literal["linear", "direct", "two_stage", "sqrt", "quadratic", "cosine", "sigmoid"]

# Names become DVC stage names and paths, so they are kept to what both take without quoting.
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$", description="lower-case letters, digits and underscores")]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Draws = Annotated[int, Field(ge=1, le=100_000)]

Entry = TypeVar("Entry")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RunConfig(Section):
    """The axes that ``dvc.yaml`` multiplies out; an empty list yields no stage."""

    datasets: list[Name] = Field(min_length=1, description="keys of `datasets`")
    baselines: list[Baseline] = Field(description="systems that need no training stage")
    recommenders: list[Recommender] = Field(description="conventional recommenders to train and compare")
    llm_recommenders: list[Recommender] = Field(description="whose item embeddings `systems` use")
    systems: list[Name] = Field(description="LLM systems tuned on each of llm_recommenders; keys of `systems`")
    text_systems: list[Name] = Field(description="LLM systems tuned without a recommender; keys of `systems`")
    untuned_systems: list[Name] = Field(description="LLM systems that are not tuned (zero-shot); keys of `systems`")
    chat_models: list[Name] = Field(description="remote chat models, asked zero-shot; keys of `chat_models`")
    seeds: list[Seed] = Field(min_length=1, description="one training run of everything per seed")

    @model_validator(mode="after")
    def _axes_agree(self) -> Self:
        for axis, values in self:
            if len(set(values)) != len(values):
                raise ValueError(f"run.{axis} lists a value twice: {values}")
        if not any(
            (self.baselines, self.recommenders, self.systems, self.text_systems, self.untuned_systems, self.chat_models)
        ):
            raise ValueError("all axes of systems are empty: name at least one, for example in run.baselines")
        if self.systems and not self.llm_recommenders:
            raise ValueError("run.llm_recommenders is empty, but run.systems is not: name at least one recommender")
        missing = [name for name in self.llm_recommenders if name not in self.recommenders]
        if missing:
            raise ValueError(
                f"run.llm_recommenders names {missing}, which run.recommenders does not train; "
                "add it there or take it from run.llm_recommenders"
            )
        return self


class DownloadConfig(Section):
    mirror: str | None = Field(
        min_length=1, description="folder or URL prefix tried first; the variable LLARA_MIRROR overrides it"
    )
    timeout_s: PositiveFloat = Field(description="seconds without an answer until a connection counts as failed")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(description="further attempts per source, with doubling pauses")


class SplitConfig(Section):
    strategy: Literal["user_chronological", "global_time"] = Field(
        description="user_chronological: users, sorted by their first interaction, are divided (the released protocol); "
        "global_time: all interactions are cut at two points in time"
    )
    train: Annotated[float, Field(gt=0, lt=1)] = Field(description="share of users or of interactions for training")
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(description="share for validation; the rest is the test split")

    @model_validator(mode="after")
    def _leaves_a_test_split(self) -> Self:
        if self.train + self.validation >= 1:
            raise ValueError(
                f"train + validation = {self.train + self.validation:g} leaves nothing to test on; keep it below 1"
            )
        return self


class DatasetSection(Section):
    """What every data set has, whatever its format."""

    max_history_len: Annotated[int, Field(ge=1, le=100_000)] = Field(description="previous items per example")
    noun: str = Field(min_length=1, description="what an item is called in prompts, e.g. movie")
    verb: str = Field(min_length=1, description="what a user has done with an item, e.g. watched")


class LogSection(DatasetSection):
    """Data sets that come as interactions, to be filtered and split here."""

    min_user_interactions: Annotated[int, Field(ge=0)] = Field(description="users with fewer are dropped")
    min_item_interactions: Annotated[int, Field(ge=0)] = Field(description="items with fewer are dropped")
    catalogue: Literal["interacted", "full"] = Field(
        description="interacted: items with at least one kept interaction; full: every item of the raw item file"
    )
    split: SplitConfig


class RatedSection(LogSection):
    min_rating: float | None = Field(description="interactions rated lower are dropped; null keeps all")


class MovieLensConfig(RatedSection):
    """The GroupLens archive of 100,000 ratings."""

    format: Literal["movielens_100k"]


class SyntheticConfig(RatedSection):
    """A small planted world in the layout of MovieLens 100K, made on the spot, for trials and tests."""

    format: Literal["synthetic"]


class LastFmConfig(LogSection):
    """The GroupLens archive HetRec 2011 Last.fm 2K; tagging an artist is the interaction."""

    format: Literal["lastfm_2k"]
    order: Literal["file", "timestamp"] = Field(
        description="of a user's sequence. file: by artist id, as the released data have it; timestamp: by the date of the tag"
    )

    @model_validator(mode="after")
    def _periods_need_time(self) -> Self:
        if self.order == "file" and self.split.strategy == "global_time":
            raise ValueError("split.strategy global_time cuts sequences by time and needs order: timestamp")
        return self


class SubsampleConfig(Section):
    users: Annotated[float, Field(gt=0, le=1)] = Field(description="share of the users that is kept; 1 keeps all")
    items: Annotated[float, Field(gt=0, le=1)] = Field(description="share of the items that is kept; 1 keeps all")
    seed: Seed


class SteamConfig(LogSection):
    """The review and game files of the McAuley lab, UCSD; a review is the interaction."""

    format: Literal["steam"]
    subsample: SubsampleConfig = Field(description="random part of users and items, drawn after the minimum counts")


class ColumnsConfig(Section):
    """What the columns of an own log are called."""

    user: str = Field(min_length=1, description="user id, in the interactions")
    item: str = Field(min_length=1, description="item id, in the interactions")
    time: str = Field(min_length=1, description="time of the interaction")
    rating: str | None = Field(min_length=1, description="rating of the interaction; null where there is none")
    item_id: str = Field(min_length=1, description="item id, in the items")
    title: str = Field(min_length=1, description="item title, in the items")


class OwnLogConfig(RatedSection):
    """Own files, in ``data/own/<data set>/``."""

    format: Literal["log"]
    interactions: str = Field(min_length=1, description="CSV file, also packed with gzip, Parquet file, or a folder of these")
    items: str = Field(min_length=1, description="likewise; one row per item")
    separator: str = Field(min_length=1, max_length=1, description="between the fields of CSV files")
    encoding: str = Field(min_length=1, description="of CSV files, e.g. utf-8, cp1252")
    # These three came later; without them, sections that users have stay valid.
    quoting: Literal["checked", "trusted", "none"] = Field(
        default="checked",
        description="of CSV files. checked: fields may stand in double quotes, which are doubled inside; doubt is an error; "
        "trusted: likewise, without doubt; none: a quote is a character like any other",
    )
    escape: str | None = Field(
        default=None, min_length=1, max_length=1, description="of CSV files: takes its meaning from the next character, e.g. \\"
    )
    missing: list[str] = Field(
        default=["nan", "NaN", "NULL", "null", "\\N", "None", "NA", "N/A", "<NA>", "NaT"],
        description="texts that stand for no value, as an empty one does; rows without one are dropped and counted",
    )
    columns: ColumnsConfig
    time_format: str = Field(
        min_length=1,
        description="seconds, milliseconds, microseconds or nanoseconds (since 1970, UTC), iso8601, or a pattern such as "
        "%d/%m/%Y %H:%M",
    )
    min_counts: Literal["once", "k_core"] = Field(
        description="how the minimum counts are met. once: items, then users, one pass; k_core: repeated until both hold"
    )
    repeats: Literal["keep", "first"] = Field(
        description="several interactions of a user with one item. keep: all (but for exact duplicates); first: the earliest"
    )

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        names = self.columns
        of_interactions = [name for name in (names.user, names.item, names.time, names.rating) if name is not None]
        if len(set(of_interactions)) < len(of_interactions) or names.item_id == names.title:
            raise ValueError("columns: one column cannot serve two purposes; give each its own")
        if self.min_rating is not None and self.columns.rating is None:
            raise ValueError("min_rating needs a rating: name its column in columns.rating, or set min_rating to null")
        return self


class ReleasedFramesConfig(DatasetSection):
    """The frames that the paper's authors publish, in ``data/own/<data set>/``: their very rows, split by them."""

    format: Literal["released_frames"]
    train: str = Field(min_length=1, description="file name of the training frame, e.g. train_data.df")
    validation: str = Field(min_length=1, description="of the validation frame, e.g. Val_data.df")
    test: str = Field(min_length=1, description="of the test frame, e.g. Test_data.df")
    names: str = Field(
        min_length=1, description="u.item (its ids minus 1 are the frames'), or an id::name file such as id2name.txt"
    )

    @model_validator(mode="after")
    def _splits_differ(self) -> Self:
        if len({self.train, self.validation, self.test}) < 3:
            raise ValueError("train, validation and test name the same file twice: the test would be part of the training")
        return self


DatasetConfig = MovieLensConfig | SyntheticConfig | LastFmConfig | SteamConfig | OwnLogConfig | ReleasedFramesConfig
DATASET_FORMATS: dict[Any, type[DatasetSection]] = {
    get_args(section.model_fields["format"].annotation)[0]: section for section in get_args(DatasetConfig)
}


class DrawsConfig(Section):
    train: Draws = Field(description="candidate sets per training example; epoch e uses set e modulo this")
    validation: Draws
    test: Draws


class CandidatesConfig(Section):
    seed: Seed
    n_candidates: Annotated[int, Field(ge=2)] = Field(description="target included")
    draws: DrawsConfig
    exclude: Literal["all_interactions", "last_interactions"] = Field(
        description="items never drawn as negatives: all that the user interacted with until the end of the example's split "
        "(the paper), or only the history of the example (the released code)"
    )


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


class LlmConfig(Section):
    model: str = Field(
        min_length=1,
        description="embedded:smollm2-135m-instruct, a folder with a transformers model, or a model hub id such as "
        "meta-llama/Llama-2-7b-hf",
    )
    revision: str | None = Field(min_length=1, description="commit, tag or branch of a hub id; null for the others")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        description="of the frozen weights; auto: bfloat16 where the device computes in it, else float16 (GPU) or float32 (CPU)"
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        description="bitsandbytes (extra `quantization`); made for CUDA, slow on a CPU"
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        description="CPU threads that compute, whatever the machine has: another number gives other last bits"
    )


class PromptConfig(Section):
    representation: Representation = Field(
        description="hybrid: title + behaviour token; text: title + trained placeholder; title: title only; "
        "behavior: behaviour token only; compact: one token from the recommender's vector and the encoded title, for objective "
        "next_item; index: the item's number"
    )
    slot: Slot = Field(
        description="where an item's behaviour token or placeholder stands. after its title: the paper's; before: where each "
        "token of the title can see it"
    )
    recommender_scores: bool = Field(
        description="a candidate's behaviour token also carries the recommender's opinion of it for this user: its score, "
        "standardised over the candidate set, and its share"
    )
    text_dim: Annotated[int, Field(ge=0)] = Field(
        description="principal components of the encoded titles in compact items; 0: the recommender's vector alone"
    )
    templates: Literal["sampled", "first"] = Field(
        description="sampled: one of several wordings per prompt, drawn from a named stream; first: always the same"
    )
    chat_template: bool = Field(description="wrap prompts in the tokenizer's chat template, which it then has to have")


class LoraSection(Section):
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Dropout


class CurriculumConfig(Section):
    schedule: Schedule = Field(description="p(hybrid) over the run; linear is the paper's equation 9")
    two_stage_text_share: Share = Field(
        description="share of the run that two_stage spends on text-only (paper: 2 of 5 epochs)"
    )


class TuneConfig(Section):
    """Tuning of one LLM system."""

    objective: Objective = Field(
        description="generative: the paper's, next-token loss on the answer title; next_item: ours, a softmax over the "
        "catalogue at every behaviour token of the history"
    )
    epochs: PositiveInt
    max_examples: PositiveInt | None = Field(description="budget in plan rows over all epochs; null for everything")
    min_history_len: PositiveInt = Field(
        description="items in the history of a training example, at least (the authors' loader: 3). It limits generative rows, "
        "not next_item chunks and nothing that is held out"
    )
    batch_size: PositiveInt = Field(description="plan rows per optimiser step")
    micro_batch_size: PositiveInt = Field(description="plan rows per forward pass; divides batch_size")
    learning_rate: PositiveFloat = Field(description="peak, from which a cosine falls")
    warmup_share: Share = Field(description="share of the steps that rise linearly from 1/100 of the peak to the peak")
    final_lr_share: Share = Field(description="where the cosine ends, as a share of the peak; the authors' scripts end at 0.01")
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: PositiveFloat
    chunk_len: Annotated[int, Field(ge=2)] = Field(description="items per next_item row; all but the last are inputs")
    warm_start_rows: Annotated[int, Field(ge=0)] = Field(description="rows of the other objective trained before this one")
    mixture: Annotated[float, Field(ge=0, lt=1)] = Field(description="share of later batches that train the other objective")
    ranking_weight: Annotated[float, Field(ge=0)] = Field(
        description="of a listwise loss beside the generative one: a softmax over the candidates, read out at their slots"
    )
    feature_dropout: Dropout = Field(description="of compact items' features and of the states that their head reads")
    gradient_checkpointing: bool = Field(description="trade a third more time for memory; for 7B models on one card")
    checkpoint_every: PositiveInt = Field(description="optimiser steps between checkpoints in the scratch folder")

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}")
        return self


class AblationConfig(Section):
    """What is taken away from a system, to see what it brings."""

    llm_weights: Literal["pretrained", "random"] = Field(
        description="random: a language model of the same shape with freshly initialised, frozen weights"
    )
    item_vectors: Literal["recommender", "random"] = Field(
        description="random: normally distributed ones in the shape of the recommender's"
    )
    recommender_scores: ScoreSource = Field(
        description="in training. out_of_fold: of recommenders that did not see the user; in_sample: of the one under the "
        "system, which did; shuffled: out_of_fold, dealt out to the candidates at random, in held-out prompts too"
    )


class InferenceConfig(Section):
    batch_size: PositiveInt = Field(
        description="prompts per forward pass; changes speed and memory, in float32 not the results, in bfloat16 their rounding"
    )
    max_draws: PositiveInt = Field(description="candidate sets per held-out example that prompts with candidates answer")
    max_new_tokens: PositiveInt = Field(description="limit of a generated answer")
    shuffled_histories: Literal["none", "catalogue", "all"] = Field(
        description="who also answers the test sets with every history in a random order, which shows what the order is worth. "
        "catalogue: systems that score the whole catalogue, where it costs little; all: those that read prompts too"
    )


class ChatModelConfig(Section):
    """A chat model behind an OpenAI-compatible endpoint, asked with text prompts."""

    model: str = Field(min_length=1, description="the endpoint's name for the model")
    base_url: str = Field(pattern=r"^https?://[^\s@]+$", description="of the endpoint, usually ending in /v1; without a key")
    api_key_variable: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable that holds the key; never written anywhere"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        description="0: as deterministic as the endpoint can be; null: not sent, for models that refuse it"
    )
    max_answer_tokens: PositiveInt | None = Field(
        description="limit of an answer, thoughts included; null: not sent, so the endpoint's own"
    )
    max_draws: PositiveInt = Field(description="candidate sets per held-out example that are asked")
    max_requests: PositiveInt = Field(description="requests per run at most, retries included; answers in the cache cost none")
    concurrency: Annotated[int, Field(ge=1, le=256)] = Field(description="requests under way at once")
    timeout_s: PositiveFloat = Field(description="seconds until a request counts as failed")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(description="further attempts after 429, 5xx and time-outs")


class EvaluationConfig(Section):
    bootstrap_samples: PositiveInt = Field(description="resamples of the users behind every interval")
    permutation_samples: PositiveInt = Field(description="random sign flips of a paired test with too many users to enumerate")
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(description="coverage of the intervals")
    seed: Seed


class ComparisonConfig(Section):
    """Systems that differ in one respect, for a table of their own."""

    title: str = Field(min_length=1, description="heading of the table")
    reference: Name = Field(description="the system that the others are tested against")
    systems: list[Name] = Field(min_length=1, description="the others; those that are on no axis are left out")


class CaseStudyConfig(Section):
    """Which systems' answers are set against each other, to find users that show what each kind of knowledge brings."""

    hybrid: Name = Field(description="system on run.systems; its recommender is the third of the comparison")
    text: Name = Field(description="system that reads titles alone")


class ReportConfig(Section):
    ablations: dict[Name, ComparisonConfig]
    case_studies: list[CaseStudyConfig] = Field(description="those with a system on no axis are left out")
    n_cases: Annotated[int, Field(ge=0)] = Field(description="users per kind of case that are shown with their histories")


class SystemConfig(Section):
    """The sections that define one LLM system, after its overrides."""

    prompt: PromptConfig
    lora: LoraSection
    curriculum: CurriculumConfig
    tune: TuneConfig
    ablation: AblationConfig

    @property
    def shows_behavior(self) -> bool:
        """Whether its prompts hold behaviour tokens."""
        return self.prompt.representation in WITH_BEHAVIOR

    @model_validator(mode="after")
    def _levers_fit(self) -> Self:
        prompt, tune = self.prompt, self.tune
        mixed = bool(tune.warm_start_rows or tune.mixture)
        ranks = tune.objective == "generative" or mixed
        only_ranks = tune.objective == "generative" and not mixed
        if prompt.representation == "compact" and ranks:
            raise ValueError(
                "prompt.representation compact shows no title to answer with: set tune.objective to next_item, "
                "tune.warm_start_rows and tune.mixture to 0"
            )
        if prompt.recommender_scores and not (self.shows_behavior and ranks):
            raise ValueError(
                "prompt.recommender_scores needs candidates with behaviour tokens: representation hybrid or behavior, and "
                "objective generative"
            )
        if prompt.slot == "before" and prompt.representation in ("hybrid", "text") and not only_ranks:
            raise ValueError(
                "prompt.slot before hides an item's title from the slot that objective next_item reads: set it to after, or to "
                "objective generative with tune.warm_start_rows and tune.mixture at 0"
            )
        if prompt.slot == "before" and prompt.representation == "text" and tune.ranking_weight:
            raise ValueError("tune.ranking_weight: placeholders before titles know nothing of them; set prompt.slot to after")
        if self.ablation.recommender_scores != "out_of_fold" and not prompt.recommender_scores:
            raise ValueError("ablation.recommender_scores changes nothing where prompt.recommender_scores is false")
        if tune.ranking_weight and (prompt.representation not in WITH_SLOTS or not ranks):
            raise ValueError(
                "tune.ranking_weight needs a slot at every candidate: representation hybrid, text or behavior, and objective "
                "generative"
            )
        return self


class Params(Section):
    run: RunConfig
    download: DownloadConfig
    datasets: dict[Name, Annotated[DatasetConfig, Field(discriminator="format")]]
    candidates: CandidatesConfig
    recommenders: RecommendersConfig
    llm: LlmConfig
    prompt: PromptConfig
    lora: LoraSection
    curriculum: CurriculumConfig
    tune: TuneConfig
    ablation: AblationConfig
    inference: InferenceConfig
    evaluation: EvaluationConfig
    systems: dict[Name, SystemConfig]
    chat_models: dict[Name, ChatModelConfig]
    report: ReportConfig

    @model_validator(mode="before")
    @classmethod
    def _merge_systems(cls, raw: Any) -> Any:
        """A system is the global sections, or the system that it `extends`, with its own values laid over them."""
        if not isinstance(raw, dict) or not isinstance(raw.get("systems"), dict):
            return raw
        defaults = {key: raw[key] for key in SystemConfig.model_fields if key in raw}
        return {**raw, "systems": resolve_systems(raw["systems"], defaults)}

    @model_validator(mode="after")
    def _axes_have_sections(self) -> Self:
        of_systems = ("systems", "text_systems", "untuned_systems")
        sections = {"datasets": "datasets", "chat_models": "chat_models"} | dict.fromkeys(of_systems, "systems")
        for axis, section in sections.items():
            defined = getattr(self, section)
            if unknown := [name for name in getattr(self.run, axis) if name not in defined]:
                raise ValueError(f"run.{axis} names {unknown}, but `{section}` defines only {sorted(defined)}")
        if reserved := {"curves", "plots"} & set(self.datasets):
            raise ValueError(f"`datasets` may not be called {sorted(reserved)}: metrics/ has folders of that name")
        taken = {*get_args(Recommender), *get_args(Baseline)}
        cells = [name for axis in (*of_systems, "chat_models") for name in getattr(self.run, axis)]
        if clash := {name for name in cells if name in taken or cells.count(name) > 1}:
            raise ValueError(f"{sorted(clash)} would name two different systems of one run; give each its own name")
        return self

    @model_validator(mode="after")
    def _systems_fit_their_axes(self) -> Self:
        for name in (*self.run.text_systems, *self.run.untuned_systems):
            if self.systems[name].shows_behavior:
                representation = self.systems[name].prompt.representation
                raise ValueError(
                    f"systems.{name} has representation {representation}, which needs a recommender: list it in run.systems"
                )
        for name in self.run.untuned_systems:
            system = self.systems[name]
            if system.ablation.llm_weights == "random":
                raise ValueError(
                    f"systems.{name}.ablation.llm_weights is random, but a system that is not tuned has nothing else"
                )
            if system.prompt.representation == "text" or system.tune.objective == "next_item":
                raise ValueError(
                    f"systems.{name} is in run.untuned_systems, but needs something trained (the placeholder of representation "
                    "text, or the head of objective next_item); use representation title and objective generative"
                )
        names = (*self.run.systems, *self.run.text_systems)
        random = [name for name in names if self.systems[name].ablation.llm_weights == "random"]
        if random and self.llm.quantization != "none":
            raise ValueError(f"llm.quantization: the random weights of {random} cannot be quantised; take these from the axes")
        return self

    @model_validator(mode="after")
    def _report_names_systems(self) -> Self:
        named = {f"report.ablations.{key}": [table.reference, *table.systems] for key, table in self.report.ablations.items()}
        named |= {f"report.case_studies.{row}": [case.hybrid, case.text] for row, case in enumerate(self.report.case_studies)}
        for place, names in named.items():
            if unknown := [name for name in names if name not in self.systems]:
                raise ValueError(f"{place} names {unknown}, but `systems` defines only {sorted(self.systems)}")
            if len(set(names)) < len(names):
                raise ValueError(f"{place} names a system twice: {names}")
        for row, case in enumerate(self.report.case_studies):
            if self.systems[case.text].shows_behavior:
                raise ValueError(f"report.case_studies.{row}.text: {case.text} shows behaviour tokens; name a text-only system")
        return self

    def dataset(self, name: str) -> DatasetConfig:
        return _entry("dataset", self.datasets, name)

    def system(self, name: str) -> SystemConfig:
        return _entry("system", self.systems, name)

    def chat_model(self, name: str) -> ChatModelConfig:
        return _entry("chat model", self.chat_models, name)


def load_params(path: Path = paths.PARAMS) -> Params:
    """Read and check ``params.yaml`` (YAML 1.2 rules, so that ``1e-4`` is a number).

    Raises:
        ConfigError: the file is missing, no YAML, or breaks a constraint; all violations are listed at once.
    """
    try:
        raw = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: not found; run from the repository root") from error
    except (YAMLError, ValueError, KeyError, RecursionError) as error:  # ruamel lets some of its own through
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected sections such as `run:` at the top level, found {type(raw).__name__}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_explain(path, error)) from error


def _entry(kind: str, section: dict[str, Entry], name: str) -> Entry:
    if name not in section:
        raise ConfigError(f"unknown {kind} {name!r}; {paths.PARAMS} defines {sorted(section)}")
    return section[name]


def _explain(path: Path, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        location = _location(problem["loc"])
        key = ".".join(str(part) for part in location if part != "[key]") or "(whole file)"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"unknown key{_suggestion(problem['loc'])}"
        elif problem["type"] == "missing":
            message = "missing"
        elif problem["type"] == "union_tag_not_found":
            key, message = f"{key}.format", "missing"
        elif problem["type"] == "union_tag_invalid":
            key, message = f"{key}.format", f"Input should be {problem['ctx']['expected_tags']}, got {problem['ctx']['tag']!r}"
        elif problem["input"] == "" and problem["type"] != "value_error":
            message = f"is empty{_remedy(problem['loc'])}"
        elif problem["type"] == "string_type" and problem["input"] is None:
            message = (
                "is null, which YAML also makes of the words null and NULL; give it a value, in quotes if it is one of these"
            )
        elif problem["type"] not in {"value_error"}:
            message += f", got {problem['input']!r}"
        lines.append(f"  {key}: {message}")
    # A mistake in a global section also shows in every system that inherits it; saying it once is enough.
    unique = [line for line in dict.fromkeys(lines) if not _inherited(line, lines)]
    return f"{path}: {len(unique)} problem(s)\n" + "\n".join(unique)


def _location(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The keys as they stand in the file: without the format, which pydantic adds behind the name of a data set."""
    return location[:2] + location[3:] if location[:1] == ("datasets",) else location


def _inherited(line: str, lines: list[str]) -> bool:
    parts = line.strip().split(".", 2)
    return parts[0] == "systems" and len(parts) == 3 and f"  {parts[2]}" in lines


def _suggestion(location: tuple[int | str, ...]) -> str:
    known = list(_fields(location))
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}" if known else ""


def _remedy(location: tuple[int | str, ...]) -> str:
    """What to write in place of nothing."""
    field = _fields(location).get(str(location[-1]))
    if field is None:
        return "; give it a value"
    if get_origin(field.annotation) is list:
        return "; write [] for none"
    return "; write null for none" if type(None) in get_args(field.annotation) else "; give it a value"


def _fields(location: tuple[int | str, ...]) -> dict[str, FieldInfo]:
    """The keys that stand beside the last one of ``location``."""
    section: Any = Params
    for part in location[:-1]:
        field = getattr(section, "model_fields", {}).get(part)
        if field is not None:
            section = field.annotation
        elif part in DATASET_FORMATS:
            section = DATASET_FORMATS[part]
        elif get_args(section):  # a name inside `systems`
            section = get_args(section)[-1]
    fields: dict[str, FieldInfo] = getattr(section, "model_fields", {})
    return fields
