"""Sections of LLM systems: the language model, its prompts, tuning and inference."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from llara_core.config.objectives import OBJECTIVES, UNTUNED_OBJECTIVE, ObjectiveName, names_where, trained_objectives
from llara_core.config.recommenders import Recommender
from llara_core.config.sections import Dropout, Name, PositiveFloat, PositiveInt, Section, Share, alternatives

Representation = Literal["hybrid", "text", "title", "behavior", "compact", "index"]
Slot = Literal["after", "before"]
# Representations whose prompts with candidates have a slot per item.
WITH_SLOTS: tuple[Representation, ...] = ("hybrid", "text", "behavior")
# Representations that show behaviour tokens, and therefore need a recommender.
WITH_BEHAVIOR: tuple[Representation, ...] = ("hybrid", "behavior", "compact")
ScoreSource = Literal["out_of_fold", "in_sample", "shuffled"]
ShuffledHistories = Literal["none", "catalogue", "all"]
Schedule = Literal["linear", "direct", "two_stage", "sqrt", "quadratic", "cosine", "sigmoid", "released"]


class LlmConfig(Section):
    """The language model and the form in which its weights are loaded."""

    model: str = Field(
        min_length=1,
        description="embedded:smollm2-135m-instruct, a folder with a transformers model, or a model hub id such as "
        "meta-llama/Llama-2-7b-hf; DVC compares only the name of a folder, `make repro` also size and time of its files",
    )
    revision: str | None = Field(min_length=1, description="commit, tag or branch of a hub id; null otherwise")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        description="dtype of the frozen weights. auto: bfloat16 if the device supports it, else float16 (GPU) or float32 (CPU)"
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        description="quantisation by bitsandbytes (extra `quantization`); made for CUDA, slow on a CPU"
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        description="CPU threads of each process; another number changes the last bits of results, and `pipeline.repro -j` "
        "uses further cores"
    )


class PromptConfig(Section):
    """Content and wording of prompts."""

    representation: Representation = Field(
        description="content of an item in prompts. hybrid: title + behaviour token; text: title + trained placeholder; title: "
        "title only; behavior: behaviour token only; compact: one token from the recommender's vector and the encoded title, "
        "for objective next_item; index: the item's number"
    )
    slot: Slot = Field(
        description="position of an item's behaviour token or placeholder. after: after its title, as in the paper; before: "
        "before its title, so that each token of the title can attend to it"
    )
    recommender_scores: bool = Field(
        description="whether a candidate's behaviour token includes its score by the recommender for this user, standardised "
        "over the candidate set, and its share"
    )
    text_dim: Annotated[int, Field(ge=0)] = Field(
        description="principal components of the encoded titles in compact items; 0: only the recommender's vector"
    )
    item_text: Literal["title", "full"] = Field(
        default="title",
        description="text of a compact item, and of a candidate in prompts with titles. title: its title; full: also its year "
        "and attributes, which takes more tokens",
    )
    templates: Literal["sampled", "first"] = Field(
        description="wording of prompts. sampled: drawn per prompt from a named random stream; first: always the same"
    )
    chat_template: bool = Field(description="whether to wrap prompts in the tokenizer's chat template, which must then exist")


def _are_layer_names(value: object) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(name, str) and name for name in value)


LoraTargets = Annotated[
    Literal["all-linear"] | list[str],
    alternatives(
        lambda value: value == "all-linear" or _are_layer_names(value), "Input should be all-linear or a list of layer names"
    ),
]


class LoraSection(Section):
    """Low-rank adaptation of the language model's linear layers."""

    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Dropout
    targets: LoraTargets = Field(
        description="names of the linear layers that get LoRA. all-linear: all except the vocabulary head; for a Llama, these "
        "are the seven that the authors' code lists"
    )


class CurriculumConfig(Section):
    """Schedule by which hybrid prompts replace text-only prompts (paper, section 4.3)."""

    schedule: Schedule = Field(
        description="schedule of p(hybrid) over the run. linear: the paper's equation 9; released: as in the authors' code, "
        "restarts in every epoch and rises only to 1 / tune.epochs"
    )
    two_stage_text_share: Share = Field(
        description="share of the run in which two_stage uses text-only prompts (paper: 2 of 5 epochs)"
    )


