"""Chat models at OpenAI-compatible endpoints, which get text prompts (the GPT-4 row of the paper's Table 2).

Every answer is cached on disk under a hash of its question, so neither a second run nor one after a crash pays for it again.
The API key is sent to the endpoint and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import textwrap
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from llara_core import paths, tables
from llara_core.answers.held_out import HeldOut
from llara_core.answers.parsing import parse_answer
from llara_core.answers.predictions import NOT_TUNED, Answers, Questions, from_choices
from llara_core.answers.prompts import ranking_queries
from llara_core.config import ChatModelConfig, PromptConfig
from llara_core.errors import ConfigError, DataError, ModelError
from llara_core.llm.prompts.rendering import ItemWording

if TYPE_CHECKING:
    import openai

CACHE_VARIABLE = "LLARA_CHAT_CACHE"
PROMPT = PromptConfig(
    representation="title", slot="after", recommender_scores=False, text_dim=0, templates="sampled", chat_template=False
)

_MIN_SECRET_LEN = 8  # characters; a shorter value is a dummy for a server that needs no key
_REFUSAL_CODES = ("content_filter", "content_policy_violation")  # error codes of HTTP 400 for prompts that a filter stops
_LOCAL = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])([:/]|$)")
# OpenAI's newer models refuse the old name of the token limit; other servers may know no other.
_NEW_LIMIT_NAME = re.compile(r"https://([\w-]+\.)*openai(\.azure)?\.com([:/]|$)")


@dataclass(frozen=True)
class Answer:
    """A chat model's answer.

    Attributes:
        text: answer as written; empty if the model refused.
        cut: whether it was cut at the token limit.
        model: name of the model in the response, often a dated version of the requested one.
    """

    text: str
    cut: bool
    model: str


def cache_folder() -> Path:
    """Returns the folder of cached answers: that of the variable LLARA_CHAT_CACHE, or one in the scratch folder.

    Raises:
        ConfigError: the folder cannot be created.
    """
    folder = Path(os.environ.get(CACHE_VARIABLE) or paths.scratch() / "chat")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be created for answers of chat models ({error}); set {CACHE_VARIABLE}") from error
    return folder


class ChatModel:
    """A chat model with a cache of its answers.

    Args:
        name: key in ``chat_models``.
        cache: existing folder, which holds one JSON file per answer.

    Attributes:
        n_requests: number of requests sent, retries included.
        n_cached: number of questions answered from the cache.

    Raises:
        ConfigError: the environment has no usable key, or the extra ``chat`` is not installed.
    """

    def __init__(self, name: str, config: ChatModelConfig, cache: Path) -> None:
        try:
            import openai
        except ImportError as error:
            raise ConfigError(f"chat_models.{name} needs the extra `chat` (pip install -e '.[chat]')") from error
        self.n_requests = 0
        self.n_cached = 0
        self._stopped = False
        self._lock = threading.Lock()
        self._place = f"chat_models.{name}"
        self._config = config
        self._cache = cache
        self._key = _api_key(self._place, config.api_key_variable)
        # The client retries by itself, as Retry-After asks, so a hook counts every request. A server on this machine is not
        # reached through a proxy.
        self._client = openai.OpenAI(
            api_key=self._key,
            base_url=config.base_url,
            timeout=config.timeout_s,
            max_retries=config.retries,
            http_client=openai.DefaultHttpx2Client(
                trust_env=not _LOCAL.match(config.base_url), event_hooks={"request": [self._count]}
            ),
        )

    def ask(self, prompts: Sequence[str]) -> list[Answer]:
        """Returns one answer per prompt; equal prompts are sent once.

        Raises:
            ModelError: the endpoint cannot be reached, refuses or keeps failing, or the limit on requests is reached. Earlier
                answers stay in the cache.
        """
        files = [self._file(prompt) for prompt in prompts]
        missing = {file: prompt for file, prompt in zip(files, prompts, strict=True) if not file.is_file()}
        n_questions = len(set(files))
        n_cached = n_questions - len(missing)
        self.n_cached += n_cached
        with (
            tqdm(total=n_questions, initial=n_cached, desc=self._config.model, unit="answer") as progress,
            ThreadPoolExecutor(self._config.concurrency) as pool,
        ):
            submitted = threading.Event()
            try:
                futures = [pool.submit(self._fetch, prompt, file, submitted) for file, prompt in missing.items()]
                submitted.set()
                for future in as_completed(futures):
                    with suppress(CancelledError):
                        future.result()
                        progress.update()
            except BaseException as error:
                # Pending answers may cost money, so they are awaited and cached.
                self._stopped = True
                submitted.set()
                pool.shutdown(cancel_futures=True)
                if not isinstance(error, ModelError):
                    raise
                kept = sum(file.is_file() for file in set(files))
                raise ModelError(
                    f"{error}. {kept} of {n_questions} answers are kept; running again asks only for the others"
                ) from None
        return [_cached(file) for file in files]

    def _file(self, prompt: str) -> Path:
        question = json.dumps([self._config.base_url, self._request(prompt)], sort_keys=True)
        return self._cache / f"{hashlib.sha256(question.encode()).hexdigest()}.json"

    def _request(self, prompt: str) -> dict[str, Any]:
        """Returns the request body, which determines the answer."""
        config = self._config
        limit = "max_completion_tokens" if _NEW_LIMIT_NAME.match(config.base_url) else "max_tokens"
        options = {"temperature": config.temperature, limit: config.max_answer_tokens}
        sent = {name: value for name, value in options.items() if value is not None}
        return {"model": config.model, "messages": [{"role": "user", "content": prompt}], **sent}

    def _count(self, _request: object) -> None:
        with self._lock:
            if self._stopped:
                raise CancelledError
            if self.n_requests == self._config.max_requests:
                raise ModelError(f"{self._place}.max_requests: {self.n_requests} requests were sent, and more are needed")
            self.n_requests += 1

    def _fetch(self, prompt: str, file: Path, submitted: threading.Event) -> None:
        # An interrupt during a submission can leave the pool without knowledge of a thread that it has started, which would
        # then not be awaited, so no question is sent before all are submitted.
        submitted.wait()
        try:
            answer = self._answer(prompt)
        except BaseException:
            self._stopped = True  # set here, since this thread may take another question before the main one sees the failure
            raise
        tables.write_json(file, asdict(answer))

    def _answer(self, prompt: str) -> Answer:
        import openai

        try:
            completion = self._client.chat.completions.create(**self._request(prompt))
            choice = completion.choices[0]
            refused = choice.message.refusal or choice.finish_reason == "content_filter"
            text = "" if refused else self._clean(choice.message.content or "")
            return Answer(text, choice.finish_reason == "length", self._clean(completion.model or self._config.model))
        except openai.APIError as error:
            if isinstance(error, openai.BadRequestError) and error.code in _REFUSAL_CODES:
                return Answer("", False, self._config.model)
            raise ModelError(self._clean(self._explain(error))) from None  # the cause would hold the key
        except (AttributeError, IndexError, TypeError, ValueError):
            raise ModelError(
                f"{self._place}.base_url: {self._config.base_url} answers, but not with a chat completion; "
                "correct it (it usually ends in /v1)"
            ) from None

    def _explain(self, error: openai.APIError) -> str:
        import openai

        config = self._config
        # The client's message includes the endpoint's only if that has the form of OpenAI's.
        has_reason = isinstance(error.body, dict) and "message" in error.body
        reason = textwrap.shorten(error.message if has_reason else f"{error.message} - {error.body}", 300)
        tried = f"in up to {config.retries + 1} attempts"
        match error:
            case openai.APITimeoutError():
                return (
                    f"{self._place}.timeout_s: no answer within {config.timeout_s:g} s {tried}; raise it or lower concurrency"
                )
            case openai.APIConnectionError():
                return (
                    f"{self._place}.base_url: {config.base_url} cannot be reached {tried} ({error.__cause__}); "
                    "start the server or correct it"
                )
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                # The endpoint's message may repeat a part of the key, so it is left out.
                return (
                    f"{self._place}.api_key_variable: the endpoint does not accept the key in {config.api_key_variable} for "
                    f"{config.model} (HTTP {error.status_code}); set the variable to one that it accepts"
                )
            case openai.NotFoundError():
                return f"{self._place}: {config.base_url} does not know {config.model!r} ({reason}); correct base_url or model"
            case openai.APIStatusError(status_code=status) if status in (408, 409, 429) or status >= 500:
                return f"{self._place}.retries: no answer {tried} ({reason}); run again later, raise it or lower concurrency"
        return (
            f"{self._place}: the endpoint refuses the request ({reason}); correct model, temperature or max_answer_tokens "
            "(null: not sent)"
        )

    def _clean(self, text: str) -> str:
        """Removes the key and lone surrogates, which neither JSON nor Parquet files can hold."""
        if len(self._key) >= _MIN_SECRET_LEN:
            text = text.replace(self._key, "***")
        return text.encode("utf-8", errors="replace").decode("utf-8")


@dataclass(frozen=True)
class ChatAnswerer:
    """A chat model that answers held-out questions, with the same prompts as the untuned LLM in its chat template.

    At most ``max_draws`` candidate sets per example are asked.
    """

    model: ChatModel
    max_draws: int
    wording: ItemWording
    objective: str = NOT_TUNED
    scores_catalogue: bool = False

    def answer(self, held_out: HeldOut) -> Answers:
        """Answers in the mode ``generate``, with a note on the answering model and on missing or cut answers."""
        asked = held_out.first_draws(self.max_draws)
        queries = ranking_queries(Questions.of(asked), self.wording, PROMPT, tuned=False)
        answers = self.model.ask([query.prompt.text for query in queries])
        chosen = [parse_answer(answer.text, query.answers) for answer, query in zip(answers, queries, strict=True)]
        note = ", ".join(sorted({answer.model for answer in answers}))
        if n_empty := sum(not answer.text.strip() for answer in answers):
            note += f"; {n_empty} of {len(answers)} answers refused or empty"
        if n_cut := sum(answer.cut for answer in answers):
            note += f"; {n_cut} of {len(answers)} answers cut at the token limit"
        return Answers({"generate": from_choices(asked.candidates, chosen, [answer.text for answer in answers])}, note)


def _cached(file: Path) -> Answer:
    try:
        return Answer(**tables.read_json(file))
    except TypeError as error:
        raise DataError(f"{file}: holds no answer of a chat model; delete it and run again") from error


def _api_key(place: str, variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"{place}.api_key_variable: the environment variable {variable} is not set; "
            "put the endpoint's key there (for a server that asks for none, any word)"
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise ConfigError(f"{place}.api_key_variable: {variable} holds spaces or characters beyond ASCII, which no key has")
    return key
