"""Web service of an exported system: recommendations, audiences, new items, search, health, and a page for people."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

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
from llara_core.serving.batching import Batcher, QueueFullError
from llara_core.serving.bundle import BundleMetadata
from llara_core.serving.explanation import Explanation, Item, Rankings, describe_items, explain
from llara_core.serving.item_finder import BY_ID, ItemFinder
from llara_core.serving.model import Model
from llara_core.serving.new_items import NewItem, TakenIdError
from llara_core.serving.ranking import AudienceMember

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
MAX_BODY = 1 << 18  # largest accepted body in bytes
MAX_DISCARDED = 1 << 26  # bytes of a larger body that are read, so that the client gets the answer
MAX_HISTORY, MAX_TOP, MAX_ABOUT, MAX_NAME = 1000, 100, 20, 500
MAX_POSTED, MAX_ADDED = 100, 10_000  # new items per request, and in total
MAX_USERS = 100  # histories per audience request, during which other requests wait
_MAX_ERRORS = 5  # unknown names that are explained; the search for similar names takes time
_DISCONNECTED = 499  # as in nginx; only the log shows it, since nobody receives the answer
_PAGE_ONLY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'"
)

ItemName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_NAME),
    BeforeValidator(lambda name: f"{BY_ID}{name}" if type(name) is int else name),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_NAME}, {"type": "integer"}]}),
]


NamedHistory = Annotated[
    list[ItemName],
    Field(min_length=1, max_length=MAX_HISTORY, description="labels, titles or raw ids, oldest first; a number is an id"),
]


class RecommendRequest(BaseModel):
    """Request for recommendations after a history."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"history": ["Toy Story", "Fargo"], "top": 10, "about": ["Heat"]}]}
    )

    history: NamedHistory
    top: int = Field(10, ge=1, le=MAX_TOP, description="number of items; fewer are returned if fewer are left")
    about: list[ItemName] = Field(
        default_factory=list, max_length=MAX_ABOUT, description="items whose absence is explained, named as in the history"
    )


class AudienceRequest(BaseModel):
    """Request for the users to whom items should be recommended."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"items": ["Heat"], "histories": {"ann": ["Fargo"], "bob": ["Toy Story"]}, "top": 10}]},
    )

    items: list[ItemName] = Field(min_length=1, max_length=MAX_ABOUT, description="labels, titles or raw ids")
    histories: dict[str, NamedHistory] = Field(min_length=1, max_length=MAX_USERS, description="history of each user")
    top: int = Field(10, ge=1, le=MAX_TOP, description="number of users for each item")


class Audience(Item):
    """An item with the users for whom it ranks highest."""

    users: list[AudienceMember] = Field(description="best first, without users who have the item already")


class Health(BaseModel):
    """Status of the service and the system that it serves."""

    ready: bool
    system: str
    dataset: str
    model: str | None = Field(description="the language model; null for a recommender")
    waiting: int = Field(description="requests that wait for an answer")
    new_items: int = Field(description="items that were not part of training")


class FieldError(BaseModel):
    """An error in a request."""

    loc: list[str | int] = Field(description="location, such as body, history, 2")
    msg: str
    type: str


class ValidationFailure(BaseModel):
    """The errors in a request."""

    detail: list[FieldError]


class ErrorMessage(BaseModel):
    """Reason for a missing answer."""

    detail: str


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documents the error responses of an operation."""
    return {422: {"model": ValidationFailure}, **{status: {"model": ErrorMessage} for status in statuses}}


def _field_error(error: Exception, kind: str, *loc: str | int) -> dict[str, Any]:
    return FieldError(loc=["body", *loc], msg=str(error), type=kind).model_dump()


@dataclass(frozen=True)
class Settings:
    """Settings of a service."""

    batch_size: int  # maximum number of histories per pass of the model
    queue_size: int  # maximum number of queued requests
    max_wait_s: float  # seconds that a pass waits for more requests
    timeout_s: float  # seconds after which a request without an answer fails
    candidates: int | None  # items that are retrieved for a language model; None: as in :meth:`Model.recommend`
    threads: int  # number of computing threads


