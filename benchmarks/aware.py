"""Quantization-aware training for three epochs, W8A8 and W4A4, with learned steps: MobileNetV2-0.5 and ResNet-20.

    python benchmarks/aware.py [--only resnet20]

On Fashion-MNIST, the float checkpoint as teacher; accuracy over the whole test split, in PyTorch and (W8A8) in LiteRT.
Nothing was chosen on the test split. Trainings run on a GPU if there is one; one that was killed goes on from its last
state, and what is in runs/aware is not trained again.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from table import write

from paring import data, load
from paring.cli.show import Shown
from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import Limits
from paring.core.task import Task
from paring.load import saved
from paring.measure import machine, measurements
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


def trained(network: str, bits: str, task: Task, shown: Shown) -> Path:
    """The trained model's file; its notes say how long it took, and on what."""
    file = WORK / f"{network}-{bits}.safetensors"
    if not file.exists():
        model, begun = checkpoint(network), time.perf_counter()
        config = QatConfig.model_validate({**BITS[bits], "teacher": "original"})
        context = Context(task, Limits(EVERY, EVERY), 0, model, WORK / f"{network}-{bits}", shown)
        found = QuantizeAware().apply(model, config, context)
        place = torch.cuda.get_device_name() if torch.cuda.is_available() else machine.cpu()
        saved.save(found, file, {"seconds": round(time.perf_counter() - begun), "trained_on": place})
    return file


def checkpoint(network: str) -> Model:
    """In float."""
    return load.open(str(CHECKPOINTS / f"{NETWORKS[network]}.safetensors"))


def main() -> None:
    """Writes results/aware.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[*NETWORKS], help="train no other; the table has them all")
    task, shown, rows = data.open("fashion-mnist"), Shown(), list[dict[str, object]]()
    for network in parser.parse_args().only or NETWORKS:
        for bits in BITS:
            trained(network, bits, task, shown)
    for network in NETWORKS:
        for who in ("float", *BITS):
            file = WORK / f"{network}-{who}.safetensors"
            if who != "float" and not file.exists():
                continue
            model = checkpoint(network) if who == "float" else load.open(str(file))
            notes = {} if who == "float" else json.loads(file.with_suffix(".json").read_text())["notes"]
            records = {"PyTorch": measurements.accuracy_in_torch(model, task, "test", who, shown)}
            if who == "W8A8":
                with TemporaryDirectory() as folder:
                    runner = LiteRT().open(LiteRT().export(model, Path(folder) / "m.tflite"))
                    (records["LiteRT"], *_) = measurements.accuracy_of(runner, task, "test", who, shown)
            rows += [
                {"network": network, "who": who, "where": where, "accuracy": f"{record.value:.2f}", "unit": record.unit,
                 "spread": f"{record.spread or 0:.2f}", "samples": record.samples, "seconds": notes.get("seconds", ""),
                 "trained_on": notes.get("trained_on", ""),
                 "changed": model.history[-1].changed if model.history else ""}
                for where, record in records.items()
            ]  # fmt: skip
    write("aware", rows)


if __name__ == "__main__":
    main()
