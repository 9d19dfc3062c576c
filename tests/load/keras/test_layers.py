"""Every kind of layer, with options drawn at random, answers as Keras's own. The door itself compares; see `prove`."""

import os

os.environ["KERAS_BACKEND"] = "torch"


import keras
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers as kl

from paring.core.errors import ParingError
from paring.core.quiet import quiet
from paring.load import prove
from paring.load.keras.door import assemble
from paring.load.keras.inputs import inputs_of
from paring.load.keras.translate import translate

Draw = st.DrawFn
few = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))


def same(model: keras.Model) -> torch.nn.Module:
    """The rebuilt network, after it was compared with Keras's answers; what the door does behind the file."""
    chance = np.random.default_rng(0)
    for variable in model.weights:
        if "seed" not in variable.path:
            low = 0.5 if "variance" in variable.path else -1.0
            variable.assign(chance.uniform(low, 1.0, variable.shape).astype(variable.dtype))
    for layer in model._flatten_layers():
        if isinstance(layer, kl.Normalization):
            layer.finalize_state()
    inputs = inputs_of(model, None, None, "test")
    samples = prove.samples([one.spec for one in inputs])
    drawn = translate(model, [one.value for one in inputs], samples, "test")
    network = assemble(drawn)
    prove.prove(network, samples, [answer.numpy() for answer in drawn.answers], lambda: [], "test")
    with torch.no_grad(), quiet():
        tensors = [torch.from_numpy(sample) for sample in samples]
        fed = [x.movedim(1, -1) if one.value.moved else x for x, one in zip(tensors, inputs, strict=True)]
        wanted = model(fed if len(fed) > 1 else fed[0], training=False)
    if not any(type(layer).__name__.startswith("AveragePooling") for layer in model.layers):
        for one, other in zip(keras.tree.flatten(wanted), drawn.answers, strict=True):
            assert torch.allclose(one, other, equal_nan=True)  # the walk is Keras's own forward pass
    return network


def alone(layer: keras.Layer, *shape: int, dtype: str = "float32") -> torch.nn.Module:
    x = keras.Input(shape, dtype=dtype)
    return same(keras.Model(x, layer(x)))


@st.composite
def windows(draw: Draw, rank: int, dilated: bool = False) -> dict[str, object]:
    """Sizes, strides, dilation and padding of a window over pixels."""
    strides = draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2)) if dilated and strides == 1 else 1
    return {
        "sizes": tuple(draw(st.integers(7, 11)) for _ in range(rank)),
        "window": tuple(draw(st.integers(1, 4)) for _ in range(rank)),
        "strides": strides,
        "dilation": dilation,
        "padding": draw(st.sampled_from(["valid", "same"])),
        "last": draw(st.booleans()),
    }


def arranged(drawn: dict[str, object], channels: int) -> tuple[tuple[int, ...], str]:
    sizes = drawn["sizes"]
    return ((*sizes, channels), "channels_last") if drawn["last"] else ((channels, *sizes), "channels_first")


@few
@pytest.mark.parametrize("rank", [1, 2, 3])
@given(data=st.data())
def test_convolution(rank: int, data: st.DataObject) -> None:
    drawn = data.draw(windows(rank, dilated=True))
    shape, data_format = arranged(drawn, 4)
    groups, padding = data.draw(st.sampled_from([1, 2, 4])), drawn["padding"]
    if rank == 1 and drawn["last"] and data.draw(st.booleans()):
        padding = "causal"
    kind = (kl.Conv1D, kl.Conv2D, kl.Conv3D)[rank - 1]
    alone(
        kind(
            8, drawn["window"], strides=drawn["strides"], padding=padding, dilation_rate=drawn["dilation"],
            groups=groups, data_format=data_format, use_bias=data.draw(st.booleans()),
            activation=data.draw(st.sampled_from([None, "relu"])),
        ),
        *shape,
    )  # fmt: skip


