"""An exported system as a web service: recommendations, search, health, and a page for people."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, TypeVar

import numpy as np
from fastapi import Body, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llara_core import columns as c
from llara_core.errors import ConfigError, DataError, LlaraError
from llara_core.runtime import compute
from llara_core.serving.audience import Reached
from llara_core.serving.batching import Batcher, QueueFullError
from llara_core.serving.bundle import BundleMetadata
from llara_core.serving.explanation import Explained, Explainer, Item, Rankings
from llara_core.serving.model import Model
from llara_core.serving.new_items import NewItem, TakenIdError
from llara_core.serving.titles import BY_ID, ItemFinder

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
MAX_BODY, MAX_THROWN_AWAY = 1 << 18, 1 << 26  # bytes that are read, and read beyond them for the client to get its answer
MAX_HISTORY, MAX_TOP, MAX_ABOUT, MAX_NAME = 1000, 100, 20, 500
MAX_POSTED, MAX_ADDED = 100, 10_000  # new items of one request, and of all
MAX_USERS = 100  # whose histories one request names; the others wait meanwhile
_MAX_REASONS = 5  # unknown names that are explained; looking for what is spelt alike takes time
_HUNG_UP = 499  # as nginx calls it; nobody receives it, the log alone shows it
_PAGE_ONLY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'"
)

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_NAME),
    BeforeValidator(lambda name: f"{BY_ID}{name}" if type(name) is int else name),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_NAME}, {"type": "integer"}]}),
]


History = Annotated[
    list[Name],
    Field(min_length=1, max_length=MAX_HISTORY, description="labels, titles or raw ids, oldest first; a number is an id"),
]


class Asked(BaseModel):
    """A history, and how much is wanted."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"history": ["Toy Story", "Fargo"], "top": 10, "about": ["Heat"]}]}
    )

    history: History
    top: int = Field(10, ge=1, le=MAX_TOP, description="items wanted; fewer come back where fewer are left")
    about: list[Name] = Field(
        default_factory=list, max_length=MAX_ABOUT, description="items whose absence is to be explained, named likewise"
    )


