"""``params.yaml`` as frozen, checked objects: the one place for a hyper-parameter. Each section has a module of its own."""

from llara_core.config.candidates import CandidatesConfig
from llara_core.config.datasets import (
    DatasetConfig,
    DownloadConfig,
    LastFmConfig,
    LogSection,
    MovieLensConfig,
    OwnLogConfig,
    RatedSection,
    ReleasedFramesConfig,
    SplitConfig,
    TextLayout,
    SteamConfig,
    SubsampleConfig,
    SyntheticConfig,
)
from llara_core.config.evaluation import CaseStudyConfig, ComparisonConfig, EvaluationConfig
from llara_core.config.loading import load_params
from llara_core.config.objectives import OBJECTIVES, UNTUNED_OBJECTIVE, ObjectiveName
from llara_core.config.params import Params
from llara_core.config.recommenders import BASELINES, RECOMMENDERS, RecommendersConfig, RecommenderSection
from llara_core.config.run import RunConfig
from llara_core.config.systems import (
    WITH_BEHAVIOR,
    AblationConfig,
    ChatModelConfig,
    CurriculumConfig,
    InferenceConfig,
    LlmConfig,
    PromptConfig,
    Representation,
    Schedule,
    ScoreSource,
    ShuffledHistories,
    Slot,
    SystemConfig,
    TuneConfig,
)

__all__ = [
    "BASELINES",
    "OBJECTIVES",
    "RECOMMENDERS",
    "UNTUNED_OBJECTIVE",
    "WITH_BEHAVIOR",
    "AblationConfig",
    "CandidatesConfig",
    "CaseStudyConfig",
    "ChatModelConfig",
    "ComparisonConfig",
    "CurriculumConfig",
    "DatasetConfig",
    "DownloadConfig",
    "EvaluationConfig",
    "InferenceConfig",
    "LastFmConfig",
    "LlmConfig",
    "LogSection",
    "MovieLensConfig",
    "ObjectiveName",
    "OwnLogConfig",
    "Params",
    "PromptConfig",
    "RatedSection",
    "RecommenderSection",
    "RecommendersConfig",
    "ReleasedFramesConfig",
    "Representation",
    "RunConfig",
    "Schedule",
    "ScoreSource",
    "ShuffledHistories",
    "Slot",
    "SplitConfig",
    "SteamConfig",
    "SubsampleConfig",
    "SyntheticConfig",
    "SystemConfig",
    "TuneConfig",
    "load_params",
]
