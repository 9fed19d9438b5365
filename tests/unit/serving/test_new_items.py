"""New items are ranked by their texts, and malformed ones are refused with a reason."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from fastapi.testclient import TestClient

from llara_core import columns as c
from llara_core import tables
from llara_core.config import load_params
from llara_core.errors import ConfigError, DataError, ModelError
from llara_core.llm.adapters import save_adapter
from llara_core.llm.loading import fingerprint
from llara_core.llm.prompts.rendering import ItemWording
from llara_core.readers.item_texts import item_text
from llara_core.readers.log_files import LogTable
from llara_core.recommenders import checkpoints, models
from llara_core.recommenders.text_encoder import TextEncoder
from llara_core.recommenders.training import TrainedModel
from llara_core.serving import AudienceMember, Model, bundle, load, ranking, service
from llara_core.serving.new_items import ItemReading, read_new_items
from llara_core.serving.parts import Retriever, SystemParts
from llara_core.serving.ranking import Ranked, Ranker, audiences
from llara_core.serving.service import Settings, create_app
from pipeline.recommend import main as recommend
from tests.helpers.llm import LLM, adapter_metadata, make_model, system_config
from tests.helpers.text_encoder import write_tiny_bert
from tests.unit.serving.conftest import REPOSITORY, Exported

# Two kinds of text, three items each; a user goes on within a kind, since items score by their likeness to the last one.
TITLES = ["aaaa aaaa", "aaaa aaba", "aaaa baaa", "9999 9999", "9999 9989", "9999 8999"]
READING = ItemReading.of(load_params().datasets["movielens"])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "tiny-bert"
    write_tiny_bert(folder)
    return folder


def trained_model(root: Path, encoder: Path, *, name: str = "sasrec_text", train_encoder: bool = False) -> Model:
    """A system whose items score by the likeness of their texts to the last item's, as a trained one might."""
    items = pd.DataFrame({c.ITEM: range(6), c.RAW_ITEM: [str(101 + item) for item in range(6)], c.TITLE: TITLES})
    items[c.LABEL], items[c.N_INTERACTIONS] = TITLES, 1
    items[c.TEXT] = [item_text(title, None, []) for title in TITLES]
    tables.write_table(root / "items.parquet", items, tables.ITEMS)
    shape = {
        "n_items": 6,
        "embedding_dim": 16,
        "max_history_len": 4,
        "dropout": 0.0,
        "n_layers": 1,
        "n_heads": 1,
        "text_dim": 16,
    }
    arguments = shape | ({"new_share": 0.2} if name == "sasrec_text" else {})
    torch.manual_seed(0)
    model = models.build(name, arguments)
    vectors = TextEncoder(encoder, TITLES).encode_all()
    model.item_embedding.replace(torch.arange(6), vectors)
    with torch.no_grad():  # the embedding is the text vector without its mean, and no block changes it
        for parameter in model.parameters():
            parameter.zero_()
        first, last = (layer for layer in model.item_embedding.projection if isinstance(layer, torch.nn.Linear))
        mean = model.item_embedding.normalised()[:6].mean(dim=0)
        first.weight[:16], first.bias[:16] = torch.eye(16), 10 - mean  # where GELU is the identity
        last.weight[:, :16], last.bias[:] = torch.eye(16), -10
        model.norm.weight.fill_(1)
    texts = checkpoints.TextSource(encoder=str(encoder), revision=None, item_text="full", train_encoder=train_encoder)
    checkpoints.save(root / "checkpoint", [TrainedModel(model, 0.0, 1, 0.5)], name, arguments, "d" * 64, texts)
    parts = SystemParts(
        dataset="films",
        system=name,
        seed=0,
        wording=ItemWording("film", "watched"),
        max_history_len=4,
        n_candidates=5,
        items=root / "items.parquet",
        item_reading=READING,
        llm=None,
        item_embeddings=None,
        retriever=Retriever.trained(name, root / "checkpoint", "d" * 64),
    )
    assert parts.retriever is not None
    items = parts.read_items()
    labels, texts = items[c.LABEL].to_list(), items[c.TEXT].to_list()
    return Model(Ranker(labels, texts, 4, 5, parts.retriever.load(), None), items, parts)


