"""What a stranger's file can hold, told before Keras opens it."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import pytest
from keras import layers as kl

from paring import load
from paring.core.errors import ParingError
from paring.core.quiet import quiet

RAN: list[int] = []


def save(model: keras.Model, path: Path) -> Path:
    with quiet():  # Keras warns of the old format
        model.save(path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(keras.Sequential([kl.Input((4,)), kl.Dense(3, name="dense")]), tmp_path / "model.keras")


def refused(path: Path, problem: str) -> ParingError:
    with pytest.raises(ParingError, match=problem) as caught:
        load.open(f"keras:{path}")
    return caught.value


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_no_file_and_other_files(tmp_path: Path) -> None:
    refused(tmp_path / "none.keras", "no such file")
    (tmp_path / "text.keras").write_text("hello there")
    refused(tmp_path / "text.keras", "neither a .keras archive nor an HDF5 file")
    (tmp_path / "empty.keras").touch()
    refused(tmp_path / "empty.keras", "neither")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "has no config.json")
    (tmp_path / "folder" / "saved_model.pb").touch()
    refused(tmp_path / "folder", "SavedModel, which only TensorFlow reads")


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_truncated_file(tmp_path: Path, kept: float, suffix: str) -> None:
    path = save(keras.Sequential([kl.Input((40,)), kl.Dense(30)]), tmp_path / f"model{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "damaged" in refused(path, "damaged").problem


def test_an_altered_byte_in_the_weights(file: Path) -> None:
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        at = archive.getinfo("model.weights.h5").header_offset
    content[at + 3000] ^= 1
    file.write_bytes(content)
    refused(file, "checksum of model.weights.h5 is wrong")


def test_a_wrong_name(file: Path) -> None:
    error = refused(file.rename(file.with_suffix(".zip")), "does not end in .keras")
    assert "model.keras" in error.remedy


def test_weights_alone(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["layer_names"] = ["dense"]
    refused(tmp_path / "weights.h5", "holds weights only")
    with h5py.File(tmp_path / "data.h5", "w"):
        pass
    refused(tmp_path / "data.h5", "holds no Keras model")


@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/escaped.txt", "a/../../b", "..\\b", "C:/b"])  # noqa: S108
def test_a_path_that_climbs_out(file: Path, name: str) -> None:
    refused(rewritten(file, lambda members: members.update({name: b"x"})), "leads out of the archive")


def test_a_link(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("assets/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc")
    refused(file, "leads out of the archive")


def test_a_member_that_stands_twice(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("config.json", "{}")
    refused(file, "twice")


def test_a_bomb(file: Path) -> None:
    refused(rewritten(file, lambda members: members.update({"assets/bomb": bytes(100 << 20)})), "a zip bomb")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b"[" * 200_000, b'{"class_name": "Sequential"}'])
def test_an_architecture_that_is_none(file: Path, content: bytes) -> None:
    refused(rewritten(file, lambda m: m.update({"config.json": content})), "is not JSON|describes no model")


def test_an_architecture_that_does_not_fit_the_weights(file: Path) -> None:
    def wider(members: dict[str, bytes]) -> None:
        members["config.json"] = members["config.json"].replace(b'"units": 3', b'"units": 5')

    refused(rewritten(file, wider), "Keras .* cannot read it")


def test_code_is_named_and_never_run(tmp_path: Path) -> None:
    x = keras.Input((4,))
    inner = keras.Sequential([kl.Input((4,)), kl.Lambda(lambda v: v + 1, name="within")], name="inner")
    bad = kl.Lambda(lambda v: (RAN.append(1), v)[1], output_shape=(4,), name="bad")
    model = keras.Model(x, kl.TimeDistributed(kl.Lambda(lambda v: v, name="deep"))(kl.Reshape((2, 2))(inner(bad(x)))))
    path = save(model, tmp_path / "model.keras")
    RAN.clear()
    error = refused(path, "holds code, which paring never runs")
    assert all(name in error.problem for name in ("bad", "within", "deep"))
    refused(save(model, tmp_path / "model.h5"), "holds code")
    assert not RAN


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("keras.utils", "get_file"), ("keras.src.utils.file_utils", "get_file")]
)
def test_a_class_that_is_no_layer(file: Path, module: str, name: str) -> None:
    def other(members: dict[str, bytes]) -> None:
        config = json.loads(members["config.json"])
        config["config"]["layers"][1].update(module=module, class_name=name, registered_name=None)
        members["config.json"] = json.dumps(config).encode()

    refused(rewritten(file, other), rf"does not know: {name} \(dense\)")


def test_unknown_layers_are_named_all_at_once(tmp_path: Path) -> None:
    class Odd(kl.Layer):
        def call(self, x: object) -> object:
            return x

    model = keras.Sequential(
        [kl.Input((8, 2)), Odd(name="one"), kl.Reshape((8, 2, 1)), kl.ConvLSTM1D(2, 1, name="two"), Odd(name="three")]
    )
    path = save(model, tmp_path / "model.keras")
    assert refused(path, "does not know").problem.count("Odd") == 2
    assert "ConvLSTM1D (two)" in refused(path, "does not know").problem


def test_a_function_of_ones_own_as_activation(tmp_path: Path) -> None:
    def my_own(x: object) -> object:
        return x

    model = keras.Sequential([kl.Input((4,)), kl.Dense(3, activation=my_own)])
    refused(save(model, tmp_path / "model.keras"), "does not know: function my_own")
