"""What a model costs on paper: multiply-accumulates and parameters. Counts, never called speed.

What counts as a multiply-accumulate is what papers count: convolutions, matrix products, attention, and the recurrent
layers made of them; padding counts, biases, batch norm, activations and other elementwise work do not. Operators are
counted where torch dispatches them, so it does not matter whether a layer is a module, a function or a node of a graph.
A recurrent layer that one fused GPU kernel computes is not seen: count such a model on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from paring.core.model import Model

Shape = tuple[int, ...]

# operators whose constant operands are weights, and those that only store a tensor in another way
_PRODUCTS = ("conv1d", "conv2d", "conv3d", "conv_transpose", "convolution", "linear", "matmul", "mm", "addmm", "bmm")
_STORAGE = ("quantize", "dequantize", "choose_qparams")


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer costs for one sample.

    Attributes:
        name: path of the module, empty for the model itself; for an operator of a graph the path of the module that it
            was traced from, or the node's name if that is not recorded.
        kind: class of the module, or name of the operator.
        parameters: number of elements, those of layers inside it left out.
        macs: multiply-accumulates, those of layers inside it left out.
        output: shape of what it gives, batch first; empty if that is not one tensor.
    """

    name: str
    kind: str
    parameters: int
    macs: int
    output: Shape


def macs(model: Model) -> int:
    """Multiply-accumulates of one sample (a batch of one, unless the model's batch is fixed)."""
    with _counting() as counter:
        model.module(*_zeros(model))
    return _macs_so_far(counter)


def parameters(model: Model) -> int:
    """Number of elements of the weights that the model computes with; a shared tensor counts once.

    In an ordinary module these are its parameters: affine batch norm included, running statistics and other buffers
    not. A graph is judged by what it reads, because quantization leaves tensors behind that nothing uses any more: its
    parameters, and the constants that stand in their place (integers that are dequantized, operands of a convolution or
    a matrix product). Scales, zero points and running statistics are not among them.
    """
    return sum(tensor.numel() for _, tensor in _weights(model.module))


def per_layer(model: Model) -> list[LayerCost]:
    """Every layer that has parameters or multiply-accumulates of its own, in the order of execution.

    They sum up to `parameters` and `macs`. A layer that runs several times has one entry, with the sum. Parameters of a
    module that is never called itself are its nearest caller's.
    """
    module = model.module
    with _counting() as counter:
        ledger = _Ledger(counter, module)
        with ledger.watching(module):
            if isinstance(module, fx.GraphModule):
                _NodeByNode(module, ledger).run(*_zeros(model))
            else:
                module(*_zeros(model))
    for name, tensor in _weights(module):
        ledger.owner(name).parameters += tensor.numel()
    return [
        LayerCost(name, entry.kind, entry.parameters, entry.macs, entry.output)
        for name, entry in ledger.entries.items()
        if entry.parameters or entry.macs
    ]


@dataclass(slots=True)
class _Entry:
    kind: str
    parameters: int = 0
    macs: int = 0
    output: Shape = ()


class _Ledger:
    """Charges what is counted to the innermost layer that is running."""

    def __init__(self, counter: FlopCounterMode, module: nn.Module) -> None:
        self.entries = {"": _Entry(type(module).__name__)}
        self._counter = counter
        self._running = [""]
        self._charged = 0

    def enter(self, name: str, kind: str) -> None:
        self._charge()
        self._running.append(name)
        self.entries.setdefault(name, _Entry(kind))

    def leave(self, output: object) -> None:
        self._charge()
        entry = self.entries[self._running.pop()]
        entry.output = tuple(output.shape) if isinstance(output, Tensor) else ()

    def owner(self, name: str) -> _Entry:
        """The innermost layer that ran around the tensor or module called `name`."""
        while name not in self.entries:
            name = name.rpartition(".")[0]
        return self.entries[name]

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """Follows the calls of every module inside `module`."""
        handles = []
        try:
            for name, inner in module.named_modules():
                if name:
                    kind = type(inner).__name__
                    handles.append(
                        inner.register_forward_pre_hook(lambda *_, name=name, kind=kind: self.enter(name, kind))
                    )
                    handles.append(inner.register_forward_hook(lambda _, __, output: self.leave(output)))
            yield
            self._charge()
        finally:
            for handle in handles:
                handle.remove()

    def _charge(self) -> None:
        total = _macs_so_far(self._counter)
        self.entries[self._running[-1]].macs += total - self._charged
        self._charged = total