@few
@pytest.mark.parametrize("kind", ["DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"])
@given(data=st.data())
def test_depthwise_and_separable(kind: str, data: st.DataObject) -> None:
    rank = int(kind[-2])
    drawn = data.draw(windows(rank, dilated=True))
    shape, data_format = arranged(drawn, 3)
    options = {
        "depth_multiplier": data.draw(st.integers(1, 2)),
        "data_format": data_format,
        "padding": drawn["padding"],
    }
    options |= {"strides": drawn["strides"], "dilation_rate": drawn["dilation"], "use_bias": data.draw(st.booleans())}
    first = (drawn["window"],) if kind.startswith("Depthwise") else (5, drawn["window"])
    alone(getattr(kl, kind)(*first, **options), *shape)


@few
@pytest.mark.parametrize("rank", [1, 2, 3])
@given(data=st.data())
def test_transposed_convolution(rank: int, data: st.DataObject) -> None:
    drawn = data.draw(windows(rank))
    shape, data_format = arranged(drawn, 3)
    kind = (kl.Conv1DTranspose, kl.Conv2DTranspose, kl.Conv3DTranspose)[rank - 1]
    more = (
        data.draw(st.integers(0, drawn["strides"] - 1)) if drawn["strides"] > 1 and data.draw(st.booleans()) else None
    )
    alone(
        kind(5, drawn["window"], strides=drawn["strides"], padding=drawn["padding"], output_padding=more,
             data_format=data_format, use_bias=data.draw(st.booleans())),
        *shape,
    )  # fmt: skip


@few
@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@given(data=st.data())
def test_pooling(kind: str, rank: int, data: st.DataObject) -> None:
    drawn = data.draw(windows(rank))
    shape, data_format = arranged(drawn, 3)
    options = {"strides": drawn["strides"], "padding": drawn["padding"], "data_format": data_format}
    alone(getattr(kl, f"{kind}Pooling{rank}D")(drawn["window"], **options), *shape)


def test_average_pooling_leaves_padding_out_as_tensorflow_does() -> None:
    network = alone(kl.AveragePooling1D(3, strides=2, padding="same"), 4, 1)
    found = network(torch.tensor([[[1.0], [2.0], [3.0], [5.0]]]))
    assert found.flatten().tolist() == [2.0, 4.0]  # the second window holds 3 and 5, and a padding that does not count


@pytest.mark.parametrize("kind", ["GlobalAveragePooling", "GlobalMaxPooling"])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_pooling(kind: str, rank: int, keepdims: bool, data_format: str) -> None:
    alone(getattr(kl, f"{kind}{rank}D")(keepdims=keepdims, data_format=data_format), *range(3, 4 + rank))


