"""Chat models, asked through a real HTTP server: answers, retries, the cap, the cache, and a key that is never seen again."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import openai
import pandas as pd
import pytest

from llara_core import columns as c
from llara_core import tables
from llara_core.answers import predictions
from llara_core.answers.held_out import HeldOut
from llara_core.answers.prompts import Query
from llara_core.chat.models import PROMPT, Answer, ChatAnswerer, ChatModel
from llara_core.config import ChatModelConfig, load_params
from llara_core.errors import ConfigError, DataError, LlaraError, ModelError
from llara_core.inference import llm_systems
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.llm.prompts.templates import INSTRUCTION
from pipeline import predict_chat as stage
from tests.helpers.chat import Endpoint, Reply, endpoint, fails, says
from tests.helpers.llm import llm_system
from tests.helpers.params import raw_params, write_params

KEY = "sk-test-0123456789abcdef"
VARIABLE = "TEST_CHAT_KEY"
PARAMS = Path(__file__).parents[3] / "params.yaml"
LABELS = ["Alien", "Aliens", "Heat", "Fargo", "Babe", "Seven"]
WORDING = ItemWording("film", "saw")


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


def chat_model(server: Endpoint | str, cache: Path, **changes: Any) -> ChatModel:
    values = {
        "model": "tiny",
        "base_url": server if isinstance(server, str) else server.url,
        "api_key_variable": VARIABLE,
        "temperature": 0.0,
        "max_answer_tokens": 9,
        "max_draws": 1,
        "max_requests": 100,
        "concurrency": 1,
        "timeout_s": 5.0,
        "retries": 0,
    }
    return ChatModel("remote", ChatModelConfig.model_validate(values | changes), cache)


def held_out(n_examples: int = 2) -> HeldOut:
    """Half of the examples for validation, half for test; their candidates are 3, 4 and 5 in both of two draws."""
    numbers = np.arange(n_examples)
    examples = pd.DataFrame(
        {
            c.EXAMPLE: numbers,
            c.USER: numbers,
            c.SPLIT: np.where(numbers < n_examples // 2, c.VALIDATION, c.TEST),
            c.HISTORY: [[0, 1, 2]] * n_examples,
            c.TARGET: 3,
        }
    )
    candidates = pd.DataFrame(
        {c.EXAMPLE: numbers.repeat(2), c.DRAW: [0, 1] * n_examples, c.CANDIDATES: [[3, 4, 5]] * (2 * n_examples)}
    )
    return HeldOut("movielens", examples, candidates, "abc", LABELS)


def asked(model: ChatModel, questions: HeldOut | None = None) -> tuple[pd.DataFrame, str]:
    """What the model answers to the first draw, and the note on it."""
    answers = ChatAnswerer(model, 1, WORDING).answer(questions or held_out())
    return answers.tables["generate"], answers.note


def test_a_request_is_the_prompt_and_the_answer_a_prediction(tmp_path: Path) -> None:
    with endpoint(lambda _, prompt: says("babe." if "Alien, Aliens, Heat" in prompt else "Heat")) as server:
        model = chat_model(server, tmp_path)
        questions = held_out()
        questions.examples.at[1, c.HISTORY] = [2]
        frame, note = asked(model, questions)
    assert frame[c.PREDICTED].to_list() == [4, pd.NA]  # "Heat" is no candidate
    assert frame[c.VALID].to_list() == [True, False]
    assert frame[c.TEXT].to_list() == ["babe.", "Heat"]
    assert frame[c.DRAW].to_list() == [0, 0]
    assert note == "tiny-2024-01-31"
    sent = server.sent[0]
    assert sent["path"] == "/v1/chat/completions"
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("tiny", 0.0, 9)
    (message,) = sent["messages"]
    assert message["role"] == "user"
    assert message["content"].startswith(f"{INSTRUCTION}\n\n")
    assert "Alien, Aliens, Heat" in message["content"]
    assert "Fargo, Babe, Seven" in message["content"]
    assert sent["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("temperature", "limit", "sent"),
    [
        (0.0, 9, {"temperature": 0.0, "max_tokens": 9}),
        (None, 9, {"max_tokens": 9}),
        (1.0, None, {"temperature": 1.0}),
        (None, None, {}),
    ],
)
def test_what_is_null_is_not_sent(tmp_path: Path, temperature: float | None, limit: int | None, sent: dict[str, Any]) -> None:
    with endpoint(lambda *_: says("Heat")) as server:
        chat_model(server, tmp_path, temperature=temperature, max_answer_tokens=limit).ask(["a"])
    own = {key: value for key, value in server.sent[0].items() if key not in ("authorization", "path", "model", "messages")}
    assert own == sent


def test_thoughts_before_the_answer_are_kept_but_not_parsed_and_cut_answers_counted(tmp_path: Path) -> None:
    thought = "<think>\nFargo or Babe?\n</think>\n\nBabe"

    def reply(_number: int, prompt: str) -> Reply:
        return says(thought) if "Heat" in prompt else says("<think>\nFargo or", finish_reason="length")

    questions = held_out()
    questions.examples.at[1, c.HISTORY] = [0]
    with endpoint(reply) as server:
        for _ in range(2):  # the second time from the cache
            frame, note = asked(chat_model(server, tmp_path), questions)
            assert frame[c.PREDICTED].to_list() == [4, pd.NA]
            assert frame[c.TEXT].to_list() == [thought, "<think>\nFargo or"]
            assert note == "tiny-2024-01-31; 1 of 2 answers cut at the token limit"


def test_chat_models_and_the_untuned_llm_are_asked_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked(Exception):  # noqa: N818
        pass

    def read(_model: object, _encoder: object, queries: list[Query], **_: object) -> None:
        raise Asked(*[query.prompt.text for query in queries])

    monkeypatch.setattr(llm_systems, "answer_queries", read)
    encoder: Any = SimpleNamespace(safe_labels=lambda labels: labels)
    with pytest.raises(Asked) as untuned:
        llm_system(None, encoder, tuned=False, prompt=PROMPT, wording=WORDING).answer(held_out())
    with endpoint(lambda *_: says("Heat")) as server:
        asked(chat_model(server, tmp_path))
    assert sorted(server.prompts) == sorted(untuned.value.args)
    # What is tuned learns how to answer, and is asked without the instruction.
    with pytest.raises(Asked) as tuned:
        llm_system(None, encoder, prompt=PROMPT, wording=WORDING).answer(held_out())
    assert [f"{INSTRUCTION}\n\n{text}" for text in tuned.value.args] == list(untuned.value.args)


@pytest.mark.parametrize(
    "reply",
    [
        says(None, refusal="I cannot help with that."),
        says("Fargo", refusal="I cannot help with that."),
        says("Far", finish_reason="content_filter"),
        fails(400, code="content_filter"),
        says(None),
        says(" \n"),
    ],
)
def test_refusals_and_empty_answers_are_invalid_and_counted(tmp_path: Path, reply: Reply) -> None:
    with endpoint(lambda *_: reply) as server:
        frame, note = asked(chat_model(server, tmp_path))
    assert not frame[c.VALID].any()
    assert frame[c.TEXT].str.strip().eq("").all()
    assert note.endswith("; 2 of 2 answers refused or empty")


def test_it_asks_again_after_429_when_it_is_told_to_and_after_5xx(tmp_path: Path) -> None:
    replies = [fails(429, **{"Retry-After": "0.7"}), fails(503, **{"Retry-After": "0.01"}), says("Heat")]
    with endpoint(lambda number, _: replies[number]) as server:
        model, start = chat_model(server, tmp_path, retries=2), time.perf_counter()
        assert model.ask(["?"]) == [Answer("Heat", cut=False, model="tiny-2024-01-31")]
    assert time.perf_counter() - start > 0.7  # its own first pause is at most 0.5 s
    assert model.n_requests == len(server.sent) == 3


def test_it_asks_again_after_a_time_out_but_not_for_ever(tmp_path: Path) -> None:
    def sleepy(number: int, prompt: str) -> Reply:
        if prompt == "never" or number == 0:
            time.sleep(0.4)
        return says("Heat")

    with endpoint(sleepy) as server:
        model = chat_model(server, tmp_path, retries=1, timeout_s=0.2)
        assert model.ask(["once"])[0].text == "Heat"
        message = r"chat_models.remote.timeout_s: no answer within 0.2 s in up to 2 attempts.*; raise it"
        with pytest.raises(ModelError, match=message):
            model.ask(["never"])
    assert server.prompts == ["once"] * 2 + ["never"] * 2


def test_as_many_requests_are_under_way_as_allowed_and_no_more(tmp_path: Path) -> None:
    together = threading.Barrier(3)

    def reply(_number: int, _prompt: str) -> Reply:
        together.wait(timeout=5)  # breaks unless three requests are under way at once
        return says("Heat")

    with endpoint(reply) as server:
        chat_model(server, tmp_path, concurrency=3).ask([str(number) for number in range(12)])
    assert server.most_under_way == 3


def test_the_cap_counts_retries_and_the_next_run_asks_the_rest(tmp_path: Path) -> None:
    prompts = list("abcde")
    with endpoint(lambda number, prompt: fails(500) if (number, prompt) == (0, "b") else says(prompt)) as server:
        # a, b failing, b, c; d would be the fifth request.
        message = r"chat_models.remote.max_requests: 4 requests were sent.* 3 of 5 answers are kept"
        with pytest.raises(ModelError, match=message):
            chat_model(server, tmp_path, retries=1, max_requests=4).ask(prompts)
        assert server.prompts == list("abbc")
        model = chat_model(server, tmp_path, max_requests=2)
        assert [answer.text for answer in model.ask(prompts)] == prompts
    assert (model.n_requests, model.n_cached) == (2, 3)


def test_no_question_is_asked_twice_until_it_changes(tmp_path: Path) -> None:
    with endpoint(lambda *_: says("Heat")) as server:
        assert len(chat_model(server, tmp_path, concurrency=2).ask(["a", "b", "a"])) == 3
        assert sorted(server.prompts) == ["a", "b"]
        chat_model(server, tmp_path).ask(["b", "a"])
        assert len(server.sent) == 2
        changes: list[dict[str, Any]] = [{"model": "other"}, {"temperature": 0.5}, {"max_answer_tokens": 8}]
        changes += [{"temperature": None}, {"max_answer_tokens": None}]
        for change in changes:
            chat_model(server, tmp_path, **change).ask(["a"])
        assert len(server.sent) == 2 + len(changes)
        with endpoint(lambda *_: says("Heat")) as other:
            chat_model(other, tmp_path).ask(["a"])
            assert len(other.sent) == 1


def test_a_kept_answer_that_is_none_is_named(tmp_path: Path) -> None:
    with endpoint(lambda *_: says("Heat")) as server:
        chat_model(server, tmp_path).ask(["a"])
        (file,) = tmp_path.iterdir()
        file.write_text('{"answer": 1}')
        with pytest.raises(DataError, match=rf"{file.name}: holds no answer of a chat model; delete it"):
            chat_model(server, tmp_path).ask(["a"])


def test_what_was_answered_before_the_server_died_is_kept(tmp_path: Path) -> None:
    alive = True
    with endpoint(lambda _, prompt: says(prompt) if alive or prompt in "ab" else None) as server:
        alive = False
        with pytest.raises(ModelError, match=r"chat_models.remote.base_url: .* cannot be reached .* 2 of 4 answers are kept"):
            chat_model(server, tmp_path).ask(list("abcd"))
        alive = True
        server.sent.clear()
        assert [answer.text for answer in chat_model(server, tmp_path).ask(list("abcd"))] == list("abcd")
        assert server.prompts == ["c", "d"]


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """A process in the background ignores Ctrl-C, this one too where it runs there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_an_interrupt_keeps_the_answer_under_way_and_sends_no_other(tmp_path: Path) -> None:
    def reply(_number: int, _prompt: str) -> Reply:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # Ctrl-C
        time.sleep(0.2)
        return says("Heat")

    with endpoint(reply) as server:
        with pytest.raises(KeyboardInterrupt):
            chat_model(server, tmp_path).ask(list("abcd"))
        assert server.prompts == ["a"]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            fails(401, "Incorrect API key provided: sk-test-*****cdef"),
            rf"does not accept the key in {VARIABLE} for tiny \(HTTP 401\)",
        ),
        (fails(403), rf"does not accept the key in {VARIABLE} for tiny \(HTTP 403\)"),
        (fails(404, "no such model"), r"does not know 'tiny' .*no such model.*; correct base_url or model"),
        (fails(400, "temperature is not supported"), r"refuses the request .*temperature is not supported.*; correct model"),
        ((400, {}, {"detail": "serves another model"}), r"refuses the request .*serves another model"),
        ((200, {"Content-Type": "text/html"}, "<html>"), r"remote.base_url: .* answers, but not with a chat completion"),
        ((200, {}, {"error": {"message": "overloaded"}}), r"remote.base_url: .* answers, but not with a chat completion"),
        ((200, {}, "{"), r"remote.base_url: .* answers, but not with a chat completion"),
        (fails(429, "quota", **{"Retry-After": "9999"}), r"remote.retries: no answer in up to 3 attempts .*quota"),
    ],
)
def test_what_no_retry_can_mend_ends_the_run_at_once(tmp_path: Path, reply: Reply, message: str) -> None:
    with endpoint(lambda *_: reply) as server:
        with pytest.raises(ModelError, match=message) as caught:
            chat_model(server, tmp_path, retries=2).ask(["a", "b"])
        assert server.prompts == ["a"]
    assert "sk-test" not in str(caught.value)
    assert str(caught.value).startswith("chat_models.remote")


