"""The front door `keras:`: whole models in, exactly."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import json
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import torch
from keras import layers as kl

from paring import load
from paring.core.errors import MissingExtra, ParingError
from paring.core.model import Model, TensorSpec
from paring.core.quiet import quiet
from paring.load import saved
from paring.testing.doors import DoorContract, answers
from paring.testing.models import TinyTask

Opened = Callable[..., Model]


def save(model: keras.Model, path: Path) -> Path:
    with quiet():  # Keras warns of the old format
        model.save(path)
    return path


def picture_model() -> keras.Model:
    """Convolutions, a residual, an asymmetric pool, and a flatten whose order matters."""
    keras.utils.set_random_seed(3)
    x = keras.Input((9, 8, 3), name="picture")
    y = kl.Conv2D(6, 3, strides=2, padding="same", name="stem")(x)
    y = kl.BatchNormalization(moving_mean_initializer="ones", name="norm")(y)
    y = kl.ReLU(6.0, name="clip")(y)
    y = kl.Add(name="sum")([y, kl.DepthwiseConv2D(3, padding="same", name="depth")(y)])
    y = kl.MaxPooling2D(2, padding="same", name="pool")(y)
    y = kl.Flatten(name="flat")(y)
    return keras.Model(x, kl.Dense(4, activation="softmax", name="top")(y))


class TestKerasDoor(DoorContract):
    @pytest.fixture
    def original_model(self) -> keras.Model:
        return picture_model()

    @pytest.fixture
    def text(self, original_model: keras.Model, tmp_path: Path) -> str:
        return f"keras:{save(original_model, tmp_path / 'model.keras')}"

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        return (3, 9, 8)

    @pytest.fixture
    def original(self, original_model: keras.Model) -> Callable[..., torch.Tensor]:
        return lambda image: original_model(image.movedim(1, -1), training=False)

    @pytest.fixture
    def weights(self) -> None:
        return None

    def test_layers_are_torchs_own_under_keras_names(self, text: str) -> None:
        module = load.open(text).module
        kinds = {name: type(layer) for name, layer in module.named_children()}
        assert kinds["stem"] is torch.nn.Conv2d
        assert kinds["norm"] is torch.nn.BatchNorm2d
        assert kinds["clip"] is torch.nn.ReLU6
        assert module.norm.eps == 1e-3
        assert module.norm.momentum == pytest.approx(0.01)

    def test_only_a_flatten_turns_a_picture_around(self, text: str) -> None:
        nodes = load.open(text).source.blueprint["nodes"]
        assert [node["name"] for node in nodes if node["op"] == "permute"] == ["pool_nhwc"]

    def test_it_can_be_trained(self, text: str) -> None:
        model = load.open(text)
        model.module.train()(torch.randn(2, 3, 9, 8)).square().sum().backward()
        assert all(parameter.grad is not None for parameter in model.module.parameters())


class TestSeveralEnds(DoorContract):
    """A picture and words in, two answers out, the words first looked up."""

    @pytest.fixture
    def original_model(self) -> keras.Model:
        keras.utils.set_random_seed(3)
        x, y = keras.Input((6, 6, 3), name="picture"), keras.Input((5,), name="words")
        features = kl.Conv2D(4, 3, padding="same", name="seen")(x)
        words = kl.LSTM(4, name="read")(kl.Embedding(11, 6, name="table")(y))
        both = kl.Concatenate(name="both")([kl.GlobalAveragePooling2D(name="mean")(features), words])
        return keras.Model([x, y], [kl.Dense(3, name="top")(both), features])

    @pytest.fixture
    def text(self, original_model: keras.Model, tmp_path: Path) -> str:
        return f"keras:{save(original_model, tmp_path / 'model.keras')}"

    @pytest.fixture
    def model(self, text: str) -> object:
        return load.open(text)

    @pytest.fixture
    def shape(self) -> tuple[int, ...]:
        return (3, 6, 6)

    @pytest.fixture
    def original(self, original_model: keras.Model) -> Callable[..., tuple[torch.Tensor, ...]]:
        return lambda image, words: tuple(original_model([image.movedim(1, -1), words], training=False))

    @pytest.fixture
    def weights(self) -> None:
        return None

    def test_words_are_integers_within_the_table(self, text: str) -> None:
        words = load.open(text).inputs[1]
        assert (words.name, words.dtype, words.range) == ("words", "int32", (0, 10))

    def test_answers_are_laid_out_as_keras_gives_them(self, text: str) -> None:
        assert [spec.shape for spec in load.open(text).outputs] == [("batch", 3), ("batch", 6, 6, 4)]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_each_kind_of_file(opened: Opened, suffix: str) -> None:
    assert opened(picture_model(), suffix).outputs[0].shape == ("batch", 4)


def test_a_folder_that_keras_saved(tmp_path: Path) -> None:
    with quiet():
        keras.saving.save_model(picture_model(), tmp_path / "model", zipped=False)
    assert load.open(f"keras:{tmp_path / 'model'}").inputs[0].shape == ("batch", 3, 9, 8)


def test_a_saved_model_needs_neither_the_file_nor_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(picture_model(), tmp_path / "model.keras")
    model = load.open(f"keras:{path}")
    stored = saved.save(model, tmp_path / "model.safetensors")
    path.unlink()
    monkeypatch.setitem(sys.modules, "keras", None)
    batch = (torch.randn(2, 3, 9, 8),)
    again = load.open(str(stored))
    assert torch.equal(answers(again, batch)["output"], answers(model, batch)["output"])


def test_a_task_gives_the_input_its_name(opened: Opened) -> None:
    x = keras.Input((8, 8, 1), name="picture")
    model = keras.Model(x, kl.Dense(10)(kl.Flatten()(x)))
    assert opened(model, task=TinyTask()).inputs[0].name == "image"
    assert opened(model).inputs[0].name == "picture"


def test_a_layer_called_twice_is_one_layer(opened: Opened) -> None:
    x, y = keras.Input((6, 6, 3)), keras.Input((6, 6, 3))
    shared = kl.Conv2D(4, 3, padding="same", name="shared")
    model = opened(keras.Model([x, y], kl.Subtract()([shared(x), shared(y)])))
    convolutions = [m for m in model.module.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 1
    assert sum("shared" in name for name in model.module.state_dict()) == 2
    with torch.no_grad():
        convolutions[0].weight.mul_(2)  # whoever changes it changes both calls
        image = torch.randn(1, 3, 6, 6)
        assert float(model.module(image, image).abs().max()) == 0


def test_models_within_models(opened: Opened) -> None:
    x = keras.Input((6, 6, 3))
    inner = keras.Model(x, [kl.Conv2D(4, 3, name="deep")(x), kl.GlobalMaxPooling2D()(x)], name="inner")
    ahead = keras.Sequential([kl.Input((6, 6, 3)), kl.Conv2D(3, 1, name="ahead"), kl.ReLU()], name="body")
    y = keras.Input((6, 6, 3))
    pixels, peaks = inner(ahead(y))
    others, _ = inner(y)
    model = opened(keras.Model(y, [kl.Add()([pixels, others]), peaks]))
    assert {"inner_deep", "body_ahead"} <= {name for name, _ in model.module.named_children()}


def test_channels_first_throughout(opened: Opened) -> None:
    x = keras.Input((3, 8, 6))
    y = kl.Conv2D(4, 3, strides=2, padding="same", data_format="channels_first")(x)
    y = kl.BatchNormalization(axis=1)(y)
    y = kl.AveragePooling2D(3, strides=2, padding="same", data_format="channels_first")(y)
    model = opened(keras.Model(x, kl.Flatten()(y)))
    assert model.inputs[0].shape == ("batch", 3, 8, 6)
    assert not [node for node in model.source.blueprint["nodes"] if node["op"] == "permute"]


def test_an_open_size_comes_from_the_shape_or_is_asked_for(opened: Opened) -> None:
    x = keras.Input((None, None, 3))
    model = keras.Model(x, kl.GlobalAveragePooling2D()(kl.Conv2D(4, 3, strides=2, padding="same")(x)))
    assert opened(model, shape=(3, 10, 12)).inputs[0].shape == ("batch", 3, 10, 12)
    with pytest.raises(ParingError, match=r"size of its input .* is open: 3×\?×\?"):
        opened(model)
    with pytest.raises(ParingError, match="not 4×10×12"):
        opened(model, shape=(4, 10, 12))


def test_open_sizes_of_several_inputs_are_named(opened: Opened) -> None:
    x, words = keras.Input((None, None, 3), name="picture"), keras.Input((None,), dtype="int32", name="words")
    both = [kl.GlobalAveragePooling2D()(kl.Conv2D(4, 3)(x)), kl.GlobalAveragePooling1D()(kl.Embedding(9, 4)(words))]
    model = keras.Model([x, words], kl.Add()(both))
    shapes = (TensorSpec("words", ("batch", 7)), TensorSpec("picture", ("batch", 3, 8, 9)))
    found = opened(model, shape=shapes).inputs
    assert [(spec.name, spec.shape, spec.dtype) for spec in found] == [
        ("picture", ("batch", 3, 8, 9), "float32"), ("words", ("batch", 7), "int32")
    ]  # fmt: skip
    with pytest.raises(ParingError, match=r"has 2 inputs \(picture, words\), 1 described"):
        opened(model, shape=(3, 8, 9))


def legacy(path: Path, mend: Callable[[dict], None]) -> Path:
    """An `.h5` as an older Keras wrote it: what `mend` makes of the layers' options."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            mend(layer)
        file.attrs["model_config"] = json.dumps(config)
    return path