@pytest.mark.parametrize("name", ["sasrec_text", "morec"])
def test_a_new_item_is_recommended_where_its_text_belongs(name: str, tmp_path: Path, encoder: Path) -> None:
    model = trained_model(tmp_path, encoder, name=name)
    before = {one.item: one.score for one in model.recommend(["101"])}
    model.add_items(
        [{"item_id": 9, "title": "aaaa aaaa"}, {"item_id": "x", "title": "9999", "year": 9999, "attributes": [9999, 9998]}]
    )
    letters, digits = model.recommend(["aaaa aaba"], top=3), model.recommend(["9999 9989"])
    assert {one.item: one.is_new for one in letters} == {"101": False, "103": False, "9": True}
    assert model.items[c.LABEL].to_list()[6:] == ["aaaa aaaa [9]", "9999"]
    assert model.items[c.TEXT].to_list()[6:] == ["aaaa aaaa", "9999 (9999): 9999, 9998"]
    place = [one.item for one in digits].index
    assert place("x") < place("9")
    after = {one.item: one.score for one in model.recommend(["101"])}
    assert {item: after[item] for item in before} == pytest.approx(before, abs=1e-4)  # known items score as before
    histories = {"letters": ["101", "102"], "digits": ["104"], "has it": ["x"]}
    assert [one.user for one in model.audience("x", histories)] == ["digits", "letters"]
    assert [one.user for one in model.audience("9", histories, top=1)] == ["letters"]
    assert model.recommend(["x"])  # and it can be part of a history


def test_a_malformed_item_is_refused_and_nothing_is_added(tmp_path: Path, encoder: Path) -> None:
    model = trained_model(tmp_path, encoder)
    seven = {"item_id": "7", "title": "b"}
    for items, message in (
        ([seven, {"item_id": "103", "title": "b"}], r"items\[1\]: an item with the id '103' exists already"),
        ([seven, {"item_id": " 7", "title": "c"}], r"items\[1\]: the id '7' is already used by items\[0\]"),
        ([{**seven, "title": " \u200b"}], r"items\[0\]: the title is empty"),
        ([{"item_id": "7"}], r"items\[0\]: title: Field required"),
        ([{**seven, "price": 3}], r"items\[0\]: price: Extra inputs"),
        ([], "no items to add"),
    ):
        with pytest.raises(DataError, match=message):
            model.add_items(items)
    assert len(model.items) == 6
    assert model.ranker.retriever.n_items == 6


def test_an_export_takes_new_items_and_answers_as_the_run_does(tmp_path: Path, encoder: Path) -> None:
    model = trained_model(tmp_path, encoder)
    bundle.write_parts(tmp_path / "out", model.parts, "movielens_100k", load_params().llm, tmp_path)
    loaded = load(tmp_path / "out")
    new = [{"item_id": "9", "title": "aaaa aaaa"}]
    model.add_items(new)
    loaded.add_items(new, encoder=encoder)
    assert loaded.recommend(["aaaa aaba"]) == model.recommend(["aaaa aaba"])


def test_the_command_marks_new_items_and_prints_their_audience(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)  # whose parameters it reads
    monkeypatch.setattr("llara_core.serving.parts.parts_of_run", lambda *_: trained_model(tmp_path, encoder).parts)
    (tmp_path / "new.csv").write_text("item_id,title\n9,aaaa aaaa\n")
    (tmp_path / "histories.csv").write_text("user_id,item_id\nann,102\nbob,104\n")
    recommend("movielens", "sasrec_text", 0, item=["aaaa aaba"], new_items=tmp_path / "new.csv")
    shown = capsys.readouterr().out
    assert "aaaa aaaa [9] (new)" in shown
    assert shown.endswith("New items in the list: 1 of 1.\n")
    many = {"histories": tmp_path / "histories.csv", "new_items": tmp_path / "new.csv"}
    recommend("movielens", "sasrec_text", 0, **many, audience=1, out=tmp_path / "out.csv")
    heading, best = capsys.readouterr().out.splitlines()
    assert (heading, best) == ("aaaa aaaa [9]:", "  rank 1 of 6 for user ann")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table.loc[table["is_new"], "item"].unique().tolist() == [9]
    with pytest.raises(ConfigError, match="--audience needs --new-items"):
        recommend("movielens", "sasrec_text", 0, item=["aaaa aaba"], audience=1)


def test_another_encoder_and_one_that_was_tuned_are_refused(tmp_path: Path, encoder: Path) -> None:
    from transformers import AutoModel

    new = [{"item_id": "7", "title": "b"}]
    other = tmp_path / "other"
    write_tiny_bert(other)
    changed = AutoModel.from_pretrained(other, add_pooling_layer=False)
    torch.nn.init.normal_(changed.embeddings.word_embeddings.weight)
    changed.save_pretrained(other)
    with pytest.raises(ModelError, match=r"other: not the text encoder of the known items.*tiny-bert"):
        trained_model(tmp_path / "a", encoder).add_items(new, encoder=other)
    with pytest.raises(ModelError, match="no such folder; name the folder of the encoder"):
        trained_model(tmp_path / "b", encoder).add_items(new, encoder=tmp_path / "missing")
    with pytest.raises(ModelError, match=r"sasrec_text tuned its text encoder .* train it with train_encoder: false"):
        trained_model(tmp_path / "c", encoder, train_encoder=True).add_items(new)


