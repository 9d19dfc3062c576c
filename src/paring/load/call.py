"""How a module of anyone's making is called, brought to one form: tensors in order in, tensors in order out.

The module keeps its layers and their names; only its `forward` is put behind another, in a subclass made for it (as
`torch.nn.utils.parametrize` does).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Json, Model, TensorSpec

Style = Literal["order", "names", "dictionary"]
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_ORDERED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


def style(module: nn.Module, inputs: Sequence[TensorSpec], where: str) -> Style:
    """How `forward` wants its inputs: in order, by the names of its parameters, or as one dictionary.

    Raises:
        ParingError: it takes other inputs than these.
    """
    names = [spec.name for spec in inputs]
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):  # a scripted module has none
        return "order"
    named = [one.name for one in parameters if one.kind in _NAMED]
    ordered = [one for one in parameters if one.kind in _ORDERED]
    needed = [one for one in parameters if one.default is one.empty and one.kind in (*_NAMED, *_ORDERED)]
    free = any(one.kind is one.VAR_POSITIONAL for one in parameters)
    takes_one = len(needed) == 1 and needed[0].name not in names and not free
    if takes_one and (_is_mapping(needed[0].annotation) or len(ordered) < len(names)):
        return "dictionary"
    in_order = names == [one.name for one in ordered][: len(names)]
    if not in_order and set(names) <= set(named) and {one.name for one in needed} <= set(names):
        return "names"
    if not free and not len([one for one in needed if one in ordered]) <= len(names) <= len(ordered):
        raise ParingError(
            f"its forward takes ({', '.join(one.name for one in parameters)}), given are {', '.join(names)}",
            where,
            f"give what it takes: {' '.join(f'--shape {one.name}=…' for one in needed)}, "
            "or data whose inputs have these names",
        )
    return "order"


def ask(function: Callable[..., Any], names: Sequence[str], style: Style, tensors: Sequence[Tensor]) -> Any:
    """What a module, or its forward, gives for tensors in the order of `names`, as it is."""
    if style == "order":
        return function(*tensors)
    given = dict(zip(names, tensors, strict=True))
    return function(given) if style == "dictionary" else function(**given)


def flat(answer: Any, where: str) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
    """Names and tensors of what a forward pass gave: a tensor, a tuple or a list of them, or a dictionary.

    Raises:
        ParingError: something in it is no tensor.
    """
    if isinstance(answer, Tensor):
        return ("output",), (answer,)
    if isinstance(answer, Mapping):
        named = {str(key): value for key, value in answer.items()}
        if len(named) < len(answer):
            raise ParingError("two keys of its answer are the same as text", where, "give each a name of its own")
    elif is_dataclass(answer):
        named = {field.name: getattr(answer, field.name) for field in fields(answer)}
    elif isinstance(answer, tuple | list) and answer:
        keys = getattr(answer, "_fields", None) or ("output", *(f"output_{i}" for i in range(1, len(answer))))
        named = dict(zip(keys, answer, strict=True))
    else:
        named = {"its answer": answer}
    wrong = [f"{key} is {_kind(value)}" for key, value in named.items() if not isinstance(value, Tensor)]
    if wrong or not named:
        raise ParingError(
            f"its forward pass gives other things than tensors: {', '.join(wrong) or 'nothing'}",
            where,
            "return tensors alone, in a flat tuple or dictionary: a factory can wrap the model in a module that picks "
            "those that you need",
        )
    return tuple(named), tuple(named.values())


def plain(answer: Any) -> bool:
    """Whether a forward pass gives one tensor, or a tuple, as the working form does."""
    return isinstance(answer, Tensor) or type(answer) is tuple


def adapt(module: nn.Module, names: Sequence[str], style: Style) -> nn.Module:
    """The module, its forward taking tensors in the order of `names` and giving a tensor or a flat tuple.

    Changes the class of `module` in place, to one that differs in `forward` alone.
    """
    own: Any = type(module)
    where = own.__name__

    def forward(self: nn.Module, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        _, tensors = flat(ask(partial(own.forward, self), names, style, inputs), where)
        return tensors[0] if len(tensors) == 1 else tensors

    module.__class__ = type(where, (own,), {"forward": forward, "__module__": own.__module__})
    return module


def replay(model: Model, data: Mapping[str, Json]) -> nn.Module:
    """The adapted module of a saved model."""
    return adapt(model.module, [spec.name for spec in model.inputs], data["inputs"])


def _is_mapping(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.partition("[")[0].rpartition(".")[2].lower() in ("dict", "mapping")
    kind = getattr(annotation, "__origin__", annotation)
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, Mapping | tuple | list):
        return f"a {type(value).__name__} within it"
    return f"a {type(value).__name__}"