@pytest.mark.parametrize("kind", ["AdaptiveAveragePooling", "AdaptiveMaxPooling"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_adaptive_pooling(kind: str, rank: int) -> None:
    alone(getattr(kl, f"{kind}{rank}D")(2), *range(5, 6 + rank))


ACTIVATIONS = [
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus",
    "swish", "tanh", "tanh_shrink",
]  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str) -> None:
    x = keras.Input((5, 6, 3))
    same(keras.Model(x, [kl.Activation(name)(x), kl.Conv2D(4, 1, activation=name)(x), kl.Dense(4, activation=name)(x)]))


@few
@given(top=st.sampled_from([None, 6.0, 1.5]), slope=st.sampled_from([0.0, 0.1]), threshold=st.sampled_from([0.0, 0.7]))
def test_relu(top: float | None, slope: float, threshold: float) -> None:
    alone(kl.ReLU(max_value=top, negative_slope=slope, threshold=threshold), 4, 5, 3)


@pytest.mark.parametrize("shared", [None, [1, 2], [1]])
@pytest.mark.parametrize("shape", [(4, 5, 3), (7,)])
def test_prelu(shared: list[int] | None, shape: tuple[int, ...]) -> None:
    alone(kl.PReLU(shared_axes=shared if len(shape) == 3 else None), *shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (kl.LeakyReLU(negative_slope=0.3), 4, 5, 3),
        lambda: (kl.ELU(alpha=0.7), 4, 5, 3),
        lambda: (kl.Softmax(axis=-1), 4, 5, 3),
        lambda: (kl.Softmax(axis=1), 4, 5, 3),
        lambda: (kl.Dense(4, activation=kl.LeakyReLU(negative_slope=0.3)), 5),
        lambda: (kl.Dense(4, use_bias=False), 3, 5),
        lambda: (kl.Dense(4), 4, 5, 3),
        lambda: (kl.EinsumDense("ab,bc->ac", output_shape=4, bias_axes="c"), 5),
        lambda: (kl.EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d", activation="relu"), 3, 5),
        lambda: (kl.EinsumDense("...x,xy->...y", output_shape=4, bias_axes="y"), 3, 5),
        lambda: (kl.EinsumDense("abc,cde->abde", output_shape=(None, 2, 4), bias_axes="e"), 3, 5),
        lambda: (kl.EinsumDense("abc,bcd->abd", output_shape=(3, 4), bias_axes="d"), 3, 5),
        lambda: (kl.Dropout(0.3), 5),
        lambda: (kl.SpatialDropout2D(0.3), 4, 5, 3),
        lambda: (kl.GaussianNoise(0.3), 5),
        lambda: (kl.RandomFlip(), 4, 5, 3),
        lambda: (kl.ActivityRegularization(), 5),
        lambda: (kl.AlphaDropout(0.3), 5),
        lambda: (kl.GaussianDropout(0.3), 5),
        lambda: (kl.SpatialDropout1D(0.3), 4, 3),
        lambda: (kl.SpatialDropout3D(0.3), 3, 4, 5, 2),
        lambda: (kl.RandomRotation(0.1), 4, 5, 3),
        lambda: (kl.RandomZoom(0.1), 4, 5, 3),
        lambda: (kl.RandomTranslation(0.1, 0.1), 4, 5, 3),
        lambda: (kl.RandomContrast(0.1), 4, 5, 3),
        lambda: (kl.RNN(kl.SimpleRNNCell(3), return_sequences=True), 4, 5),
        lambda: (kl.RNN(kl.LSTMCell(3)), 4, 5),
        lambda: (kl.RNN(kl.GRUCell(3), go_backwards=True), 4, 5),
        lambda: (kl.Masking(), 3, 5),
        lambda: (kl.Rescaling(1 / 127.5, offset=-1), 4, 5, 3),
        lambda: (kl.Rescaling([1.0, 2.0, 3.0], offset=[0.0, 1.0, 0.0]), 4, 5, 3),
        lambda: (kl.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0]), 4, 5, 3),
        lambda: (kl.Normalization(mean=1.5, variance=4.0, invert=True), 7),
        lambda: (kl.Normalization(axis=-1), 4, 5, 3),
        lambda: (kl.UnitNormalization(), 4, 5, 3),
        lambda: (kl.UnitNormalization(axis=1), 3, 5),
        lambda: (kl.RMSNormalization(), 3, 5),
        lambda: (kl.SpectralNormalization(kl.Dense(3)), 5),
        lambda: (kl.ZeroPadding1D((1, 2)), 5, 3),
        lambda: (kl.ZeroPadding2D(((1, 0), (2, 3))), 4, 5, 3),
        lambda: (kl.ZeroPadding2D(2, data_format="channels_first"), 3, 4, 5),
        lambda: (kl.ZeroPadding3D(((1, 0), (2, 3), (0, 1))), 3, 4, 5, 2),
        lambda: (kl.Cropping1D((1, 2)), 6, 3),
        lambda: (kl.Cropping2D(((1, 0), (2, 1))), 6, 5, 3),
        lambda: (kl.Cropping3D(1), 5, 4, 6, 2),
        lambda: (kl.Flatten(), 4, 5, 3),
        lambda: (kl.Flatten(), 5),
        lambda: (kl.Flatten(data_format="channels_first"), 3, 4, 5),
        lambda: (kl.Reshape((15, 4)), 4, 5, 3),
        lambda: (kl.Reshape((-1, 6)), 4, 5, 3),
        lambda: (kl.Reshape((1, 1, 6)), 6),
        lambda: (kl.Permute((2, 1)), 4, 5),
        lambda: (kl.Permute((3, 1, 2)), 4, 5, 3),
        lambda: (kl.RepeatVector(3), 4),
        lambda: (kl.UpSampling1D(3), 4, 2),
        lambda: (kl.UpSampling2D((2, 3)), 4, 5, 3),
        lambda: (kl.UpSampling2D(2, interpolation="bilinear"), 4, 5, 3),
        lambda: (kl.UpSampling2D(2, data_format="channels_first"), 3, 4, 5),
        lambda: (kl.UpSampling3D(2), 3, 4, 5, 2),
        lambda: (kl.Resizing(7, 4), 5, 6, 3),
        lambda: (kl.Resizing(7, 4, interpolation="nearest"), 5, 6, 3),
        lambda: (kl.CenterCrop(3, 4), 6, 7, 3),
        lambda: (kl.TimeDistributed(kl.Dense(4)), 3, 5),
        lambda: (kl.TimeDistributed(kl.Conv2D(4, 3, padding="same")), 3, 5, 6, 2),
        lambda: (kl.Identity(), 5),
    ],
)  # fmt: skip
def test_layer(make: object) -> None:
    layer, *shape = make()
    alone(layer, *shape)


