"""Our additions to the paper: the place of the behaviour token, its scores, the read-out, compact items."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from llara_core.llm import adapters, item_texts
from llara_core.llm.encoding import PromptEncoder
from llara_core.llm.hybrid import HybridLM
from llara_core.llm.item_texts import encode_added, encode_texts
from llara_core.llm.prompts.rendering import NO_SCORES, render_history, render_ranking
from llara_core.objectives.base import EncodedRow
from llara_core.runtime import memory
from llara_core.tuning.rows import PlanDataset, collate
from tests.helpers.llm import (
    D_REC,
    LABELS,
    N_ITEMS,
    WORDING,
    adapter_metadata,
    item_vectors,
    loss_of,
    make_base,
    make_encoder,
    make_model,
    plan_of,
    system_config,
    training_data,
)

GUIDED = {"slot": "before", "recommender_scores": True}
HISTORY, CANDIDATES, SCORES = [3, 1], [5, 2, 7], [(-1.0, 0.1), (0.25, 0.2), (2.0, 0.7)]


@pytest.fixture(scope="module")
def encoder(tiny_llama: Path) -> PromptEncoder:
    return make_encoder(tiny_llama)


def _embed(model: HybridLM, encoder: PromptEncoder, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    """The embeddings of a prompt's slots, and where they are."""
    prompt = render_ranking(HISTORY, CANDIDATES, LABELS, WORDING, "hybrid", 0, **options)  # type: ignore[arg-type]
    batch = encoder.pad([encoder.prompt_ids(prompt)], [prompt])
    slots = encoder.slots.mask(batch.input_ids)
    return model.embed(batch.input_ids, batch.slot_items, batch.slot_scores)[slots], slots[0]


def test_the_slot_stands_on_the_side_that_is_asked_for(tiny_llama: Path, encoder: PromptEncoder) -> None:
    """Both put the same vectors into the prompt, one token before the title or one after it."""
    model = make_model(tiny_llama)
    after, at_after = _embed(model, encoder, slot="after")
    before, at_before = _embed(model, encoder, slot="before")
    torch.testing.assert_close(before, after)
    title = len(encoder.answer_ids(LABELS[HISTORY[0]])) - 1
    assert int(at_after.int().argmax()) - int(at_before.int().argmax()) == title
    torch.testing.assert_close(before, model.projector(model.item_vectors[[*HISTORY, *CANDIDATES]]).to(before.dtype))


def test_every_token_of_a_title_sees_its_behaviour_token_only_where_it_comes_first(
    tiny_llama: Path, encoder: PromptEncoder
) -> None:
    """The reason for `before`: attention is causal."""
    model = make_model(tiny_llama, vectors=item_vectors())
    other = make_model(tiny_llama, vectors=item_vectors(1))
    for slot, sees in (("before", True), ("after", False)):
        prompt = render_ranking([4], CANDIDATES, LABELS, WORDING, "hybrid", 3, slot=slot)  # type: ignore[arg-type]
        ids = encoder.prompt_ids(prompt)
        title = list(encoder.answer_ids(LABELS[4]))[:-1]
        start = next(place for place in range(len(ids)) if ids[place : place + len(title)] == title)
        states = [
            m.hidden_states(torch.tensor([ids]), torch.ones(1, len(ids)), torch.tensor(prompt.slot_items))[0, start]
            for m in (model, other)
        ]
        assert torch.allclose(*states) != sees


def test_scores_move_the_candidates_behaviour_tokens_and_nothing_else(tiny_llama: Path, encoder: PromptEncoder) -> None:
    model = make_model(tiny_llama, prompt=GUIDED)
    plain, _ = _embed(model, encoder, slot="before")
    scored, _ = _embed(model, encoder, slot="before", scores=SCORES)
    expected = torch.tensor([NO_SCORES, NO_SCORES, *SCORES]) @ model.score_directions
    torch.testing.assert_close(scored - plain, expected, rtol=1e-4, atol=1e-5)


