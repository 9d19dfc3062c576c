"""Which tensors a step on sparsity acts on: those that something is multiplied with, chosen by the recipe."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from paring.core.errors import ParingError
from paring.core.model import Model, Skipped
from paring.core.quiet import quiet
from paring.steps.select import Choosable, select

# what multiplies with a tensor -> the kind of layer that it makes
_KINDS = {
    "linear": "linear", "multi_head_attention_forward": "linear",
    "addmm": "matrix", "mm": "matrix", "matmul": "matrix", "bmm": "matrix", "__matmul__": "matrix",
    "conv1d": "conv", "conv2d": "conv", "conv3d": "conv",
    "conv_transpose1d": "transposed", "conv_transpose2d": "transposed", "conv_transpose3d": "transposed",
    "embedding": "embedding", "embedding_bag": "embedding",
    "lstm": "recurrent", "gru": "recurrent", "rnn_tanh": "recurrent", "rnn_relu": "recurrent",
}  # fmt: skip
_QUANTIZED = "a quantized model cannot be pruned"
_LOOKS = {"__get__", "__set__", "dim", "size", "numel", "stride"}  # at a tensor, without computing


@dataclass(frozen=True)
class Weight(Choosable):
    """A tensor of weights; its name is the tensor's, so that the layer's chooses it.

    Attributes:
        kind: `linear`, `matrix` (a bare product), `conv`, `depthwise`, `transposed`, `embedding`, `recurrent`; empty
            for any other.
        reason: why its weights cannot be pruned; empty if they can.
    """

    kind: str = ""
    reason: str = ""


def weights(model: Model) -> list[Weight]:
    """The tensors of two axes or more that the network computes with, in the order of their first use.

    A tensor is known by what computes with it, whatever module holds it. Biases and norms have one axis.

    Raises:
        ParingError: the network fails.
    """
    named = {id(tensor): (name, tensor) for name, tensor in model.module.named_parameters() if tensor.ndim > 1}
    uses = _uses(model, named, 0)
    if any("embedding" in operators for operators in uses.values()):
        again = _uses(model, named, 1)
        for key, operators in uses.items():
            rows, others = operators.get("embedding"), again.get(key, {}).get("embedding")
            if rows is not None and others is not None and torch.equal(rows, others):
                operators["embedding"] = None
    found = [_weight(*named[key], operators) for key, operators in uses.items()]
    computing = [one.name for one in found if one.kind not in {"", "embedding"}]
    ends = {"first": computing[:1], "last": computing[-1:]}
    return [replace(one, kinds=one.kinds | {end for end, names in ends.items() if one.name in names}) for one in found]


def chosen(
    model: Model, layers: Iterable[str], keep: Iterable[str], where: str, reasons: Mapping[str, str] | None = None
) -> tuple[list[str], tuple[Skipped, ...]]:
    """The tensors that a step is to prune, and those that it leaves, each with the reason.

    Args:
        model: not quantized.
        layers: patterns of layers to prune; all if empty.
        keep: patterns of layers that are left as they are.
        where: the step.
        reasons: tensor -> why this step cannot prune it.

    Raises:
        ParingError: the model is quantized already, or nothing is left to prune.
        UnknownName: a pattern matches no layer.
    """
    if model.fixed:
        raise ParingError(_QUANTIZED, where, "place it before the quantization step")
    there, asked = weights(model), tuple(layers)
    wanted = set(select(asked or ("*",), there, f"{where}: layers")) if there else set()
    kept = set(select(keep, there, f"{where}: keep"))
    skipped = {}
    for one in there:
        if one.name in kept:
            skipped[one.name] = "kept as it is, as the recipe asks"
        elif one.name not in wanted:
            skipped[one.name] = "not among the layers that the recipe names"
        elif reason := one.reason or (reasons or {}).get(one.name, ""):
            skipped[one.name] = reason
    names = [one.name for one in there if one.name not in skipped]
    if not names:
        told = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        raise ParingError(
            f"no layer is left to prune{told and f' ({told})'}",
            f"{where} of {model.source}",
            "leave the step out, or loosen layers and keep",
        )
    return names, tuple(Skipped(layer_of(name), reason) for name, reason in skipped.items())


def acts_on(model: Model, reasons: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Layer -> None where its weights can be pruned, else why not."""
    quantized = _QUANTIZED if model.fixed else ""
    return {
        layer_of(one.name): quantized or one.reason or (reasons or {}).get(one.name) or None for one in weights(model)
    }


def layer_of(name: str) -> str:
    """What to call a tensor: its layer, where that has no other."""
    return name.removesuffix(".weight")


class _Watch(TorchFunctionMode):
    """Notes what is computed with each of some tensors: operator -> what it is about (`_about`)."""

    def __init__(self, tensors: Mapping[int, Any]) -> None:
        super().__init__()
        self._tensors = tensors
        self.uses: dict[int, dict[str, Any]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        name = getattr(func, "__name__", str(func)).partition(".")[0]
        if name not in _LOOKS:
            for leaf in tree_leaves((args, given)):
                if id(leaf) in self._tensors:
                    self.uses.setdefault(id(leaf), {}).setdefault(name, _about(name, args, given))
        return func(*args, **given)


def _uses(model: Model, named: Mapping[int, Any], value: int) -> dict[int, dict[str, Any]]:
    """What the network computes with each tensor when it is fed with `value` everywhere."""
    fed = [torch.full(spec.sized(1), value, dtype=getattr(torch, spec.dtype)) for spec in model.inputs]
    watch = _Watch(named)
    try:
        with quiet(), torch.no_grad(), watch:
            model.module(*fed)
    except Exception as error:  # a network raises what it likes
        raise ParingError(
            f"the network fails on {value}s: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
            str(model.source),
            "prune a network that answers to any input of its shape",
        ) from error
    return watch.uses


def _about(operator: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> Any:
    """Of a look-up its rows; of a convolution its groups."""
    if operator.startswith("conv"):
        return given["groups"] if "groups" in given else args[6] if len(args) > 6 else 1
    return (args[0] if args else given["input"]).clone() if operator == "embedding" else True


def _weight(name: str, tensor: Tensor, operators: Mapping[str, Any]) -> Weight:
    kinds = [_KINDS[operator] for operator in operators if operator in _KINDS]
    if not kinds:
        return Weight(name, frozenset({"layer"}), reason=f"{next(iter(operators))} uses it, and multiplies no matrix")
    if kinds[0] == "conv" and tensor.shape[1] == 1 and _grouped(operators):
        kinds = ["depthwise"]
    reason = ""
    if not tensor.is_floating_point():
        reason = f"its type is {str(tensor.dtype).removeprefix('torch.')}"
    elif kinds == ["embedding"] and operators.get("embedding", True) is None:
        reason = "it looks up the same rows always, which an exported file holds as a constant"
    return Weight(name, frozenset(kinds), kinds[0], reason)


def _grouped(operators: Mapping[str, Any]) -> bool:
    return any(groups > 1 for operator, groups in operators.items() if operator.startswith("conv"))
