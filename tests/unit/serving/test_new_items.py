"""Items that training never saw are ranked by their texts, and what cannot be one says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from llara_core import columns as c
from llara_core import tables
from llara_core.config import load_params
from llara_core.errors import ConfigError, DataError, ModelError
from llara_core.prompts.rendering import ItemWording
from llara_core.readers.item_texts import item_text
from llara_core.recommenders import checkpoints, models
from llara_core.recommenders.text_encoder import TextEncoder
from llara_core.recommenders.training import TrainedModel
from llara_core.serving import Model, Reached, bundle, load, run_parts
from llara_core.serving.audience import audiences
from llara_core.serving.new_items import ItemReading, read_new_items
from llara_core.serving.parts import Parts, Retriever
from llara_core.serving.ranking import Ranked, Ranker
from pipeline.recommend import main as recommend
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


def made(root: Path, encoder: Path, *, name: str = "sasrec_text", train_encoder: bool = False) -> Model:
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
    parts = Parts(
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
    return Model(Ranker(items[c.LABEL].to_list(), 4, 5, parts.retriever.load(), None), items, parts)


@pytest.mark.parametrize("name", ["sasrec_text", "morec"])
def test_a_new_item_is_recommended_where_its_text_belongs(name: str, tmp_path: Path, encoder: Path) -> None:
    model = made(tmp_path, encoder, name=name)
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
    assert model.recommend(["x"])  # and it can stand in a history


def test_what_is_no_new_item_is_refused_and_nothing_is_added(tmp_path: Path, encoder: Path) -> None:
    model = made(tmp_path, encoder)
    seven = {"item_id": "7", "title": "b"}
    for items, message in (
        ([seven, {"item_id": "103", "title": "b"}], r"items\[1\]: an item with the id '103' exists already"),
        ([seven, {"item_id": " 7", "title": "c"}], r"items\[1\]: the id '7' stands already in items\[0\]"),
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
    model = made(tmp_path, encoder)
    bundle.write_parts(tmp_path / "out", model.parts, "movielens_100k", load_params().llm, tmp_path)
    loaded = load(tmp_path / "out")
    new = [{"item_id": "9", "title": "aaaa aaaa"}]
    model.add_items(new)
    loaded.add_items(new, encoder=encoder)
    assert loaded.recommend(["aaaa aaba"]) == model.recommend(["aaaa aaba"])


def test_the_command_marks_new_items_and_says_for_whom_they_are(
    tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)  # whose parameters it reads
    monkeypatch.setattr(run_parts, "parts_of_run", lambda *_: made(tmp_path, encoder).parts)
    (tmp_path / "new.csv").write_text("item_id,title\n9,aaaa aaaa\n")
    (tmp_path / "histories.csv").write_text("user_id,item_id\nann,102\nbob,104\n")
    recommend("movielens", "sasrec_text", 0, item=["aaaa aaba"], new_items=tmp_path / "new.csv")
    assert "aaaa aaaa [9] (new)" in capsys.readouterr().out
    many = {"histories": tmp_path / "histories.csv", "new_items": tmp_path / "new.csv"}
    recommend("movielens", "sasrec_text", 0, **many, audience=1, out=tmp_path / "out.csv")
    heading, best = capsys.readouterr().out.splitlines()
    assert (heading, best.split()[1]) == ("aaaa aaaa [9]:", "ann")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table.loc[table["is_new"], "item"].unique().tolist() == [9]
    with pytest.raises(ConfigError, match="--audience ranks new items for many users: give --new-items"):
        recommend("movielens", "sasrec_text", 0, item=["aaaa aaba"], audience=1)


def test_another_encoder_and_one_that_was_tuned_are_refused(tmp_path: Path, encoder: Path) -> None:
    from transformers import AutoModel

    new = [{"item_id": "7", "title": "b"}]
    other = tmp_path / "other"
    write_tiny_bert(other)
    changed = AutoModel.from_pretrained(other, add_pooling_layer=False)
    torch.nn.init.normal_(changed.embeddings.word_embeddings.weight)
    changed.save_pretrained(other)
    with pytest.raises(ModelError, match=r"other: not the text encoder that read the known items.*tiny-bert"):
        made(tmp_path / "a", encoder).add_items(new, encoder=other)
    with pytest.raises(ModelError, match="no such folder; name the folder of the encoder"):
        made(tmp_path / "b", encoder).add_items(new, encoder=tmp_path / "missing")
    with pytest.raises(ModelError, match=r"sasrec_text tuned its text encoder .* train it with train_encoder: false"):
        made(tmp_path / "c", encoder, train_encoder=True).add_items(new)


def test_a_system_on_ids_says_which_ones_take_new_items(exported: Exported, llm: Path) -> None:
    for system in ("sasrec", "llara"):
        model = load(exported(system), llm=None if system == "sasrec" else llm)
        with pytest.raises(ConfigError, match=rf"{system} cannot take new items.*; morec and sasrec_text read an item's text"):
            model.add_items([{"item_id": "7", "title": "b"}])


def test_files_are_read_by_the_section(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text('item_id,title,year,attributes\n7,"Heat, The",1995,Action|Crime\nx,Big,,\n')
    items, places = read_new_items(tmp_path / "new.csv", READING)
    assert [(one.item_id, one.title, one.year, one.attribute_texts()) for one in items] == [
        ("7", "Heat, The", 1995, ["Action, Crime"]),
        ("x", "Big", None, [""]),
    ]
    assert places == [f"{tmp_path / 'new.csv'}:2", f"{tmp_path / 'new.csv'}:3"]
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
        ("item_id,title,year\n7,Heat,soon\n", r"new:2: column 'year': 'soon' is no year"),
        ("id,title\n7,Heat\n", r"no column 'item_id'"),
        ('{"item_id": 7, "title": "Heat"}\n{"item_id": 8\n', r"new:2: is no JSON"),
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
    assert found == [Reached("c", 1), Reached("a", 1), Reached("b", 2)]  # d has item 1 already
