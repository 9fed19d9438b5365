"""All sections of ``params.yaml`` and ``systems.yaml``, and the constraints between them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from llara_core import paths
from llara_core.config.datasets import DatasetConfig, DownloadConfig
from llara_core.config.evaluation import CandidatesConfig, EvaluationConfig, ReportConfig
from llara_core.config.objectives import OBJECTIVES, UNTUNED_OBJECTIVE
from llara_core.config.reach import Reach, reach
from llara_core.config.recommenders import BASELINES, RECOMMENDERS, RecommendersConfig
from llara_core.config.resolution import resolve_systems
from llara_core.config.run import ParallelConfig, RunConfig
from llara_core.config.sections import Name, Section
from llara_core.config.systems import (
    AblationConfig,
    ChatModelConfig,
    CurriculumConfig,
    InferenceConfig,
    LlmConfig,
    LoraSection,
    PromptConfig,
    SystemConfig,
    TuneConfig,
)
from llara_core.errors import ConfigError

Entry = TypeVar("Entry")
IN_SYSTEMS = ("systems", "chat_models", "report")  # sections of systems.yaml; all others are in params.yaml
_SHARED_WITH_START = {"recommender", "prompt", "lora", "ablation"}


class Params(Section):
    """The content of ``params.yaml`` and ``systems.yaml``."""

    run: RunConfig
    download: DownloadConfig
    datasets: dict[Name, Annotated[DatasetConfig, Field(discriminator="format")]]
    candidates: CandidatesConfig
    recommenders: RecommendersConfig
    llm: LlmConfig
    parallel: ParallelConfig
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
    _own_keys: dict[str, set[str]] = PrivateAttr(default_factory=dict)  # keys that override global values, by system

    @model_validator(mode="wrap")
    @classmethod
    def _remember_own_keys(cls, raw: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        params = handler(raw)
        if isinstance(raw, dict):
            params._own_keys = {name: set(flat(own or {})) for name, own in resolve_systems(raw["systems"], {}).items()}
        return params

    @model_validator(mode="before")
    @classmethod
    def _merge_systems(cls, raw: Any) -> Any:
        """Overlays the global sections, or the extended system, with the own values of each system."""
        if not isinstance(raw, dict) or not isinstance(raw.get("systems"), dict):
            return raw
        defaults = {key: raw[key] for key in SystemConfig.model_fields if key in raw}
        return {**raw, "systems": resolve_systems(raw["systems"], defaults)}

    @model_validator(mode="after")
    def _run_names_sections(self) -> Self:
        for axis in ("datasets", "systems", "chat_models"):
            defined = getattr(self, axis)
            if unknown := [name for name in getattr(self.run, axis) if name not in defined]:
                near = difflib.get_close_matches(unknown[0], defined, n=1)
                remedy = f"did you mean {near[0]}?" if near else f"choose from {sorted(defined)}"
                if axis == "datasets" and not near:
                    remedy += (
                        f", or paste the section that `python -m pipeline.describe {unknown[0]}` proposes under `datasets:`"
                    )
                raise ValueError(f"run.{axis} names {unknown}, which `{axis}` does not define; {remedy}")
        if reserved := {"curves", "plots"} & set(self.datasets):
            raise ValueError(f"`datasets` may not be called {sorted(reserved)}: metrics/ has folders with these names")
        taken = {*RECOMMENDERS, *BASELINES}
        names = [*self.run.systems, *self.run.chat_models]
        if clash := {name for name in names if name in taken or names.count(name) > 1}:
            raise ValueError(f"{sorted(clash)} would name two different systems of one run; give each its own name")
        return self

    @model_validator(mode="after")
    def _run_has_what_systems_read(self) -> Self:
        for name in self.run.systems:
            recommender, start = self.systems[name].recommender, self.systems[name].start
            if recommender is not None and recommender not in self.run.recommenders:
                raise ValueError(f"systems.{name}.recommender is {recommender}: add it to run.recommenders, which trains it")
            if start is not None and start not in self.run.systems:
                raise ValueError(f"systems.{name}.start is {start}: add it to run.systems, which tunes it")
        random = [name for name in self.run.systems if self.systems[name].ablation.llm_weights == "random"]
        if random and self.llm.quantization != "none":
            raise ValueError(
                f"llm.quantization: the random weights of {random} cannot be quantised; remove these from run.systems"
            )
        return self

    @model_validator(mode="after")
    def _items_have_titles(self) -> Self:
        untitled = [name for name in self.run.datasets if not self.datasets[name].has_titles]
        readers = [name for name in self.run.systems if self.systems[name].reads_titles] + self.run.chat_models
        readers += [name for name in self.run.recommenders if getattr(self.recommenders, name).reads_titles]
        if untitled and readers:
            raise ValueError(
                f"the items of {', '.join(untitled)} have no titles (columns.title is columns.item_id), which "
                f"{', '.join(readers)} read: remove these from run.systems, run.chat_models and run.recommenders, or name a "
                "column of titles"
            )
        return self

    @model_validator(mode="after")
    def _starts_fit(self) -> Self:
        """Checks that a system differs from the one it continues from only in how it is tuned."""
        for name, system in self.systems.items():
            if system.start is None:
                continue
            place = f"systems.{name}.start"
            if system.start not in self.systems:
                raise ValueError(f"{place} names {system.start!r}, but `systems` defines only {sorted(self.systems)}")
            start = self.systems[system.start]
            if start.start is not None:
                raise ValueError(
                    f"{place} is {system.start}, which itself continues from {start.start}: name a system tuned from the "
                    "language model"
                )
            if not start.tuned:
                raise ValueError(f"{place} is {system.start}, which is not tuned, so it has no adapter to continue from")
            if not OBJECTIVES[start.tune.objective].writes_title:
                raise ValueError(
                    f"{place} is {system.start}, whose objective {start.tune.objective} writes no titles to compare; name a "
                    f"system of objective {UNTUNED_OBJECTIVE}"
                )
            own, its = (flat(config.model_dump(include=_SHARED_WITH_START)) for config in (system, start))
            for key in own:
                if own[key] != its[key]:
                    raise ValueError(
                        f"systems.{name}.{key} is {own[key]}, but {its[key]} in {system.start}, from which it continues: "
                        "model, prompts and recommender must be the same; give both the same value"
                    )
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

    def reach(self, key: str) -> Reach:
        """Returns which LLM systems of the run use the global value of a key such as ``curriculum.schedule``."""
        return reach(key, self.systems, self._own_keys, self.run.systems)

    def dataset(self, name: str) -> DatasetConfig:
        return _entry("dataset", self.datasets, name)

    def system(self, name: str) -> SystemConfig:
        return _entry("system", self.systems, name)

    def chat_model(self, name: str) -> ChatModelConfig:
        return _entry("chat model", self.chat_models, name)


def flat(sections: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values by dotted key."""
    by_key: dict[str, Any] = {}
    for key, value in sections.items():
        by_key |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return by_key


def file_of(key: str) -> Path:
    """Returns the file of a dotted key."""
    return paths.SYSTEMS if key.partition(".")[0] in IN_SYSTEMS else paths.PARAMS


def _entry(kind: str, section: dict[str, Entry], name: str) -> Entry:
    if name not in section:
        file = paths.PARAMS if kind == "dataset" else paths.SYSTEMS
        raise ConfigError(f"unknown {kind} {name!r}; {file} defines {sorted(section)}")
    return section[name]
