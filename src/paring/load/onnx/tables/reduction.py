"""Reductions."""

from collections.abc import Callable

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value


def _reduce(make: Callable[[Operator, Value, list[int], bool], Value]) -> Builder:
    def build(operator: Operator) -> Value:
        x, axes = operator[0], operator.integers("axes", 1)
        if not axes and operator.attribute("noop_with_empty_axes", 0):
            return x
        dim = sorted(operator.dims(axes)) if axes else list(range(x.rank))
        if not dim:
            return x
        if not x.known and any(one in x.grows for one in dim):
            raise Cannot("it reduces over the batch")
        return make(operator, x, dim, bool(operator.attribute("keepdims", 1)))

    return build


def _by(op: str, **options: object) -> Builder:
    return _reduce(lambda operator, x, dim, keep: operator.emit(op, x, dim=dim, keepdim=keep, **options))


def _log_sum(operator: Operator, x: Value, dim: list[int], keep: bool) -> Value:
    return operator.emit("log", operator.emit("sum", x, dim=dim, keepdim=keep))


def _mean(operator: Operator, x: Value, dim: list[int], keep: bool) -> Value:
    if not x.dtype.is_floating_point:
        raise Cannot("it takes the mean of whole numbers")
    if keep and not x.known and x.rank in (4, 5) and dim == list(range(2, x.rank)):
        return operator.emit(f"AdaptiveAvgPool{x.rank - 2}d", x, output_size=1)
    return operator.emit("mean", x, dim=dim, keepdim=keep)


def arg(operator: Operator) -> Value:
    """The place of the largest or smallest value, the first of several."""
    if operator.attribute("select_last_index", 0):
        raise Cannot("it takes the last of several equal values")
    dim = operator.beside_batch(operator.attribute("axis", 0))
    return operator.emit(operator.kind.lower(), operator[0], dim=dim, keepdim=bool(operator.attribute("keepdims", 1)))


def cumulative_sum(operator: Operator) -> Value:
    """CumSum."""
    dim = operator.beside_batch(int(operator.needed(1, "axis")))
    return operator.emit(
        "cumulative_sum", operator[0], dim=dim,
        exclusive=bool(operator.attribute("exclusive", 0)), reverse=bool(operator.attribute("reverse", 0)),
    )  # fmt: skip


def top_k(operator: Operator) -> list[Value]:
    """The largest or smallest, and where they are."""
    return operator.several(
        "top_k", operator[0], k=int(operator.needed(1, "k")), dim=operator.beside_batch(operator.attribute("axis", -1)),
        largest=bool(operator.attribute("largest", 1)), ordered=True,
    )  # fmt: skip


OPERATORS: dict[str, Builder] = {
    "ReduceMean": _reduce(_mean), "ReduceSum": _by("sum"), "ReduceMax": _by("amax"), "ReduceMin": _by("amin"),
    "ReduceProd": _by("product"), "ReduceL1": _by("norm", order=1.0), "ReduceL2": _by("norm", order=2.0),
    "ReduceSumSquare": _by("sum_squares"), "ReduceLogSum": _reduce(_log_sum), "ReduceLogSumExp": _by("logsumexp"),
    "ArgMax": arg, "ArgMin": arg, "CumSum": cumulative_sum, "TopK": top_k,
}  # fmt: skip