def test_text_only_prompts_show_no_scores() -> None:
    """The curriculum's easy task shows nothing of the recommender, its scores included."""
    prompt = render_ranking(HISTORY, CANDIDATES, LABELS, WORDING, "text", 0, slot="before", scores=SCORES)
    assert prompt.slot_scores == (NO_SCORES,) * 5
    hybrid = render_ranking(HISTORY, CANDIDATES, LABELS, WORDING, "hybrid", 0, slot="before", scores=SCORES)
    assert hybrid.slot_scores == (NO_SCORES, NO_SCORES, *SCORES)
    assert [hybrid.slot_items[place] for place in hybrid.candidate_slots] == CANDIDATES


def _ranking_rows(encoder: PromptEncoder, **prompt: object) -> list[EncodedRow]:
    config = system_config(prompt=prompt).prompt  # type: ignore[arg-type]
    rows = PlanDataset(plan_of({"source": 5}, {"source": 1}), training_data(with_scores=True), encoder, config)
    return [rows[0], rows[1]]


def test_the_read_out_reads_the_candidates_slots_and_no_others(tiny_llama: Path, encoder: PromptEncoder) -> None:
    """The loss is the generative one plus the weighted softmax over the logits at exactly the candidates' slots."""
    model = make_model(tiny_llama, prompt=GUIDED, tune={"ranking_weight": 0.5})
    rows = _ranking_rows(encoder, **GUIDED)
    inputs = collate(rows, encoder)
    listwise = 0.0
    for row in rows:
        hidden = model.hidden_states(
            torch.tensor([row.input_ids]),
            torch.ones(1, len(row.input_ids)),
            torch.tensor(row.prompt.slot_items),
            torch.tensor(row.prompt.slot_scores),
        )[0]
        slots = [place for place, token in enumerate(row.input_ids) if token == encoder.slots.behavior]
        candidates = slots[len(row.prompt.slot_items) - 4 :]  # four candidates, after the history
        logits = torch.stack([model.readout(hidden[place]) for place in candidates])
        listwise += F.cross_entropy(logits[None], torch.tensor([row.target_place])).item()
    n_tokens = int((inputs["labels"] != -100).sum())
    with_listwise = loss_of(model, inputs, ranking_weight=0.5).item()
    model.readout = None
    assert with_listwise == pytest.approx(loss_of(model, inputs).item() + 0.5 * listwise / n_tokens, rel=1e-5)


def test_the_read_out_is_trained_and_left_behind(tiny_llama: Path, encoder: PromptEncoder, tmp_path: Path) -> None:
    model = make_model(tiny_llama, prompt=GUIDED, tune={"ranking_weight": 0.5})
    loss_of(model, collate(_ranking_rows(encoder, **GUIDED), encoder), ranking_weight=0.5).backward()
    assert model.readout.linear.weight.grad.any()
    assert model.score_directions.grad.any()
    adapters.save_adapter(tmp_path / "run", model, adapter_metadata(model, **GUIDED))
    adapters.assert_round_trip(tmp_path / "run", model)
    loaded = _load(tiny_llama, tmp_path / "run", encoder)
    assert loaded.readout is None
    assert torch.equal(loaded.score_directions, model.score_directions)
    plain, _ = _embed(model, encoder, slot="before", scores=SCORES)
    again, _ = _embed(loaded, encoder, slot="before", scores=SCORES)
    assert torch.equal(plain, again)


def test_systems_that_share_a_part_start_from_the_same_weights(tiny_llama: Path) -> None:
    """An ablation differs in what is taken away, not in its luck."""
    models = [make_model(tiny_llama, prompt=prompt) for prompt in ({}, GUIDED)]
    models.append(make_model(tiny_llama, with_head=True))
    for other in models[1:]:
        for name, tensor in adapters.trained_tensors(models[0]).items():
            if "lora_B" not in name:  # which the helper moves away from zero
                assert torch.equal(tensor, adapters.trained_tensors(other)[name]), name
    assert not torch.equal(models[0].placeholder, make_model(tiny_llama, seed=1).placeholder)


# --- compact items


def _texts() -> torch.Tensor:
    return torch.randn(N_ITEMS, 4, generator=torch.Generator().manual_seed(5))


def _compact(tiny_llama: Path, vectors: torch.Tensor | None = None, texts: torch.Tensor | None = None) -> HybridLM:
    texts = _texts() if texts is None else texts
    return make_model(tiny_llama, "compact", with_head=True, vectors=vectors, texts=texts, tune={"objective": "next_item"})


