"""LLM systems: the language model, what it is shown, how it is tuned and asked."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from llara_core.config.objectives import OBJECTIVES, UNTUNED_OBJECTIVE, ObjectiveName, names_where, trained_objectives
from llara_core.config.recommenders import Recommender
from llara_core.config.sections import Dropout, Name, PositiveFloat, PositiveInt, Section, Share

Representation = Literal["hybrid", "text", "title", "behavior", "compact", "index"]
Slot = Literal["after", "before"]
# Those whose prompts with candidates have a slot per item.
WITH_SLOTS: tuple[Representation, ...] = ("hybrid", "text", "behavior")
# Those that show behaviour tokens, and so need a recommender.
WITH_BEHAVIOR: tuple[Representation, ...] = ("hybrid", "behavior", "compact")
PreferenceLoss = Literal["sdpo", "softmax"]
ScoreSource = Literal["out_of_fold", "in_sample", "shuffled"]
ShuffledHistories = Literal["none", "catalogue", "all"]
Schedule = Literal["linear", "direct", "two_stage", "sqrt", "quadratic", "cosine", "sigmoid", "released"]
ProjectorInit = Literal["token_scale", "plain"]


class LlmConfig(Section):
    model: str = Field(
        min_length=1,
        description="embedded:smollm2-135m-instruct, a folder with a transformers model, or a model hub id such as "
        "meta-llama/Llama-2-7b-hf; DVC knows a folder by its name alone, `make repro` also by size and time of its files",
    )
    revision: str | None = Field(min_length=1, description="commit, tag or branch of a hub id; null for the others")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        description="of the frozen weights; auto: bfloat16 where the device computes in it, else float16 (GPU) or float32 (CPU)"
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        description="bitsandbytes (extra `quantization`); made for CUDA, slow on a CPU"
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        description="CPU threads that compute, of each process, whatever the machine has: another number gives other last "
        "bits, and `pipeline.repro -j` uses further cores"
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
    item_text: Literal["title", "full"] = Field(
        default="title", description="what is encoded of a compact item: its title, or also its year and attributes"
    )
    templates: Literal["sampled", "first"] = Field(
        description="sampled: one of several wordings per prompt, drawn from a named stream; first: always the same"
    )
    chat_template: bool = Field(description="wrap prompts in the tokenizer's chat template, which it then has to have")


def _targets(value: object) -> object:
    """One message for all that it may be, where a union would give one for each."""
    if value == "all-linear" or (isinstance(value, list) and value and all(isinstance(name, str) and name for name in value)):
        return value
    raise PydanticCustomError("targets", "Input should be all-linear or a list of layers' names")


LoraTargets = Annotated[Literal["all-linear"] | list[str], PlainValidator(_targets)]


class LoraSection(Section):
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Dropout
    targets: LoraTargets = Field(
        description="names of the linear layers that get LoRA, as the language model calls them; all-linear: all but the "
        "vocabulary head, which are the seven that the authors' code names of a Llama"
    )


class CurriculumConfig(Section):
    schedule: Schedule = Field(
        description="p(hybrid) over the run; linear is the paper's equation 9; released: as the authors' code does, starts "
        "anew in every epoch and rises to 1 / tune.epochs alone"
    )
    two_stage_text_share: Share = Field(
        description="share of the run that two_stage spends on text-only (paper: 2 of 5 epochs)"
    )


class TuneConfig(Section):
    """Tuning of one LLM system."""

    objective: ObjectiveName = Field(
        description="generative: the paper's, next-token loss on the answer title; next_item: ours, a softmax over the "
        "catalogue at every behaviour token of the history; preference: S-DPO or its kin, which goes on from a `start`"
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
    projector_l2: Annotated[float, Field(ge=0)] = Field(
        description="L2 coefficient of the projector's weights in Adam (added to the gradient); the authors' scripts: 1e-5"
    )
    projector_init: ProjectorInit = Field(
        description="token_scale: behaviour tokens start at the size of the language model's token embeddings; plain: as torch "
        "initialises a layer, on vectors as they are, as the authors' code does"
    )
    max_grad_norm: PositiveFloat | None = Field(description="gradients are clipped to it; null: they are not")
    chunk_len: Annotated[int, Field(ge=2)] = Field(description="items per next_item row; all but the last are inputs")
    warm_start_rows: Annotated[int, Field(ge=0)] = Field(description="rows of the partner objective trained first")
    mixture: Annotated[float, Field(ge=0, lt=1)] = Field(description="share of later batches that train the partner")
    ranking_weight: Annotated[float, Field(ge=0)] = Field(
        description="of a listwise loss beside the generative one: a softmax over the candidates, read out at their slots"
    )
    preference_loss: PreferenceLoss = Field(
        description="sdpo: log-likelihoods of titles relative to the start's, as in S-DPO; softmax: as they are, by which the "
        "system ranks"
    )
    preference_beta: PositiveFloat = Field(
        description="factor on these before the softmax over the titles; the higher, the less sdpo leaves the start (paper: 1)"
    )
    preference_negatives: PositiveInt = Field(
        description="negatives of the candidate set whose titles the target's is compared with, at most (paper: 3; a set of 20 "
        "has 19)"
    )
    new_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="share of the items that pretend to be new in each micro-batch of compact items, so that texts learn to "
        "speak for items without interactions; 0: none, and such items are not told apart",
    )
    feature_dropout: Dropout = Field(description="of compact items' features and of the states that their head reads")
    gradient_checkpointing: bool = Field(description="trade a third more time for memory; for 7B models on one card")
    checkpoint_every: PositiveInt = Field(description="optimiser steps between checkpoints in the scratch folder")

    @property
    def mixes(self) -> bool:
        """Whether it also trains rows of the objective's partner."""
        return bool(self.warm_start_rows or self.mixture)

    @property
    def compares_with_start(self) -> bool:
        """Whether its loss needs the start's log-likelihoods."""
        return OBJECTIVES[self.objective].needs_start and self.preference_loss == "sdpo"

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}")
        return self

    @model_validator(mode="after")
    def _has_a_partner(self) -> Self:
        if self.mixes and OBJECTIVES[self.objective].partner is None:
            raise ValueError(
                f"warm_start_rows and mixture add rows of another objective, which objective {self.objective} has no use for: "
                "set both to 0"
            )
        return self


