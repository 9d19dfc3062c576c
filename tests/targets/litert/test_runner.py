"""LiteRT's runner takes files of other makers too."""

from pathlib import Path

import numpy as np
import pytest

from paring.core.quiet import quiet
from paring.measure.answers import of_model
from paring.targets.litert.runner import LiteRTRunner
from paring.testing.models import tiny


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_file_without_our_metadata_runs(tmp_path: Path, channels_last: bool) -> None:
    import litert_torch
    import torch

    model, image = tiny(), torch.randn(3, 1, 8, 8)
    with quiet():
        module, sample = model.module, image[:1]
        if channels_last:
            module, sample = litert_torch.to_channel_last_io(module, args=[0]), sample.permute(0, 2, 3, 1)
        litert_torch.convert(module, (sample,)).export(str(tmp_path / "m.tflite"))
    runner = LiteRTRunner(tmp_path / "m.tflite")
    (spec,) = runner.inputs
    assert spec.shape == (("batch", 8, 8, 1) if channels_last else ("batch", 1, 8, 8))
    found = runner.run({spec.name: image.numpy()})
    wanted = of_model(model)({"image": image.numpy()})["output"]
    np.testing.assert_allclose(next(iter(found.values())), wanted, atol=1e-4)
