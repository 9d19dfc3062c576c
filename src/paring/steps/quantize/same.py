"""Whether a graph or a folded module answers as what it was made from, shown on a few samples that are made up.

Tracing, making writes explicit and folding all rest on rules; that they held is shown before anything is built on them.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from paring.core.errors import ParingError
from paring.core.model import Model, TensorSpec
from paring.core.quiet import quiet
from paring.steps.quantize.annotate import layer_of

FAR = 1e-3  # error, of the answers' norm
BATCH = 2

Inputs = tuple[Tensor, ...]


def samples(specs: tuple[TensorSpec, ...]) -> Iterator[Inputs]:
    """Drawn inputs, and zeros."""
    generator = torch.Generator().manual_seed(0)
    yield tuple(_drawn(spec, generator) for spec in specs)
    yield tuple(torch.zeros(spec.sized(BATCH), dtype=getattr(torch, spec.dtype)) for spec in specs)


def require(model: Model, graph: nn.Module, done: str) -> None:
    """Holds a graph, or a changed module, against the module of a model.

    Args:
        model: what it was made from.
        graph: with the same inputs and outputs.
        done: what made it, e.g. `traced`.

    Raises:
        ParingError: they differ; the layer is named where the answers of layers can be compared.
    """
    for inputs in samples(model.inputs):
        wanted, found = _tried(model.module, inputs), _tried(graph, inputs)
        if wanted is None:  # inputs that were made up need not suit it
            continue
        if found is None or _far(wanted, found):
            layer = _first(model, graph, inputs) if isinstance(graph, GraphModule) else ""
            raise ParingError(
                f"answers otherwise once it is {done}" + (f": {layer} is the first layer to differ" if layer else ""),
                str(model.source),
                "write what this layer does without writing into tensors in place, and report the model that shows it",
            )


def _answers(function: Callable[..., Any], inputs: Inputs) -> list[Tensor]:
    with torch.no_grad(), quiet():  # inputs of their own, as a network may write into them
        found = function(*(one.clone() for one in inputs))
    return [one for one in torch.utils._pytree.tree_leaves(found) if isinstance(one, Tensor)]


def _tried(function: Callable[..., Any], inputs: Inputs) -> list[Tensor] | None:
    with suppress(Exception):
        return _answers(function, inputs)
    return None


def _far(wanted: list[Tensor], found: list[Tensor]) -> bool:
    return len(wanted) != len(found) or any(differ(one, other) for one, other in zip(wanted, found, strict=True))


def differ(wanted: Tensor, found: Tensor) -> bool:
    """Whether two tensors differ by more than rounding; what is not a number, or infinite, in both is the same."""
    if wanted.shape != found.shape:
        return True
    if not (wanted.is_floating_point() or wanted.is_complex()):
        return not torch.equal(wanted, found.to(wanted.dtype))
    if wanted.is_complex():
        return differ(torch.view_as_real(wanted), torch.view_as_real(found))
    finite = wanted.isfinite()
    if not bool((finite | (wanted == found) | (wanted.isnan() & found.isnan())).all()):
        return True
    wanted, found = wanted.double()[finite], found.double()[finite]
    return not bool((found - wanted).norm() <= FAR * wanted.norm() + 1e-6 * max(wanted.numel(), 1) ** 0.5)


def _first(model: Model, graph: GraphModule, inputs: Inputs) -> str:
    """The first layer that gives something else than its module does; empty where none can be compared."""
    given: list[Tensor] = []

    def note(_: nn.Module, __: Any, answer: Any) -> None:
        if isinstance(answer, Tensor):
            given.append(answer.clone())  # before something is written into it

    hooks = [part.register_forward_hook(note) for part in model.module.modules()]
    try:
        _answers(model.module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    values: dict[Node, Any] = {}

    class Noting(Interpreter):
        def run_node(self, n: Node) -> Any:
            values[n] = super().run_node(n)
            return values[n]

    with torch.no_grad(), quiet(), suppress(Exception):  # as far as it gets
        Noting(graph).run(*(one.clone() for one in inputs))
    last: dict[str, Node] = {}
    for node in graph.graph.nodes:
        if node.op == "call_function" and isinstance(values.get(node), Tensor):
            last[layer_of(node)] = node
    modules = {name for name, _ in model.module.named_modules()}
    for name, node in last.items():
        alike = [one for one in given if one.shape == values[node].shape]
        if name in modules and alike and all(differ(one, values[node]) for one in alike):
            return name  # no module gives that
    return ""


def _drawn(spec: TensorSpec, generator: torch.Generator) -> Tensor:
    shape, dtype = spec.sized(BATCH), getattr(torch, spec.dtype)
    low, high = spec.range or ((-2.0, 2.0) if dtype.is_floating_point else (0, 1))
    if dtype.is_floating_point:
        return (torch.rand(shape, generator=generator) * (high - low) + low).to(dtype)
    if dtype is torch.bool:
        return torch.rand(shape, generator=generator) < 0.5
    return torch.randint(int(low), int(high) + 1, shape, generator=generator).to(dtype)
