"""Static quantization beside other quantizers, in three runtimes: MobileNetV2-0.5, ResNet-20 and EfficientNet-Lite0.

    python benchmarks/quantization.py [mobilenet_v2 resnet20 efficientnet_lite0]

Every quantizer gets the same calibration samples. MobileNetV2 and ResNet-20 are judged on the whole test split of
Fashion-MNIST, EfficientNet-Lite0 by how its answers agree with its own float answers on crops of natural photographs
(benchmarks/photographs.py). Latency: one sample, one thread, the files of one runtime in turn. The recipes of ours were
chosen on the validation split, for EfficientNet-Lite0 (no labels, one set of crops to judge by) on the first 128 crops.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
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
        recipes: name -> options of `quantize.static`; those of 4 bits are judged in PyTorch too.
    """

    name: str
    model: Model
    task: Task
    samples: int
    recipes: Mapping[str, Mapping[str, Any]]


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
    recipes = {
        "int8": PLAIN,
        "int8, repaired": {**PLAIN, "repairs": [{"adaround": {"iterations": 300}}, "bias_correction"]},
        "W4A8, nearest": {**PLAIN, "weights": "int4", "layers": wide},
        "W4A8, repaired": {**PLAIN, "weights": "int4", "layers": wide, "repairs": ["adaround", "bias_correction"]},
    }
    return Case("EfficientNet-Lite0", efficientnet_lite0(), photographs.Photographs(), 128, recipes)


CASES: Mapping[str, Callable[[], Case]] = {
    "mobilenet_v2": fashion("MobileNetV2-0.5", "mobilenet_v2-w0.5-fashion_mnist"),
    "resnet20": fashion("ResNet-20", "resnet20-fashion_mnist"),
    "efficientnet_lite0": lite,
}


class Judge:
    """Runs the test split and compares answers."""

    def __init__(self, case: Case) -> None:
        batches = list(case.task.batches("test", 100))
        self.inputs = [{name: tensor.numpy() for name, tensor in batch.inputs.items()} for batch in batches]
        self.targets = np.concatenate([batch.targets.numpy() for batch in batches])
        self.labelled = case.name != "EfficientNet-Lite0"
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
    """Gathers and shows figures."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def note(
        self, network: str, who: str, runtime: str, metric: str, value: float, unit: str, spread: Any = ""
    ) -> None:
        """One figure."""
        self.rows.append(
            {"network": network, "who": who, "runtime": runtime, "metric": metric, "value": f"{value:.5g}",
             "unit": unit, "spread": spread}
        )  # fmt: skip
        print(network, who, runtime, metric, f"{value:.5g}", unit, flush=True)


def peers(case: Case, runtime: str, float_file: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of other quantizers for a runtime; one that fails is told and left out."""
    makers: dict[str, Callable[[Path], Path]] = {}
    if runtime == "litert":
        makers["ai-edge-quantizer"] = lambda out: quantizers.ai_edge_static(float_file, out, case.task, case.samples)
    if runtime == "onnxruntime":
        for method in ("MinMax", "Entropy", "Percentile"):
            makers[f"ONNX Runtime, {method}"] = lambda out, method=method: quantizers.onnx_runtime(  # type: ignore[misc]
                float_file, out, case.task, case.samples, method
            )
        makers["NNCF"] = lambda out: quantizers.nncf(float_file, out, case.task, case.samples)
        makers["Neural Compressor"] = lambda out: quantizers.neural_compressor(
            float_file, out, case.task, case.samples
        )
    for number, (who, make) in enumerate(makers.items()):
        try:
            yield who, make(folder / f"peer-{number}{float_file.suffix}")
        except Exception as error:  # whatever theirs raises
            print(f"{who} failed on {case.name}: {error}", flush=True)


def run(case: Case, rows: Rows) -> None:
    """Every quantizer on one network."""
    judge = Judge(case)
    targets: dict[str, Target] = {name: TARGETS.load(name)() for name in RUNTIMES}
    with TemporaryDirectory() as name:
        folder = Path(name)
        made: dict[str, Model] = {}
        for who, options in case.recipes.items():
            given = {**options, "calibration": {**options["calibration"], "samples": case.samples}}
            context = Context(case.task, Limits(EVERY, EVERY), 0, case.model, folder / "work")
            begun = time.perf_counter()
            made[who] = QuantizeStatic().apply(case.model, StaticConfig.model_validate(given), context)
            rows.note(case.name, f"paring {who}", "none", "quantization takes", time.perf_counter() - begun, "s")
            for metric, value, unit in judge.figures(judge.answers(of_model(made[who]))):
                rows.note(case.name, f"paring {who}", "PyTorch", metric, value, unit)
        for metric, value, unit in judge.figures(judge.wanted):
            rows.note(case.name, "float", "PyTorch", metric, value, unit)

        classes: dict[tuple[str, str], Array] = {}
        for runtime, target in targets.items():
            files = {"float": target.export(case.model, folder / f"float{target.suffix}")}
            for who in ("int8", "int8, repaired"):
                files[f"paring {who}"] = target.export(made[who], folder / f"{who}{target.suffix}")
            files |= dict(peers(case, runtime, files["float"], folder))
            runners = {who: target.open(path) for who, path in files.items()}
            for who, runner in runners.items():
                found = judge.answers(runner.run)
                classes[runtime, who] = found.argmax(1)
                for metric, value, unit in judge.figures(found):
                    rows.note(case.name, who, runtime, metric, value, unit)
                rows.note(case.name, who, runtime, "size", files[who].stat().st_size, "B")
            for who, timing in interleaved(runners, seconds=SECONDS).items():
                rows.note(case.name, who, runtime, "latency", timing.median, "ms", f"{timing.spread:.2g}")
                rows.note(
                    case.name, who, runtime, "latency ratio to float", timing.ratio, "1", f"{timing.ratio_spread:.2g}"
                )
        for who in ("paring int8", "paring int8, repaired"):
            for one, other in (("litert", "executorch"), ("litert", "onnxruntime"), ("executorch", "onnxruntime")):
                same = float((classes[one, who] == classes[other, who]).mean())
                rows.note(case.name, who, f"{one} and {other}", "agreement of two runtimes", 100 * same, "%")


def main() -> None:
    """Writes results/quantization.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=[*CASES], choices=[*CASES])
    rows = Rows()
    for name in parser.parse_args().cases:
        run(CASES[name](), rows)
        write("quantization", rows.rows)


if __name__ == "__main__":
    main()
