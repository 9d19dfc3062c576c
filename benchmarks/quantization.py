"""Static quantization beside other quantizers, in three runtimes: MobileNetV2-0.5, ResNet-20 and EfficientNet-Lite0.

    python benchmarks/quantization.py [--only resnet20] [--timing]

Every quantizer gets the same calibration samples. MobileNetV2 and ResNet-20 are judged on the whole test split of
Fashion-MNIST, EfficientNet-Lite0 by how its answers agree with its own float answers on crops of natural photographs
(benchmarks/photographs.py). Recipes of ours were chosen on the validation split. Latency: one sample, one thread, the
files of one runtime in turn. Files and figures are kept in runs/quantization; what is there is not done again, but with
`--timing` latency is taken anew (of files that are all there: for a machine that was not idle at first).
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import photographs
import quantizers
import torch
from efficientnet_lite import network as efficientnet_lite0
from table import write

from paring import data, load
from paring.core.model import Model
from paring.core.step import Context
from paring.core.target import Array, Limits, Target
from paring.core.task import Task
from paring.measure.accuracy import sqnr
from paring.measure.answers import of_model
from paring.measure.latency import interleaved
from paring.steps.quantize.static import QuantizeStatic, StaticConfig
from paring.targets import TARGETS

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
WORK = Path(__file__).parents[1] / "runs" / "quantization"
RUNTIMES = ("litert", "executorch", "onnxruntime")
EVERY = frozenset({"float32", "int8", "int4"})
SECONDS = 20.0
PLAIN: Mapping[str, Any] = {"calibration": {"method": "mse"}, "ladder": None}


@dataclass(frozen=True)
class Case:
    """A network with what it is judged by.

    Attributes:
        name: of the network.
        model: in float.
        task: gives the samples.
        samples: for calibration.
        recipes: name -> options of `quantize.static`.
    """

    name: str
    model: Model
    task: Task
    samples: int
    recipes: Mapping[str, Mapping[str, Any]]


NAMES = {"mobilenet_v2": "MobileNetV2-0.5", "resnet20": "ResNet-20", "efficientnet_lite0": "EfficientNet-Lite0"}


def fashion(name: str, checkpoint: str) -> Callable[[], Case]:
    """A network trained on Fashion-MNIST."""
    recipes = {
        "int8": PLAIN,
        "int8, repaired": {**PLAIN, "repairs": ["adaround", "bias_correction"]},
        "W4A8, nearest": {**PLAIN, "weights": "int4", "calibration": {"method": "mse", "weights": "minmax"}},
        "W4A8, repaired": {**PLAIN, "weights": "int4", "repairs": ["brecq", "bias_correction"]},
    }
    return lambda: Case(
        name, load.open(str(CHECKPOINTS / f"{checkpoint}.safetensors")), data.open("fashion-mnist"), 256, recipes
    )


def lite() -> Case:
    """EfficientNet-Lite0 with its ImageNet weights."""
    wide = {"@first": {"weights": "int8"}, "@last": {"weights": "int8"}, "@depthwise": {"weights": "int8"}}
    # the samples show seven photographs: chosen on crops of three of them, with those of the other four to calibrate on
    learned = [{"adaround": {"iterations": 300, "damping": 1.0}}, "bias_correction"]
    recipes = {
        "int8": PLAIN,
        "int8, repaired": {**PLAIN, "repairs": learned},
        "W4A8, nearest": {**PLAIN, "weights": "int4", "layers": wide},
        "W4A8, repaired": {**PLAIN, "weights": "int4", "layers": wide, "repairs": learned},
    }
    return Case(NAMES["efficientnet_lite0"], efficientnet_lite0(), photographs.Photographs(), 128, recipes)


CASES: Mapping[str, Callable[[], Case]] = {
    "mobilenet_v2": fashion(NAMES["mobilenet_v2"], "mobilenet_v2-w0.5-fashion_mnist"),
    "resnet20": fashion(NAMES["resnet20"], "resnet20-fashion_mnist"),
    "efficientnet_lite0": lite,
}


class Judge:
    """Runs the test split and compares answers."""

    def __init__(self, case: Case) -> None:
        batches = list(case.task.batches("test", 100))
        self.inputs = [{name: tensor.numpy() for name, tensor in batch.inputs.items()} for batch in batches]
        self.targets = np.concatenate([batch.targets.numpy() for batch in batches])
        self.labelled = case.name != NAMES["efficientnet_lite0"]
        self.wanted = self.answers(of_model(case.model))

    def answers(self, answer: Callable[[Mapping[str, Array]], Mapping[str, Array]]) -> Array:
        """The logits of every sample."""
        return np.concatenate([next(iter(answer(one).values())) for one in self.inputs])

    def figures(self, found: Array) -> Iterator[tuple[str, float, str]]:
        """(metric, value, unit) of some answers."""
        if self.labelled:
            yield "accuracy", 100 * float((found.argmax(1) == self.targets).mean()), "%"
        same = found.argmax(1) == self.wanted.argmax(1)
        yield "agreement with float", 100 * float(same.mean()), "%"
        sure = torch.from_numpy(self.wanted).softmax(1).amax(1).numpy() > photographs.CONFIDENT
        yield "agreement with float, confident", 100 * float(same[sure].mean()), "%"
        yield "sqnr", sqnr(self.wanted, found), "dB"


class Rows:
    """Figures of one network, kept in a file."""

    def __init__(self, network: str, path: Path) -> None:
        self.network, self.path = network, path
        self.rows: list[dict[str, object]] = json.loads(path.read_text()) if path.exists() else []

    def note(self, who: str, runtime: str, metric: str, value: float, unit: str, spread: Any = "") -> None:
        """One figure."""
        self.rows.append(
            {"network": self.network, "who": who, "runtime": runtime, "metric": metric, "value": f"{value:.5g}",
             "unit": unit, "spread": spread}
        )  # fmt: skip
        print(self.network, who, runtime, metric, f"{value:.5g}", unit, flush=True)

    def save(self) -> None:
        """Writes what was noted."""
        self.path.write_text(json.dumps(self.rows))


def peers(case: Case, runtime: str, float_file: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of other quantizers for a runtime; one that fails is told and left out."""
    makers: dict[str, Callable[[Path, Path, Task, int], Path]] = {}
    if runtime == "litert":
        makers["ai-edge-quantizer"] = quantizers.ai_edge_static
    if runtime == "onnxruntime":
        for method in ("MinMax", "Entropy", "Percentile"):
            makers[f"ONNX Runtime, {method}"] = partial(quantizers.onnx_runtime, method=method)
        makers["NNCF"] = quantizers.nncf
        makers["Neural Compressor"] = quantizers.neural_compressor
    for who, make in makers.items():
        try:
            made = folder / f"{who}{float_file.suffix}"
            yield who, made if made.exists() else make(float_file, made, case.task, case.samples)
        except Exception as error:  # whatever theirs raises
            print(f"{who} failed on {case.name}: {error}", flush=True)


