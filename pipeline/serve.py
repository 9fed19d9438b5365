"""Serves an exported system on this machine; not a stage: ``python -m pipeline.serve exported/sasrec``."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

from llara_core import paths
from llara_core.errors import ConfigError
from llara_core.runtime import compute
from pipeline.stage import run


def main(
    folder: Annotated[Path, typer.Argument(help="Folder written by pipeline.export.")],
    llm: Annotated[Path, typer.Option(help="Folder of the language model; not needed for a recommender.")] = paths.LLM,
    dtype: Annotated[str | None, typer.Option(help="Dtype of the language model, as llm.dtype; default: as at export.")] = None,
    new_items: Annotated[
        Path | None, typer.Option(help="CSV, JSON lines or Parquet file with one new item per row; see docs/use.md.")
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of the text encoder of new items; default: that of training.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; only loopback addresses are closed to other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")] = 8000,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="Items to retrieve for the LLM; default: as for pipeline.recommend.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Maximum number of requests per pass of the model.")] = 8,
    queue_size: Annotated[int, typer.Option(min=1, help="Maximum number of queued requests; others get 503.")] = 64,
    max_wait: Annotated[float, typer.Option(min=0, help="Milliseconds that a pass waits for more requests.")] = 5.0,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds after which a waiting request gets 504.")] = 60.0,
    threads: Annotated[int, typer.Option(min=1, help="Number of computing threads, as llm.threads.")] = 1,
) -> None:
    """Serves the system in FOLDER until SIGTERM or Ctrl-C, then answers queued requests and stops: see docs/use.md."""
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported; progress bars would fill the log
    try:
        import torch
        import uvicorn

        from llara_core.serving import bundle, load, service
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "fastapi_offline", "starlette", "uvicorn"):
            raise
        raise ConfigError(
            f"{error.name} is missing: pipeline.serve needs the extra `serve` (pip install -e '.[serve]')"
        ) from error

    for name in ("llara_core.serving.item_finder", "llara_core.serving.ranking"):  # these log items of histories
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    compute.use_threads(threads)
    with _bound(host, port) as bound:
        settings = service.Settings(batch_size, queue_size, max_wait / 1000, timeout, candidates, threads)
        model = load(folder, llm=llm, dtype=dtype, batch_size=batch_size)
        if new_items is not None:
            model.add_items_from(new_items, encoder)
        if model.ranker.llm is not None and (used := model.ranker.llm.model.causal_lm.dtype) != torch.float32:
            logging.warning("in %s, concurrent requests can reorder near ties; --dtype float32 avoids it", used)
        service.rank_longest_titles(model, settings)
        app = service.create_app(model, bundle.read_metadata(folder), settings, encoder)
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=int(timeout) + 1
            )
        )

        def stop(*_: object) -> None:
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again after the last answer
            signal.signal(number, stop)
        bound.listen(server.config.backlog)
        logging.info("ready at %s", _url(bound))
        server.run([bound])


def _bound(host: str, port: int) -> socket.socket:
    """Binds a socket without listening, so that clients do not wait while the model loads."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:  # UnicodeError: the name has empty or too long parts
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise ConfigError(f"{host}, port {port}: {reason}; choose another --host or --port") from error
    if not ipaddress.ip_address(bound.getsockname()[0]).is_loopback:
        logging.warning("%s is reachable from other machines without passwords or encryption: use a proxy", host)
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


if __name__ == "__main__":
    run(main)