@few
@pytest.mark.parametrize("kind", ["Batch", "Layer", "Group"])
@given(data=st.data())
def test_normalization(kind: str, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([2, 4, 6]), min_size=1, max_size=3)))
    if kind == "Group" and len(shape) == 1:
        shape = (*shape, 4)
    choices = range(1, len(shape) + 1)
    options = {"center": data.draw(st.booleans()), "scale": data.draw(st.booleans())}
    options["epsilon"] = data.draw(st.sampled_from([1e-3, 1e-2]))  # less, and a constant input is a matter of rounding
    if kind == "Layer":
        begin = data.draw(st.sampled_from([0, *choices[:-1]]))
        options["axis"] = list(choices)[begin:]  # Keras on torch errs for others
    else:
        options["axis"] = data.draw(st.sampled_from([-1, *choices]))
    if kind == "Group":
        options["groups"] = data.draw(st.sampled_from([1, 2, -1]))
    alone(getattr(kl, f"{kind}Normalization")(**options), *shape)


@pytest.mark.parametrize("kind", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"])
def test_merge(kind: str) -> None:
    x, y = keras.Input((4, 5, 3)), keras.Input((4, 5, 3))
    channels = kl.Conv2D(3, 1)(kl.Reshape((1, 1, 3))(kl.GlobalAveragePooling2D()(x)))
    merge = getattr(kl, kind)
    turned = kl.Permute((1, 2, 3))(y)  # in Keras's order, beside one with channels first
    same(keras.Model([x, y], [merge()([x, turned]), merge()([x, channels])]))


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2])
def test_concatenation(axis: int) -> None:
    x, y = keras.Input((4, 4, 4)), keras.Input((4, 4, 4))
    same(keras.Model([x, y], kl.Concatenate(axis=axis)([x, y, kl.Permute((2, 1, 3))(y)])))


@pytest.mark.parametrize("normalize", [False, True])
def test_dot(normalize: bool) -> None:
    x, y = keras.Input((4, 6)), keras.Input((4, 5))
    u, v = keras.Input((6,)), keras.Input((6,))
    answers = [kl.Dot(axes=1, normalize=normalize)([x, y]), kl.Dot(axes=1, normalize=normalize)([u, v])]
    same(keras.Model([x, y, u, v], answers))


