"""Whole chains: what all techniques together save, and cost.

    python benchmarks/chain.py [--only images [--seed 1]]

The recipes in benchmarks/chains, seed 0 (another seed is told in the table: `images, seed 1`): MobileNetV2-0.5 on
Fashion-MNIST, and all-MiniLM-L6-v2 fine-tuned on `reviews` (runs/minilm.safetensors, made as benchmarks/text.py says),
64 tokens. Rows of other chains stay in the table. Accuracy over the whole test split, in PyTorch
after each step and of the file in LiteRT; the latencies of the float file, of each step's and of the result are
interleaved in one run, one sample, one thread. What is in runs/chains is not done again. The options are one guess
each; the structure of texts_fastest was chosen among four of its latency, on the validation split.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from table import write

import paring
from paring.cli.show import Shown
from paring.core.record import Record
from paring.measure import measurements
from paring.targets.litert import LiteRT

ROOT = Path(__file__).parents[1]
CHAINS = ROOT / "benchmarks" / "chains"
SECONDS = 5.0  # for each file
METRICS = ("accuracy", "baseline_agreement", "parameters", "macs", "agreement", "size", "zipped_size")


def rows(name: str, result: paring.Result) -> Iterator[dict[str, object]]:
    """The figures of one chain, stage by stage, and of its file."""

    def told(record: Record) -> dict[str, object]:
        return {
            "chain": name, "stage": record.stage, "metric": record.metric, "value": f"{record.value:.6g}",
            "unit": record.unit, "spread": "" if record.spread is None else f"{record.spread:.3g}",
            "samples": record.samples,
        }  # fmt: skip

    def ratio(metric: str, value: float) -> dict[str, object]:
        return {
            "chain": name, "stage": stages[-1], "metric": metric, "value": f"{value:.4g}", "unit": "1", "spread": "",
            "samples": 1,
        }  # fmt: skip

    found, stages = result.report, [stage.name for stage in result.report.stages]
    yield from (told(record) for stage in stages for metric in METRICS for record in found.find(stage, metric))
    sizes = {stage: found.find(stage, "size")[0].value for stage in (stages[0], stages[-1])}
    yield ratio("times smaller than float", sizes[stages[0]] / sizes[stages[-1]])
    files = {stage: result.path / "artifacts" / f"{stage}.litert" / "model.tflite" for stage in stages[:-2]}
    files[stages[-1]] = result.artifacts["litert"]
    target = LiteRT()
    timed = measurements.latency({s: target.open(f) for s, f in files.items()}, seconds=SECONDS * len(files))
    yield from map(told, timed)
    by_stage = {record.stage: record.value for record in timed if record.metric == "latency"}
    yield ratio("times faster than float", by_stage[stages[0]] / by_stage[stages[-1]])


def main() -> None:
    """Runs the chains and writes `results/chain.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = sorted(path.stem for path in CHAINS.glob("*.yaml"))
    parser.add_argument("--only", choices=names, help="this chain alone")
    parser.add_argument("--seed", type=int, default=0, help="of all chance")
    given = parser.parse_args()
    found: list[dict[str, object]] = []
    for name in [given.only] if given.only else names:
        called = f"{name}, seed {given.seed}" if given.seed else name
        out = ROOT / "runs" / "chains" / called.replace(", ", "-").replace(" ", "-")
        result = paring.compress(CHAINS / f"{name}.yaml", seed=given.seed, out=out, progress=Shown())
        found += rows(called, result)
    write("chain", found, keep="chain")


if __name__ == "__main__":
    main()
