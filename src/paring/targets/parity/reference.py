"""What a file is compared with: the model in PyTorch, sample by sample, as the file runs it."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.ao.quantization.fx import _decomposed  # noqa: F401  # registers quantized_decomposed
from torch.fx import GraphModule, Node

from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import Array
from paring.train.simulate import decomposed, evaluated

_QUANTIZE = {decomposed.quantize_per_tensor.default, decomposed.quantize_per_channel.default}
_DEQUANTIZE = {decomposed.dequantize_per_tensor.default, decomposed.dequantize_per_channel.default}
_NOISE = 1e-6  # of an input's largest value: what rounding in float32 amounts to after a few operators


def answers(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The model's answers, by the outputs' names; each sample alone. Layers with dynamic activations round these."""
    fast = replace(model, module=evaluated(model.module)) if model.quantized else model
    with _dynamic(fast):
        return _asked(fast, inputs)


def unrounded(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The answers of a quantized model as if nothing in it were rounded."""
    if not model.quantized:
        return _asked(model, inputs)  # without the rounding of dynamic activations
    with quiet():
        module: Any = copy.deepcopy(model.module)
    for node in list(module.graph.nodes):
        pair = node.args[0] if node.target in _DEQUANTIZE else None
        if isinstance(pair, Node) and pair.target in _QUANTIZE:
            node.replace_all_uses_with(pair.args[0])
    module.graph.eliminate_dead_code()
    module.recompile()
    return _asked(replace(model, module=module), inputs)


def shaken(model: Model, inputs: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """The answers to inputs that differ by as much as float32 rounds."""
    chance = np.random.default_rng(seed)
    moved = {
        name: array + (chance.uniform(-1, 1, array.shape) * _NOISE * np.abs(array).max(initial=0)).astype(array.dtype)
        if np.issubdtype(array.dtype, np.floating)
        else array
        for name, array in inputs.items()
    }
    return _asked(model, moved)


def input_range(module: nn.Module, place: int) -> tuple[float, float] | None:
    """Smallest and largest value that the integers of an input stand for; None where it stays in float."""
    if not isinstance(module, GraphModule):
        return None
    given = [node for node in module.graph.nodes if node.op == "placeholder"]
    if place >= len(given):
        return None
    for user in given[place].users:
        if user.target is decomposed.quantize_per_tensor.default:
            scale, zero, low, high = user.args[1:5]
            return (low - zero) * scale, (high - zero) * scale
    return None


def steps(model: Model) -> dict[str, float]:
    """Output -> the scale of its integers, of those that a quantized graph gives as integers."""
    if not isinstance(model.module, GraphModule):
        return {}
    (output,) = (node for node in model.module.graph.nodes if node.op == "output")
    given = _flat(output)
    return {
        spec.name: float(cast("float", node.args[1]))
        for spec, node in zip(model.outputs, given, strict=False)
        if isinstance(node, Node) and node.target is decomposed.dequantize_per_tensor.default
    }


def _flat(output: Node) -> list[Any]:
    found: Any = output.args[0]
    return list(found) if isinstance(found, tuple | list) else [found]


def _asked(model: Model, inputs: Mapping[str, Array]) -> dict[str, Array]:
    gathered: dict[str, list[Array]] = {spec.name: [] for spec in model.outputs}
    for i in range(len(next(iter(inputs.values())))):
        found = model({name: torch.from_numpy(array[i : i + 1].copy()) for name, array in inputs.items()})
        for name, tensor in found.items():
            gathered[name].append(tensor.detach().cpu().numpy())
    return {name: np.concatenate([np.atleast_1d(one) for one in parts]) for name, parts in gathered.items()}


@contextmanager
def _dynamic(model: Model) -> Iterator[None]:
    """Inside, layers whose inputs a runtime quantizes at each inference round them, as XNNPACK and ONNX Runtime do."""
    layers = [i.layer for i in model.invariants if i.kind == "codes" and i.value["activations"] == "dynamic"]
    hooks = [
        module.register_forward_pre_hook(_rounding(module))
        for module in (model.module.get_submodule(layer) for layer in layers)
        if not isinstance(module, nn.Embedding)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _rounding(module: nn.Module) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    rows = isinstance(module, nn.Linear)  # a scale for each row; of an image one for all of it

    def rounded(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        x: Tensor = given[0]
        axes = (-1,) if rows else tuple(range(1, x.ndim))
        low, high = x.amin(axes, keepdim=True).clamp(max=0), x.amax(axes, keepdim=True).clamp(min=0)
        scale = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny)
        zero = (-128 - low / scale).round()
        return (((x / scale + zero).round().clamp(-128, 127) - zero) * scale, *given[1:])

    return rounded
