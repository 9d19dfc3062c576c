"""What XNNPACK is handed answers as the graph that it was made of: between unlike scales, with two readers."""

from pathlib import Path

import pytest
from torch import nn
from torch.nn import functional

from paring.targets.executorch import ExecuTorch
from paring.testing.between import Stored, agreement, between

# one scale before and behind, where XNNPACK wants it
ONE_SCALE = {
    "clamp from below": lambda y: y.clamp(min=0.1),
    "clamp from above": lambda y: y.clamp(max=0.1),
    "clamp": lambda y: y.clamp(-0.2, 0.3),
    "narrow": lambda y: y.narrow(2, 1, 5),
    "movedim": lambda y: y.movedim(2, 1),
    "chunk": lambda y: y.chunk(2, 1)[0],
    "flip": lambda y: y.flip(3),
    "pool without a step": lambda y: functional.max_pool2d(y, 2),
    "pool of rows": lambda y: functional.max_pool2d(y, (2, 1)),
    "relu behind a view": lambda y: y.reshape(-1, 4, 16, 8).relu(),
}
# taken apart into operators of which several read the same codes
TAKEN_APART = {
    "softplus": functional.softplus,
    "mish": functional.mish,
    "hard sigmoid": functional.hardsigmoid,
    "softsign": functional.softsign,
    "hard shrink": lambda y: functional.hardshrink(y, 0.2),
}
STORED = {
    "times": Stored(lambda y, own: y * own, 8, 1, 1),
    "plus": Stored(lambda y, own: y + own, 8, 8),
    "minus": Stored(lambda y, own: own - y, 1, 8, 1, 1),
    "prelu": nn.PReLU(8),
}
TARGET = ExecuTorch()


@pytest.mark.parametrize("operators", [ONE_SCALE, TAKEN_APART, STORED], ids=["one scale", "taken apart", "stored"])
def test_integers_answer_as_their_graph_does(operators: dict[str, object], tmp_path: Path) -> None:
    found = agreement(TARGET, between(operators, tmp_path, int8=True), operators, tmp_path)  # type: ignore[arg-type]
    assert {name: value for name, value in found.items() if value < 30} == {}


def test_scales_of_a_stored_operand_are_told(tmp_path: Path) -> None:
    model = between({"times": STORED["times"]}, tmp_path, int8=True)
    path = TARGET.export(model, tmp_path / "m.pte")
    promised = {tuple(one.value) for one in model.invariants if one.kind == "scale" and len(one.value) == 1}
    stored = [one.scales for one in TARGET.describe(path).tensors if one.bytes and one.dtype in ("char", "qint8")]
    assert len(promised) == 1
    assert [pytest.approx(one, rel=1e-5) for one in promised] == [one for one in stored if len(one) == 1]