class TuneConfig(Section):
    """Tuning of one LLM system."""

    objective: ObjectiveName = Field(
        description="generative: the paper's next-token loss on the title of the target; next_item: our softmax over the "
        "catalogue at every behaviour token of the history; preference: S-DPO or a variant, which needs a `start`"
    )
    epochs: PositiveInt
    max_examples: PositiveInt | None = Field(description="maximum number of plan rows over all epochs; null for no limit")
    min_history_len: PositiveInt = Field(
        description="minimum number of items in the history of a training example (the authors' loader: 3); applies neither to "
        "next_item chunks nor to held-out examples"
    )
    batch_size: PositiveInt = Field(description="plan rows per optimiser step")
    micro_batch_size: PositiveInt = Field(description="plan rows per forward pass; divides batch_size")
    learning_rate: PositiveFloat = Field(description="peak learning rate, followed by a cosine decay")
    warmup_share: Share = Field(description="share of the steps with a linear rise from 1/100 of the peak to the peak")
    final_lr_share: Share = Field(description="final learning rate as a share of the peak; the authors' scripts: 0.01")
    weight_decay: Annotated[float, Field(ge=0)]
    projector_l2: Annotated[float, Field(ge=0)] = Field(
        description="L2 coefficient of the projector's weights, added to the gradient as in Adam; the authors' scripts: 1e-5"
    )
    projector_init: Literal["token_scale", "plain"] = Field(
        description="token_scale: initial behaviour tokens have the scale of the language model's token embeddings; plain: "
        "torch's initialisation on unscaled vectors, as in the authors' code"
    )
    max_grad_norm: PositiveFloat | None = Field(description="maximum norm of clipped gradients; null for no clipping")
    chunk_len: Annotated[int, Field(ge=2)] = Field(description="items per next_item row; all except the last are inputs")
    warm_start_rows: Annotated[int, Field(ge=0)] = Field(description="rows of the partner objective that are trained first")
    mixture: Annotated[float, Field(ge=0, lt=1)] = Field(description="share of later batches with the partner objective")
    ranking_weight: Annotated[float, Field(ge=0)] = Field(
        description="weight of a listwise loss added to the generative one: a softmax over the candidates, computed from the "
        "states at their slots"
    )
    preference_loss: Literal["sdpo", "softmax"] = Field(
        description="sdpo: log-likelihoods of titles relative to the model before preference tuning, as in S-DPO; softmax: the "
        "log-likelihoods by which the system ranks"
    )
    preference_beta: PositiveFloat = Field(
        description="factor on the log-likelihoods before the softmax over titles; a higher one keeps sdpo closer to the model "
        "before preference tuning (paper: 1)"
    )
    preference_negatives: PositiveInt = Field(
        description="maximum number of negatives whose titles are compared with that of the target (paper: 3; a set of 20 has "
        "19)"
    )
    new_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="share of the items that are treated as new in each micro-batch of compact items, so that texts learn to "
        "represent items without interactions; 0: items without interactions are not treated differently",
    )
    feature_dropout: Dropout = Field(description="dropout of compact items' features and of the states that their head reads")
    gradient_checkpointing: bool = Field(description="saves memory for a third more time; for 7B models on one card")
    checkpoint_every: PositiveInt = Field(description="optimiser steps between checkpoints in the scratch folder")

    @property
    def mixes(self) -> bool:
        """Whether tuning has rows of the objective's partner."""
        return bool(self.warm_start_rows or self.mixture)

    @property
    def compares_with_start(self) -> bool:
        """Whether the loss needs log-likelihoods of the model before preference tuning."""
        return OBJECTIVES[self.objective].needs_start and self.preference_loss == "sdpo"

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of micro_batch_size {self.micro_batch_size}")
        return self

    @model_validator(mode="after")
    def _has_a_partner(self) -> Self:
        if self.mixes and OBJECTIVES[self.objective].partner is None:
            raise ValueError(
                f"warm_start_rows and mixture add rows of a partner objective, but objective {self.objective} has none: set "
                "both to 0"
            )
        return self


