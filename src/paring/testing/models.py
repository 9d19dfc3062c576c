"""Small models for contract suites and self-tests."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from paring.core.model import Model
from paring.core.target import Target, one_sample


def tiny(seed: int = 0) -> Model:
    """A convolutional network of some hundred parameters: 8×8 gray images, 10 classes."""
    from paring import load

    return load.open("torch:paring.testing.networks:tiny_network", shape=(1, 8, 8), seed=seed)


def round_trip(target: Target) -> float:
    """Largest difference between the tiny model and its file in the target's runtime."""
    from paring.measure.answers import of_model

    model, chance = tiny(), np.random.default_rng(0)
    images = {"image": chance.normal(size=(4, *one_sample(model.inputs)["image"].shape[1:])).astype(np.float32)}
    with TemporaryDirectory() as folder:
        runner = target.open(target.export(model, Path(folder) / f"tiny{target.suffix}"))
        got, wanted = runner.run(images)["output"], of_model(model)(images)["output"]
    return float(np.abs(got - wanted).max())