def answer(case: Case, folder: Path) -> None:
    """Makes every file, and judges it; the files' names go into `files.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    judge, rows, made = Judge(case), Rows(case.name, folder / "answers.json"), dict[str, Model]()
    for who, options in case.recipes.items():
        given = {**options, "calibration": {**options["calibration"], "samples": case.samples}}
        context = Context(case.task, Limits(EVERY, EVERY), 0, case.model, folder / "work")
        begun = time.perf_counter()
        made[who] = QuantizeStatic().apply(case.model, StaticConfig.model_validate(given), context)
        rows.note(f"paring {who}", "none", "quantization takes", time.perf_counter() - begun, "s")
    for metric, value, unit in judge.figures(judge.wanted):
        rows.note("float", "PyTorch", metric, value, unit)

    files: dict[str, dict[str, str]] = {}
    classes: dict[tuple[str, str], Array] = {}
    for runtime in RUNTIMES:
        target: Target = TARGETS.load(runtime)()
        found = {"float": target.export(case.model, folder / f"float{target.suffix}")}
        for who, model in made.items():
            if case.recipes[who].get("weights", "int8") in target.limits.weights:
                found[f"paring {who}"] = target.export(model, folder / f"paring {who}{target.suffix}")
        found |= dict(peers(case, runtime, found["float"], folder))
        for who, path in found.items():
            answers = judge.answers(target.open(path).run)
            classes[runtime, who] = answers.argmax(1)
            for metric, value, unit in judge.figures(answers):
                rows.note(who, runtime, metric, value, unit)
            rows.note(who, runtime, "size", path.stat().st_size, "B")
        files[runtime] = {who: path.name for who, path in found.items()}
    for who in ("paring int8", "paring int8, repaired"):
        for one, other in (("litert", "executorch"), ("litert", "onnxruntime"), ("executorch", "onnxruntime")):
            same = float((classes[one, who] == classes[other, who]).mean())
            rows.note(who, f"{one} and {other}", "agreement of two runtimes", 100 * same, "%")
    rows.save()
    (folder / "files.json").write_text(json.dumps(files))


def timing(network: str, folder: Path) -> None:
    """Latency of every file, and of ours beside the fastest of the others'."""
    (folder / "timing.json").unlink(missing_ok=True)
    rows = Rows(network, folder / "timing.json")
    for runtime, files in json.loads((folder / "files.json").read_text()).items():
        target: Target = TARGETS.load(runtime)()
        runners = {who: target.open(folder / name) for who, name in files.items()}
        timings = interleaved(runners, seconds=SECONDS)
        for who, taken in timings.items():
            rows.note(who, runtime, "latency", taken.median, "ms", f"{taken.spread:.2g}")
            rows.note(who, runtime, "latency ratio to float", taken.ratio, "1", f"{taken.ratio_spread:.2g}")
        theirs = [who for who in files if who != "float" and not who.startswith("paring")]
        if theirs:
            fastest = min(theirs, key=lambda who: timings[who].ratio)
            pair = [fastest, *(who for who in files if who.startswith("paring int8"))]
            for who, taken in interleaved({one: runners[one] for one in pair}, seconds=SECONDS).items():
                metric = f"latency ratio to {fastest}"
                rows.note(who, runtime, metric, taken.ratio, "1", f"{taken.ratio_spread:.2g}")
    rows.save()


def main() -> None:
    """Writes results/quantization.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[*CASES])
    parser.add_argument("--timing", action="store_true", help="take latency again")
    given = parser.parse_args()
    for name in given.only or CASES:
        folder = WORK / name
        if not (folder / "files.json").exists():
            answer(CASES[name](), folder)
        if given.timing or not (folder / "timing.json").exists():
            timing(NAMES[name], folder)
    kept = [WORK / name / file for name in CASES for file in ("answers.json", "timing.json")]
    write("quantization", [row for path in kept if path.exists() for row in json.loads(path.read_text())])


if __name__ == "__main__":
    main()