class AblationConfig(Section):
    """Parts that are removed from a system to measure their effect."""

    llm_weights: Literal["pretrained", "random"] = Field(
        description="random: a language model of the same shape with freshly initialised, frozen weights"
    )
    item_vectors: Literal["recommender", "random", "constant"] = Field(
        description="random: normally distributed vectors of the same shape as the recommender's; constant: the same vector "
        "for every item, so that behaviour tokens convey only the recommender's score, if they include it"
    )
    recommender_scores: ScoreSource = Field(
        description="scores in training prompts. out_of_fold: from recommenders not trained on the user; in_sample: from the "
        "system's recommender, which is; shuffled: out_of_fold scores, permuted among the candidates, also in held-out prompts"
    )


class MaxPositionsConfig(Section):
    """Maximum number of the positions of ``evaluation.positions`` that language models answer, per held-out user and split."""

    catalogue: Annotated[int, Field(ge=0)] | None = Field(
        description="limit for systems that score the whole catalogue, for which a position is cheap; null for all"
    )
    prompts: Annotated[int, Field(ge=0)] | None = Field(
        description="limit for systems that read prompts with candidates, including chat models; null for all"
    )


class InferenceConfig(Section):
    """Limits and options of the answers to held-out questions."""

    batch_size: PositiveInt = Field(
        description="prompts per forward pass; affects speed, memory and, except in float32, the rounding of results"
    )
    max_draws: PositiveInt = Field(description="maximum number of candidate sets per held-out example, for prompts")
    max_positions: MaxPositionsConfig
    max_new_tokens: PositiveInt = Field(description="maximum number of tokens of a generated answer")
    num_beams: PositiveInt = Field(
        description="beams of the search for a generated answer. 1: greedy, as in the paper, which can miss the likeliest "
        "title if several begin with the same words"
    )
    shuffled_histories: ShuffledHistories = Field(
        description="systems that also answer the test sets with randomly ordered histories, which measures the effect of the "
        "order. catalogue: systems that score the whole catalogue, for which it is cheap; all: also those that read prompts"
    )


class ChatModelConfig(Section):
    """A chat model at an OpenAI-compatible endpoint, which gets text prompts."""

    model: str = Field(min_length=1, description="name of the model at the endpoint")
    base_url: str = Field(pattern=r"^https?://[^\s@]+$", description="URL of the endpoint, without a key; usually ends in /v1")
    api_key_variable: str = Field(
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="environment variable with the key, which is never written to disk"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        description="0: as deterministic as the endpoint allows; null: not sent, for models that reject it"
    )
    max_answer_tokens: PositiveInt | None = Field(
        description="maximum length of an answer, including reasoning; null: not sent, so that the endpoint's limit applies"
    )
    max_draws: PositiveInt = Field(description="maximum number of candidate sets per held-out example")
    max_requests: PositiveInt = Field(
        description="maximum number of requests per run, including retries; cached answers are free"
    )
    concurrency: Annotated[int, Field(ge=1, le=256)] = Field(description="number of concurrent requests")
    timeout_s: PositiveFloat = Field(description="seconds after which a request counts as failed")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        description="further attempts after 408, 409, 429, 5xx, time-outs and broken connections"
    )