def test_an_old_file_whose_depthwise_convolution_carries_groups(tmp_path: Path) -> None:
    x = keras.Input((8, 8, 3))
    y = kl.BatchNormalization()(kl.Conv2DTranspose(3, 2)(kl.DepthwiseConv2D(3, padding="same")(x)))
    path = save(keras.Model(x, kl.LSTM(3)(kl.Reshape((9, 27))(y))), tmp_path / "old.h5")

    def mend(layer: dict) -> None:
        if layer["class_name"] in ("DepthwiseConv2D", "Conv2DTranspose"):
            layer["config"]["groups"] = 1
        if layer["class_name"] == "BatchNormalization":
            layer["config"]["axis"] = [3]
        if layer["class_name"] == "LSTM":
            layer["config"]["time_major"] = False

    assert load.open(f"keras:{legacy(path, mend)}").outputs[0].shape == ("batch", 3)


def test_an_old_file_with_arithmetic_of_tensorflow(tmp_path: Path) -> None:
    """MobileNetV3's hard sigmoid, as Keras 2 wrote it."""
    x = keras.Input((8, 8, 3))
    y = kl.ReLU(6.0)(kl.Identity(name="plus")(kl.Conv2D(4, 3, name="seen")(x)))
    path = save(keras.Model(x, kl.Identity(name="clip")(kl.Identity(name="times")(y))), tmp_path / "old.h5")
    functions = {"plus": ("__operators__.add", {"y": 3.0}), "times": ("math.multiply", {"y": 1 / 6})}
    functions["clip"] = ("nn.relu6", {})

    def mend(layer: dict) -> None:
        if layer["name"] in functions:
            function, options = functions[layer["name"]]
            layer["class_name"], layer["config"]["function"] = "TFOpLambda", function
            if isinstance(layer["inbound_nodes"][0], dict):
                (given,) = layer["inbound_nodes"][0]["args"]
                layer["inbound_nodes"] = [[[*given["config"]["keras_history"], options | {"name": None}]]]

    model = load.open(f"keras:{legacy(path, mend)}")
    image = torch.randn(2, 3, 8, 8)
    wanted = torch.nn.functional.hardsigmoid(model.module.seen(image)).movedim(1, -1)
    assert torch.allclose(answers(model, (image,))["output"], wanted, atol=1e-6)
    functions["times"] = ("math.bessel", {"y": 1.0})
    with pytest.raises(ParingError, match=r"TFOpLambda \(times\) calls tf.math.bessel"):
        load.open(f"keras:{legacy(path, mend)}")


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small"])
def test_an_application(opened: Opened, name: str) -> None:
    model = getattr(keras.applications, name)(input_shape=(96, 96, 3), weights=None, classes=7)
    assert opened(model).outputs[0].shape == ("batch", 7)


