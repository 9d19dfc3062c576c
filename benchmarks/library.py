"""The recipes of the library: what each costs in accuracy, and what it saves.

    python benchmarks/library.py [--recipe small] [--checkpoint minilm.safetensors] [--samples 500]

MobileNetV2-0.5 on Fashion-MNIST (the one in checkpoints/), each recipe as `paring compress NAME` runs it, seed 0; with
`--checkpoint` also `fast-nlp` on all-MiniLM-L6-v2 fine-tuned on `reviews` (benchmarks/text.py says how), 64 tokens.
Accuracy over the whole test split, in LiteRT; the latencies of the files of one network are interleaved in one run, one
sample, one thread. What is in runs/library is not done again. No recipe was tuned on these test splits: options are
those that docs/ chose on validation splits.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from table import write

import paring
from paring.cli.show import Shown
from paring.core.record import Record
from paring.measure import measurements
from paring.recipes import library
from paring.recipes.read import read
from paring.targets.litert import LiteRT

ROOT = Path(__file__).parents[1]
WORK = ROOT / "runs" / "library"
IMAGES = ("MobileNetV2-0.5", str(ROOT / "checkpoints" / "mobilenet_v2-w0.5-fashion_mnist.safetensors"), "fashion-mnist")
TEXTS = "fast-nlp"
TOKENS = 64
SECONDS = 5.0  # for each file
FIGURES = ("accuracy", "size", "zipped_size", "peak_memory", "agreement")


def run(name: str, model: str, data: str, samples: int | None) -> paring.Result:
    """One recipe; only baseline and result are measured."""
    recipe, _ = read(name, model=model, data=data)
    given = recipe.model_copy(update={"measure": recipe.measure.model_copy(update={"stages": "ends"})})
    if samples is not None:
        given = given.model_copy(update={"measure": given.measure.model_copy(update={"test_samples": samples})})
    folder = f"{name}-{samples}" if samples else name
    return paring.compress(given, out=WORK / folder, progress=Shown())


def rows(network: str, results: dict[str, paring.Result]) -> Iterator[dict[str, object]]:
    """The figures of one network's recipes, its float file first."""

    def row(who: str, metric: str, value: float, unit: str, spread: float | None, samples: int) -> dict[str, object]:
        return {
            "network": network, "who": who, "metric": metric, "value": f"{value:.6g}", "unit": unit,
            "spread": "" if spread is None else f"{spread:.3g}", "samples": samples,
        }  # fmt: skip

    def told(who: str, record: Record) -> dict[str, object]:
        return row(who, record.metric, record.value, record.unit, record.spread, record.samples)

    first = next(iter(results.values()))
    files = {"float": first.path / "artifacts" / "baseline.litert" / "model.tflite"}
    for who, result in results.items():
        files[who] = result.artifacts["litert"]
        stage = "artifact:litert"
        for metric in FIGURES:
            if who == next(iter(results)) and metric != "agreement":
                yield told("float", result.report.find("baseline", metric)[0])
            yield told(who, result.report.find(stage, metric)[0])
        for record in (
            *result.report.find("artifact:micro", "accuracy"),
            *result.report.find("artifact:micro", "arena"),
        ):
            yield row(f"{who} (micro)", record.metric, record.value, record.unit, record.spread, record.samples)
        yield row(who, "seconds", sum(one.seconds or 0.0 for one in result.report.stages), "s", None, 1)
        for budget in result.report.requirements:
            yield row(who, f"{budget.name}, limit {budget.limit:g}", budget.value, budget.unit, None, 1)
    target = LiteRT()
    runners = {who: target.open(file) for who, file in files.items()}
    for record in measurements.latency(runners, seconds=SECONDS * len(runners)):
        yield told(record.stage, record)


def main() -> None:
    """Runs everything and writes `results/library.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", choices=library.names(), help="only this one; may stand twice")
    parser.add_argument("--checkpoint", type=Path, help="of the sentence classifier, for fast-nlp")
    parser.add_argument("--samples", type=int, help="of the test split; all if left out")
    given = parser.parse_args()
    wanted: Sequence[str] = given.recipe or library.names()
    found: list[dict[str, object]] = []
    network, model, data = IMAGES
    images = {name: run(name, model, data, given.samples) for name in wanted if name != TEXTS}
    if images:
        found += rows(network, images)
    if given.checkpoint is not None and TEXTS in wanted:
        texts = {TEXTS: run(TEXTS, str(given.checkpoint), f"reviews(length={TOKENS})", given.samples)}
        found += rows("all-MiniLM-L6-v2", texts)
    write("library", found)


if __name__ == "__main__":
    main()