class AskedAudience(BaseModel):
    """Items, and the histories of those to whom they might be recommended."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"items": ["Heat"], "histories": {"ann": ["Fargo"], "bob": ["Toy Story"]}, "top": 10}]},
    )

    items: list[Name] = Field(min_length=1, max_length=MAX_ABOUT, description="labels, titles or raw ids")
    histories: dict[str, History] = Field(min_length=1, max_length=MAX_USERS, description="by user")
    top: int = Field(10, ge=1, le=MAX_TOP, description="users wanted for each item")


class Audience(Item):
    """For whom an item ranks highest."""

    users: list[Reached] = Field(description="best first; those who have the item already are left out")


class Health(BaseModel):
    """Whether the service answers, and what with."""

    ready: bool
    system: str
    dataset: str
    model: str | None = Field(description="the language model; null for a recommender")
    waiting: int = Field(description="requests without an answer yet")
    new_items: int = Field(description="items that training never saw")


class Reason(BaseModel):
    """One thing that is wrong with a request."""

    loc: list[str | int] = Field(description="where, e.g. body, history, 2")
    msg: str
    type: str


class Refused(BaseModel):
    """All that is wrong with a request."""

    detail: list[Reason]


class Failed(BaseModel):
    """Why there is no answer."""

    detail: str


@dataclass(frozen=True)
class Settings:
    """How a service works.

    Attributes:
        batch_size: most histories per pass of the model.
        queue_size: most requests that wait.
        max_wait_s: how long a pass waits for more requests.
        timeout_s: how long a request waits for its answer.
        candidates: items that are retrieved for a language model; None: as :meth:`Model.recommend`.
        threads: that compute.
    """

    batch_size: int
    queue_size: int
    max_wait_s: float
    timeout_s: float
    candidates: int | None
    threads: int


def rank_longest_titles(model: Model, settings: Settings) -> None:
    """Answer once, so that what cannot work fails before anyone asks: such as more candidates than fit into a prompt."""
    labels = model.items[c.LABEL].str.len().to_numpy()
    n = min(model.ranker.max_history_len, len(labels) - 1)
    _rank(model, settings.candidates, [np.argsort(labels, kind="stable")[-n:].tolist()])


@dataclass(frozen=True)
class _Catalogue:
    """The items as they are at one time; when some are added, another one takes its place."""

    finder: ItemFinder
    explainer: Explainer
    popular: list[int]

    @classmethod
    def of(cls, model: Model, metadata: BundleMetadata) -> Self:
        retriever = metadata.retriever if model.ranker.system is not None else None
        return cls(
            model.finder,
            Explainer(model.items, metadata.system, retriever, model.ranker.max_history_len, model.n_known),
            np.argsort(-model.items[c.N_INTERACTIONS].to_numpy(), kind="stable").tolist(),
        )


def create_app(model: Model, metadata: BundleMetadata, settings: Settings, encoder: Path | None = None) -> FastAPI:
    """The service.

    Args:
        model: loaded with the batch size of ``settings``.
        metadata: of the folder that it was loaded from.
        settings: of the service.
        encoder: folder of the text encoder that reads new items; None: that of the training, fetched when it is needed.
    """
    catalogue = _Catalogue.of(model, metadata)
    batcher: Batcher[list[int], Rankings] = Batcher(
        lambda histories: _rank(model, settings.candidates, histories),
        batch_size=settings.batch_size,
        queue_size=settings.queue_size,
        max_wait_s=settings.max_wait_s,
        prepare=lambda: compute.use_threads(settings.threads),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with batcher:
            yield

    app = FastAPIOffline(
        title=f"{metadata.system} on {metadata.dataset}",
        description="Recommendations for a history of items.",
        version=metadata.versions.get("llara-dvc", "unknown"),
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard)
    app.add_exception_handler(RequestValidationError, _refuse)

    @app.post(
        "/recommend",
        dependencies=[Depends(_says_json)],
        responses={422: {"model": Refused}, **{status: {"model": Failed} for status in (400, 413, 415, 500, 503, 504)}},
    )
    async def recommend(asked: Asked, request: Request, response: Response) -> Explained:
        """The items that should follow a history, best first, beside what the recommender alone would have said."""
        (history,), about = await asyncio.to_thread(
            _find, catalogue.finder, {("history",): asked.history}, "about", asked.about
        )
        with _failures():
            try:
                async with asyncio.timeout(settings.timeout_s):
                    answered = await _while_connected(request, batcher.ask(history))
            except TimeoutError:
                raise HTTPException(504, f"no answer within {settings.timeout_s:g} s") from None
        response.headers["Server-Timing"] = (
            f'queue;dur={1000 * answered.waited_s:.1f}, model;dur={1000 * answered.took_s:.1f};desc="{answered.batch}"'
        )
        # By now the catalogue may have grown; it has all that was ranked.
        return catalogue.explainer.explain(history, answered.answer, asked.top, about)

    @app.post(
        "/items",
        status_code=201,
        dependencies=[Depends(_says_json)],
        responses={422: {"model": Refused}, **{status: {"model": Failed} for status in (400, 409, 413, 415, 500, 501, 503)}},
    )
    async def add(new: Annotated[list[NewItem], Body(min_length=1, max_length=MAX_POSTED)]) -> list[Item]:
        """Add items that training never saw: from now on they are ranked with the others, by their texts; all of them or none.

        They live as long as the service.
        """

        def put() -> list[Item]:
            nonlocal catalogue
            if len(model.items) - model.n_known + len(new) > MAX_ADDED:
                raise HTTPException(409, f"more than {MAX_ADDED:,} new items; train again with them")
            n_before = len(model.items)
            model.add_items(new, encoder)
            catalogue = _Catalogue.of(model, metadata)
            return [catalogue.explainer.item(item) for item in range(n_before, len(model.items))]

        with _failures():
            try:
                return await batcher.run(put)
            except TakenIdError as error:
                raise HTTPException(409, str(error)) from None
            except DataError as error:
                raise RequestValidationError([Reason(loc=["body"], msg=str(error), type="item").model_dump()]) from None
            except ConfigError as error:
                raise HTTPException(501, str(error)) from None

    @app.post(
        "/audience",
        dependencies=[Depends(_says_json)],
        responses={422: {"model": Refused}, **{status: {"model": Failed} for status in (400, 413, 415, 500, 503)}},
    )
    async def audience(asked: AskedAudience) -> list[Audience]:
        """The users for whom each item ranks highest: recommendations the other way round."""
        wanted: dict[tuple[str, ...], list[str]] = {("histories", user): history for user, history in asked.histories.items()}
        found, items = await asyncio.to_thread(_find, catalogue.finder, wanted, "items", asked.items)
        histories = dict(zip(asked.histories, found, strict=True))
        with _failures():
            reached = await batcher.run(lambda: model.audience_ids(items, histories, asked.top))
        named = map(catalogue.explainer.item, items)
        return [Audience(**item.model_dump(), users=users) for item, users in zip(named, reached, strict=True)]

    @app.get("/items", responses={422: {"model": Refused}})
    def search(
        query: Annotated[str, Query(max_length=MAX_NAME, description="part of a title, or a raw id")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_TOP)] = 10,
    ) -> list[Item]:
        """The items nearest to what is typed; those with most interactions where nothing is."""
        query, known = query.strip(), catalogue
        with_id = known.finder.with_raw_id(query)
        near = known.finder.nearest(query, limit) if query else known.popular
        found = dict.fromkeys(near if with_id is None else [with_id, *near])
        return [known.explainer.item(item) for item in list(found)[:limit]]

    @app.get("/health", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """Whether the service answers, and what with."""
        if not batcher.is_running:
            response.status_code = 503
        return Health(
            ready=batcher.is_running,
            system=metadata.system,
            dataset=metadata.dataset,
            model=None if metadata.llm is None else metadata.llm.model,
            waiting=batcher.n_waiting,
            new_items=len(model.items) - model.n_known,
        )

    @app.get("/metadata")
    async def about_the_system() -> BundleMetadata:
        """What was exported: the system, its parts with their sha256, and the versions of the libraries."""
        return metadata

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))
    return app


@contextmanager
def _failures() -> Iterator[None]:
    """Failures that no client can mend, as answers."""
    try:
        yield
    except QueueFullError as error:
        raise HTTPException(503, str(error), {"Retry-After": str(error.retry_after)}) from None
    except LlaraError as error:
        logger.error("%s", error)
        raise HTTPException(500, str(error)) from None


def _rank(model: Model, candidates: int | None, histories: Sequence[Sequence[int]]) -> list[Rankings]:
    """All that the system ranks, since whoever asks why a title is not listed wants its place."""
    n_items = len(model.items)
    ranked = model.recommend_ids(histories, n_items, candidates=candidates)
    if model.ranker.system is None or model.ranker.retriever is None:
        return [Rankings(one, None) for one in ranked]
    alone = model.recommend_ids(histories, n_items, retrieve_only=True)
    return [Rankings(one, other) for one, other in zip(ranked, alone, strict=True)]


def _find(
    finder: ItemFinder, histories: Mapping[tuple[str, ...], Sequence[str]], field: str, others: Sequence[str]
) -> tuple[list[list[int]], list[int]]:
    """The items of histories by their places in the body, and those of another field."""
    found: list[list[int]] = []
    reasons: list[dict[str, Any]] = []
    for where, names in {**histories, (field,): others}.items():
        found.append([])
        for place, name in enumerate(names):
            try:
                found[-1].append(finder.find(name))
            except DataError as error:
                reasons.append(Reason(loc=["body", *where, place], msg=str(error), type="item").model_dump())
                if len(reasons) == _MAX_REASONS:
                    raise RequestValidationError(reasons) from None
    for where, names in () if reasons else histories.items():
        try:
            finder.history(names)
        except DataError as error:
            reasons.append(Reason(loc=["body", *where], msg=str(error), type="history").model_dump())
    if reasons:
        raise RequestValidationError(reasons)
    return found[:-1], found[-1]


async def _says_json(request: Request) -> None:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise HTTPException(415, "send the body as JSON, with the header Content-Type: application/json")


async def _while_connected(request: Request, asking: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer, unless the client hangs up before it comes, which takes the question back."""
    answer, hang_up = asyncio.create_task(asking), asyncio.create_task(_hang_up(request))
    try:
        await asyncio.wait((answer, hang_up), return_when=asyncio.FIRST_COMPLETED)
        return (answer if answer.done() else hang_up).result()
    finally:
        answer.cancel()
        hang_up.cancel()
        await asyncio.gather(answer, hang_up, return_exceptions=True)


