"""The sentence classifier in LiteRT: dynamic int8 beside ai-edge-quantizer, half of its heads and feed-forward units.

    python benchmarks/sentences.py --checkpoint minilm.safetensors [--samples 500]

The checkpoint is all-MiniLM-L6-v2 fine-tuned on `reviews` (benchmarks/text.py says how). The smaller network keeps the
teacher's layers 1, 3 and 5 as they are, untrained: only its latency and how well its own answers are kept are looked
at. `prune.heads` halves heads and feed-forward units as examples/reviews-heads.yaml does, with one epoch of recovery,
the teacher teaching. 64 tokens, batch 1, one thread; the latencies of a network's files are interleaved in one run.
"""

import argparse
import copy
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import quantizers
import yaml
from table import write

from paring import data, load
from paring.cli.show import Shown
from paring.core.model import Event, Model
from paring.core.step import Context
from paring.core.target import Array, Runner
from paring.core.task import Task
from paring.load import saved
from paring.measure.accuracy import share, sqnr
from paring.measure.latency import interleaved
from paring.steps.prune.heads import HeadsConfig, PruneHeads
from paring.steps.quantize.dynamic import DynamicConfig, QuantizeDynamic
from paring.steps.shapes import cut
from paring.targets.litert import LiteRT

WORK = Path(__file__).parents[1] / "runs" / "sentences"
TOKENS = 64
SECONDS = 30.0


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


def halved(teacher: Model, task: Task, folder: Path) -> Model:
    """Half of heads and feed-forward units, recovered."""
    recipe = yaml.safe_load((Path(__file__).parents[1] / "examples" / "reviews-heads.yaml").read_text(encoding="utf-8"))
    (step,) = recipe["steps"]
    config = HeadsConfig.model_validate(step["prune.heads"])
    return PruneHeads().apply(teacher, config, Context(task, LiteRT.limits, 0, teacher, folder, Shown()))


def main() -> None:
    """Writes results/sentences.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--samples", type=int, help="of the test split; all if left out")
    given = parser.parse_args()
    checkpoint = str(given.checkpoint)
    task = data.open(f"reviews(length={TOKENS})", tokenization=load.tokenization(checkpoint))
    teacher = load.open(checkpoint, task=task)
    half_file = WORK / "half.safetensors"
    if not half_file.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        saved.save(halved(teacher, task, WORK / "recovery"), half_file)
    networks = {
        "six layers": teacher,
        "half of heads and feed-forward units": load.open(str(half_file), task=task),
        "three layers": three_layers(teacher),
    }
    rows: list[dict[str, object]] = []
    with TemporaryDirectory() as name:
        target, whole = LiteRT(), LiteRT().export(teacher, Path(name) / "whole.tflite")
        for network, model in networks.items():
            folder = Path(name) / network.replace(" ", "_")
            folder.mkdir()
            small = QuantizeDynamic().apply(
                model, DynamicConfig.model_validate({}), Context(task, target.limits, 0, model, folder / "work")
            )
            files = {"six layers, float": whole, "float": target.export(model, folder / "float.tflite")}
            files["paring dynamic int8"] = target.export(small, folder / "int8.tflite")
            files["ai-edge-quantizer dynamic int8"] = quantizers.ai_edge_dynamic(files["float"], folder / "peer.tflite")
            runners = {who: target.open(file) for who, file in files.items()}
            timings = interleaved(runners, seconds=SECONDS)
            wanted, targets = answers(runners["float"], task, given.samples)
            for who, runner in list(runners.items())[1:]:
                found = wanted if who == "float" else answers(runner, task, given.samples)[0]
                figures: list[tuple[str, float, str, object]] = [
                    ("size", files[who].stat().st_size, "B", ""),
                    ("latency", timings[who].median, "ms", f"{timings[who].spread:.2g}"),
                    (
                        "latency ratio to six layers in float",
                        timings[who].ratio,
                        "1",
                        f"{timings[who].ratio_spread:.2g}",
                    ),
                ]
                if who != "float":
                    figures.insert(
                        0, ("agreement with float", 100 * float((found.argmax(1) == wanted.argmax(1)).mean()), "%", "")
                    )
                    figures.insert(1, ("sqnr", sqnr(wanted, found), "dB", ""))
                if network != "three layers":
                    accuracy, half_width = share(int((found.argmax(1) == targets).sum()), len(targets))
                    figures.insert(0, ("accuracy", accuracy, "%", f"{half_width:.2f}"))
                rows += [
                    {"network": network, "who": who, "metric": metric, "value": f"{value:.5g}", "unit": unit,
                     "spread": spread, "samples": len(targets), "tokens": TOKENS}
                    for metric, value, unit, spread in figures
                ]  # fmt: skip
    write("sentences", rows)


if __name__ == "__main__":
    main()
