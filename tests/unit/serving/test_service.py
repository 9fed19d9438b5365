"""The service answers like the loaded system under concurrent requests, and refuses bad requests with a reason."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient

from llara_core.errors import DataError
from llara_core.serving import Model, Recommendation, bundle, load, service
from llara_core.serving.ranking import Ranked
from tests.helpers.llm import LABELS, N_ITEMS
from tests.unit.serving.conftest import TUNED, Exported

Client = Callable[..., AbstractContextManager[TestClient]]
SETTINGS: dict[str, Any] = {
    "batch_size": 8,
    "queue_size": 64,
    "max_wait_s": 0.0,
    "timeout_s": 60.0,
    "candidates": None,
    "threads": 1,
}


@pytest.fixture
def loaded(exported: Exported, llm: Path) -> Callable[[str], Model]:
    return lambda system: load(exported(system), llm=llm)


@pytest.fixture
def client(exported: Exported, loaded: Callable[[str], Model]) -> Client:
    """Gives a client of a service of one system; keywords are laid over its settings, and ``model`` over what is loaded."""

    @contextmanager
    def serve(system: str, model: Model | None = None, **settings: Any) -> Iterator[TestClient]:
        metadata = bundle.read_metadata(exported(system))
        app = service.create_app(model or loaded(system), metadata, service.Settings(**{**SETTINGS, **settings}))
        with TestClient(app) as opened:
            yield opened

    return serve


class Held(Model):
    """Answers once it is released; counts its passes."""

    def __init__(self, model: Model) -> None:
        super().__init__(model.ranker, model.items, model.parts)
        self.released = threading.Event()
        self.n_passes = 0

    def recommend_ids(self, histories: Sequence[Sequence[int]], top: int = 10, **options: Any) -> list[Ranked]:
        self.n_passes += 1
        assert self.released.wait(30)
        return super().recommend_ids(histories, top, **options)


def listed(items: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["label"], one["item"]) for one in items]


def equal(items: Sequence[dict[str, Any]], expected: Sequence[Recommendation]) -> None:
    """The same items in the same order, with scores that differ by no more than rounding."""
    assert [one["rank"] for one in items] == [*range(1, len(expected) + 1)]
    assert listed(items) == [(one.label, one.item) for one in expected]
    np.testing.assert_allclose([one["score"] for one in items], [one.score for one in expected], rtol=0, atol=1e-4)


@pytest.mark.parametrize("system", ["sasrec", "zero_shot", *TUNED])
def test_it_answers_like_the_loaded_system(system: str, client: Client, loaded: Callable[[str], Model]) -> None:
    model = loaded(system)
    with client(system) as asked:
        answer = asked.post("/recommend", json={"history": ["Heat", "id:111"], "top": 4}).json()
    assert answer["system"] == system
    equal(answer["recommendations"], model.recommend(["Heat", "Clue"], top=4))
    if system == "sasrec":
        assert answer["recommender"] is None
    else:
        assert answer["recommender"]["name"] == "sasrec"
        equal(answer["recommender"]["recommendations"], model.recommend(["Heat", "Clue"], top=4, retrieve_only=True))


def test_candidates_are_those_of_the_settings(client: Client, loaded: Callable[[str], Model]) -> None:
    with client("llara_compact", candidates=3) as asked:
        answer = asked.post("/recommend", json={"history": ["Heat"]}).json()
    equal(answer["recommendations"], loaded("llara_compact").recommend(["Heat"], candidates=3))
    assert len(answer["recommendations"]) == 3
    assert len(answer["recommender"]["recommendations"]) == 10  # alone it recommends as many as are wanted


def test_a_recommender_ranks_all_items_whatever_the_number_of_candidates(client: Client) -> None:
    with client("sasrec", candidates=3) as asked:
        answer = asked.post("/recommend", json={"history": ["Heat"], "top": 4, "about": LABELS}).json()
    assert len(answer["recommendations"]) == 4
    reasons = {each["why"] for each in answer["excluded"]}
    assert reasons == {"already in the history", *(f"sasrec ranks it {rank} of 11" for rank in range(5, 12))}


def test_a_missing_title_has_a_reason(client: Client, loaded: Callable[[str], Model]) -> None:
    """Of the 11 films that are left, sasrec retrieves the 5 that llara ranks, of which 2 are listed."""
    model = loaded("llara")
    ranked = [one.label for one in model.recommend(["Heat"])]
    alone = [one.label for one in model.recommend(["Heat"], top=N_ITEMS, retrieve_only=True)]
    assert (len(ranked), len(alone)) == (5, 11)
    with client("llara") as asked:
        answer = asked.post("/recommend", json={"history": ["Heat"], "top": 2, "about": LABELS}).json()
    why = {one["label"]: (one["reason"], one["why"]) for one in answer["excluded"]}
    expected = {"Heat": ("in_history", "already in the history")}
    expected |= {ranked[place]: ("ranked_lower", f"llara ranks it {place + 1} of 5") for place in (2, 3, 4)}
    expected |= {
        alone[place]: ("not_retrieved", f"sasrec ranks it {place + 1} and retrieves only its first 5 for llara")
        for place in range(5, 11)
    }
    assert why == expected
    assert len(answer["excluded"]) == 10  # each film once


def test_it_always_explains_the_history_and_the_choice_of_the_recommender(
    client: Client, loaded: Callable[[str], Model]
) -> None:
    model = loaded("llara")
    ranked = [one.label for one in model.recommend(["Heat", "Clue"], top=2)]
    alone = [one.label for one in model.recommend(["Heat", "Clue"], top=2, retrieve_only=True)]
    with client("llara") as asked:
        answer = asked.post("/recommend", json={"history": ["Heat", "Clue"], "top": 2}).json()
    explained = [one["label"] for one in answer["excluded"]]
    assert explained == ["Clue", "Heat", *(label for label in alone if label not in ranked)]


def test_it_marks_the_read_items_of_a_long_history(client: Client) -> None:
    with client("sasrec") as asked:
        answer = asked.post("/recommend", json={"history": LABELS[:6], "top": 100}).json()
    assert [(one["label"], one["read"]) for one in answer["history"]] == [(LABELS[n], n >= 2) for n in range(6)]  # the last 4
    assert {one["label"] for one in answer["recommendations"]} == set(LABELS[6:])


MALFORMED: list[tuple[str, object, list[object], str]] = [
    ("unknown", {"history": ["Heat", "Toy Storry"]}, ["body", "history", 1], "'Toy Storry'; did you mean 'Toy Story'"),
    ("unknown_about", {"history": ["Heat"], "about": ["id:7"]}, ["body", "about", 0], "the id '7'; ids look like '101'"),
    ("empty", {"history": []}, ["body", "history"], "List should have at least 1 item"),
    ("everything", {"history": LABELS}, ["body", "history"], "the history holds all 12 items of the catalogue"),
    ("missing", {}, ["body", "history"], "Field required"),
    ("text", {"history": "Heat"}, ["body", "history"], "Input should be a valid list"),
    ("number", {"history": [7]}, ["body", "history", 0], "no item has the id '7'; ids look like '101'"),
    ("fraction", {"history": [111.5]}, ["body", "history", 0], "Input should be a valid string"),
    ("long", {"history": ["Heat"] * 1001}, ["body", "history"], "List should have at most 1000 items"),
    ("long_name", {"history": ["H" * 501]}, ["body", "history", 0], "String should have at most 500 characters"),
    ("none", {"history": ["Heat"], "top": 0}, ["body", "top"], "greater than or equal to 1"),
    ("many", {"history": ["Heat"], "top": 101}, ["body", "top"], "less than or equal to 100"),
    ("misspelt", {"history": ["Heat"], "topp": 5}, ["body", "topp"], "Extra inputs are not permitted"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "place", "message"), [case[1:] for case in MALFORMED], ids=[n[0] for n in MALFORMED])
def test_a_malformed_request_is_refused_with_the_reason(
    question: object, place: list[object], message: str, client: Client
) -> None:
    with client("sasrec") as asked:
        answer = asked.post("/recommend", json=question)
    assert answer.status_code == 422
    (reason,) = answer.json()["detail"]
    assert reason["loc"] == place
    assert message in reason["msg"]
    assert set(reason) == {"loc", "msg", "type"}  # and not what was sent


def test_several_unknown_items_are_explained_at_once_up_to_a_limit(client: Client) -> None:
    with client("sasrec") as asked:
        answer = asked.post("/recommend", json={"history": ["Heat", *(f"Heat {n}" for n in range(9))]})
        no_json = asked.post("/recommend", content="history=Heat", headers={"Content-Type": "application/json"})
    assert [one["loc"][2] for one in answer.json()["detail"]] == [1, 2, 3, 4, 5]
    assert (no_json.status_code, no_json.json()["detail"][0]["type"]) == (422, "json_invalid")


def test_a_body_without_the_json_content_type_is_refused(client: Client) -> None:
    with client("sasrec") as asked:
        body = b'{"history": ["Heat"]}'
        kinds = ["application/x-www-form-urlencoded", "", "text/json", "application/json; charset=utf-8", "application/ld+json"]
        answers = [asked.post("/recommend", content=body, headers={"Content-Type": kind}) for kind in kinds]
    assert [answer.status_code for answer in answers] == [415, 415, 415, 200, 200]
    assert answers[0].json() == {"detail": "send the body as JSON, with the header Content-Type: application/json"}


def test_a_body_that_cannot_be_decoded_is_refused(client: Client) -> None:
    with client("sasrec") as asked:
        bodies = [b'{"history": ["Am\xe9lie"]}', b"[" * 200_000]
        answers = [asked.post("/recommend", content=each, headers={"Content-Type": "application/json"}) for each in bodies]
    assert [answer.status_code for answer in answers] == [400, 400]


def test_ids_may_be_numbers(client: Client) -> None:
    with client("sasrec") as asked:
        answer = asked.post("/recommend", json={"history": [103, "id:111"], "about": [108]}).json()
    assert listed(answer["history"]) == [("Heat", "103"), ("Clue", "111")]


def test_a_body_that_is_too_large_is_not_read_to_its_end(client: Client) -> None:
    sent = 0

    def body() -> Iterator[bytes]:  # without a length, so that only reading shows it
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 10_000

    with client("sasrec") as asked:
        answers = [asked.post("/recommend", content=content) for content in (b" " * (service.MAX_BODY + 1), body())]
        fits = asked.post("/recommend", json={"history": ["Heat"]}, headers={"X": "y"})
    assert [answer.status_code for answer in answers] == [413, 413]
    assert {answer.json()["detail"] for answer in answers} == {"the body has more than 262,144 bytes"}
    assert fits.status_code == 200


def test_there_are_no_other_pages(client: Client) -> None:
    with client("sasrec") as asked:
        assert asked.get("/recommendations").status_code == 404
        assert asked.get("/..%2f..%2ferrors.py").status_code == 404
        assert asked.get("/page").status_code == 404
        wrong = [asked.get("/recommend"), asked.head("/recommend"), asked.post("/health")]
    assert [(answer.status_code, answer.headers["Allow"]) for answer in wrong] == [(405, "POST"), (405, "POST"), (405, "GET")]


def test_head_is_get_without_its_body(client: Client) -> None:
    with client("sasrec") as asked:
        for path in ("/health", "/items", "/metadata", "/", "/page/page.js", "/docs", "/openapi.json"):
            head, got = asked.head(path), asked.get(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["Content-Length"] == str(len(got.content))


def in_background(pool: ThreadPoolExecutor, asked: TestClient, history: list[str]) -> Future[httpx2.Response]:
    return pool.submit(asked.post, "/recommend", json={"history": history})


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_full_queue_is_answered_with_503_and_nothing_that_waits_is_lost(
    client: Client, loaded: Callable[[str], Model]
) -> None:
    model = Held(loaded("sasrec"))
    with client("sasrec", model, batch_size=1, queue_size=2) as asked, ThreadPoolExecutor(3) as pool:
        running = in_background(pool, asked, ["Heat"])
        until(lambda: model.n_passes == 1)
        waiting = [in_background(pool, asked, [title]) for title in ("Clue", "Big")]
        until(lambda: asked.get("/health").json()["waiting"] == 3)
        refused = asked.post("/recommend", json={"history": ["Babe"]})
        model.released.set()
        answers = [one.result() for one in (running, *waiting)]
        afterwards = asked.post("/recommend", json={"history": ["Babe"]})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.json()["detail"] == "too many requests are waiting; try again in 1 s"
    assert [answer.status_code for answer in (*answers, afterwards)] == [200, 200, 200, 200]
    assert [answer.json()["history"][0]["label"] for answer in answers] == ["Heat", "Clue", "Big"]


def test_a_request_times_out(client: Client, loaded: Callable[[str], Model]) -> None:
    model = Held(loaded("sasrec"))
    with client("sasrec", model, timeout_s=0.05) as asked:
        answer = asked.post("/recommend", json={"history": ["Heat"]})
        model.released.set()
        afterwards = asked.post("/recommend", json={"history": ["Heat"]})
    assert (answer.status_code, answer.json()["detail"]) == (504, "no answer within 0.05 s")
    assert afterwards.status_code == 200


def test_a_model_that_fails_is_answered_with_500_and_the_reason(
    client: Client, loaded: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded("sasrec")

    def diverged(*_: object, **__: object) -> list[Ranked]:
        raise DataError("1 of 1 rows of scores are not finite")

    monkeypatch.setattr(model, "recommend_ids", diverged)
    with client("sasrec", model) as asked:
        answer = asked.post("/recommend", json={"history": ["Heat"]})
    assert (answer.status_code, answer.json()["detail"]) == (500, "1 of 1 rows of scores are not finite")


@pytest.mark.parametrize("system", ["sasrec", "llara_guided", "llara_compact"])
def test_an_answer_does_not_depend_on_concurrent_requests(system: str, client: Client, loaded: Callable[[str], Model]) -> None:
    """Histories of different lengths, for different numbers of items, in passes of four."""
    histories = [[LABELS[(start + step) % N_ITEMS] for step in range(1 + start % 5)] for start in range(N_ITEMS)]
    model = loaded(system)
    held = Held(model)
    with client(system, held, batch_size=4) as asked, ThreadPoolExecutor(N_ITEMS) as pool:
        running = in_background(pool, asked, histories[0])
        until(lambda: held.n_passes == 1)
        waiting = [
            pool.submit(asked.post, "/recommend", json={"history": history, "top": 2 + len(history)})
            for history in histories[1:]
        ]
        until(lambda: asked.get("/health").json()["waiting"] == N_ITEMS)
        held.released.set()
        answers = [one.result() for one in (running, *waiting)]
    sizes = sorted(int(re.findall(r'desc="(\d+)"', answer.headers["Server-Timing"])[0]) for answer in answers)
    assert sizes == [1, *[3] * 3, *[4] * 8]
    for history, answer in zip(histories[1:], answers[1:], strict=True):
        equal(answer.json()["recommendations"], model.recommend(history, top=2 + len(history)))


def test_items_are_found_while_they_are_typed(client: Client) -> None:
    with client("sasrec") as asked:
        found = {
            query: asked.get("/items", params={"query": query, "limit": 2}).json()
            for query in ("toy", "alie", "111", " ", "casnio")
        }
        refused = asked.get("/items", params={"limit": 0})
    assert {query: listed(items)[0] for query, items in found.items()} == {
        "toy": ("Toy Story", "108"),
        "alie": ("Alien", "101"),  # the shortest
        "111": ("Clue", "111"),
        " ": ("Alien", "101"),  # all are equally popular here
        "casnio": ("Casino", "110"),
    }
    assert listed(found["alie"]) == [("Alien", "101"), ("Aliens", "102")]
    assert len(found[" "]) == 2
    assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["query", "limit"])


def test_it_describes_what_it_serves(client: Client, exported: Exported) -> None:
    with client("llara_guided") as asked:
        health, metadata = asked.get("/health").json(), asked.get("/metadata").json()
    assert health == {
        "ready": True,
        "system": "llara_guided",
        "dataset": "movielens",
        "model": "source",
        "waiting": 0,
        "new_items": 0,
    }
    assert metadata == bundle.read_metadata(exported("llara_guided")).model_dump()


def test_its_pages_need_nothing_from_elsewhere(client: Client) -> None:
    with client("sasrec") as asked:
        index, docs = asked.get("/"), asked.get("/docs")
        parts = [asked.get(name) for page in (index, docs) for name in re.findall(r'(?:src|href)="([^":]+)"', page.text)]
        description = asked.get("/openapi.json").json()
    assert [part.status_code for part in parts] == [200] * len(parts)
    paths = {"/page/page.js", "/page/page.css", "/docs", "/static-offline-docs/swagger-ui-bundle.js"}
    assert paths <= {part.url.path for part in parts}
    assert "://" not in index.text + asked_text(parts, "/page/page.js") + asked_text(parts, "/page/page.css") + docs.text
    assert index.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert {"/recommend", "/audience", "/items", "/health", "/metadata"} == set(description["paths"])
    statuses = {"200", "400", "413", "415", "422", "500", "503", "504"}
    assert statuses == set(description["paths"]["/recommend"]["post"]["responses"])


def asked_text(parts: Sequence[httpx2.Response], path: str) -> str:
    return next(part.text for part in parts if part.url.path == path)


def test_the_log_holds_no_text_of_requests(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "llara_core.serving.service")
    with client("llara") as asked:
        asked.post("/recommend", json={"history": ["Fargo", "Babe"]})
        asked.post("/recommend", json={"history": ["My Secret"]}, headers={"Authorization": "Bearer hush"})
        asked.get("/items", params={"query": "Fargo"})
        asked.get("/Fargo%0Aa forged line")
    messages = [
        re.sub(r"in \d+ ms", "in N ms", record.message)
        for record in caplog.records
        if record.name == "llara_core.serving.service"
    ]
    assert messages == [
        "POST /recommend: 200 in N ms",
        "POST /recommend: 422 in N ms",
        "GET /items: 200 in N ms",
        "GET (page): 404 in N ms",
    ]


def test_the_longest_titles_are_ranked_before_the_first_request(
    loaded: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded("llara_compact")
    asked: list[list[list[int]]] = []
    monkeypatch.setattr(model, "recommend_ids", lambda histories, *_, **__: asked.append(histories) or [])
    service.rank_longest_titles(model, service.Settings(**SETTINGS))
    longest = sorted(LABELS, key=len)[-4:]  # as many as are read
    assert longest == ["Aliens", "Casino", "Toy Story", "Twelve Monkeys"]
    assert asked[0] == [[LABELS.index(label) for label in longest]]
