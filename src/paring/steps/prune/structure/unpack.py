"""torch's own attention with a layer for each projection, so that heads can go.

`nn.MultiheadAttention` holds queries, keys and values in one matrix, and takes the size of a head from the width of the
network: with fewer heads each would be wider. `Attention` computes the same from four `nn.Linear`, whose widths say how
many features its heads have; `nn.TransformerEncoderLayer` and its kin call it like torch's.
"""

import copy
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, scaled_dot_product_attention, softmax

from paring.core.model import Edit, Json, Model

EDIT = "unpack_attention"


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2) in the place of torch's.

    Args:
        packed: whose weights and options it takes over.
    """

    # what torch's transformer layers ask, before they hand packed matrices to a kernel for all of a layer
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(self, packed: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads, self.batch_first, self.dropout = packed.num_heads, packed.batch_first, packed.dropout
        apart = [packed.q_proj_weight, packed.k_proj_weight, packed.v_proj_weight]
        weights = apart if packed.in_proj_weight is None else _parts(packed.in_proj_weight)
        biases = [None] * 3 if packed.in_proj_bias is None else _parts(packed.in_proj_bias)
        self.q_proj, self.k_proj, self.v_proj = map(_linear, weights, biases)
        self.out_proj = _linear(packed.out_proj.weight, packed.out_proj.bias)
        self.train(packed.training)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """As `nn.MultiheadAttention`: the output, and the weights of the heads or their mean, or None.

        Args:
            query: shape (batch, queries, width) with `batch_first`, else (queries, batch, width), or without a batch.
            key: likewise, of as many positions as `value`.
            value: likewise.
            key_padding_mask: shape (batch, keys); True, or what is added to the scores, where a key is not to be seen.
            need_weights: whether weights are asked for.
            attn_mask: likewise, shape (queries, keys) or (batch · heads, queries, keys).
            average_attn_weights: whether the mean over the heads is.
            is_causal: tells that `attn_mask`, which has to be given, is causal.
        """
        if is_causal and attn_mask is None:
            raise RuntimeError("is_causal only says what attn_mask is: give attn_mask")
        single = query.ndim == 2
        axis = 0 if self.batch_first or single else 1
        given = [one.unsqueeze(0) if single else one.movedim(axis, 0) for one in (query, key, value)]
        q, k, v = (
            project(one).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project, one in zip((self.q_proj, self.k_proj, self.v_proj), given, strict=True)
        )
        mask = _mask(attn_mask, key_padding_mask, q)
        rate = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
            weights = dropout(softmax(scores if mask is None else scores + mask, -1), rate)
            found = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights.squeeze(0) if single else weights
        else:
            found = scaled_dot_product_attention(q, k, v, mask, rate)
        output = self.out_proj(found.transpose(1, 2).flatten(2))
        return output.squeeze(0) if single else output.movedim(0, axis), weights


def why_whole(packed: nn.MultiheadAttention) -> str | None:
    """Why this one has to stay as it is, if it does."""
    if type(packed) is not nn.MultiheadAttention:
        return f"{type(packed).__name__} may do more than torch's attention, which it is made of"
    if packed.bias_k is not None or packed.add_zero_attn:
        return "it adds keys and values of its own (add_bias_kv, add_zero_attn)"
    return None


def opened(model: Model, names: Collection[str] | None = None) -> Model:
    """The model with torch's attention unpacked, told as an edit; itself where there is none.

    Args:
        model: of which nothing is changed.
        names: of the attention to unpack; None for all that can be. What invariants of earlier steps speak of stays.
    """
    found = [
        name
        for name, part in model.module.named_modules(remove_duplicate=False)
        if isinstance(part, nn.MultiheadAttention)
        and name  # there is nothing around the network itself to put another in
        and (names is None or name in names)
        and why_whole(part) is None
        and not any(one.layer.startswith(f"{name}.") for one in model.invariants)
    ]
    if not found:
        return model
    data: dict[str, Json] = {"layers": found}
    module = replay(replace(model, module=copy.deepcopy(model.module)), data)
    return replace(model, module=module, edits=(*model.edits, Edit(EDIT, data)))


def replay(model: Model, data: Mapping[str, Json]) -> nn.Module:
    """The module with the attention of the edit unpacked; what several places share stays shared."""
    made: dict[nn.Module, nn.Module] = {}
    for name in data["layers"]:
        part = model.module.get_submodule(name)
        if isinstance(part, nn.MultiheadAttention):
            made.setdefault(part, Attention(part))
            model.module.set_submodule(name, made[part])
    return model.module


def _parts(packed: Tensor) -> list[Tensor]:
    """The three parts of a parameter, trained as it is."""
    return [part.detach().clone().requires_grad_(packed.requires_grad) for part in packed.chunk(3)]


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer of these values, trained as they are."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=weight.dtype, device=weight.device)
    for own, given in ((layer.weight, weight), (layer.bias, bias)):
        if given is not None:
            own.data.copy_(given.data)
            own.requires_grad_(given.requires_grad)
    return layer


def _mask(attention: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
    """What is added to scores of the shape (batch, heads, queries, keys), or can be spread to it."""
    batch, heads = q.shape[:2]
    found: list[Tensor] = []
    if attention is not None:
        added = _added(attention, q)
        found.append(added if added.ndim == 2 else added.reshape(batch, heads, *added.shape[1:]))
    if padding is not None:
        found.append(_added(padding, q).reshape(batch, 1, 1, -1))
    return found[0] + found[1] if len(found) > 1 else next(iter(found), None)


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers; True hides."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
    return mask.to(like.dtype)