def test_the_key_is_in_no_file_log_or_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = says(f"{KEY} Heat {KEY}")
    assert echo is not None
    echo[2]["model"] = f"tiny {KEY}"
    messages = []
    with endpoint(lambda *_: echo) as server:
        answers = chat_model(server, tmp_path).ask(["a"])
        for status in (400, 401, 404, 429, 500):
            server.reply = lambda *_, status=status: (status, {}, {"detail": f"no {KEY}"})  # type: ignore[misc]
            with pytest.raises(ModelError) as caught:
                chat_model(server, tmp_path).ask(["b"])
            messages.append(str(caught.value))
    assert answers == [Answer("*** Heat ***", cut=False, model="tiny ***")]
    output = capfd.readouterr()
    seen = [caplog.text, output.out, output.err, *messages, *(file.read_text() for file in tmp_path.iterdir())]
    assert not any(KEY in text or KEY[:12] in text for text in seen)


def test_a_placeholder_for_a_key_leaves_answers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "e")
    with endpoint(lambda *_: says("Heat")) as server:
        assert chat_model(server, tmp_path).ask(["a"])[0].text == "Heat"


def test_half_a_surrogate_pair_is_written_as_a_question_mark(tmp_path: Path) -> None:
    with endpoint(lambda *_: says("Heat \ud83d")) as server:
        assert chat_model(server, tmp_path).ask(["a"])[0].text == "Heat ?"