class _NodeByNode(fx.Interpreter):
    """Runs a graph and tells a ledger which operator is running."""

    def __init__(self, module: fx.GraphModule, ledger: _Ledger) -> None:
        super().__init__(module)
        self._ledger = ledger

    def run_node(self, n: fx.Node) -> Any:
        if n.op not in ("call_function", "call_method"):
            return super().run_node(n)  # a called module reports itself
        self._ledger.enter(*_origin(n))
        output = super().run_node(n)
        self._ledger.leave(output)
        return output


@contextmanager
def _counting() -> Iterator[FlopCounterMode]:
    """Counts the multiply-accumulates inside."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it hides a whole transformer layer in one operator
    try:
        counter = FlopCounterMode(display=False, custom_mapping=_MISSING)
        counter.mod_tracker = _NoModules()  # type: ignore[assignment]
        with torch.no_grad(), counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _NoModules:
    """In the place of torch's tracker of modules, which wants gradients of parameters that layers are given."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _macs_so_far(counter: FlopCounterMode) -> int:
    flops: int = counter.get_total_flops()
    return flops // 2  # torch counts a multiplication and an addition as two


def _attention_flops(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    *outer, length, width = query
    return 2 * prod(outer) * length * key[-2] * (width + value[-1])


def _vector_flops(a: Shape, *_: object, **__: object) -> int:
    return 2 * prod(a)  # a matrix times a vector, or a vector times a vector


def _added_vector_flops(_: Shape, matrix: Shape, *__: object, **___: object) -> int:
    return 2 * prod(matrix)


def _int_product_flops(a: Shape, b: Shape, **_: object) -> int:
    return 2 * prod(a) * b[1]


def _lstm_flops(inputs: Shape, of_input: Shape, of_state: Shape, *_: object, **__: object) -> int:
    return 2 * prod(inputs[:-1]) * (prod(of_input) + prod(of_state))


_ATEN = torch.ops.aten
_MISSING = {  # operators that torch's own counter leaves out
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    _ATEN.mv: _vector_flops,
    _ATEN.dot: _vector_flops,
    _ATEN.addmv: _added_vector_flops,
    _ATEN._int_mm: _int_product_flops,
    _ATEN.mkldnn_rnn_layer: _lstm_flops,
}


def _zeros(model: Model) -> list[Tensor]:
    """One sample, on the model's device."""
    tensor = next(chain(model.module.parameters(), model.module.buffers()), None)
    device = torch.device("cpu") if tensor is None else tensor.device
    return [torch.zeros(spec.sized(1), dtype=getattr(torch, spec.dtype), device=device) for spec in model.inputs]


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(name of the tensor or of the layer that it belongs to, tensor); each tensor once."""
    seen: set[int] = set()
    for name, tensor in _held(module, ""):
        if id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, tensor


def _held(module: nn.Module, path: str) -> Iterator[tuple[str, Tensor]]:
    """As `_weights`, shared tensors as often as they occur."""
    if not isinstance(module, fx.GraphModule):
        for name, parameter in module.named_parameters(recurse=False):
            yield path + name, parameter
        for name, child in module.named_children():
            yield from _held(child, f"{path}{name}.")
        return
    for node in module.graph.nodes:
        target = str(node.target)
        if node.op == "call_module":
            yield from _held(module.get_submodule(target), f"{path}{target}.")
        elif node.op == "get_attr":
            owner, _, name = target.rpartition(".")
            tensor, user = getattr(module.get_submodule(owner), name), _user(node)
            if user is not None and (isinstance(tensor, nn.Parameter) or _in_place_of_parameter(node, user)):
                yield path + _origin(user)[0], tensor


def _user(node: fx.Node) -> fx.Node | None:
    """The operator that computes with the values of `node`, whatever way they are stored; None for a scale."""
    for user in node.users:
        if not _operator(user).startswith(_STORAGE):
            return user
        if user.args[:1] == (node,):
            return _user(user)
    return None


def _in_place_of_parameter(node: fx.Node, user: fx.Node) -> bool:
    """Whether a constant stands where a parameter stood: stored as integers, or an operand of a product."""
    return user not in node.users or _operator(user).startswith(_PRODUCTS)


def _operator(node: fx.Node) -> str:
    """`conv2d` of `aten.conv2d.default`."""
    return str(getattr(node.target, "__name__", node.target)).partition(".")[0]


def _origin(node: fx.Node) -> tuple[str, str]:
    """Name and kind of the layer that a node was traced from."""
    stack: dict[str, tuple[str, Any]] = node.meta.get("nn_module_stack") or {}
    path, kind = next(reversed(stack.values()), ("", ""))
    if not path:
        return node.name, _operator(node)
    return path, str(getattr(kind, "__name__", kind)).rpartition(".")[2]