def test_a_system_on_ids_names_systems_that_take_new_items(exported: Exported, llm: Path) -> None:
    for system, why in {
        "sasrec": "it knows items by the ids",
        "zero_shot": "it knows items by the ids",
        "llara_guided": "it knows items by the ids",
        "llara_compact": r"it was tuned to score items by their ids \(tune.new_share is 0\)",
    }.items():
        model = load(exported(system), llm=None if system == "sasrec" else llm)
        able = "morec and sasrec_text read an item's text: .* or an LLM system on it, such as compact_on_text or guided_on_text"
        with pytest.raises(ConfigError, match=rf"^{system} cannot take new items: {why}.*; {able}"):
            model.add_items([{"item_id": "7", "title": "b"}])


def guided(root: Path, encoder: Path, llm: Path) -> Model:
    """A generative system with behaviour tokens and scores of the recommender on texts."""
    alone = trained_model(root, encoder)
    vectors = alone.ranker.retriever.item_embeddings()
    frame = alone.items[[c.ITEM, c.LABEL]].assign(**{c.VECTOR: list(vectors), c.TEXT_VECTOR: list(vectors)})
    tables.write_table(root / "vectors.parquet", frame, tables.ITEM_EMBEDDINGS)
    prompt = {"slot": "before", "recommender_scores": True}
    model = make_model(llm, "hybrid", vectors=torch.from_numpy(vectors), prompt=prompt)
    belongs_to = {"recommender": "sasrec_text", "llm": fingerprint(llm)}
    belongs_to["item_embeddings"] = tables.tables_hash(root / "vectors.parquet")
    save_adapter(root / "adapter", model, adapter_metadata(model, **prompt).model_copy(update=belongs_to))
    parts = replace(alone.parts, system="guided_on_text", llm=root / "adapter", item_embeddings=root / "vectors.parquet")
    bundle.write_parts(root / "guided", parts, "movielens_100k", LLM, llm)
    return load(root / "guided", llm=llm)


def test_a_generative_system_reads_the_recommenders_embedding_of_a_new_item(tmp_path: Path, encoder: Path, llm: Path) -> None:
    model = guided(tmp_path, encoder, llm)
    known = model.recommend(["aaaa aaaa"], top=6)
    model.add_items([{"item_id": 9, "title": TITLES[1]}])
    vectors = model.ranker.llm.model.item_vectors
    torch.testing.assert_close(vectors[6], vectors[1], rtol=1e-4, atol=1e-4)  # of the same text
    assert {one.item for one in known} == {"102", "103", "104", "105", "106"}
    with patch.object(ranking, "normalise_scores", wraps=ranking.normalise_scores) as shown:
        found = model.recommend(["aaaa aaaa"], top=6)
    assert {one.item for one in found if one.is_new} == {"9"}  # among the five that are retrieved
    (scores,) = (call.args[0] for call in shown.call_args_list)
    alone = [one.score for one in model.recommend(["aaaa aaaa"], top=5, retrieve_only=True)]
    assert sorted(scores.tolist(), reverse=True) == pytest.approx(alone, abs=1e-4)
    assert model.recommend(["id:9"])


def test_a_system_on_titles_ranks_what_a_recommender_on_texts_retrieves(tmp_path: Path, encoder: Path, llm: Path) -> None:
    prompt = system_config().prompt.model_copy(update={"representation": "title"})
    parts = replace(trained_model(tmp_path, encoder).parts, system="zero_shot", llm=prompt)
    bundle.write_parts(tmp_path / "zero_shot", parts, "movielens_100k", LLM, llm)
    model = load(tmp_path / "zero_shot", llm=llm)
    model.add_items([{"item_id": 9, "title": TITLES[1]}])
    assert {one.item for one in model.recommend(["aaaa aaaa"], candidates=3)} == {"102", "103", "9"}


def test_vectors_of_another_recommender_are_refused_for_new_items(tmp_path: Path, encoder: Path, llm: Path) -> None:
    model = guided(tmp_path, encoder, llm)
    other = trained_model(tmp_path / "other", encoder, name="morec")
    parts = replace(model.parts, retriever=other.parts.retriever)
    model = Model(replace(model.ranker, retriever=other.ranker.retriever), model.items, parts)
    with pytest.raises(
        ConfigError, match="guided_on_text cannot take new items: the vectors of its items are not those of morec"
    ):
        model.add_items([{"item_id": "7", "title": "b"}])