def rank_longest_titles(model: Model, settings: Settings) -> None:
    """Ranks once before the first request, so that errors such as too many candidates for the prompt appear at once."""
    labels = model.items[c.LABEL].str.len().to_numpy()
    n = min(model.ranker.max_history_len, len(labels) - 1)
    _rank(model, settings.candidates, [np.argsort(labels, kind="stable")[-n:].tolist()])


def create_app(model: Model, metadata: BundleMetadata, settings: Settings, encoder: Path | None = None) -> FastAPI:
    """Creates the web service.

    Args:
        metadata: metadata of the exported folder.
        encoder: folder of the text encoder of new items; None: that of training, fetched when it is needed.
    """
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
    app.add_middleware(RequestGuard)
    app.add_exception_handler(RequestValidationError, _validation_failure)

    @app.post("/recommend", dependencies=[Depends(_require_json)], responses=_errors(400, 413, 415, 500, 503, 504))
    async def recommend(request_body: RecommendRequest, request: Request, response: Response) -> Explanation:
        """Recommends items after a history, best first, and shows what the recommender alone would recommend."""
        (history,), about = await asyncio.to_thread(
            _find_items, model.finder, {("history",): request_body.history}, "about", request_body.about
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
        # Items may have been added since, but all ranked ones are in the current catalogue.
        return explain(model, history, answered.answer, request_body.top, about)

    @app.post(
        "/items", status_code=201, dependencies=[Depends(_require_json)], responses=_errors(400, 409, 413, 415, 500, 501, 503)
    )
    async def add(new: Annotated[list[NewItem], Body(min_length=1, max_length=MAX_POSTED)]) -> list[Item]:
        """Adds items that were not part of training; from then on they are ranked with the others by their texts.

        Either all items are added or none. They exist as long as the service runs.
        """

        def add_to_model() -> list[Item]:
            if len(model.items) - model.n_known + len(new) > MAX_ADDED:
                raise HTTPException(409, f"more than {MAX_ADDED:,} new items in total; train again with them")
            n_before = len(model.items)
            model.add_items(new, encoder)
            return describe_items(model, range(n_before, len(model.items)))

        with _failures():
            try:
                return await batcher.run(add_to_model)
            except TakenIdError as error:
                raise HTTPException(409, str(error)) from None
            except DataError as error:
                raise RequestValidationError([_field_error(error, "item")]) from None
            except ConfigError as error:
                raise HTTPException(501, str(error)) from None

    @app.post("/audience", dependencies=[Depends(_require_json)], responses=_errors(400, 413, 415, 500, 503))
    async def audience(request_body: AudienceRequest) -> list[Audience]:
        """Returns the users for whom each item ranks highest."""
        names: dict[tuple[str, ...], list[str]] = {
            ("histories", user): history for user, history in request_body.histories.items()
        }
        found, items = await asyncio.to_thread(_find_items, model.finder, names, "items", request_body.items)
        histories = dict(zip(request_body.histories, found, strict=True))
        with _failures():
            audiences = await batcher.run(lambda: model.audience_ids(items, histories, request_body.top))
        described = describe_items(model, items)
        return [Audience(**item.model_dump(), users=users) for item, users in zip(described, audiences, strict=True)]

    @app.get("/items", responses=_errors())
    def search(
        query: Annotated[str, Query(max_length=MAX_NAME, description="part of a title, or a raw id")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_TOP)] = 10,
    ) -> list[Item]:
        """Finds the items nearest to a query; without one, the most popular items."""
        query, finder = query.strip(), model.finder
        if query:
            near, with_id = finder.nearest(query, limit), finder.with_raw_id(query)
        else:
            near, with_id = np.argsort(-model.items[c.N_INTERACTIONS].to_numpy(), kind="stable")[:limit].tolist(), None
        found = dict.fromkeys(near if with_id is None else [with_id, *near])
        return describe_items(model, list(found)[:limit])

    @app.get("/health", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """Returns the status of the service and the system that it serves."""
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
    async def exported_metadata() -> BundleMetadata:
        """Returns the metadata of the exported system: its parts with their sha256, and the versions of the libraries."""
        return metadata

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))
    return app


