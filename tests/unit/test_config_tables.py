"""The names in the sections of recommenders, baselines and data sets refer to existing, fitting objects."""

from __future__ import annotations

import inspect
import pkgutil
import re

import numpy as np
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core.config import BASELINES, RECOMMENDERS, load_params
from llara_core.config.datasets import DATASET_FORMATS
from llara_core.fetching.sources import RawDataset
from llara_core.recommenders import models
from llara_core.recommenders.base import SequenceRecommender
from tests.helpers.datasets import dataset_config

FRAMES = {"train": "train.df", "validation": "val.df", "test": "test.df", "max_history_len": 10, "noun": "film", "verb": "seen"}


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_a_section_has_the_arguments_of_its_class(name: str) -> None:
    """Except those that the class determines itself, such as the size of a text vector in MoRec."""
    model = pkgutil.resolve_name(RECOMMENDERS[name].model)
    assert issubclass(model, SequenceRecommender)
    arguments = models.model_arguments(name, load_params().recommenders, n_items=9, max_history_len=5)
    assert set(inspect.signature(model).parameters) - set(arguments) == (
        {"text_dim"} if RECOMMENDERS[name].reads_titles else set()
    )
    assert set(arguments) <= set(inspect.signature(model).parameters)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_scores_the_catalogue(name: str) -> None:
    catalogue = pd.DataFrame({c.TEXT: ["Heat", "Heat 2", "...", "?"]})
    scorer = pkgutil.resolve_name(BASELINES[name])(np.array([0, 0, 1]), np.array([2, 0, 2]), catalogue)
    assert scorer.score_catalogue([[2], [0, 2]]).shape == (2, 4)


@pytest.mark.parametrize("section", DATASET_FORMATS.values())
def test_a_format_has_a_reader_and_one_origin(section: type) -> None:
    assert callable(pkgutil.resolve_name(section.reader))
    if section.source is not None:
        source = pkgutil.resolve_name(section.source)
        assert isinstance(source, RawDataset) or callable(source)
    if section.maker is not None:
        assert callable(pkgutil.resolve_name(section.maker))
    assert [section.source is not None, section.maker is not None, "own_files" in vars(section)].count(True) == 1


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