def test_a_server_on_this_machine_is_asked_past_any_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # a closed port
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with endpoint(lambda *_: says("Heat")) as server:
        assert chat_model(server, tmp_path).ask(["a"])[0].text == "Heat"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://mine.openai.azure.com/openai/v1/", "max_completion_tokens"),
        ("https://openai.com.example/v1", "max_tokens"),
    ],
)
def test_the_limit_of_an_answer_has_the_name_that_the_endpoint_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, name: str
) -> None:
    sent = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        return httpx2.Response(200, json=says("Heat")[2])  # type: ignore[index]

    monkeypatch.setattr(openai, "DefaultHttpx2Client", lambda **_: httpx2.Client(transport=httpx2.MockTransport(handle)))
    chat_model(url, tmp_path).ask(["a"])
    assert {key: value for key, value in sent[0].items() if key.startswith("max")} == {name: 9}


@pytest.mark.parametrize(
    ("key", "problem"), [("", "is not set"), (" \n", "is not set"), ("sk-a b", "holds spaces"), ("é", "holds")]
)
def test_a_missing_or_broken_key_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, problem: str) -> None:
    monkeypatch.setenv(VARIABLE, key)
    with pytest.raises(ConfigError, match=rf"chat_models.remote.api_key_variable: .*{VARIABLE} {problem}"):
        chat_model("http://127.0.0.1:9/v1", tmp_path)


