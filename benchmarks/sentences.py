"""The sentence classifier in dynamic int8 in LiteRT, beside ai-edge-quantizer: the six-layer teacher and three layers.

    python benchmarks/sentences.py --checkpoint minilm.safetensors [--samples 500]

The checkpoint is all-MiniLM-L6-v2 fine-tuned on `reviews` (benchmarks/text.py says how). The smaller network keeps the
teacher's layers 1, 3 and 5 as they are, untrained: only its latency and how well its own answers are kept are looked
at. 64 tokens, batch 1, one thread; the latencies of a network's files are interleaved in one run.
"""

import argparse
import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import quantizers
from table import write

from paring import data, load
from paring.core.model import Event, Model
from paring.core.step import Context
from paring.core.target import Array, Runner
from paring.core.task import Task
from paring.measure.accuracy import sqnr
from paring.measure.latency import interleaved
from paring.steps.prune.structure.shapes import cut
from paring.steps.quantize.dynamic import DynamicConfig, QuantizeDynamic
from paring.targets.litert import LiteRT

TOKENS = 64
SECONDS = 40.0


def three_layers(teacher: Model) -> Model:
    """The teacher without its layers 0, 2 and 4."""
    module = copy.deepcopy(teacher.module)
    for name, part in list(module.named_modules()):
        if name.endswith("encoder.layer"):
            for index in ("0", "2", "4"):
                del part._modules[index]
    return cut(teacher, module, Event("benchmark", {}, "layers 0, 2 and 4 removed"))


def answers(runner: Runner, task: Task, samples: int | None) -> tuple[Array, Array]:
    """Logits and labels of the test split."""
    logits, targets = [], []
    for batch in task.batches("test", 1, limit=samples):
        logits.append(next(iter(runner.run({name: tensor.numpy() for name, tensor in batch.inputs.items()}).values())))
        targets.append(batch.targets.numpy())
    return np.concatenate(logits), np.concatenate(targets)


def main() -> None:
    """Writes results/sentences.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--samples", type=int, help="of the test split; all if left out")
    given = parser.parse_args()
    checkpoint = str(given.checkpoint)
    task = data.open(f"reviews(length={TOKENS})", tokenization=load.tokenization(checkpoint))
    teacher = load.open(checkpoint, task=task)
    rows: list[dict[str, object]] = []
    for network, model in {"six layers": teacher, "three layers": three_layers(teacher)}.items():
        with TemporaryDirectory() as name:
            folder, target = Path(name), LiteRT()
            small = QuantizeDynamic().apply(
                model, DynamicConfig.model_validate({}), Context(task, target.limits, 0, model, folder / "work")
            )
            files = {"float": target.export(model, folder / "float.tflite")}
            files["paring dynamic int8"] = target.export(small, folder / "int8.tflite")
            files["ai-edge-quantizer dynamic int8"] = quantizers.ai_edge_dynamic(files["float"], folder / "peer.tflite")
            runners = {who: target.open(file) for who, file in files.items()}
            timings = interleaved(runners, seconds=SECONDS)
            wanted, targets = answers(runners["float"], task, given.samples)
            for who, runner in runners.items():
                found = wanted if who == "float" else answers(runner, task, given.samples)[0]
                figures: list[tuple[str, float, str, object]] = [
                    ("agreement with float", 100 * float((found.argmax(1) == wanted.argmax(1)).mean()), "%", ""),
                    ("sqnr", sqnr(wanted, found), "dB", ""),
                    ("size", files[who].stat().st_size, "B", ""),
                    ("latency", timings[who].median, "ms", f"{timings[who].spread:.2g}"),
                    ("latency ratio to float", timings[who].ratio, "1", f"{timings[who].ratio_spread:.2g}"),
                ]
                if model is teacher:
                    figures.insert(0, ("accuracy", 100 * float((found.argmax(1) == targets).mean()), "%", ""))
                rows += [
                    {"network": network, "who": who, "metric": metric, "value": f"{value:.5g}", "unit": unit,
                     "spread": spread, "samples": len(targets), "tokens": TOKENS}
                    for metric, value, unit, spread in figures
                ]  # fmt: skip
    write("sentences", rows)


if __name__ == "__main__":
    main()