def test_the_first_layer_that_differs_is_named(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    from paring.load.keras.builders import CUSTOM, convolution

    def wrong(sheet: object, layer: object, x: object) -> object:
        found = convolution.depthwise(sheet, layer, x)
        off = sheet.add("constant_arithmetic", found.reference, function="add", value=0.1)
        return type(found)(off, found.shape, True)

    monkeypatch.setitem(CUSTOM, "DepthwiseConv2D", wrong)
    with pytest.raises(ParingError, match="the layer depth answers otherwise"):
        opened(picture_model())


OWN = """
import keras
from paring.load import keras as door

@keras.saving.register_keras_serializable(package="mine")
class {name}(keras.layers.Layer):
    def call(self, x):
        return x * x + 1.0

def build(sheet, layer, x):
    squared = sheet.add("square", x.reference, part="squared")
    return sheet.value(sheet.add("constant_arithmetic", squared, function="add", value={value}), x.moved)

door.register("{name}", build)
"""


@pytest.mark.parametrize(("value", "right"), [(1.0, True), (2.0, False)])
def test_a_layer_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, right: bool) -> None:
    name = f"Squared{right}"
    (tmp_path / f"my_layers_{right}.py").write_text(OWN.format(name=name, value=value))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    own = __import__(f"my_layers_{right}")
    from paring.load.keras.builders import CUSTOM

    registered = CUSTOM.pop(name)
    x = keras.Input((5,))
    model = keras.Model(x, getattr(own, name)(name="mine")(x))
    path = save(model, tmp_path / "model.keras")
    with pytest.raises(ParingError, match=rf"does not know: {name} \(mine\)") as caught:
        load.open(f"keras:{path}")
    assert "register" in caught.value.remedy
    CUSTOM[name] = registered
    text = f"keras:{path}(custom='my_layers_{right}')"
    if right:
        assert load.open(text).source.arguments == {"custom": "my_layers_True"}
    else:
        with pytest.raises(ParingError, match="layer mine answers otherwise"):
            load.open(text)


