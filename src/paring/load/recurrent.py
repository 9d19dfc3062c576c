"""Recurrent layers of a blueprint, batch first, every value of their answer a plain tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": nn.functional.elu,
    "gelu": nn.functional.gelu,
    "hard_sigmoid": nn.functional.hardsigmoid,
    "linear": lambda x: x,
    "relu": torch.relu,
    "selu": nn.functional.selu,
    "sigmoid": torch.sigmoid,
    "silu": nn.functional.silu,
    "softplus": nn.functional.softplus,
    "softsign": nn.functional.softsign,
    "tanh": torch.tanh,
}
ACTIVATIONS = frozenset(_ACTIVATIONS)


class LSTM(nn.LSTM):
    """`nn.LSTM`, one layer: sequence (batch, steps, features) and optional state -> sequence, state, cell."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size, bias=bias, batch_first=True)

    def forward(  # type: ignore[override]
        self, x: Tensor, hidden: Tensor | None = None, cell: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """States are (batch, hidden)."""
        state = None if hidden is None or cell is None else (hidden.unsqueeze(0), cell.unsqueeze(0))
        sequence, (hidden, cell) = super().forward(x, state)
        return sequence, hidden[0], cell[0]


class GRU(nn.GRU):
    """`nn.GRU`, one layer: sequence (batch, steps, features) and optional state -> sequence, state."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size, bias=bias, batch_first=True)

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The state is (batch, hidden)."""
        sequence, state = super().forward(x, None if hidden is None else hidden.unsqueeze(0))
        return sequence, state[0]


class Unrolled(nn.Module):
    """A recurrent layer step by step, for activations and gates that torch's own do not have.

    Args:
        kind: `rnn`, `lstm` (gates in the order input, forget, cell, output) or `gru` (reset, update, new).
        input_size: features of a step.
        hidden_size: of the state.
        activation: of the state, e.g. `tanh`.
        gate: of the gates, e.g. `sigmoid`.
        reset_after: whether a GRU's reset gate is applied after the product with the state.
    """

    def __init__(
        self,
        kind: str,
        input_size: int,
        hidden_size: int,
        activation: str = "tanh",
        gate: str = "sigmoid",
        reset_after: bool = True,
    ) -> None:
        super().__init__()
        size = {"rnn": 1, "gru": 3, "lstm": 4}[kind] * hidden_size
        self.kind, self.hidden_size, self.reset_after = kind, hidden_size, reset_after
        self.activation, self.gate = _ACTIVATIONS[activation], _ACTIVATIONS[gate]
        self.weight_ih = nn.Parameter(torch.zeros(size, input_size))
        self.weight_hh = nn.Parameter(torch.zeros(size, hidden_size))
        self.bias_ih = nn.Parameter(torch.zeros(size))
        self.bias_hh = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """float32, (batch, steps, features) -> (batch, steps, hidden), and the last state, one tensor or two."""
        count = 2 if self.kind == "lstm" else 1
        given = state or (x.new_zeros(x.shape[0], self.hidden_size),) * count
        fed = nn.functional.linear(x, self.weight_ih, self.bias_ih)
        steps = []
        for step in range(x.shape[1]):
            given = getattr(self, f"_{self.kind}")(fed[:, step], *given)
            steps.append(given[0])
        return (torch.stack(steps, 1), *given)

    def _recur(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(hidden, self.weight_hh, self.bias_hh)

    def _rnn(self, fed: Tensor, hidden: Tensor) -> tuple[Tensor]:
        return (self.activation(fed + self._recur(hidden)),)

    def _lstm(self, fed: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        i, f, c, o = (fed + self._recur(hidden)).chunk(4, -1)
        cell = self.gate(f) * cell + self.gate(i) * self.activation(c)
        return self.gate(o) * self.activation(cell), cell

    def _gru(self, fed: Tensor, hidden: Tensor) -> tuple[Tensor]:
        fed_r, fed_z, fed_n = fed.chunk(3, -1)
        size = self.hidden_size
        if self.reset_after:
            own_r, own_z, own_n = self._recur(hidden).chunk(3, -1)
            reset, update = self.gate(fed_r + own_r), self.gate(fed_z + own_z)
            new = self.activation(fed_n + reset * own_n)
        else:
            own = nn.functional.linear(hidden, self.weight_hh[: 2 * size], self.bias_hh[: 2 * size])
            own_r, own_z = own.chunk(2, -1)
            reset, update = self.gate(fed_r + own_r), self.gate(fed_z + own_z)
            own_n = nn.functional.linear(reset * hidden, self.weight_hh[2 * size :], self.bias_hh[2 * size :])
            new = self.activation(fed_n + own_n)
        return (update * hidden + (1 - update) * new,)


RECURRENT: dict[str, Callable[..., Any]] = {"LSTM": LSTM, "GRU": GRU, "Unrolled": Unrolled}