@contextmanager
def served(model: Model, root: Path, encoder: Path | None = None) -> Iterator[TestClient]:
    metadata = bundle.write_parts(root / "served", model.parts, "movielens_100k", load_params().llm, root)
    with TestClient(create_app(model, metadata, Settings(8, 64, 0.0, 60.0, None, 1), encoder)) as opened:
        yield opened


def test_the_service_ranks_an_item_once_it_is_posted(tmp_path: Path, encoder: Path) -> None:
    expected = trained_model(tmp_path / "a", encoder)
    new = [{"item_id": 9, "title": "aaaa aaaa"}, {"item_id": "x", "title": "9999", "attributes": {"kind": ["9999"]}}]
    expected.add_items(new)
    with served(trained_model(tmp_path / "b", encoder), tmp_path, encoder) as asked:
        added = asked.post("/items", json=new)
        answer = asked.post("/recommend", json={"history": ["aaaa aaba", "id:x"], "top": 7}).json()
        found = asked.get("/items", params={"query": "x"}).json()
        histories = {"letters": ["101", "102"], "digits": ["104"], "has it": ["x"]}
        n_new = asked.get("/health").json()["new_items"]
        audience = asked.post("/audience", json={"items": ["id:x", "id:9"], "histories": histories, "top": 1}).json()
        wrong = asked.post("/audience", json={"items": ["x"], "histories": {"letters": ["101", "b"]}}).json()
    assert added.status_code == 201
    assert added.json() == [
        {"item": "9", "label": "aaaa aaaa [9]", "is_new": True},
        {"item": "x", "label": "9999", "is_new": True},
    ]
    assert found[0] == added.json()[1]
    assert n_new == 2
    ranks = [expected.audience(item, histories, top=1)[0] for item in ("id:x", "id:9")]
    assert [one["users"] for one in audience] == [[{"user": one.user, "rank": one.rank}] for one in ranks]
    assert [(one["item"], one["users"][0]["user"]) for one in audience] == [("x", "digits"), ("9", "letters")]
    assert wrong["detail"][0]["loc"] == ["body", "histories", "letters", 1]
    assert [one["is_new"] for one in answer["history"]] == [False, True]
    assert [(one["item"], one["is_new"]) for one in answer["recommendations"]] == [
        (one.item, one.is_new) for one in expected.recommend(["aaaa aaba", "id:x"], top=7)
    ]


