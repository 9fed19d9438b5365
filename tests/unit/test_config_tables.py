"""The names in the sections of recommenders, baselines and data sets refer to existing, fitting objects."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core.baselines.fitting import SCORERS
from llara_core.config import BASELINES, OBJECTIVES, RECOMMENDERS, load_params
from llara_core.config.datasets import DATASET_FORMATS
from llara_core.fetching.datasets import MAKERS, SOURCES
from llara_core.objectives import registry as objectives
from llara_core.readers.registry import READERS
from llara_core.recommenders import models
from tests.helpers.datasets import dataset_config

FRAMES = {"train": "train.df", "validation": "val.df", "test": "test.df", "max_history_len": 10, "noun": "film", "verb": "seen"}


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_a_section_has_the_arguments_of_its_class(name: str) -> None:
    """Except those that the class determines itself, such as the size of a text vector in MoRec."""
    model = models.MODELS[name]
    arguments = models.model_arguments(name, load_params().recommenders, n_items=9, max_history_len=5)
    assert set(inspect.signature(model).parameters) - set(arguments) == (
        {"text_dim"} if RECOMMENDERS[name].reads_titles else set()
    )
    assert set(arguments) <= set(inspect.signature(model).parameters)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_scores_the_catalogue(name: str) -> None:
    catalogue = pd.DataFrame({c.TEXT: ["Heat", "Heat 2", "...", "?"]})
    scorer = SCORERS[name](np.array([0, 0, 1]), np.array([2, 0, 2]), catalogue)
    assert scorer.score_catalogue([[2], [0, 2]]).shape == (2, 4)


def test_each_name_of_the_configuration_is_registered_with_what_it_names() -> None:
    assert set(models.MODELS) == set(RECOMMENDERS)
    assert set(SCORERS) == set(BASELINES)
    assert set(objectives.OBJECTIVES) == set(OBJECTIVES)
    assert set(READERS) == set(DATASET_FORMATS)


@pytest.mark.parametrize("name", DATASET_FORMATS)
def test_a_format_has_one_origin(name: str) -> None:
    assert [name in SOURCES, name in MAKERS, "own_files" in vars(DATASET_FORMATS[name])].count(True) == 1


def test_properties_of_data_sets() -> None:
    movielens, lastfm = dataset_config("movielens_100k", min_rating=3.0), dataset_config("lastfm_2k")
    steam, own = dataset_config("steam"), dataset_config("log", min_counts="k_core", repeats="first")
    assert [data.lowest_rating for data in (movielens, lastfm, steam, own)] == [3.0, None, None, None]
    assert [data.titles_are_movies for data in (movielens, lastfm, steam, own)] == [True, False, False, False]
    assert [data.is_ordered_by_time for data in (movielens, lastfm, steam, own)] == [True, False, True, True]
    assert dataset_config("lastfm_2k", order="timestamp").is_ordered_by_time
    assert [(data.is_k_core, data.kept_repeat) for data in (movielens, own)] == [(False, None), (True, "first")]
    assert [data.sample for data in (movielens, lastfm, steam, own)] == [None, None, steam.subsample, None]
    assert own.own_files == {"interactions": "interactions.csv", "items": "items.csv"}


@pytest.mark.parametrize(("names", "are_movies"), [("u.item", True), ("ml-100k/u.item", True), ("id2name.txt", False)])
def test_released_frames_are_split_and_have_movies_where_their_names_are_movielens(names: str, are_movies: bool) -> None:
    frames = DATASET_FORMATS["released_frames"].model_validate({"format": "released_frames", "names": names, **FRAMES})
    assert frames.is_presplit
    assert frames.titles_are_movies == are_movies
    assert frames.own_files == {"train": "train.df", "validation": "val.df", "test": "test.df", "names": names}


def test_recommenders_and_baselines_have_different_folders() -> None:
    names = [*RECOMMENDERS, *BASELINES]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch("[a-z0-9_]+", name)] == []