def test_without_the_client_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(LlaraError, match=r"chat_models.remote needs the extra `chat` \(pip install -e '\.\[chat\]'\)"):
        chat_model("http://127.0.0.1:9/v1", tmp_path)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the tables of four held-out examples of MovieLens."""
    monkeypatch.chdir(tmp_path)
    examples, candidates = held_out(4).examples, held_out(4).candidates
    n = range(len(LABELS))
    items = pd.DataFrame(
        {c.ITEM: n, c.RAW_ITEM: map(str, n), c.TITLE: LABELS, c.LABEL: LABELS, c.TEXT: LABELS, c.N_INTERACTIONS: 1}
    )
    tables.write_table(Path("data/prepared/movielens/items.parquet"), items, tables.ITEMS)
    tables.write_table(Path("data/prepared/movielens/examples.parquet"), examples, tables.EXAMPLES)
    for split in c.HELD_OUT:
        of_split = candidates[candidates[c.EXAMPLE].isin(examples.loc[examples[c.SPLIT] == split, c.EXAMPLE])]
        tables.write_table(Path(f"data/candidates/movielens/{split}.parquet"), of_split, tables.CANDIDATE_SETS)
    return tmp_path


def test_the_stage_writes_both_orders_and_keeps_answers_where_it_is_told(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LLARA_CHAT_CACHE", str(workplace / "kept"))
    caplog.set_level(logging.INFO)
    with endpoint(lambda *_: says("Fargo")) as server:
        params = raw_params()
        params["chat_models"]["local"] |= {"base_url": server.url, "api_key_variable": VARIABLE}
        params["inference"]["shuffled_histories"] = "all"
        write_params(params, workplace)
        stage.main("movielens", "local")
        n_asked = len(server.sent)
        stage.main("movielens", "local")
    assert len(server.sent) == n_asked == len(list((workplace / "kept").iterdir()))
    assert caplog.messages[-1] == f"0 requests; {n_asked} cached answers of earlier runs"
    folder = workplace / "data/systems/movielens/predictions/local"
    for name, order, n_sets in (("generate", "ordered", 4), ("generate-shuffled", "shuffled", 2)):
        frame, metadata = predictions.read_predictions(folder / f"{name}.parquet")
        assert (metadata.system, metadata.history, metadata.objective, metadata.hardware) == ("local", order, "none", "")
        assert len(frame) == n_sets
        assert frame[c.PREDICTED].to_list() == [3] * n_sets


def test_there_is_a_local_model_to_begin_with() -> None:
    assert load_params(PARAMS).chat_model("local").base_url.startswith("http://127.0.0.1:")
