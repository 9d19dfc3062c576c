"""Pruning beside torch-pruning: MobileNetV2-0.5 and ResNet-20 on Fashion-MNIST.

    python benchmarks/pruning.py cut       # every cut of channels and blocks, no training
    python benchmarks/pruning.py recover [--part 0/4]   # every training, on a GPU if there is one
    python benchmarks/pruning.py judge     # files and latencies in LiteRT; writes the tables

Channels: to half and to 30 % of the MACs by paring and by each pruner of torch-pruning, from the same checkpoint, then
the same recovery of two epochs with the original as teacher, three seeds. Weights: 80 and 90 % zeros, two epochs, then
quantization-aware training. Blocks: latency as the budget. Options were chosen on the validation split; the test split
was read once, for the table. What is in runs/pruning is not done again. Trainings in parts run side by side.
"""

import argparse
import json
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
from table import write

from paring import data, load
from paring.core.model import Model
from paring.core.progress import Silent
from paring.core.step import Context, Deployed
from paring.core.target import Limits
from paring.core.task import Split, Task
from paring.load import saved
from paring.measure import cost, machine, measurements
from paring.measure.latency import interleaved
from paring.steps import STEPS
from paring.targets.litert import LiteRT
from paring.train.evaluate import evaluate

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
WORK = Path(__file__).parents[1] / "runs" / "pruning"
CHECKPOINT = {"mobilenet_v2": "mobilenet_v2-w0.5-fashion_mnist", "resnet20": "resnet20-fashion_mnist"}
NAMES = {"mobilenet_v2": "MobileNetV2-0.5", "resnet20": "ResNet-20"}
EVERY = frozenset({"float32", "int8", "int4"})
SEEDS = (0, 1, 2)
SECONDS = 5.0  # for each file
Options = Mapping[str, Any]

RECOVERY: Options = {
    "epochs": 2, "learning_rate": 0.1, "weight_decay": 1e-4, "augment": True, "teacher": "original",
    "teacher_share": 0.9,
}  # fmt: skip
AWARE: Options = {
    "epochs": 1, "weights": "int8", "activations": "int8", "learning_rate": 0.001, "teacher": "original",
    "teacher_share": 0.9,
}  # fmt: skip
CUTS: Mapping[str, Sequence[tuple[str, Options]]] = {
    "paring, 50 % of MACs": [("prune.channels", {"macs": 0.5})],
    "paring, 30 % of MACs": [("prune.channels", {"macs": 0.3})],
    "paring with readout, 50 % of MACs": [("prune.channels", {"macs": 0.5, "readout": True})],
    "paring with readout, 30 % of MACs": [("prune.channels", {"macs": 0.3, "readout": True})],
    "paring, without 3 blocks, 31 % of MACs": [("prune.blocks", {"count": 3}), ("prune.channels", {"macs": 0.38})],
}
PEERS = ("group L2", "group L2, isomorphic", "group L2, uniform", "batch-norm scale", "group Taylor")
ZEROS: Mapping[str, Options] = {
    "at once": {"recover": RECOVERY},
    "in two rounds": {"iterative": {"rounds": 2}, "recover": {**RECOVERY, "epochs": 1}},
    "on the polynomial": {"polynomial": {}, "recover": RECOVERY},
}


@dataclass(frozen=True)
class Training:
    """A step that trains.

    Attributes:
        network: key of NAMES.
        who: as in the table.
        start: what it begins from: `who` of a cut or of another training; empty for the checkpoint.
        step: its name.
        options: its options.
    """

    network: str
    who: str
    start: str
    step: str
    options: Options

    def path(self, seed: int) -> Path:
        """Of the model."""
        return path(self.network, f"{self.who}, seed {seed}")

    def begins(self, seed: int) -> Path | None:
        """The model that it begins from; None for the checkpoint."""
        if not self.start:
            return None
        return path(self.network, self.start if self.from_cut else f"{self.start}, seed {seed}")

    @property
    def from_cut(self) -> bool:
        """Whether it begins from a cut, which is made beforehand."""
        return self.start in CUTS or self.start in cut_by_others()


def path(network: str, who: str) -> Path:
    """Of a model that was made."""
    return WORK / network / f"{who.replace(' %', '').replace(', ', '-').replace(' ', '_')}.safetensors"