def test_a_compact_token_is_built_from_vector_and_title_and_nothing_else(tiny_llama: Path) -> None:
    model = _compact(tiny_llama)
    vectors = item_vectors()
    features = torch.cat([vectors / vectors.pow(2).mean().sqrt(), _texts()], dim=1)
    hidden, output = model.projector.layers[0], model.projector.layers[2]
    expected = output(F.gelu(hidden(features * model.projector.input_scale)))
    ids = torch.tensor([[9, model.slots.behavior, model.slots.behavior]])
    torch.testing.assert_close(model.embed(ids, torch.tensor([3, 7]))[0, 1:], expected[[3, 7]])
    rms = model.llm.get_input_embeddings().weight.pow(2).mean().sqrt()
    torch.testing.assert_close(expected.pow(2).mean().sqrt(), rms, rtol=1e-4, atol=0)
    # Either half moves the token of its own item, and of no other.
    before = model.embed(ids, torch.tensor([3, 7]))[0, 1:]
    for column in (0, D_REC):
        features = model.item_vectors.clone()
        model.item_vectors[3, column] += 1.0
        after = model.embed(ids, torch.tensor([3, 7]))[0, 1:]
        assert not torch.allclose(before[0], after[0], atol=1e-4)
        assert torch.equal(before[1], after[1])
        model.item_vectors.copy_(features)


def test_a_compact_prompt_is_one_token_per_item(encoder: PromptEncoder) -> None:
    prompts = [render_history(items, LABELS, WORDING, "compact", 0) for items in ([1], [1, 2], [1, 2, 3, 4])]
    lengths = [len(encoder.prompt_ids(prompt)) for prompt in prompts]
    assert [length - lengths[0] for length in lengths] == [0, 1, 3]


def test_the_head_starts_from_the_recommenders_table_and_learns_from_titles(tiny_llama: Path) -> None:
    model = _compact(tiny_llama)
    hidden = torch.randn(3, model.placeholder.shape[0])
    vectors = item_vectors()
    query = model.head.linear(model.head.norm(hidden)) / D_REC**0.5
    table = vectors / vectors.pow(2).mean().sqrt()
    torch.testing.assert_close(model.item_logits(hidden), query @ table.T)
    with torch.no_grad():
        model.head.texts.weight.normal_()
    torch.testing.assert_close(model.item_logits(hidden), query @ (table + _texts() @ model.head.texts.weight.T).T)


