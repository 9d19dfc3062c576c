"""Quantization-aware training for three epochs, W8A8 and W4A4, with learned steps: MobileNetV2-0.5 and ResNet-20.

    python benchmarks/aware.py [--only resnet20]

On Fashion-MNIST, the float checkpoint as teacher; accuracy over the whole test split, in PyTorch and (W8A8) in LiteRT.
Nothing was chosen on the test split. A network whose training has been killed goes on from its last state.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from table import write

from paring import data, load
from paring.cli.show import Shown
from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import Limits
from paring.measure import measurements
from paring.steps.quantize.qat import QatConfig, QuantizeAware
from paring.targets.litert import LiteRT

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
WORK = Path(__file__).parents[1] / "runs" / "aware"
NETWORKS = {"mobilenet_v2": "mobilenet_v2-w0.5-fashion_mnist", "resnet20": "resnet20-fashion_mnist"}
EVERY = frozenset({"float32", "int8", "int4"})
BITS: dict[str, dict[str, object]] = {
    # 8 bits lose so little that a low rate and the teacher do best, as seen on the validation split
    "W8A8": {"weights": "int8", "activations": "int8", "learning_rate": 0.001, "teacher_share": 0.9},
    "W4A4": {"weights": "int4", "activations": "int4"},
}


def main() -> None:
    """Writes results/aware.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[*NETWORKS])
    task, shown, rows = data.open("fashion-mnist"), Shown(), list[dict[str, object]]()

    def note(network: str, who: str, where: str, model: Model, seconds: float | str = "") -> None:
        record = measurements.accuracy_in_torch(model, task, "test", who, shown)
        if where == "LiteRT":
            with TemporaryDirectory() as folder:
                runner = LiteRT().open(LiteRT().export(model, Path(folder) / "m.tflite"))
                (record, *_) = measurements.accuracy_of(runner, task, "test", who, shown)
        rows.append(
            {"network": network, "who": who, "where": where, "accuracy": f"{record.value:.2f}", "unit": record.unit,
             "spread": f"{record.spread or 0:.2f}", "samples": record.samples, "seconds": seconds,
             "changed": model.history[-1].changed if model.history else ""}
        )  # fmt: skip

    for network in parser.parse_args().only or NETWORKS:
        model = load.open(str(CHECKPOINTS / f"{NETWORKS[network]}.safetensors"))
        note(network, "float", "PyTorch", model)
        for bits, kinds in BITS.items():
            begun = time.perf_counter()
            config = QatConfig.model_validate({**kinds, "teacher": "original"})
            context = Context(task, Limits(EVERY, EVERY), 0, model, WORK / f"{network}-{bits}", shown)
            found = QuantizeAware().apply(model, config, context)
            taken = round(time.perf_counter() - begun)
            note(network, bits, "PyTorch", found, taken)
            if bits == "W8A8":
                note(network, bits, "LiteRT", found)
            write("aware", rows)


if __name__ == "__main__":
    main()
