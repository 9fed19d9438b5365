"""An OpenAI-compatible endpoint on this machine that answers as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Status, headers, and a body: JSON, or text for bytes that are sent as they are. None breaks the connection off.
Reply = tuple[int, dict[str, str], Any] | None


def says(content: Any, finish_reason: str = "stop", **message: Any) -> Reply:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": content, **message}}
    return 200, {}, {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny-2024-01-31", "choices": [choice]}


def fails(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    return status, headers, {"error": {"message": message, "code": code}}


class Endpoint(ThreadingHTTPServer):
    """Answers the n-th request (from 0) for a prompt with ``reply(n, prompt)``, and remembers what it was sent."""

    daemon_threads = True

    def __init__(self, reply: Callable[[int, str], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = reply
        self.lock = threading.Lock()
        self.sent: list[dict[str, Any]] = []
        self.under_way = self.most_under_way = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.sent]


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with self.server.lock:
            number = self.server.prompts.count(prompt)
            self.server.sent.append({**body, "authorization": self.headers["Authorization"], "path": self.path})
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        reply = self.server.reply(number, prompt)
        with self.server.lock:
            self.server.under_way -= 1
        if reply is None:
            return
        status, headers, content = reply
        payload = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def endpoint(reply: Callable[[int, str], Reply]) -> Iterator[Endpoint]:
    server = Endpoint(reply)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
