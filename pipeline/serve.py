"""Serve an exported system on this machine; no stage, but for users: ``python -m pipeline.serve exported/sasrec``."""

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

logger = logging.getLogger(__name__)


def main(
    folder: Annotated[Path, typer.Argument(help="Written by pipeline.export.")],
    llm: Annotated[Path, typer.Option(help="Folder of the language model; a recommender needs none.")] = paths.LLM,
    dtype: Annotated[str | None, typer.Option(help="Of the language model, as llm.dtype; default: as at export.")] = None,
    new_items: Annotated[
        Path | None,
        typer.Option(help="CSV, JSON lines or Parquet, an item a row that training never saw; see docs/use.md."),
    ] = None,
    encoder: Annotated[
        Path | None, typer.Option(help="Folder of the text encoder that reads them; default: that of the training.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; others than loopback are reached from elsewhere.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any that is free.")] = 8000,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="Items that are retrieved for the LLM; default: as pipeline.recommend.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Most requests that one pass of the model answers.")] = 8,
    queue_size: Annotated[int, typer.Option(min=1, help="Most requests that wait; more are answered with 503.")] = 64,
    max_wait: Annotated[float, typer.Option(min=0, help="Milliseconds that a pass waits for more requests.")] = 5.0,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds after which a request that waits gets 504.")] = 60.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads that compute, as llm.threads.")] = 1,
) -> None:
    """Serve the system in FOLDER until SIGTERM or Ctrl-C, which lets it answer what is queued: see docs/use.md."""
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported; bars of passes would fill the log
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

    # They name items of histories.
    for says_what_is_asked in ("llara_core.serving.titles", "llara_core.serving.ranking"):
        logging.getLogger(says_what_is_asked).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    compute.use_threads(threads)
    with _bound(host, port) as bound:
        settings = service.Settings(batch_size, queue_size, max_wait / 1000, timeout, candidates, threads)
        model = load(folder, llm=llm, dtype=dtype, batch_size=batch_size)
        if new_items is not None:
            model.add_items_from(new_items, encoder)
        if model.ranker.system is not None and (low := model.ranker.system.model.causal_lm.dtype) != torch.float32:
            logger.warning("in %s near ties can turn with who else asks meanwhile; --dtype float32 avoids it", low)
        service.rank_longest_titles(model, settings)
        app = service.create_app(model, bundle.read_metadata(folder), settings, encoder)
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=int(timeout) + 1
            )
        )

        def stop(*_: object) -> None:
            server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again once all is answered
            signal.signal(number, stop)
        bound.listen(server.config.backlog)
        logger.info("ready at %s", _url(bound))
        server.run([bound])


def _bound(host: str, port: int) -> socket.socket:
    """Bound, but not listening yet, so that nobody is kept waiting while the model loads."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:  # a name whose parts are empty or too long is no text that DNS can encode
        reason = error.strerror if isinstance(error, OSError) else "no name of a host"
        raise ConfigError(f"{host}, port {port}: {reason}; choose another --host or --port") from error
    if not ipaddress.ip_address(bound.getsockname()[0]).is_loopback:
        logger.warning("%s is reached from other machines, without passwords or encryption: put a proxy before it", host)
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


if __name__ == "__main__":
    run(main)
