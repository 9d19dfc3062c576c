"""Recurrent layers: ONNX orders the gates otherwise than torch, and gives the sequence with its directions apart."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value

_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # torch's order in ONNX's
_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def recurrent(operator: Operator) -> Sequence[Value | None]:
    """One layer for each direction, batch first; the answer in ONNX's order."""
    kind, size = operator.kind, int(operator.attribute("hidden_size"))
    direction = operator.attribute("direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    options = _options(operator, count)
    x = operator[0]
    first = bool(operator.attribute("layout", 0))
    x = x if first else operator.permute(x, [1, 0, 2])
    _full_length(operator, x.shape[1])
    weights = [operator.needed(index, "weight") for index in (1, 2)]
    bias = operator.constant(3, "bias")
    states: list[Value | None] = [None, None] if kind == "LSTM" else [None]
    for index in range(len(states)):
        states[index] = _state(operator, operator.get(5 + index), first)
    steps, ends = [], []
    for one in range(count):
        backwards = direction == "reverse" or one == 1
        own = [None if state is None else operator.emit("select", state, dim=1, index=one) for state in states]
        given = operator.emit("flip", x, dims=[1]) if backwards else x
        answer = operator.layers(
            options["op"], given, *(own if any(own) else ()),
            tensors=_tensors(kind, options["op"], [w[one] for w in weights], None if bias is None else bias[one]),
            input_size=x.shape[2], hidden_size=size, **options["more"],
        )  # fmt: skip
        steps.append(operator.emit("flip", answer[0], dims=[1]) if backwards else answer[0])
        ends.append(answer[1:])
    return _answer(operator, steps, ends, first)


def _options(operator: Operator, count: int) -> dict[str, Any]:
    kind = operator.kind
    found = operator.attribute("activations") or _USUAL[kind] * count
    wanted = [name.capitalize() for name in found]
    if operator.get(7) is not None:
        raise Cannot("it has peepholes")
    if operator.attribute("clip") or operator.attribute("input_forget", 0):
        raise Cannot("it clips its cell, or couples its gates")
    if kind == "RNN":
        if len(set(wanted)) > 1 or wanted[0] not in ("Tanh", "Relu"):
            raise Cannot(f"its activations are {', '.join(found)}")
        return {"op": "Unrolled", "more": {"kind": "rnn", "activation": wanted[0].lower()}}
    if wanted != _USUAL[kind] * count:
        raise Cannot(f"its activations are {', '.join(found)}, not torch's {', '.join(_USUAL[kind])}")
    if kind == "GRU" and not operator.attribute("linear_before_reset", 0):
        return {"op": "Unrolled", "more": {"kind": "gru", "reset_after": False}}
    return {"op": kind, "more": {}}


def _full_length(operator: Operator, steps: int) -> None:
    lengths = operator.get(4)
    known = None if lengths is None else lengths.constant
    if lengths is not None and (known is None or not bool((known == steps).all())):
        raise Cannot("its sequences have lengths of their own", "pad them to one length")


def _state(operator: Operator, state: Value | None, first: bool) -> Value | None:
    """To (batch, directions, hidden); zeros are what torch begins with anyway."""
    if state is None or (state.known and not any(bool(tensor.any()) for tensor in state.at)):
        return None
    return state if first else operator.permute(state, [1, 0, 2])


def _tensors(kind: str, op: str, weights: Sequence[Tensor], bias: Tensor | None) -> dict[str, Tensor]:
    def ordered(tensor: Tensor) -> Tensor:
        parts = tensor.chunk(len(_GATES[kind]))
        return torch.cat([parts[gate] for gate in _GATES[kind]])

    rows = weights[0].shape[0]
    bias = torch.zeros(2 * rows) if bias is None else bias
    end = "" if op == "Unrolled" else "_l0"
    return {
        f"weight_ih{end}": ordered(weights[0]),
        f"weight_hh{end}": ordered(weights[1]),
        f"bias_ih{end}": ordered(bias[:rows]),
        f"bias_hh{end}": ordered(bias[rows:]),
    }


def _answer(
    operator: Operator, steps: Sequence[Value], ends: Sequence[Sequence[Value]], first: bool
) -> list[Value | None]:
    """Sequences to (steps, directions, batch, hidden), states to (directions, batch, hidden), or batch first."""
    used = [*operator.outputs, False, False, False][:3]
    found: list[Value | None] = [None] * len(operator.outputs)
    if used[0]:
        joined = steps[0] if len(steps) == 1 else operator.emit("concatenate", *steps, dim=2)
        shapes = [(*shape[:2], len(steps), shape[2] // len(steps)) for shape in joined.shapes]
        apart = operator.reshape(joined, shapes)
        found[0] = apart if first else operator.permute(apart, [1, 2, 0, 3])
    for index in range(1, 3):
        if used[index]:
            one = [operator.reshape(end[index - 1], [(s[0], 1, s[1]) for s in end[index - 1].shapes]) for end in ends]
            state = one[0] if len(one) == 1 else operator.emit("concatenate", *one, dim=1)
            found[index] = state if first else operator.permute(state, [1, 0, 2])
    return found


OPERATORS: dict[str, Builder] = {"LSTM": recurrent, "GRU": recurrent, "RNN": recurrent}
