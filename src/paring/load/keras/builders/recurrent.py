"""Recurrent layers and their wrappers."""

# ruff: noqa: ARG001 (every builder takes the same arguments)

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from paring.load.keras.sheet import Sheet, Unsupported, Value, weight
from paring.load.recurrent import ACTIVATIONS

_GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def recurrent(sheet: Sheet, layer: Any, sequence: Any, initial_state: Any = None, **_: Any) -> Any:
    """LSTM, GRU, SimpleRNN, and RNN around one of their cells."""
    if isinstance(sequence, list | tuple):
        sequence, *states = sequence
        initial_state = states or initial_state
    states = list(initial_state) if isinstance(initial_state, list | tuple) else [initial_state]
    if layer.stateful:
        raise Unsupported("state that outlives a batch (stateful)")
    cell = layer.cell if hasattr(layer, "cell") else layer
    kind = {"LSTMCell": "lstm", "GRUCell": "gru", "SimpleRNNCell": "rnn"}.get(type(cell).__name__)
    if kind is None:
        raise Unsupported(f"the cell {type(cell).__name__}")
    x = sheet.plain(sequence)
    if layer.go_backwards:
        x = sheet.add("flip", x, part="backwards", dims=[1])
    module = _cell(sheet, cell, kind, x, [sheet.plain(state) for state in states if state is not None])
    steps = f"{module}:0"
    # without the sequence the answer is the last state
    answers = [steps if layer.return_sequences else f"{module}:1"]
    if layer.return_state:
        answers += [f"{module}:{i}" for i in range(1, 3 if kind == "lstm" else 2)]
    values = [Value(answer, shape) for answer, shape in zip(answers, sheet.shapes, strict=True)]
    return values if layer.return_state else values[0]


def bidirectional(sheet: Sheet, layer: Any, sequence: Any, initial_state: Any = None, **_: Any) -> Any:
    """Bidirectional: the layer forth, its twin back, and their answers merged."""
    if isinstance(sequence, list | tuple):
        sequence, *given = sequence
        initial_state = given or initial_state
    given = list(initial_state or ())
    half = len(given) // 2
    merged, inner = layer.merge_mode, []
    for one, state in ((layer.forward_layer, given[:half]), (layer.backward_layer, given[half:])):
        shapes = one.compute_output_shape((None, *sequence.shape))
        shapes = [shapes] if not isinstance(shapes[0], list | tuple) else list(shapes)
        with sheet.drawing(one, f"{sheet.name}_{one.name}", [tuple(shape[1:]) for shape in shapes]):
            found = recurrent(sheet, one, sequence, state or None)
        inner.append(found if isinstance(found, list) else [found])
    (forth, *forth_states), (back, *back_states) = inner
    other = back.reference
    if layer.return_sequences:
        other = sheet.add("flip", other, part="back", dims=[1])
    answers: list[str] = []
    if merged == "concat":
        answers = [sheet.add("concatenate", forth.reference, other, dim=len(forth.shape))]
    elif merged in ("sum", "ave"):
        answers = [sheet.add("add", forth.reference, other)]
        if merged == "ave":
            answers = [sheet.add("constant_arithmetic", *answers, part="half", function="multiply", value=0.5)]
    elif merged == "mul":
        answers = [sheet.add("multiply", forth.reference, other)]
    else:
        answers = [forth.reference, other]
    answers += [state.reference for state in (*forth_states, *back_states)]
    values = [Value(answer, shape) for answer, shape in zip(answers, sheet.shapes, strict=True)]
    return values if len(values) > 1 else values[0]


def time_distributed(sheet: Sheet, layer: Any, x: Value, mask: Any = None) -> Value:
    """TimeDistributed: the same layer on every step."""
    from paring.load.keras.builders import table

    inner = layer.layer
    build = table().get(type(inner).__name__)
    if build is None:
        raise Unsupported(f"a {type(inner).__name__} inside")
    steps, *one = x.shape
    shape = tuple(inner.compute_output_shape((None, *one))[1:])
    merged = Value(sheet.add("merge_time", sheet.plain(x), part="steps"), tuple(one))
    with sheet.drawing(inner, f"{sheet.name}_{inner.name}", [shape]):
        found = build(sheet, inner, merged)
    return sheet.value(sheet.add("split_time", sheet.plain(found), steps=steps))


def _cell(sheet: Sheet, cell: Any, kind: str, x: str, states: list[str]) -> str:
    kernel, inner = weight(cell.kernel).t(), weight(cell.recurrent_kernel).t()
    size = inner.shape[1]
    bias = getattr(cell, "bias", None)
    biases = torch.zeros(2, kernel.shape[0])
    if bias is not None:
        found = weight(bias)
        if found.ndim == 2:
            biases = found
        else:
            biases[0] = found
    tensors = [kernel, inner, biases[0], biases[1]]
    if kind == "gru":  # Keras: update, reset, new; torch: reset, update, new
        tensors = [_reset_first(tensor, size) for tensor in tensors]
    activation = _name(cell.activation)
    gate = _name(cell.recurrent_activation) if kind != "rnn" else "sigmoid"
    if (kind == "gru" and not cell.reset_after) or (activation, gate) != ("tanh", "sigmoid") or kind == "rnn":
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return sheet.add(
            "Unrolled",
            x,
            *states,
            tensors=dict(zip(names, tensors, strict=True)),
            kind=kind,
            input_size=kernel.shape[1],
            hidden_size=size,
            activation=activation,
            gate=gate,
            reset_after=bool(getattr(cell, "reset_after", True)),
        )
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return sheet.add(
        kind.upper(),
        x,
        *states,
        tensors=dict(zip(names, tensors, strict=True)),
        input_size=kernel.shape[1],
        hidden_size=size,
    )


def _reset_first(tensor: Tensor, size: int) -> Tensor:
    update, reset, new = tensor[:size], tensor[size : 2 * size], tensor[2 * size :]
    return torch.cat([reset, update, new])


def _name(function: Any) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    if name not in ACTIVATIONS:
        raise Unsupported(f"the activation {name}")
    return str(name)


BUILDERS = {
    "LSTM": recurrent,
    "GRU": recurrent,
    "SimpleRNN": recurrent,
    "RNN": recurrent,
    "Bidirectional": bidirectional,
    "TimeDistributed": time_distributed,
}
