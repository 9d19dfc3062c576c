"""What `paring inspect` of a deep network takes: seconds of the processor, all steps and all targets asked.

    python benchmarks/inspecting.py [CONVOLUTIONS ...]

Residual blocks of two convolutions of 16 channels on 16 x 16 images, weights drawn. What is imported is imported
before, by the inspection of a small one.
"""

import argparse
import time

import torch
from table import write
from torch import Tensor, nn

from paring import inspection
from paring.core.model import Model, Source, TensorSpec
from paring.load import probe


class Deep(nn.Module):
    """So many convolutions."""

    def __init__(self, convolutions: int) -> None:
        super().__init__()
        self.stem, self.classifier = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 10)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16),
            )
            for _ in range(convolutions // 2)
        )  # fmt: skip

    def forward(self, image: Tensor) -> Tensor:
        """Shape (batch, 3, 16, 16) -> (batch, 10)."""
        x = self.stem(image)
        for block in self.blocks:
            x = torch.relu(x + block(x))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def deep(convolutions: int) -> Model:
    """The network in its working form."""
    return probe.model(Deep(convolutions).eval(), Source("deep"), (TensorSpec.of("image", (3, 16, 16)),))


def main() -> None:
    """Measures, and writes `results/inspect.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("convolutions", nargs="*", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    inspection.of_model(deep(3))
    rows = []
    for count in given.convolutions or (75, 150, 300):
        begun, clock = time.process_time(), time.perf_counter()
        inspection.of_model(deep(count))
        for name, value in (("process time", time.process_time() - begun), ("wall time", time.perf_counter() - clock)):
            rows.append({"convolutions": count, "metric": name, "value": f"{value:.1f}", "unit": "s", "threads": 1})
    write("inspect", rows, "inspecting")


if __name__ == "__main__":
    main()
