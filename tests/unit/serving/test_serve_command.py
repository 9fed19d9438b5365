"""``pipeline.serve`` as a process: start, load and shutdown."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from llara_core.errors import ConfigError, DataError
from llara_core.serving import load
from pipeline.serve import _bound, main
from tests.helpers.llm import LABELS, N_ITEMS
from tests.unit.serving.conftest import REPOSITORY, Exported

CLIENTS = 16


class Served:
    """A running service, and what it has logged."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.log, self.url = process, "", ""
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._ready.wait(120), self.log
        assert self.url, self.log

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line
            if "ready at " in line:
                self.url = line.split()[-1]
                self._ready.set()
        self._ready.set()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._reader.join()
        return code


@pytest.fixture
def serve(exported: Exported, llm: Path) -> Callable[..., object]:
    @contextmanager
    def serve(system: str, *options: str) -> Iterator[Served]:
        command = [sys.executable, "-m", "pipeline.serve", str(exported(system)), "--llm", str(llm), "--port", "0", *options]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            yield Served(process)
        finally:
            process.kill()
            process.wait()

    return serve


def test_sixteen_clients_are_answered_as_by_the_loaded_system_and_sigterm_loses_none(
    serve: Callable[..., object], exported: Exported, llm: Path
) -> None:
    """A pass of fewer than five waits two seconds for others, so that at least the last of them waits when the signal comes."""
    histories = [[LABELS[(start + step) % N_ITEMS] for step in range(1 + start % 6)] for start in range(CLIENTS)]
    with (
        serve("llara_compact", "--max-wait", "2000", "--batch-size", "5") as served,  # type: ignore[attr-defined]
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        asked = [pool.submit(requests.post, f"{served.url}recommend", json={"history": each}, timeout=60) for each in histories]
        end = time.monotonic() + 60
        while sum(one.done() for one in asked) + requests.get(f"{served.url}health", timeout=60).json()["waiting"] < CLIENTS:
            assert time.monotonic() < end
        code = served.stop()
        answers = [one.result() for one in asked]
    assert [answer.status_code for answer in answers] == [200] * CLIENTS
    model = load(exported("llara_compact"), llm=llm)
    for history, answer in zip(histories, answers, strict=True):
        expected = [one.label for one in model.recommend(history)]
        assert [one["label"] for one in answer.json()["recommendations"]] == expected
    assert code == 0
    assert served.log.count("POST /recommend: 200") == CLIENTS
    assert "serve: done in" in served.log
    assert not [label for label in LABELS if label in served.log]
    assert "it/s" not in served.log  # bars of passes
    assert "Traceback" not in served.log


def test_a_disconnected_client_is_not_answered_and_delays_nobody(serve: Callable[..., object]) -> None:
    """Thirty questions gather in a pass that waits for others; their clients go, and the one who stays is alone in it."""
    body = b'{"history": ["Heat"]}'
    head = f"POST /recommend HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with serve("llara", "--max-wait", "3000", "--batch-size", "40", "--queue-size", "5") as served:  # type: ignore[attr-defined]
        port = int(served.url.rsplit(":", 1)[1].strip("/"))

        def waiting() -> int:
            return int(requests.get(f"{served.url}health", timeout=60).json()["waiting"])

        with contextlib.ExitStack() as opened:
            for _ in range(30):
                opened.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(head.encode() + body)
            until(lambda: waiting() == 30)
        until(lambda: waiting() == 0)
        answer = requests.post(f"{served.url}recommend", json={"history": ["Heat"]}, timeout=60)
        served.stop()
    assert (answer.status_code, answer.headers["Server-Timing"][-8:]) == (200, 'desc="1"')
    assert served.log.count("POST /recommend: 499") == 30
    assert served.log.count("POST /recommend: 200") == 1
    assert "Traceback" not in served.log


def test_a_large_body_gets_its_answer(serve: Callable[..., object]) -> None:
    """A connection that is closed while the client still sends would take the answer with it."""
    with serve("sasrec") as served:  # type: ignore[attr-defined]
        large = (b" " * 10_000_000, iter([b" " * 100_000] * 100))
        too_large = b'{"detail":"the body has more than 262,144 bytes"}'
        for path, content, expected in (
            ("/recommend", large[0], (413, too_large)),
            ("/recommend", large[1], (413, too_large)),
            ("/health", large[0], (405, b'{"detail":"Method Not Allowed"}')),
            ("/nowhere", large[0], (404, b'{"detail":"Not Found"}')),
        ):
            client = http.client.HTTPConnection(served.url.split("/")[2])
            client.request("POST", path, content, {"Content-Type": "application/json", "Connection": "close"})
            answer = client.getresponse()
            assert (answer.status, answer.read()) == expected


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_listens_on_this_machine_only_by_default(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with _bound("127.0.0.1", 0) as alone:
        assert alone.getsockname()[0] == "127.0.0.1"
    assert caplog.messages == []
    with _bound("0.0.0.0", 0):
        assert caplog.messages == ["0.0.0.0 is reachable from other machines without passwords or encryption: use a proxy"]


def test_a_failed_start_has_a_reason(exported: Exported, llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1, port {port}: Address already in use; choose another"):
            main(exported("sasrec"), port=port)
    with pytest.raises(ConfigError, match=r"nowhere.invalid, port 0: .*; choose another --host"):
        main(exported("sasrec"), host="nowhere.invalid", port=0)
    with pytest.raises(ConfigError, match=r"a..b, port 0: not a host name; choose another --host"):
        main(exported("sasrec"), host="a..b", port=0)
    with pytest.raises(DataError, match=r"no exported system here .* `python -m pipeline.export`"):
        main(tmp_path, port=0)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # its import fails
    with pytest.raises(ConfigError, match=r"uvicorn is missing: pipeline.serve needs the extra `serve` \(pip install"):
        main(exported("sasrec"), port=0)
