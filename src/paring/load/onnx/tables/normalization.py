"""Normalizations."""

import torch

from paring.load.onnx.build import Builder, Operator
from paring.load.onnx.draft import Cannot, Value


def batch_norm(operator: Operator) -> Value:
    """BatchNorm1d, 2d, 3d, in inference."""
    if operator.attribute("training_mode", 0) or any(operator.outputs[1:]):
        raise Cannot("it is in training mode", "export the model in eval mode")
    x = operator[0]
    kind = {2: 1, 3: 1, 4: 2, 5: 3}.get(x.rank)
    if kind is None:
        raise Cannot(f"its input has {x.rank} dimensions, torch has layers for 2 to 5")
    names = ("weight", "bias", "running_mean", "running_var")
    tensors = {name: operator.needed(index, name) for index, name in enumerate(names, 1)}
    tensors["num_batches_tracked"] = torch.tensor(0)
    # ONNX's momentum is what is kept, torch's what is new
    return operator.layer(
        f"BatchNorm{kind}d", x, tensors=tensors, num_features=x.shape[1],
        eps=operator.attribute("epsilon", 1e-5), momentum=round(1 - operator.attribute("momentum", 0.9), 6),
    )  # fmt: skip


def layer_norm(operator: Operator) -> Value:
    """LayerNorm over the dimensions from the axis on."""
    if any(operator.outputs[1:]):
        raise Cannot("its mean or deviation is used")
    x = operator[0]
    shape = x.shape[operator.dims([operator.attribute("axis", -1)])[0] :]
    scale, bias = operator.needed(1, "scale"), operator.constant(2, "bias")
    tensors = {"weight": scale.expand(shape)}
    if bias is not None:
        tensors["bias"] = bias.expand(shape)
    return operator.layer(
        "LayerNorm", x, tensors=tensors,
        normalized_shape=list(shape), eps=operator.attribute("epsilon", 1e-5), bias=bias is not None,
    )  # fmt: skip


def rms_norm(operator: Operator) -> Value:
    """RMSNorm."""
    x = operator[0]
    shape = x.shape[operator.dims([operator.attribute("axis", -1)])[0] :]
    return operator.layer(
        "RMSNorm", x, tensors={"weight": operator.needed(1, "scale").expand(shape)},
        normalized_shape=list(shape), eps=operator.attribute("epsilon", 1e-5),
    )  # fmt: skip


def instance_norm(operator: Operator) -> Value:
    """GroupNorm with a group for each channel."""
    x = operator[0]
    tensors = {"weight": operator.needed(1, "scale"), "bias": operator.needed(2, "bias")}
    return operator.layer(
        "GroupNorm", x, tensors=tensors,
        num_groups=x.shape[1], num_channels=x.shape[1], eps=operator.attribute("epsilon", 1e-5),
    )  # fmt: skip


def group_norm(operator: Operator) -> Value:
    """GroupNorm; before opset 21 scale and bias belonged to groups."""
    x, groups = operator[0], int(operator.attribute("num_groups"))
    tensors = {"weight": operator.needed(1, "scale"), "bias": operator.needed(2, "bias")}
    if tensors["weight"].numel() == groups:
        tensors = {name: tensor.repeat_interleave(x.shape[1] // groups) for name, tensor in tensors.items()}
    return operator.layer(
        "GroupNorm", x, tensors=tensors,
        num_groups=groups, num_channels=x.shape[1], eps=operator.attribute("epsilon", 1e-5),
    )  # fmt: skip


def local_response(operator: Operator) -> Value:
    """LocalResponseNorm."""
    size = int(operator.attribute("size"))
    if size % 2 == 0:
        raise Cannot("its even size lies otherwise in torch")
    return operator.emit(
        "LocalResponseNorm", operator[0], size=size, alpha=operator.attribute("alpha", 1e-4),
        beta=operator.attribute("beta", 0.75), k=operator.attribute("bias", 1.0),
    )  # fmt: skip


def lp_norm(operator: Operator) -> Value:
    """Divided by the norm of one dimension."""
    dim = operator.dims([operator.attribute("axis", -1)])
    norm = operator.emit("norm", operator[0], order=float(operator.attribute("p", 2)), dim=dim, keepdim=True)
    return operator.emit("divide", operator[0], norm)


def mean_variance(operator: Operator) -> Value:
    """Mean zero, variance one over some dimensions."""
    dim = operator.dims(operator.attribute("axes", [0, 2, 3]))
    centred = operator.emit("subtract", operator[0], operator.emit("mean", operator[0], dim=dim, keepdim=True))
    square = operator.emit("mean", operator.emit("multiply", centred, centred), dim=dim, keepdim=True)
    return operator.emit("divide", centred, operator.emit("add", operator.emit("sqrt", square), other=1e-9))


OPERATORS: dict[str, Builder] = {
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LRN": local_response,
    "LpNormalization": lp_norm,
    "MeanVarianceNormalization": mean_variance,
}