@few
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
@given(data=st.data())
def test_recurrent(kind: str, data: st.DataObject) -> None:
    options = {name: data.draw(st.booleans()) for name in ("return_sequences", "go_backwards", "use_bias")}
    if kind == "GRU":
        options["reset_after"] = data.draw(st.booleans())
    if data.draw(st.booleans()):
        options["activation"] = "relu" if kind == "SimpleRNN" else "softsign"
    layer = getattr(kl, kind)(3, **options)
    wrapped = data.draw(st.sampled_from([None, "concat", "sum", "mul", "ave"]))
    if wrapped and not options["go_backwards"]:
        layer = kl.Bidirectional(layer, merge_mode=wrapped)
    alone(layer, 4, 5)


def test_states_go_from_an_encoder_to_a_decoder() -> None:
    x, y = keras.Input((4, 5)), keras.Input((3, 5))
    _, hidden, cell = kl.LSTM(6, return_state=True)(x)
    decoded = kl.LSTM(6, return_sequences=True)(y, initial_state=[hidden, cell])
    _, state = kl.GRU(6, return_state=True)(x)
    same(keras.Model([x, y], [decoded, kl.GRU(6)(y, initial_state=state)]))


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention(causal: bool) -> None:
    x, y = keras.Input((4, 6)), keras.Input((4, 5))
    own = kl.MultiHeadAttention(2, 3)(x, x, use_causal_mask=causal)
    cross = kl.MultiHeadAttention(2, 3, value_dim=4, output_shape=7, use_bias=False)(x, y, use_causal_mask=causal)
    grouped = kl.GroupQueryAttention(4, 4, 2)(x, x, use_causal_mask=causal)
    same(keras.Model([x, y], [own, cross, grouped]))


@pytest.mark.parametrize("kind", ["Attention", "AdditiveAttention"])
@pytest.mark.parametrize("scaled", [False, True])
def test_attention(kind: str, scaled: bool) -> None:
    x, y = keras.Input((4, 6)), keras.Input((4, 6))
    same(keras.Model([x, y], getattr(kl, kind)(use_scale=scaled)([x, y], use_causal_mask=scaled)))


def test_embedding() -> None:
    x = keras.Input((7,), dtype="int32")
    embedded = kl.Embedding(11, 5, name="table")(x)
    network = same(keras.Model(x, kl.GlobalAveragePooling1D()(kl.Conv1D(4, 3, padding="same")(embedded))))
    assert type(network.table) is torch.nn.Embedding


def test_operations_of_a_functional_graph() -> None:
    from keras import ops

    x, y = keras.Input((4, 5, 3)), keras.Input((4, 5, 3))
    found = [
        x + 3.0, 2.0 - x, x * y, x / 4.0, ops.maximum(x, 0.5), ops.relu6(x), -x, ops.abs(x), ops.square(x),
        ops.mean(x, axis=(1, 2)), ops.sum(x, axis=-1, keepdims=True), ops.max(x, axis=1), ops.softmax(x, axis=-1),
        ops.reshape(x, (-1, 20, 3)), ops.transpose(x, (0, 3, 1, 2)), ops.concatenate([x, y], axis=-1),
        ops.expand_dims(x, -1), ops.clip(x, -1.0, 1.0), x[:, 1:3, ::2], x[..., 0], ops.stack([x, y], axis=1),
        *ops.split(x, 3, axis=-1), ops.gelu(x), ops.sigmoid(x), ops.silu(x), x * np.array([1.0, 2.0, 3.0], "float32"),
        ops.matmul(x, ops.transpose(y, (0, 1, 3, 2))), ops.hard_silu(x), ops.leaky_relu(x),
    ]  # fmt: skip
    same(keras.Model([x, y], found))


def test_what_cannot_be_rebuilt_is_named_at_once() -> None:
    x = keras.Input((6,), dtype="int32")
    masked = kl.Embedding(11, 5, mask_zero=True)(x)
    y = kl.LSTM(3, stateful=False, name="heeds")(masked)
    z = kl.UnitNormalization(name="other")(kl.ConvLSTM1D(2, 1, name="strange")(kl.Reshape((1, 3, 1))(y)))
    with pytest.raises(ParingError, match=r"LSTM \(heeds\).*mask.*ConvLSTM1D \(strange\)"):
        same(keras.Model(x, z))