def test_the_service_adds_no_item_of_a_list_with_a_bad_one(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seven = {"item_id": "7", "title": "b"}
    model = trained_model(tmp_path, encoder)
    monkeypatch.setattr(service, "MAX_ADDED", 3)
    with served(model, tmp_path) as asked:
        for items, status, message in (
            ([seven, {"item_id": 103, "title": "b"}], 409, "items[1]: an item with the id '103' exists already, 'aaaa baaa'"),
            ([seven, {"item_id": " 7", "title": "c"}], 422, "items[1]: the id '7' is already used by items[0]"),
            ([seven, {"item_id": "8", "title": "\u200b"}], 422, "items[1]: the title is empty"),
            (
                [seven, {"item_id": "8", "title": "b" * 501}],
                422,
                "items[1]: the title has 501 characters; at most 500 are allowed",
            ),
            (
                [seven, {"item_id": "8" * 501, "title": "b"}],
                422,
                "items[1]: the id has 501 characters; at most 500 are allowed",
            ),
            ([seven, {"item_id": "8"}], 422, "Field required"),
            ([seven, {"item_id": "8", "title": "b", "price": 3}], 422, "Extra inputs are not permitted"),
            ([], 422, "at least 1 item"),
            ([{"item_id": number, "title": "b"} for number in range(101)], 422, "at most 100 items"),
            ([{"item_id": number, "title": "b"} for number in range(4)], 409, "more than 3 new items"),
        ):
            answer = asked.post("/items", json=items)
            assert answer.status_code == status, items
            assert message in answer.text
        assert len(model.items) == model.ranker.retriever.n_items == 6
        assert asked.post("/items", json=[seven]).status_code == 201
        again = asked.post("/items", json=[seven])
    assert (again.status_code, again.json()["detail"][:46]) == (409, "items[0]: an item with the id '7' exists alrea")


def test_a_service_of_a_system_on_ids_names_which_ones_take_new_items(exported: Exported) -> None:
    app = create_app(load(exported("sasrec")), bundle.read_metadata(exported("sasrec")), Settings(8, 64, 0.0, 60.0, None, 1))
    with TestClient(app) as asked:
        answer = asked.post("/items", json=[{"item_id": "7", "title": "b"}])
    assert answer.status_code == 501
    assert answer.json()["detail"].startswith("sasrec cannot take new items: it knows items by the ids")


class Slow(Model):
    """Answers once it is released."""

    began, released = threading.Event(), threading.Event()

    def recommend_ids(self, *args: Any, **options: Any) -> list[Ranked]:
        self.began.set()
        assert self.released.wait(30)
        return super().recommend_ids(*args, **options)


def test_items_are_added_between_two_passes(tmp_path: Path, encoder: Path) -> None:
    """A question that is being answered sees the catalogue without them, and one that waits behind them sees it with them."""
    model = trained_model(tmp_path, encoder)
    model = Slow(model.ranker, model.items, model.parts)
    question = {"history": ["aaaa aaba"], "top": 7}
    with served(model, tmp_path, encoder) as asked, ThreadPoolExecutor(3) as pool:
        before = pool.submit(asked.post, "/recommend", json=question)
        assert model.began.wait(30)
        adding = pool.submit(asked.post, "/items", json=[{"item_id": 9, "title": "aaaa aaaa"}])
        time.sleep(0.1)  # for it to arrive
        assert not adding.done()
        after = pool.submit(asked.post, "/recommend", json=question)
        model.released.set()
        lists = [[one["item"] for one in each.result().json()["recommendations"]] for each in (before, after)]
        assert adding.result().status_code == 201
    assert [len(each) for each in lists] == [5, 6]
    assert ["9" in each for each in lists] == [False, True]


def test_files_are_read_by_the_section(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text('item_id,title,year,attributes\n7,"Heat, The",1995,Action|Crime\nx,Big,,\n')
    items, place = read_new_items(tmp_path / "new.csv", READING)
    assert [(one.item_id, one.title, one.year, one.attribute_texts()) for one in items] == [
        ("7", "Heat, The", 1995, ["Action, Crime"]),
        ("x", "Big", None, [""]),
    ]
    assert [place(0), place(1)] == [f"{tmp_path / 'new.csv'}:2", f"{tmp_path / 'new.csv'}:3"]
    with patch.object(LogTable, "place") as looked_up:
        read_new_items(tmp_path / "new.csv", READING)
    looked_up.assert_not_called()  # each look reads the file again up to the line
    (tmp_path / "new.jsonl").write_text('{"item_id": 7, "title": "Heat", "attributes": ["Action", "Crime"]}\n')
    ((item,), _) = read_new_items(tmp_path / "new.jsonl", READING)
    assert (item.item_id, item.year, item.attribute_texts()) == ("7", None, ["Action, Crime"])
    own = READING.model_copy(update={"item_id": "sku", "title": "name", "year": None, "attributes": ["category", "price"]})
    pd.DataFrame({"sku": [1], "name": ["Lamp"], "category": ["Light"], "price": [12.5]}).to_parquet(tmp_path / "new.parquet")
    ((item,), _) = read_new_items(tmp_path / "new.parquet", own)
    assert (item.item_id, item.attribute_texts()) == ("1", ["Light", "price 12.5"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item_id,title\n7,Heat\n,Big\n", r"new:3: no value in column 'item_id'"),
        ("item_id,title\n7,\n", r"new:2: no value in column 'title'"),
        ("item_id,title,year\n7,Heat,soon\n", r"new:2: column 'year': 'soon' is not a year"),
        (f"item_id,title,year\n7,Heat,{'9' * 5000}\n", r"new:2: column 'year': '9+\.\.\. is not a year"),
        ("id,title\n7,Heat\n", r"no column 'item_id'"),
        ('{"item_id": 7, "title": "Heat"}\n{"item_id": 8\n', r"new:2: is not JSON"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "new").write_text(text)
    with pytest.raises(DataError, match=message):
        read_new_items(tmp_path / "new", READING)


def test_an_audience_is_ordered_by_rank_then_by_share() -> None:
    def ranked(items: list[int], scores: list[float]) -> Ranked:
        return Ranked(np.array(items), np.array(scores, dtype=np.float32))

    lists = [ranked([1, 2], [5.0, 4.9]), ranked([2, 1], [9.0, 0.0]), ranked([1, 2], [2.0, -2.0]), ranked([2], [1.0])]
    (found,) = audiences(lists, ["a", "b", "c", "d"], [1], 3)
    assert found == [AudienceMember("c", 1), AudienceMember("a", 1), AudienceMember("b", 2)]  # d has item 1 already