@contextmanager
def _failures() -> Iterator[None]:
    """Turns failures that the client cannot fix into HTTP errors."""
    try:
        yield
    except QueueFullError as error:
        raise HTTPException(503, str(error), {"Retry-After": str(error.retry_after)}) from None
    except LlaraError as error:
        logger.error("%s", error)
        raise HTTPException(500, str(error)) from None


def _rank(model: Model, candidates: int | None, histories: Sequence[Sequence[int]]) -> list[Rankings]:
    """Ranks all items, since explanations need the rank of items that are not listed."""
    n_items = len(model.items)
    ranked = model.recommend_ids(histories, n_items, candidates=candidates)
    if model.ranker.llm is None or model.ranker.retriever is None:
        return [Rankings(one, None) for one in ranked]
    alone = model.recommend_ids(histories, n_items, retrieve_only=True)
    return [Rankings(one, other) for one, other in zip(ranked, alone, strict=True)]


def _find_items(
    finder: ItemFinder, histories: Mapping[tuple[str, ...], Sequence[str]], field: str, others: Sequence[str]
) -> tuple[list[list[int]], list[int]]:
    """Finds the items of the histories, which are given by their locations in the body, and of another field."""
    found: list[list[int]] = []
    errors: list[dict[str, Any]] = []
    for where, names in {**histories, (field,): others}.items():
        found.append([])
        for place, name in enumerate(names):
            try:
                found[-1].append(finder.find(name))
            except DataError as error:
                errors.append(_field_error(error, "item", *where, place))
                if len(errors) == _MAX_ERRORS:
                    raise RequestValidationError(errors) from None
    for where, names in () if errors else histories.items():
        try:
            finder.history(names)
        except DataError as error:
            errors.append(_field_error(error, "history", *where))
    if errors:
        raise RequestValidationError(errors)
    return found[:-1], found[-1]


async def _require_json(request: Request) -> None:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise HTTPException(415, "send the body as JSON, with the header Content-Type: application/json")


async def _while_connected(request: Request, asking: Coroutine[Any, Any, Answer]) -> Answer:
    """Returns the answer, and withdraws the request if the client disconnects first."""
    answer, disconnect = asyncio.create_task(asking), asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait((answer, disconnect), return_when=asyncio.FIRST_COMPLETED)
        return (answer if answer.done() else disconnect).result()
    finally:
        answer.cancel()
        disconnect.cancel()
        await asyncio.gather(answer, disconnect, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> NoReturn:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise HTTPException(_DISCONNECTED, "the client has disconnected")


async def _validation_failure(_: Request, error: Exception) -> JSONResponse:
    """Answers with the errors only: FastAPI's default also repeats the request."""
    assert isinstance(error, RequestValidationError)
    errors = [FieldError.model_validate({key: each[key] for key in FieldError.model_fields}) for each in error.errors()]
    return JSONResponse(ValidationFailure(detail=errors).model_dump(), status_code=422)


class RequestGuard:
    """Middleware that refuses large bodies, answers HEAD like GET, and logs every answer without any text of the client.

    A request whose client disconnects is logged with status 499.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, received, is_complete, is_disconnected = time.perf_counter(), 0, False, False
        routed = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope

        async def receive_part() -> Message:
            nonlocal received, is_complete, is_disconnected
            message = await receive()
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            is_disconnected = message["type"] == "http.disconnect"
            return message

        async def receive_limited() -> Message:
            message = await receive_part()
            if received > MAX_BODY:
                raise HTTPException(413, f"the body has more than {MAX_BODY:,} bytes")
            return message

        async def send_logged(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The answer is lost if the connection closes while the client still sends.
                while not is_complete and received <= MAX_DISCARDED:
                    await receive_part()
                headers = [(b"x-content-type-options", b"nosniff")]
                if not scope["path"].startswith("/docs"):  # this page needs its inline script
                    headers.append((b"content-security-policy", _PAGE_ONLY.encode()))
                message = {**message, "headers": [*message["headers"], *headers]}
                path = getattr(routed.get("route"), "path", "(page)")
                took = 1000 * (time.perf_counter() - start)
                status = _DISCONNECTED if is_disconnected else message["status"]
                logger.info("%s %s: %d in %.0f ms", scope["method"], path, status, took)
            elif scope["method"] == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        await self._app(routed, receive_limited, send_logged)
