"""Follows the channels of a network through one forward pass.

Layers with weights take channels and give new ones; what lies between them moves and joins them (`rules`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from paring.steps.prune.structure.carve import ATTENTION, Side
from paring.steps.prune.structure.labels import Labels, reduced, storages
from paring.steps.prune.structure.rules import Rules

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)
_LAYERS = (
    nn.modules.conv._ConvNd, nn.Linear, nn.Embedding, nn.modules.rnn.RNNBase, *_NORMS, nn.LayerNorm, nn.PReLU,
    *ATTENTION,
)  # fmt: skip
WHOLE = "nn.MultiheadAttention, whose width is that of its heads"
ANSWERS = "its channels are the network's answers"


def follow(module: nn.Module, inputs: Sequence[Tensor]) -> Labels:
    """What belongs together in a network, of single channels.

    Args:
        module: in eval mode; untouched.
        inputs: one sample.
    """
    layers = {name: part for name, part in module.named_modules() if isinstance(part, _LAYERS)}
    owned = storages(layers)
    bare = {
        name: tensor
        for name, tensor in module.state_dict(keep_vars=True).items()
        if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in owned
    }
    labels = Labels(bare, owned)
    follower = _Follower(labels)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it calls no layer of a transformer's
    try:
        with torch.no_grad(), follower.watching(layers), follower:
            answer = module(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    for one in tree_leaves(answer):
        if isinstance(one, Tensor) and (found := labels.of(one)) is not None:
            labels.block(found, ANSWERS)
    labels.settle()
    return labels


class _Follower(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, labels: Labels) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._labels, self._rules = labels, Rules(labels)
        self._inside = 0  # layers that are running, one in the other

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if not self._inside:
            self._rules(func, args, kwargs or {}, output)
        return output

    @contextmanager
    def watching(self, layers: Mapping[str, nn.Module]) -> Iterator[None]:
        handles = []
        try:
            for name, layer in layers.items():
                handles.append(layer.register_forward_pre_hook(lambda *_: self._enter()))
                handles.append(
                    layer.register_forward_hook(
                        lambda layer, args, options, output, name=name: self._leave(name, layer, args, options, output),
                        with_kwargs=True,
                    )
                )
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self) -> None:
        self._inside += 1

    def _leave(self, name: str, layer: nn.Module, args: Any, options: Any, output: Any) -> None:
        if self._inside == 1:
            given = [one for one in tree_leaves((args, options)) if isinstance(one, Tensor) and one.numel()]
            if given:
                self._layer(name, layer, given, output)
        self._inside -= 1

    def _layer(self, name: str, layer: nn.Module, given: Sequence[Tensor], output: Any) -> None:
        x = given[0]
        if isinstance(layer, nn.modules.conv._ConvNd):
            axis = x.ndim - len(layer.kernel_size) - 1
            self._reads(name, "in", x, axis, layer.in_channels)
            self._gives(name, output, axis, layer.out_channels)
        elif isinstance(layer, nn.Linear):
            self._reads(name, "in", x, -1, layer.in_features)
            self._gives(name, output, -1, layer.out_features)
        elif isinstance(layer, nn.Embedding):
            self._gives(name, output, -1, layer.embedding_dim)
        elif isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
            if (found := self._labels.of(x)) is not None:
                self._labels.put(output, found)
        elif isinstance(layer, nn.LayerNorm):
            self._normalizes(name, layer, x, output)
        elif isinstance(layer, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.PReLU):
            self._reads(name, "out", x, 1, x.shape[1])
            self._gives(name, output, 1, x.shape[1])
        elif isinstance(layer, nn.LSTM):
            self._recurrent(name, layer, x, output)
        else:
            self._stay(layer, given)

    def _reads(self, name: str, side: Side, x: Tensor, axis: int, count: int) -> None:
        channels = self._labels.channels(name, side, count)
        found = self._labels.of(x)
        if found is not None:
            self._labels.join(reduced(found).movedim(axis, -1), channels)

    def _gives(self, name: str, output: Tensor, axis: int, count: int) -> None:
        channels = self._labels.channels(name, "out", count)
        self._labels.put(output, channels.reshape(-1, *[1] * (output.ndim - 1 - axis % output.ndim)))

    def _normalizes(self, name: str, layer: nn.LayerNorm, x: Tensor, output: Tensor) -> None:
        found = self._labels.of(x)
        if found is None:
            return
        if len(layer.normalized_shape) > 1:
            self._labels.block(found, "its channels are normalized together with other dimensions")
            return
        size, shape = layer.normalized_shape[0], reduced(found).shape
        # some subclasses normalize along the channels of an image
        axes = [axis for axis in (x.ndim - 1, 1) if x.shape[axis] == size]
        axis = next((axis for axis in axes if shape[axis] > 1), axes[0])
        self._reads(name, "out", x, axis, size)
        self._gives(name, output, axis, size)

    def _recurrent(self, name: str, layer: nn.LSTM, x: Tensor, output: Any) -> None:
        self._reads(name, "in", x, -1, layer.input_size)
        states = [one for one in tree_leaves(output) if isinstance(one, Tensor) and one.is_floating_point()]
        if layer.num_layers > 1 or layer.bidirectional or layer.proj_size:
            channels = self._labels.channels(name, "out", layer.hidden_size)
            self._labels.block(channels, "its channels are the state of an LSTM with several layers or directions")
            return
        for state in states:
            self._gives(name, state, -1, layer.hidden_size)

    def _stay(self, layer: nn.Module, given: Sequence[Tensor]) -> None:
        whole = WHOLE if isinstance(layer, ATTENTION) else f"nn.{type(layer).__name__}, which cannot be cut"
        for one in given:
            if (found := self._labels.of(one)) is not None:
                self._labels.block(found, f"its channels run through {whole}")