def trainings() -> Iterator[Training]:
    """All of them; one that begins where another ends comes later."""
    for network in NAMES:
        for who in cut_by_us(network):
            yield Training(network, f"{who}, recovered", who, "finetune", RECOVERY)
    for way, options in ZEROS.items():
        for network in NAMES:
            for sparsity in (0.8, 0.9):
                who = f"{100 * sparsity:.0f} % zeros {way}"
                yield Training(
                    network, who, "", "prune.magnitude", {"sparsity": sparsity, "scope": "global", **options}
                )
    for network in NAMES:
        for who in cut_by_others():
            yield Training(network, f"{who}, recovered", who, "finetune", RECOVERY)
    for network in NAMES:
        for sparsity in (80, 90):
            who = f"{sparsity} % zeros at once"
            yield Training(network, f"{who}, then W8A8", who, "quantize.qat", AWARE)
        yield Training(network, "dense, then W8A8", "", "quantize.qat", AWARE)


def cut_by_us(network: str) -> list[str]:
    """Names of cuts; ResNet-20 has too few blocks that could go."""
    return [who for who in CUTS if "blocks" not in who or network == "mobilenet_v2"]


def cut_by_others() -> list[str]:
    """Names of cuts."""
    return [f"{who}, {left} % of MACs" for who in PEERS for left in (50, 30)]


def original(network: str) -> Model:
    """The float checkpoint."""
    return load.open(str(CHECKPOINTS / f"{CHECKPOINT[network]}.safetensors"))


def context(task: Task, model: Model, folder: Path, seed: int = 0) -> Context:
    """What a step is given; LiteRT measures latency."""
    return Context(task, Limits(EVERY, EVERY), seed, model, folder, deployed=deployed)


def deployed(model: Model) -> Deployed:
    """What it costs in LiteRT."""
    with TemporaryDirectory() as folder:
        file = LiteRT().export(model, Path(folder) / "model.tflite")
        timing = interleaved({"": LiteRT().open(file)}, seconds=2.0)[""]
        return Deployed(timing.median, file.stat().st_size)


def apply(step: str, options: Options, model: Model, given: Context) -> Model:
    """One step."""
    made = STEPS.load(step)()
    found: Model = made.apply(model, made.Config.model_validate(dict(options)), given)
    return found


