"""What the exporter would refuse, or translate wrongly, is told before."""

from pathlib import Path

import pytest
from torch import Tensor, nn
from torch.nn import functional

from paring.core.errors import ParingError
from paring.targets.onnxruntime import ONNXRuntime
from paring.testing.between import Between, between

TARGET = ONNXRuntime()


def attention(given: Tensor) -> Tensor:
    rows = given.flatten(2)
    return functional.scaled_dot_product_attention(rows, rows, rows).reshape(given.shape)


@pytest.mark.parametrize(
    ("operator", "told"),
    [
        (attention, "attention"),
        (lambda given: functional.avg_pool2d(given, 2, divisor_override=3), "divisor"),
        (nn.RReLU(), "rrelu"),
    ],
    ids=["attention of three axes", "divisor", "random slope"],
)
def test_an_operator_that_onnx_lacks_is_told(operator: Between, told: str, tmp_path: Path) -> None:
    model = between({"one": operator}, tmp_path, int8=False)
    assert [told in one.problem for one in TARGET.check(model)] == [True]
    with pytest.raises(ParingError, match=told):
        TARGET.export(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