class SystemConfig(Section):
    """Configuration of one LLM system: its own keys, and the global sections overlaid with its values."""

    recommender: Recommender | None = Field(
        default=None, description="recommender whose item embeddings it reads and with which it is fused; null for none"
    )
    tuned: bool = Field(default=True, description="whether it is tuned; if false, the unmodified language model answers")
    start: Name | None = Field(
        default=None,
        description="tuned system of the run whose adapter it continues from; null: tuning begins at the language model",
    )
    prompt: PromptConfig
    lora: LoraSection
    curriculum: CurriculumConfig
    tune: TuneConfig
    ablation: AblationConfig

    @property
    def reads_titles(self) -> bool:
        """Whether titles, encoded or not, are in prompts or answers."""
        objectives = trained_objectives(self.tune.objective, mixed=self.tune.mixes)
        return {
            "index": False,
            "behavior": any(objective.writes_title for objective in objectives),
            "compact": self.prompt.text_dim > 0,
        }.get(self.prompt.representation, True)

    @property
    def shows_behavior(self) -> bool:
        """Whether prompts have behaviour tokens."""
        return self.prompt.representation in WITH_BEHAVIOR

    @property
    def has_curriculum(self) -> bool:
        """Whether tuning has an easy and a hard task: titles without and with behaviour tokens."""
        return self.tuned and self.prompt.representation == "hybrid"

    @model_validator(mode="after")
    def _has_what_it_shows(self) -> Self:
        if self.shows_behavior and self.recommender is None:
            raise ValueError(
                f"prompt.representation {self.prompt.representation} shows a recommender's item embeddings: name one as "
                "`recommender`, or set prompt.representation to title"
            )
        needs_head = OBJECTIVES[self.tune.objective].needs_head
        if not self.tuned and (self.shows_behavior or self.prompt.representation == "text" or needs_head):
            raise ValueError(
                "tuned is false, but a part of it must be trained (behaviour tokens, the placeholder of representation "
                f"text, or the head of objective {names_where(lambda objective: objective.needs_head)}); use "
                f"prompt.representation title or index and tune.objective {UNTUNED_OBJECTIVE}"
            )
        if not self.tuned and self.ablation.llm_weights == "random":
            raise ValueError("ablation.llm_weights is random, but an untuned system has nothing else")
        return self

    @model_validator(mode="after")
    def _has_its_start(self) -> Self:
        objective = OBJECTIVES[self.tune.objective]
        if self.start is None:
            if objective.needs_start:
                raise ValueError(
                    f"objective {self.tune.objective} continues from the adapter of a tuned system: name that system as `start`"
                )
            return self
        if not self.tuned:
            raise ValueError(f"start is {self.start}, but tuned is false: remove one of them")
        if not objective.writes_title or self.tune.mixes or self.tune.ranking_weight:
            raise ValueError(
                f"start is {self.start}, from whose adapter only objectives that write titles can continue: set "
                f"tune.objective to {names_where(lambda objective: objective.writes_title)}, and tune.warm_start_rows, "
                "tune.mixture and tune.ranking_weight to 0"
            )
        return self

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        prompt, tune = self.prompt, self.tune
        trained = trained_objectives(tune.objective, mixed=tune.mixes)
        ranks = any(objective.shows_candidates for objective in trained)
        if prompt.representation == "compact" and any(objective.writes_title for objective in trained):
            raise ValueError(
                "prompt.representation compact shows no titles to write as answers: set tune.objective to "
                f"{names_where(lambda objective: not objective.writes_title)}, tune.warm_start_rows and tune.mixture to 0"
            )
        if tune.new_share and (prompt.representation != "compact" or not prompt.text_dim):
            raise ValueError(
                "tune.new_share needs items with encoded texts: prompt.representation compact and prompt.text_dim above 0"
            )
        if prompt.recommender_scores and not (self.shows_behavior and ranks):
            raise ValueError(
                "prompt.recommender_scores needs candidates with behaviour tokens: representation hybrid or behavior, and "
                f"objective {names_where(lambda objective: objective.shows_candidates)}"
            )
        if (
            prompt.slot == "before"
            and prompt.representation in ("hybrid", "text")
            and any(objective.reads_slot_after_title for objective in trained)
        ):
            raise ValueError(
                "prompt.slot before hides an item's title from the slot that objective "
                f"{names_where(lambda objective: objective.reads_slot_after_title)} reads: set it to after, or to objective "
                f"{names_where(lambda objective: not objective.reads_slot_after_title)} with tune.warm_start_rows and "
                "tune.mixture at 0"
            )
        if prompt.slot == "before" and prompt.representation == "text" and tune.ranking_weight:
            raise ValueError("tune.ranking_weight: placeholders before titles cannot encode them; set prompt.slot to after")
        if self.ablation.recommender_scores != "out_of_fold" and not prompt.recommender_scores:
            raise ValueError("ablation.recommender_scores has no effect if prompt.recommender_scores is false")
        if tune.ranking_weight and (prompt.representation not in WITH_SLOTS or not ranks):
            raise ValueError(
                "tune.ranking_weight needs a slot at every candidate: representation hybrid, text or behavior, and objective "
                f"{names_where(lambda objective: objective.shows_candidates and not objective.needs_start)}"
            )
        return self