def keep(model: Model, file: Path, **notes: Any) -> None:
    """Saves it; the notes go beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    saved.save(model, file, notes)
    print(file.stem, notes, flush=True)


def cuts(task: Task) -> None:
    """Makes what needs no training."""
    import pruners

    def ours(model: Model, who: str) -> Model:
        for step, options in CUTS[who]:
            model = apply(step, options, model, context(task, model, WORK / "work"))
        return model

    def theirs(model: Model, who: str) -> Model:
        pruner, _, left = who.rpartition(", ")
        return pruners.pruned(model, task, pruner, int(left.split()[0]) / 100)

    for network in NAMES:
        model = original(network)
        for who in [*cut_by_us(network), *cut_by_others()]:
            if not path(network, who).exists():
                begun = time.perf_counter()
                found = (ours if who in CUTS else theirs)(model, who)
                keep(found, path(network, who), seconds=time.perf_counter() - begun, validation=on(found, task))


def on(model: Model, task: Task, split: Split = "validation") -> float:
    """Accuracy in PyTorch, %."""
    return 100 * evaluate(model, task, split).accuracy


def recover(task: Task, part: int, parts: int) -> None:
    """Trains; several processes take turns."""
    plan = [(one, seed) for seed in SEEDS for one in trainings()]
    for one, seed in plan[part::parts]:
        if one.path(seed).exists():
            continue
        teacher, start = original(one.network), one.begins(seed)
        if start is not None and not one.from_cut and not start.exists():
            print(f"{one.path(seed).stem} waits for {start.stem}, which another part trains", flush=True)
            while not start.exists():
                time.sleep(1.0)
        begun = time.perf_counter()
        model = teacher if start is None else load.open(str(start))
        work = WORK / "work" / one.network / one.path(seed).stem
        found = apply(one.step, one.options, model, context(task, teacher, work, seed))
        shutil.rmtree(work, ignore_errors=True)
        seconds = time.perf_counter() - begun
        keep(
            found, one.path(seed), seconds=seconds, validation=on(found, task), test=on(found, task, "test"),
            trained_on=torch.cuda.get_device_name() if torch.cuda.is_available() else machine.cpu(),
        )  # fmt: skip


def judge(network: str, task: Task) -> list[dict[str, object]]:
    """What is told of a network's models: accuracy over the seeds, cost on paper, files in LiteRT."""
    target, folder, model = LiteRT(), WORK / "files" / network, original(network)
    rows: list[dict[str, object]] = []

    def note(who: str, metric: str, value: float, unit: str, spread: object = "", samples: object = "") -> None:
        rows.append(
            {"network": NAMES[network], "who": who, "metric": metric, "value": f"{value:.5g}", "unit": unit,
             "spread": spread, "samples": samples}
        )  # fmt: skip

    def file(who: str, given: Model) -> Path:
        made = folder / f"{path(network, who).stem}.tflite"
        return made if made.exists() else target.export(given, made)

    folder.mkdir(parents=True, exist_ok=True)
    float_accuracy = on(model, task, "test")
    note("float", "accuracy", float_accuracy, "%")
    files = {"float": file("float", model), "int8": file("int8", quantized(model, task, model))}
    models = {"float": model}
    for one in (one for one in trainings() if one.network == network):
        told = [notes for seed in SEEDS if (notes := _notes(one.path(seed)))]
        if not told:
            continue
        tests = [float(notes["test"]) for notes in told]
        spread = f"{stdev(tests):.2g}" if len(tests) > 1 else ""
        machines = " and ".join(dict.fromkeys(notes["trained_on"] for notes in told))
        note(one.who, "accuracy", mean(tests), "%", spread, f"{len(tests)} seeds on {machines}")
        note(one.who, "accuracy above float", mean(tests) - float_accuracy, "points", spread, f"{len(tests)} seeds")
        if one.path(0).exists():  # a file of the first seed
            models[one.who] = load.open(str(one.path(0)))
            files[one.who] = file(one.who, models[one.who])
        elif one.step == "finetune":  # of others' only the cut was kept, whose file is as fast
            models[one.who] = load.open(str(path(network, one.start)))
            files[one.who] = file(one.start, models[one.who])
    half = "paring, 50 % of MACs, recovered"
    models[f"{half}, int8"] = quantized(models[half], task, model)
    files[f"{half}, int8"] = file(f"{half}, int8", models[f"{half}, int8"])
    zeros = "80 % zeros at once"
    models[f"{zeros}, int8"] = quantized(models[zeros], task, model)
    files[f"{zeros}, int8"] = file(f"{zeros}, int8", models[f"{zeros}, int8"])

    zipped = {who: len(zlib.compress(made.read_bytes(), 9)) for who, made in files.items()}
    for who, made in files.items():
        if who in models and not models[who].quantized:
            for metric, count in (("MACs", cost.macs), ("parameters", cost.parameters)):
                note(who, f"{metric}, of float", count(models[who]) / count(model), "1")
        note(who, "size", made.stat().st_size, "B")
        note(who, "zipped size", zipped[who], "B")
        dense = "int8" if who.endswith("8") else "float"
        note(who, f"zipped size, of {dense}", zipped[who] / zipped[dense], "1")
        if "zeros" in who:
            weights = [one for one in target.describe(made).tensors if one.bytes and len(one.shape) > 1]
            counts = [prod(one.shape) for one in weights]
            zeros_share = sum(one.zeros * count for one, count in zip(weights, counts, strict=True)) / sum(counts)
            note(who, "zeros among the file's weights", 100 * zeros_share, "%")
        if who.endswith("8"):
            (record, *_) = measurements.accuracy_of(target.open(made), task, "test", who, Silent())
            note(who, "accuracy in LiteRT, first seed", record.value, "%", f"{record.spread:.2g}", record.samples)
    runners = {who: target.open(made) for who, made in files.items()}
    for who, taken in interleaved(runners, seconds=SECONDS * len(runners)).items():
        note(who, "latency", taken.median, "ms", f"{taken.spread:.2g}", taken.samples)
        note(who, "latency, of float", taken.ratio, "1", f"{taken.ratio_spread:.2g}", taken.samples)
    return rows


def quantized(model: Model, task: Task, teacher: Model) -> Model:
    """Static int8."""
    return apply("quantize.static", {"ladder": None}, model, context(task, teacher, WORK / "work"))


def _notes(file: Path) -> Mapping[str, Any]:
    """Kept beside a model; empty where there is none."""
    beside = file.with_suffix(".json")
    found: Mapping[str, Any] = json.loads(beside.read_text())["notes"] if beside.exists() else {}
    return found


def main() -> None:
    """Does one of the three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["cut", "recover", "judge"])
    parser.add_argument("--part", default="0/1", help="of the trainings")
    given = parser.parse_args()
    task = data.open("fashion-mnist")
    if given.what == "cut":
        cuts(task)
    if given.what == "recover":
        part, parts = map(int, given.part.split("/"))
        recover(task, part, parts)
    if given.what == "judge":
        write("pruning", [row for network in NAMES for row in judge(network, task)])


if __name__ == "__main__":
    main()
