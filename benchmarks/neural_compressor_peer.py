"""Intel Neural Compressor's static quantization of an ONNX file, in an environment of its own (it wants numpy 1).

    .venv-peers/bin/python benchmarks/neural_compressor_peer.py FLOAT.onnx SAMPLES.npz OUT.onnx

SAMPLES.npz holds each input by name, samples first. `benchmarks/quantizers.py` calls it; paring is not imported.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from neural_compressor import PostTrainingQuantConfig, quantization


class Samples:
    """What Neural Compressor takes as a data loader: (inputs, label), one sample at a time."""

    batch_size = 1

    def __init__(self, path: Path) -> None:
        with np.load(path) as held:
            self.inputs = dict(held)

    def __iter__(self) -> Iterator[tuple[dict[str, np.ndarray], int]]:
        for index in range(len(self)):
            yield {name: values[index : index + 1] for name, values in self.inputs.items()}, 0

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


def main() -> None:
    """Writes one quantized file."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "samples", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    loader = Samples(given.samples)
    config = PostTrainingQuantConfig(
        approach="static", quant_format="QDQ", calibration_sampling_size=[len(loader)], device="cpu"
    )
    quantization.fit(model=str(given.model), conf=config, calib_dataloader=loader).save(str(given.out))


if __name__ == "__main__":
    main()