def test_the_head_of_a_large_catalogue_has_the_loss_and_gradients_of_a_small_one(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its logits in chunks of two items, with dropout on the hidden states and the titles."""
    model = _compact(tiny_llama)
    model.head.dropout.p = 0.5
    torch.nn.init.normal_(model.head.texts.weight)
    hidden, targets = torch.randn(3, model.placeholder.shape[0]), torch.tensor([0, 7, N_ITEMS - 1])
    results = []
    for at_a_time in (1 << 26, 6):
        monkeypatch.setattr(memory, "SCORES_AT_A_TIME", at_a_time)
        model.head.zero_grad()
        torch.manual_seed(0)
        loss = model.item_loss(hidden, targets)
        loss.backward()
        results.append([loss.detach(), *(parameter.grad.clone() for parameter in model.head.parameters())])
    torch.testing.assert_close(results[1], results[0])
    torch.manual_seed(0)
    assert torch.equal(results[0][0], F.cross_entropy(model.item_logits(hidden), targets, reduction="sum"))


def test_a_compact_adapter_brings_its_encoded_titles(tiny_llama: Path, encoder: PromptEncoder, tmp_path: Path) -> None:
    model = _compact(tiny_llama)
    adapters.save_adapter(tmp_path / "run", model, adapter_metadata(model, "compact"))
    adapters.assert_round_trip(tmp_path / "run", model)
    loaded = _load(tiny_llama, tmp_path / "run", encoder)
    ids, items = torch.tensor([[9, model.slots.behavior]]), torch.tensor([4])
    states = [m.hidden_states(ids, torch.ones(1, 2), items) for m in (model, loaded)]
    assert torch.equal(*states)
    assert torch.equal(model.item_logits(states[0]), loaded.item_logits(states[1]))


def _load(tiny_llama: Path, folder: Path, encoder: PromptEncoder) -> HybridLM:
    base = make_base(tiny_llama)
    return adapters.load_adapter(folder, base, encoder, item_vectors(), llm="llm-hash", item_embeddings="vectors-hash")


def test_titles_are_encoded_alike_whatever_stands_beside_them(tiny_llama: Path, encoder: PromptEncoder) -> None:
    """Title by title, without padding, the same states; the components are those of these states."""
    base = make_base(tiny_llama)
    layers = [round(2 * share / 3) for share in (1, 2, 3)]  # of two layers
    rows = []
    for label in LABELS:
        ids = torch.tensor([[encoder.eos_id, *encoder.title_ids(label)]])
        states = base.model(input_ids=ids, output_hidden_states=True).hidden_states
        means = [states[layer][0, 1:].mean(dim=0) for layer in layers]
        rows.append(torch.cat([F.layer_norm(mean, mean.shape) for mean in means]))
    centred = torch.stack(rows) - torch.stack(rows).mean(dim=0)
    texts = encode_texts(base, encoder, LABELS, dim=4).vectors
    assert texts.shape == (N_ITEMS, 4)
    assert texts.pow(2).mean().item() == pytest.approx(1, rel=1e-5)
    # Distances in the leading components are distances of the projections onto the leading right singular vectors.
    _, _, right = torch.linalg.svd(centred.detach().double(), full_matrices=False)
    expected = centred.double() @ right[:4].T
    scale = expected.pow(2).mean().sqrt()
    torch.testing.assert_close(
        torch.cdist(texts.double(), texts.double()), torch.cdist(expected, expected) / scale, rtol=1e-3, atol=1e-3
    )
    assert encode_texts(base, encoder, LABELS, dim=500).vectors.shape == (N_ITEMS, N_ITEMS - 1)


def test_a_title_that_comes_later_is_encoded_as_those_before(tiny_llama: Path, encoder: PromptEncoder) -> None:
    base = make_base(tiny_llama)
    encoded = encode_texts(base, encoder, LABELS, dim=4)
    added = encode_added(base, encoder, LABELS[3:5], encoded.weight, encoded.bias)
    torch.testing.assert_close(added, encoded.vectors[3:5], rtol=1e-4, atol=1e-4)


def test_titles_of_a_large_catalogue_are_encoded_in_blocks(
    tiny_llama: Path, encoder: PromptEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four titles, three times: every third of the twelve has each of them once, so that its components are those of all."""
    base, labels = make_base(tiny_llama), LABELS[:4] * 3
    whole = encode_texts(base, encoder, labels, dim=3).vectors
    monkeypatch.setattr(item_texts, "COMPONENT_TEXTS", 4)
    in_blocks = encode_texts(base, encoder, labels, dim=3).vectors
    torch.testing.assert_close(torch.cdist(in_blocks, in_blocks), torch.cdist(whole, whole), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(in_blocks[:4], in_blocks[8:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": {"representation": "compact"}}, "compact shows no title"),
        ({"prompt": {"representation": "title", "recommender_scores": True}}, "recommender_scores needs candidates"),
        ({"prompt": {"recommender_scores": True}, "tune": {"objective": "next_item"}}, "recommender_scores needs candidates"),
        ({"prompt": {"representation": "title"}, "tune": {"ranking_weight": 1.0}}, "ranking_weight needs a slot"),
        ({"prompt": {"slot": "before"}, "tune": {"objective": "next_item"}}, "slot before hides"),
        ({"prompt": {"slot": "before"}, "tune": {"mixture": 0.5}}, "slot before hides"),
        (
            {"prompt": {"slot": "before", "representation": "text"}, "tune": {"ranking_weight": 1.0}},
            "cannot encode them",
        ),
        ({"ablation": {"recommender_scores": "shuffled"}}, "has no effect if prompt.recommender_scores is false"),
    ],
)
def test_levers_that_do_not_fit_are_refused(changes: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        system_config(**changes)
