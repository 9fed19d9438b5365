"""``params.yaml`` and ``systems.yaml`` as frozen, validated objects, with one module per section."""

from llara_core.config.datasets import (
    Amazon2018Config,
    AmazonSection,
    ColdItemsConfig,
    DatasetConfig,
    DownloadConfig,
    LargerMovieLensConfig,
    LastFmConfig,
    LogSection,
    MovieLensConfig,
    OwnLogConfig,
    Quoting,
    ReleasedFramesConfig,
    SplitConfig,
    SteamConfig,
    SubsampleConfig,
    SyntheticConfig,
    TextLayout,
    TitlesConfig,
)
from llara_core.config.evaluation import CandidatesConfig, CaseStudyConfig, ComparisonConfig, EvaluationConfig
from llara_core.config.loading import load_params
from llara_core.config.objectives import OBJECTIVES, UNTUNED_OBJECTIVE, ObjectiveName
from llara_core.config.params import Params
from llara_core.config.recommenders import BASELINES, RECOMMENDERS, RecommendersConfig
from llara_core.config.run import ParallelConfig, RunConfig, Weights
from llara_core.config.systems import (
    WITH_BEHAVIOR,
    AblationConfig,
    ChatModelConfig,
    CurriculumConfig,
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