class AblationConfig(Section):
    """What is taken away from a system, to see what it brings."""

    llm_weights: Literal["pretrained", "random"] = Field(
        description="random: a language model of the same shape with freshly initialised, frozen weights"
    )
    item_vectors: Literal["recommender", "random", "constant"] = Field(
        description="random: normally distributed ones in the shape of the recommender's; constant: the same one for every "
        "item, so that a behaviour token says nothing but the recommender's score, where it carries one"
    )
    recommender_scores: ScoreSource = Field(
        description="in training. out_of_fold: of recommenders that did not see the user; in_sample: of the one under the "
        "system, which did; shuffled: out_of_fold, dealt out to the candidates at random, in held-out prompts too"
    )


class MaxPositionsConfig(Section):
    """How many of the positions that ``evaluation.positions`` asks for language models answer, per held-out user and split."""

    catalogue: Annotated[int, Field(ge=0)] | None = Field(
        description="systems that score the whole catalogue: a short pass each; null for all"
    )
    prompts: Annotated[int, Field(ge=0)] | None = Field(
        description="systems that read prompts with candidates, chat models among them; null for all"
    )


class InferenceConfig(Section):
    batch_size: PositiveInt = Field(
        description="prompts per forward pass; changes speed and memory, in float32 not the results, in bfloat16 their rounding"
    )
    max_draws: PositiveInt = Field(description="candidate sets per held-out example that prompts with candidates answer")
    max_positions: MaxPositionsConfig
    max_new_tokens: PositiveInt = Field(description="limit of a generated answer")
    num_beams: PositiveInt = Field(
        description="beams of the search for a generated answer; 1: greedy, as in the paper, which misses the likeliest title "
        "where several begin with the same words"
    )
    shuffled_histories: ShuffledHistories = Field(
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
    retries: Annotated[int, Field(ge=0, le=20)] = Field(
        description="further attempts after 408, 409, 429, 5xx, time-outs and broken connections"
    )


class SystemConfig(Section):
    """What one LLM system is: its own entries, and the global sections with its overrides."""

    recommender: Recommender | None = Field(
        default=None, description="whose item embeddings it reads, and with which it is fused; null for none"
    )
    tuned: bool = Field(default=True, description="false: the language model answers as it is, without tuning")
    start: Name | None = Field(
        default=None,
        description="the tuned system of the run from whose adapter it goes on; null: it starts from the language model",
    )
    prompt: PromptConfig
    lora: LoraSection
    curriculum: CurriculumConfig
    tune: TuneConfig
    ablation: AblationConfig

    @property
    def reads_titles(self) -> bool:
        """Whether items are shown by title, encoded or not, or answered with."""
        objectives = trained_objectives(self.tune.objective, mixed=self.tune.mixes)
        return {
            "index": False,
            "behavior": any(objective.writes_title for objective in objectives),
            "compact": self.prompt.text_dim > 0,
        }.get(self.prompt.representation, True)

    @property
    def shows_behavior(self) -> bool:
        """Whether its prompts hold behaviour tokens."""
        return self.prompt.representation in WITH_BEHAVIOR

    @property
    def has_curriculum(self) -> bool:
        """Whether its tuning has an easy and a hard task, prompts without and with behaviour tokens beside titles."""
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
                "tuned is false, but something in it has to be trained (behaviour tokens, the placeholder of representation "
                f"text, or the head of objective {names_where(lambda objective: objective.needs_head)}); use "
                f"prompt.representation title or index and tune.objective {UNTUNED_OBJECTIVE}"
            )
        if not self.tuned and self.ablation.llm_weights == "random":
            raise ValueError("ablation.llm_weights is random, but a system that is not tuned has nothing else")
        return self

    @model_validator(mode="after")
    def _has_its_start(self) -> Self:
        objective = OBJECTIVES[self.tune.objective]
        if self.start is None:
            if objective.needs_start:
                raise ValueError(
                    f"objective {self.tune.objective} goes on from the adapter of a tuned system: name that as `start`"
                )
            return self
        if not self.tuned:
            raise ValueError(f"start is {self.start}, but tuned is false: leave one of them out")
        if not objective.writes_title or self.tune.mixes or self.tune.ranking_weight:
            raise ValueError(
                f"start is {self.start}, from whose adapter only the writing of titles goes on: set tune.objective to "
                f"{names_where(lambda objective: objective.writes_title)}, and tune.warm_start_rows, tune.mixture and "
                "tune.ranking_weight to 0"
            )
        return self

    @model_validator(mode="after")
    def _levers_fit(self) -> Self:
        prompt, tune = self.prompt, self.tune
        trained = trained_objectives(tune.objective, mixed=tune.mixes)
        ranks = any(objective.shows_candidates for objective in trained)
        ranking = names_where(lambda objective: objective.shows_candidates)
        if prompt.representation == "compact" and any(objective.writes_title for objective in trained):
            raise ValueError(
                "prompt.representation compact shows no title to answer with: set tune.objective to "
                f"{names_where(lambda objective: not objective.writes_title)}, tune.warm_start_rows and tune.mixture to 0"
            )
        if tune.new_share and (prompt.representation != "compact" or not prompt.text_dim):
            raise ValueError(
                "tune.new_share needs items whose text is encoded: prompt.representation compact and prompt.text_dim above 0"
            )
        if prompt.recommender_scores and not (self.shows_behavior and ranks):
            raise ValueError(
                "prompt.recommender_scores needs candidates with behaviour tokens: representation hybrid or behavior, and "
                f"objective {ranking}"
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
            raise ValueError("tune.ranking_weight: placeholders before titles know nothing of them; set prompt.slot to after")
        if self.ablation.recommender_scores != "out_of_fold" and not prompt.recommender_scores:
            raise ValueError("ablation.recommender_scores changes nothing where prompt.recommender_scores is false")
        if tune.ranking_weight and (prompt.representation not in WITH_SLOTS or not ranks):
            raise ValueError(
                "tune.ranking_weight needs a slot at every candidate: representation hybrid, text or behavior, and objective "
                f"{names_where(lambda objective: objective.shows_candidates and not objective.needs_start)}"
            )
        return self
