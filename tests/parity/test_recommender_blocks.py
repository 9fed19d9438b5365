"""Our blocks against PyTorch's modules with copied weights, and against naive loops."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llara_core.recommenders.caser import Caser
from llara_core.recommenders.gru4rec import Gru4Rec
from llara_core.recommenders.sasrec import AttentionBlock

B, T, D = 3, 7, 8


@pytest.mark.parametrize("n_heads", [1, 2])
def test_attention_block_equals_a_transformer_encoder_layer(n_heads: int) -> None:
    torch.manual_seed(0)
    ours = AttentionBlock(D, n_heads, dropout=0.0)
    theirs = nn.TransformerEncoderLayer(D, n_heads, dim_feedforward=D, dropout=0.0, norm_first=True, batch_first=True)
    copies = {
        theirs.self_attn.in_proj_weight: ours.query_key_value.weight,
        theirs.self_attn.in_proj_bias: ours.query_key_value.bias,
        theirs.self_attn.out_proj.weight: ours.attention_output.weight,
        theirs.self_attn.out_proj.bias: ours.attention_output.bias,
        theirs.linear1.weight: ours.feed_forward[0].weight,
        theirs.linear1.bias: ours.feed_forward[0].bias,
        theirs.linear2.weight: ours.feed_forward[3].weight,
        theirs.linear2.bias: ours.feed_forward[3].bias,
    }
    with torch.no_grad():
        for norm in (theirs.norm1, theirs.norm2):
            norm.weight.normal_()
            norm.bias.normal_()
        ours.attention_norm.load_state_dict(theirs.norm1.state_dict())
        ours.feed_forward_norm.load_state_dict(theirs.norm2.state_dict())
        for target, source in copies.items():
            target.copy_(source)
    hidden = torch.randn(B, T, D)
    mask = nn.Transformer.generate_square_subsequent_mask(T)
    torch.testing.assert_close(ours(hidden), theirs(hidden, src_mask=mask, is_causal=True))


def test_gru4rec_equals_a_step_loop() -> None:
    torch.manual_seed(0)
    model = Gru4Rec(n_items=11, embedding_dim=D, max_history_len=T, dropout=0.5, hidden_dim=5, n_layers=1).eval()
    items = torch.randint(11, (B, T))
    gru = model.gru
    state, states = torch.zeros(B, 5), []
    for step in model.item_embedding(items).unbind(dim=1):
        input_r, input_z, input_n = F.linear(step, gru.weight_ih_l0, gru.bias_ih_l0).chunk(3, dim=1)
        state_r, state_z, state_n = F.linear(state, gru.weight_hh_l0, gru.bias_hh_l0).chunk(3, dim=1)
        reset, update = torch.sigmoid(input_r + state_r), torch.sigmoid(input_z + state_z)
        state = (1 - update) * torch.tanh(input_n + reset * state_n) + update * state
        states.append(model.output(state))
    torch.testing.assert_close(model.encode(items), torch.stack(states, dim=1))


def test_caser_equals_a_naive_loop_over_windows() -> None:
    torch.manual_seed(0)
    window = 4
    model = Caser(11, D, T, dropout=0.5, window=window, n_horizontal_filters=3, n_vertical_filters=2).eval()
    items = torch.randint(11, (B, T))
    expected = torch.stack([torch.stack([_caser_window(model, row[: end + 1], window) for end in range(T)]) for row in items])
    torch.testing.assert_close(model.encode(items), expected)
    assert (expected < 0).any()  # an activation behind the fully connected layer would show


def _caser_window(model: Caser, history: Tensor, window: int) -> Tensor:
    image = torch.zeros(window, D)
    recent = model.item_embedding(history[-window:])
    image[window - len(recent) :] = recent
    pooled = []
    for height in range(1, window + 1):
        of_height = slice(3 * (height - 1), 3 * height)
        weight, bias = model.horizontal.weight[of_height, :, :height], model.horizontal.bias[of_height]
        responses = [
            F.relu((weight * image[start : start + height].T).sum(dim=(1, 2)) + bias) for start in range(window - height + 1)
        ]
        pooled.append(torch.stack(responses).max(dim=0).values)
    vertical = [model.vertical.weight @ image[:, dimension] + model.vertical.bias for dimension in range(D)]
    return model.output(torch.cat([*pooled, *vertical]))