def test_what_is_wrong_with_an_entry_is_told(tmp_path: Path) -> None:
    path = save(picture_model(), tmp_path / "model.keras")
    with pytest.raises(ParingError, match="no option is called 'costum'"):
        load.open(f"keras:{path}(costum='x')")
    with pytest.raises(ParingError, match="importing no_such_module_of_mine fails"):
        load.open(f"keras:{path}(custom='no_such_module_of_mine')")


def test_keras_on_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = save(picture_model(), tmp_path / "model.keras")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ParingError, match="imported already, with the backend jax"):
        load.open(f"keras:{path}")


@pytest.mark.parametrize("package", ["keras", "h5py"])
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=package) as caught:
        load.open(f"keras:{tmp_path / 'model.keras'}")
    assert "paring[keras]" in caught.value.remedy


def test_weights_of_half_precision_are_refused(opened: Opened) -> None:
    x = keras.Input((5,))
    with pytest.raises(ParingError, match=r"Dense \(narrow\): computes in mixed_float16"):
        opened(keras.Model(x, kl.Dense(3, dtype="mixed_float16", name="narrow")(x)))


def test_specs_are_read_from_the_samples_kind(opened: Opened) -> None:
    x = keras.Input((4, 6))
    model = opened(keras.Model(x, kl.Conv1D(3, 2)(x)))
    assert model.inputs == (TensorSpec(model.inputs[0].name, ("batch", 4, 6)),)
    assert np.isfinite(answers(model, (torch.randn(1, 4, 6),))["output"].numpy()).all()
