"""What cutting channels costs by itself, without training: seconds, and memory beside the model and one batch.

    python benchmarks/pruning_cost.py [--threads 2]

MobileNetV2 on 224 x 224 images to half of its MACs, weights and images drawn: neither counts here. Memory is resident
memory above that of the process with model and images loaded: at the peak of one pass over one batch (of the size that
the step takes), and at the peak of the step. The size of the model's weights is added to both.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from table import write

from paring import load
from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import Limits
from paring.core.task import Batch, Task
from paring.measure import cost
from paring.steps import effort
from paring.steps.prune.channels import ChannelsConfig, PruneChannels
from paring.testing.models import TinyTask
from paring.train.forward import forward

EVERY = frozenset({"float32", "int8"})
IMAGES = 256


class Drawn(TinyTask):
    """Images out of nothing, of 1000 kinds."""

    images = torch.randn(IMAGES, 3, 224, 224, generator=torch.Generator().manual_seed(0))

    def size(self, split: str) -> int:
        """Of every split."""
        return IMAGES

    def batches(self, split: object, batch_size: int, **options: Any) -> Iterator[Batch]:
        """Images and their kinds."""
        for part in torch.split(self.images[: options.get("limit")], batch_size):
            yield Batch({"image": part}, torch.arange(len(part)))


def resident(peak: bool = False) -> float:
    """Bytes, now or at most since `restart`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status)
    assert found is not None
    return 1024.0 * float(found[1])


def restart() -> float:
    """Forgets earlier peaks; gives the bytes now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident()


def cut(model: Model, task: Task) -> Model:
    """Half of the MACs."""
    with TemporaryDirectory() as folder:
        context = Context(task, Limits(EVERY, EVERY), 0, model, Path(folder))
        return PruneChannels().apply(model, ChannelsConfig.model_validate({"macs": 0.5}), context)


def main() -> None:
    """Measures, and writes `results/pruning_cost.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if sys.platform != "linux":
        raise SystemExit("reads /proc, which Linux has")
    model, task = load.open("zoo:mobilenet_v2", shape=(3, 224, 224)), Drawn()
    weights = sum(one.numel() * one.element_size() for one in model.module.state_dict().values())
    macs = cost.macs(model)
    batch_size = effort.batch(macs)
    cut(load.open("zoo:resnet8", shape=(3, 224, 224)), task)  # loads what it needs
    with torch.inference_mode():
        forward(model, model.module, next(task.batches("test", 1)).inputs)  # what is made once
        begun = restart()
        forward(model, model.module, next(task.batches("test", batch_size)).inputs)
        batch = resident(peak=True) - begun
    begun, clock = restart(), time.perf_counter()
    found = cut(model, task)
    seconds, step = time.perf_counter() - clock, resident(peak=True) - begun
    rows = {
        "cut": (seconds, "s"),
        "MACs, of the whole": (cost.macs(found) / macs, "1"),
        "batch": (float(batch_size), "images"),
        "memory of the model and one batch": (weights + batch, "B"),
        "memory of the model and the step": (weights + step, "B"),
        "their ratio": ((weights + step) / (weights + batch), "1"),
    }
    write(
        "pruning_cost",
        [
            {
                "network": "MobileNetV2-224",
                "metric": name,
                "value": f"{value:.4g}",
                "unit": unit,
                "threads": given.threads,
            }
            for name, (value, unit) in rows.items()
        ],
    )


if __name__ == "__main__":
    main()
