"""Matrix products."""

from torch import Tensor

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value


def matmul(operator: Operator) -> Value:
    """Linear where the second factor is a constant matrix, else a product of two values."""
    weight = operator[1].constant
    if weight is not None and weight.ndim == 2 and operator[0].rank >= 2 and not operator[0].known:
        return _linear(operator, operator[0], weight.T, None)
    return operator.emit("matmul", operator[0], operator[1])


def gemm(operator: Operator) -> Value:
    """Linear where the second factor is a constant."""
    alpha, beta = operator.attribute("alpha", 1.0), operator.attribute("beta", 1.0)
    x, weight, third = operator[0], operator[1].constant, operator.get(2)
    if operator.attribute("transA", 0):
        x = operator.permute(x, [1, 0])
    bias = None if third is None else third.constant
    if weight is None or (third is not None and bias is None) or x.known:
        y = operator.permute(operator[1], [1, 0]) if operator.attribute("transB", 0) else operator[1]
        made = operator.emit("matmul", x, y)
        made = made if alpha == 1 else operator.emit("multiply", made, other=alpha)
        if third is None:
            return made
        return operator.emit("add", made, third if beta == 1 else operator.emit("multiply", third, other=beta))
    weight = weight if operator.attribute("transB", 0) else weight.T
    if bias is not None:
        bias = beta * bias
        if bias.ndim == 2 and bias.shape[0] != 1:
            made = _linear(operator, x, alpha * weight, None)
            return operator.emit("add", made, operator.constant_value(bias))
        bias = bias.flatten().expand(weight.shape[0])
    return _linear(operator, x, weight if alpha == 1 else alpha * weight, bias)


def _linear(operator: Operator, x: Value, weight: Tensor, bias: Tensor | None) -> Value:
    tensors = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    return operator.layer(
        "Linear", x, tensors=tensors,
        in_features=weight.shape[1], out_features=weight.shape[0], bias=bias is not None,
    )  # fmt: skip


def einsum(operator: Operator) -> Value:
    """Likewise."""
    return operator.emit("einsum", *operator.given(), equation=operator.attribute("equation"))


def attention(operator: Operator) -> Value:
    """Scaled dot-product attention, as one function."""
    if any(operator.outputs[1:]) or len(operator.given()) > 4 or operator.get(4) is not None:
        raise Cannot("its key and value caches are used")
    if operator.attribute("softcap", 0.0) or operator.attribute("qk_matmul_output_mode", 0):
        raise Cannot("its softcap has no counterpart")
    query, key, value, mask = operator[0], operator[1], operator[2], operator.get(3)
    flat = query.rank == 3
    if flat:
        heads, of_keys = operator.attribute("q_num_heads"), operator.attribute("kv_num_heads")
        query, key, value = (
            _split_heads(operator, v, h) for v, h in ((query, heads), (key, of_keys), (value, of_keys))
        )
    causal = bool(operator.attribute("is_causal", 0))
    if causal and mask is not None:
        raise Cannot("it has a mask and is causal")
    made = operator.emit("attention", query, key, value, mask, scale=operator.attribute("scale"), causal=causal)
    if not flat:
        return made
    made = operator.permute(made, [0, 2, 1, 3])
    return operator.reshape(made, [(*shape[:2], shape[2] * shape[3]) for shape in made.shapes])


def _split_heads(operator: Operator, x: Value, heads: int) -> Value:
    x = operator.reshape(x, [(*shape[:2], heads, shape[2] // heads) for shape in x.shapes])
    return operator.permute(x, [0, 2, 1, 3])


OPERATORS: dict[str, Builder] = {
    "MatMul": matmul,
    "Gemm": gemm,
    "Einsum": einsum,
    "Attention": attention,
}
