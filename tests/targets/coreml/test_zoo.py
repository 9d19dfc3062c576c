"""Whole networks: PyTorch computes from the package what it computes from the model."""

from pathlib import Path

import numpy as np
import pytest

from paring import load
from paring.core.model import Model
from paring.core.target import Array
from paring.measure.answers import of_model
from paring.targets.coreml import CoreML
from paring.testing.mil import answers
from paring.testing.transformers import family

NETWORKS = {
    "zoo:mobilenet_v1(width=0.25)": (1, 32, 32),
    "zoo:mobilenet_v2(width=0.25)": (3, 32, 32),
    "zoo:squeezenet1_1": (3, 32, 32),
    "zoo:resnet8": (3, 32, 32),
    "zoo:ds_cnn": (1, 49, 10),
}


def same(model: Model, inputs: dict[str, Array], tmp_path: Path) -> None:
    assert not CoreML().check(model)
    path = CoreML().export(model, tmp_path / "m.mlpackage")
    fed = {name: array.astype(np.int32) if array.dtype == np.int64 else array for name, array in inputs.items()}
    wanted = of_model(model)(inputs)["output"]
    np.testing.assert_allclose(answers(path, fed)["output"], wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_zoo_network_is_the_network(name: str, tmp_path: Path) -> None:
    model = load.open(name, shape=NETWORKS[name])
    images = np.random.default_rng(0).normal(size=(2, *NETWORKS[name])).astype(np.float32)
    same(model, {model.inputs[0].name: images}, tmp_path)


@pytest.mark.slow
def test_a_transformer_of_texts_is_the_transformer(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 50, (3, 32))
    mask = np.ones_like(ids)
    mask[1, 10:] = 0
    same(family("distilbert"), {"input_ids": ids, "attention_mask": mask}, tmp_path)
