"""The language model with slots: titles as tokens, with projected item embeddings beside them (paper, Figure 2)."""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers.modeling_outputs import MoeModelOutputWithPast

from llara_core.config.objectives import names_where
from llara_core.errors import ModelError
from llara_core.llm import packing, tree
from llara_core.llm.encoding import SlotIds
from llara_core.llm.new_items import BIAS_GAIN, NewItems
from llara_core.llm.projector import Projector, rms, unit_scale
from llara_core.runtime import seeding
from llara_core.runtime.memory import MASKED_LOGIT, chunked_cross_entropy, fits_in_memory

# Initial scale of the vectors of the standardised score and of the share, relative to word embeddings: each layer's input norm
# would compress the differences between longer vectors.
SCORE_SCALES = torch.tensor([[0.5], [2.0]])


NO_HEAD = (
    f"this adapter has no catalogue head; tune it with tune.objective {names_where(lambda objective: objective.needs_head)}"
)


def log_popularity(item_counts: torch.Tensor) -> torch.Tensor:
    """Returns the log-shares ``(n_items,)`` of the items in all interactions, with one added to each count."""
    smoothed = item_counts.float() + 1
    return (smoothed / smoothed.sum()).log()


class NextItemHead(nn.Module):
    """Logits over the whole catalogue from the hidden state at an item's slot, ``(..., d_llm) -> (..., n_items)``.

    Not part of the paper. LayerNorm and a linear map lead into the recommender's space, where the item table (initialised from
    the recommender's at unit scale) scores every item. Adam changes every weight by about the learning rate per step, so a
    table on the recommender's own scale, some 0.05, would be forgotten within a hundred steps. If items have encoded texts, a
    linear map of these, initialised to zero, is added to the table.

    Args:
        item_vectors: ``(n_items, d_rec)`` float32, the table's initial values.
        d_llm: width of the hidden states.
        d_text: dimensions of encoded texts; 0 for none.
        dropout: rate on the hidden states and on the encoded texts.
    """

    def __init__(self, item_vectors: torch.Tensor, d_llm: int, *, d_text: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        d_rec = item_vectors.shape[1]
        self.norm = nn.LayerNorm(d_llm)
        self.linear = nn.Linear(d_llm, d_rec)
        self.items = nn.Parameter(unit_scale(item_vectors))
        self.bias = nn.Parameter(torch.zeros(len(item_vectors)))
        self.dropout = nn.Dropout(dropout)
        self.texts = nn.Linear(d_text, d_rec, bias=False) if d_text else None
        if self.texts is not None:
            nn.init.zeros_(self.texts.weight)

    @torch.no_grad()
    def set_prior(self, item_counts: torch.Tensor) -> None:
        """Initialises the bias to the log-frequency of training counts ``(n_items,)``, which few steps could not learn."""
        self.bias.copy_(log_popularity(item_counts))

    def forward(
        self, hidden: torch.Tensor, item_texts: torch.Tensor | None = None, new_items: NewItems | None = None
    ) -> torch.Tensor:
        # A softmax over thousands of items loses its tail in bfloat16, so the head computes in float32.
        with torch.autocast(hidden.device.type, enabled=False):
            return F.linear(*self._output_layer(hidden, item_texts, new_items))

    def loss(
        self,
        hidden: torch.Tensor,
        targets: torch.Tensor,
        item_texts: torch.Tensor | None = None,
        new_items: NewItems | None = None,
    ) -> torch.Tensor:
        """Returns the summed cross-entropy of targets ``(N,)`` over the whole catalogue for hidden states ``(N, d_llm)``."""
        if fits_in_memory(len(hidden), len(self.items)):
            return F.cross_entropy(self(hidden, item_texts, new_items), targets, reduction="sum")
        with torch.autocast(hidden.device.type, enabled=False):
            return chunked_cross_entropy(*self._output_layer(hidden, item_texts, new_items), targets)

    def append(self, n: int) -> None:
        """Appends rows of zeros for ``n`` further items, whose scores come from their texts alone."""
        self.items = _with_zeros(self.items, n)
        self.bias = _with_zeros(self.bias, n)

    def _output_layer(
        self, hidden: torch.Tensor, item_texts: torch.Tensor | None, new_items: NewItems | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns queries ``(..., d_rec)``, item table ``(n_items, d_rec)`` and biases ``(n_items,)``."""
        query = self.linear(self.norm(self.dropout(hidden.float())))
        items: torch.Tensor = self.items
        bias: torch.Tensor = self.bias
        if new_items is not None:
            as_new = new_items.read_as_new
            items = torch.where(as_new[:, None], new_items.vectors + new_items.head_vector, items)
            bias = torch.where(as_new, new_items.biases + BIAS_GAIN * new_items.head_bias, bias)
            if self.training:
                # An item that is never a target but a negative at every step would be pushed below all others.
                bias = bias.masked_fill(new_items.is_new, MASKED_LOGIT)
        if self.texts is not None and item_texts is not None:
            items = items + self.texts(self.dropout(item_texts))
        return query * query.shape[-1] ** -0.5, items, bias


def _with_zeros(table: nn.Parameter, n: int) -> nn.Parameter:
    return nn.Parameter(torch.cat([table, table.new_zeros(n, *table.shape[1:])]), requires_grad=table.requires_grad)


class RankingReadout(nn.Module):
    """One logit per candidate from the hidden state at its slot, ``(..., d_llm) -> (...)``; not part of the paper."""

    def __init__(self, d_llm: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_llm)
        self.linear = nn.Linear(d_llm, 1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            logits: torch.Tensor = self.linear(self.norm(hidden.float())).squeeze(-1)
            return logits


class HybridLM(nn.Module):
    """A causal LM, with or without LoRA, whose slot tokens are replaced by behaviour tokens or by the trained placeholder.

    Args:
        llm: the ``*ForCausalLM`` of a supported family, or the peft model around it.
        item_vectors: ``(n_items, d_rec)`` float32, the recommender's frozen embeddings; None for prompts without behaviour
            tokens, which need no projector.
        item_texts: ``(n_items, d_text)`` float32, encoded texts that are projected with the vectors (compact items), or None.
        shows_scores: whether behaviour tokens carry the recommender's score.
        with_readout: whether to add a read-out of the candidates' slots, for a listwise loss.
        new_items: text-based features of compact items without interactions; None if every item has an id.
        feature_dropout: dropout rate on the projector's input for compact items.
        plain_projector: whether the projector keeps torch's initialisation unscaled.
        seed: seed of the initial values. Each part has its own random stream, so systems share initial values of common parts.
    """

    llm: Any
    item_vectors: torch.Tensor | None
    item_texts: torch.Tensor | None

    def __init__(
        self,
        llm: Any,
        item_vectors: torch.Tensor | None,
        *,
        slots: SlotIds,
        item_texts: torch.Tensor | None = None,
        shows_scores: bool = False,
        with_readout: bool = False,
        head: NextItemHead | None = None,
        new_items: NewItems | None = None,
        feature_dropout: float = 0.0,
        plain_projector: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.llm = llm
        self.slots = slots
        with torch.no_grad():
            table = llm.get_input_embeddings()
            # The layers' input is not always the table itself: Gemma scales its embeddings.
            tokens = table(torch.arange(len(table.weight), device=table.weight.device))
        d_llm = tokens.shape[1]
        token_rms = rms(tokens.float()).item()
        if item_texts is not None and item_vectors is not None:
            # Both parts have unit scale, so that neither dominates the other in the projector.
            item_vectors = torch.cat([unit_scale(item_vectors), item_texts], dim=1)
        self.register_buffer("item_vectors", item_vectors, persistent=False)
        self.register_buffer("item_texts", item_texts)
        seed_part(seed, "projector")
        target_rms = None if plain_projector else token_rms
        self.projector = None if item_vectors is None else Projector(item_vectors, d_llm, target_rms, dropout=feature_dropout)
        seed_part(seed, "placeholder")
        self.placeholder = nn.Parameter(torch.randn(d_llm) * token_rms)
        seed_part(seed, "score directions")
        self.score_directions = nn.Parameter(torch.randn(2, d_llm) * token_rms * SCORE_SCALES) if shows_scores else None
        seed_part(seed, "readout")
        self.readout = RankingReadout(d_llm) if with_readout else None
        self.head = head
        self.new_items = new_items

    @property
    def device(self) -> torch.device:
        return self.placeholder.device

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds a part of the layers, so that all processes must run them at the same time."""
        return any(isinstance(layer, FSDPModule) for layer in self.causal_lm.model.layers)

    @property
    def causal_lm(self) -> Any:
        """The ``*ForCausalLM`` itself, whose linear layers carry LoRA."""
        return self.llm.get_base_model() if hasattr(self.llm, "get_base_model") else self.llm

    def check_length(self, length: int) -> None:
        """Refuses more tokens than the LLM has positions, since it never learned the positions beyond.

        Raises:
            ModelError: ``length`` is too long.
        """
        if length > (n_positions := _n_positions(self.causal_lm.config)):
            raise ModelError(
                f"a prompt has {length:,} tokens, but the language model reads {n_positions:,} at most: lower "
                "max_history_len of the data set or candidates.n_candidates, or shorten its longest titles"
            )

    def masks(self, seen: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Returns the additive attention mask, or one per layer type if some layers have a sliding window.

        ``seen`` ``(B, L, S)`` bool is the visibility from :func:`llara_core.llm.tree.visible`.
        """
        config, dtype = self.causal_lm.config, self.causal_lm.dtype
        window = getattr(config, "sliding_window", None)
        if window is None:
            return tree.additive(seen, dtype)
        near = tree.additive(tree.nearest(seen, window), dtype)
        if not hasattr(config, "layer_types"):
            return near
        return {"full_attention": tree.additive(seen, dtype), "sliding_attention": near}

    def embed(
        self,
        input_ids: torch.Tensor,
        slot_items: torch.Tensor,
        slot_scores: torch.Tensor | None = None,
        *,
        length: int | None = None,
    ) -> torch.Tensor:
        """Returns token embeddings ``(B, L, D_llm)`` with every slot filled, in the dtype of the LLM's embeddings.

        Args:
            input_ids: ``(B, L)`` int64.
            slot_items: ``(S,)`` int64, item of every slot in row-major order of ``input_ids``.
            slot_scores: ``(S, 2)`` float32, score features of these items; None means 0 everywhere.
            length: number of positions of the rows if they are trees; None means ``L``.

        Raises:
            ModelError: a prompt has more tokens than the LLM has positions.
        """
        self.check_length(input_ids.shape[1] if length is None else length)
        slots = self.slots.mask(input_ids)
        # Slot tokens are outside the vocabulary of most models; row 0 is a stand-in that is overwritten below.
        embeddings: torch.Tensor = self.llm.get_input_embeddings()(input_ids.masked_fill(slots, 0))
        filled = self.placeholder.expand(len(slot_items), -1)  # (S, D_llm)
        if self.projector is not None and self.item_vectors is not None:
            tokens = self._behavior_tokens(slot_items)
            if self.score_directions is not None and slot_scores is not None:
                tokens = tokens + slot_scores @ self.score_directions
            filled = torch.where((input_ids[slots] == self.slots.behavior).unsqueeze(-1), tokens, filled)
        return embeddings.masked_scatter(slots.unsqueeze(-1), filled.to(embeddings.dtype))

    def _behavior_tokens(self, items: torch.Tensor) -> torch.Tensor:
        """Returns the projected vectors ``(S, D_llm)`` of items ``(S,)``; the model must have a projector."""
        assert self.projector is not None
        assert self.item_vectors is not None
        vectors = self.item_vectors[items]
        if self.new_items is None:
            return self.projector(vectors)  # type: ignore[no-any-return]
        as_new, from_text = self.new_items.read_as_new[items][:, None], self.new_items.vectors[items]
        n_texts = vectors.shape[1] - from_text.shape[1]
        vectors = torch.where(F.pad(as_new.expand_as(from_text), (0, n_texts)), F.pad(from_text, (0, n_texts)), vectors)
        tokens: torch.Tensor = self.projector(vectors) + as_new * self.new_items.token
        return tokens

    def hidden_states(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        slot_items: torch.Tensor,
        slot_scores: torch.Tensor | None = None,
        branches: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns the final hidden states ``(B, L, D_llm)``; on a CPU, padding is skipped and has the value 0.

        Args:
            input_ids, attention_mask: ``(B, L)``.
            slot_items, slot_scores: arguments of :meth:`embed`.
            branches: ``(B, L)`` int64 branch numbers of :class:`llara_core.llm.tree.Tree`; None if every row is one sequence.
        """
        by_row = self.causal_lm.config._attn_implementation == packing.BY_ROW and len(input_ids) > 1
        mask: torch.Tensor | dict[str, torch.Tensor] = attention_mask
        position_ids, length = positions(attention_mask), None
        if by_row or branches is not None:
            seen = tree.visible(attention_mask, torch.zeros_like(input_ids) if branches is None else branches)
            mask, position_ids = self.masks(seen), tree.positions(seen)
            length = int(position_ids.max()) + 1
        embedded = self.embed(input_ids, slot_items, slot_scores, length=length)
        layers = functools.partial(self.causal_lm.model, attention_mask=mask, use_cache=False)
        if not by_row:
            hidden: torch.Tensor = layers(inputs_embeds=embedded, position_ids=position_ids).last_hidden_state
            return hidden
        is_token = attention_mask.bool()
        packed = layers(inputs_embeds=embedded[is_token][None], position_ids=position_ids[is_token][None]).last_hidden_state
        return torch.zeros_like(embedded, dtype=packed.dtype).masked_scatter(is_token[..., None], packed)

    @torch.no_grad()
    def add_items(self, vectors: torch.Tensor, texts: torch.Tensor | None) -> None:
        """Appends items to the catalogue of a tuned model with behaviour tokens.

        Args:
            vectors: ``(N, d_rec)``, the recommender's vectors of the items' texts, for compact items at unit scale.
            texts: ``(N, d_text)``, encoded texts, for a model with ``new_items``; None for others.
        """
        assert self.item_vectors is not None
        rows = vectors.to(self.item_vectors)
        if texts is not None:
            assert self.new_items is not None
            assert self.item_texts is not None
            assert self.head is not None
            self.new_items.append(vectors, texts)
            self.item_texts = torch.cat([self.item_texts, texts.to(self.item_texts)])
            self.head.append(len(texts))
            rows = torch.cat([rows, texts.to(rows)], dim=1)
        self.item_vectors = torch.cat([self.item_vectors, rows])

    def item_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns the head's logits ``(..., n_items)`` in float32.

        Raises:
            ModelError: there is no head.
        """
        if self.head is None:
            raise ModelError(NO_HEAD)
        logits: torch.Tensor = self.head(hidden, self.item_texts, self.new_items)
        return logits

    def item_loss(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Returns the head's summed cross-entropy of targets ``(N,)`` for hidden states ``(N, d_llm)``.

        Raises:
            ModelError: there is no head.
        """
        if self.head is None:
            raise ModelError(NO_HEAD)
        return self.head.loss(hidden, targets, self.item_texts, self.new_items)

    def token_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Returns vocabulary logits ``(..., V)`` in float32 for the given hidden states.

        They come from the causal LM's own ``forward``, with the scale or soft cap that some families apply.
        """
        causal_lm = self.causal_lm
        rows = hidden.reshape(1, -1, hidden.shape[-1])
        logits: torch.Tensor = type(causal_lm).forward(_WithoutLayers(causal_lm), inputs_embeds=rows).logits
        return logits.float().view(*hidden.shape[:-1], logits.shape[-1])


class _WithoutLayers:
    """A stand-in for a causal LM in its own ``forward``, whose layers return their input unchanged."""

    def __init__(self, causal_lm: Any) -> None:
        self._causal_lm = causal_lm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._causal_lm, name)

    @staticmethod
    def model(*, inputs_embeds: torch.Tensor, **_: Any) -> MoeModelOutputWithPast:
        return MoeModelOutputWithPast(last_hidden_state=inputs_embeds)


def seed_part(seed: int, part: str) -> None:
    """Seeds the initialisation of one part of a model, which is the same in every system."""
    seeding.seed_torch_globally(seed, "tune", part)


def _n_positions(config: Any) -> int:
    """Returns the number of positions up to which longrope, if used, does not change the frequencies of a whole batch."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]  # some models have one per layer type
    longrope = [kind["original_max_position_embeddings"] for kind in kinds if kind.get("rope_type") == "longrope"]
    return int(min([config.max_position_embeddings, *longrope]))


def positions(attention_mask: torch.Tensor) -> torch.Tensor:
    """Returns the position ``(B, L)`` of every token in its own prompt, padding not counted."""
    return (attention_mask.cumsum(dim=-1) - 1).clamp(min=0)