async def _hang_up(request: Request) -> NoReturn:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise HTTPException(_HUNG_UP, "the client has hung up")


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    """The reasons alone: FastAPI's own answer also repeats what was sent."""
    assert isinstance(error, RequestValidationError)
    reasons = [Reason.model_validate({key: each[key] for key in Reason.model_fields}) for each in error.errors()]
    return JSONResponse(Refused(detail=reasons).model_dump(), status_code=422)


class Guard:
    """Refuses bodies that are too large, answers HEAD as GET, and logs every answer without anything that the client wrote.

    A request whose client hangs up is logged with status 499.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, received, is_complete, has_hung_up = time.perf_counter(), 0, False, False
        routed = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope

        async def receive_part() -> Message:
            nonlocal received, is_complete, has_hung_up
            message = await receive()
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            has_hung_up = message["type"] == "http.disconnect"
            return message

        async def receive_little() -> Message:
            message = await receive_part()
            if received > MAX_BODY:
                raise HTTPException(413, f"the body has more than {MAX_BODY:,} bytes")
            return message

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Where a connection is closed while the client still sends, the answer is lost.
                while not is_complete and received <= MAX_THROWN_AWAY:
                    await receive_part()
                headers = [(b"x-content-type-options", b"nosniff")]
                if not scope["path"].startswith("/docs"):  # whose page starts itself with a script of its own
                    headers.append((b"content-security-policy", _PAGE_ONLY.encode()))
                message = {**message, "headers": [*message["headers"], *headers]}
                path = getattr(routed.get("route"), "path", "(page)")
                took = 1000 * (time.perf_counter() - start)
                status = _HUNG_UP if has_hung_up else message["status"]
                logger.info("%s %s: %d in %.0f ms", scope["method"], path, status, took)
            elif scope["method"] == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        await self._app(routed, receive_little, send_logged)
