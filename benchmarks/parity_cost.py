"""What the parity gate costs: exports with it and without it, in turn, and its share of the demo's run."""

import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from table import write

import paring
from paring import load
from paring.core.model import Model
from paring.core.target import Target
from paring.targets import TARGETS, parity

RUNS = 3
MODELS = {
    "MobileNetV2-0.5, 28 pixels": "checkpoints/mobilenet_v2-w0.5-fashion_mnist.safetensors",
    "MobileNetV2-1.0, 224 pixels": "zoo:mobilenet_v2(classes=1000)",
}
NAMES = ("litert", "onnxruntime", "executorch", "openvino", "torchmobile", "micro")


def exported(target: Target, model: Model, *, gate: bool) -> float:
    """Seconds of an export."""
    with tempfile.TemporaryDirectory() as folder, parity.watched(off=not gate):
        begin = time.perf_counter()
        target.export(model, Path(folder) / f"model{target.suffix}", target.Options())
        return time.perf_counter() - begin


def models() -> dict[str, Model]:
    """Each float model, and the same in int8."""
    from paring.core.step import Context
    from paring.core.target import Limits
    from paring.steps import STEPS
    from paring.testing.random_networks.trial import Given

    found: dict[str, Model] = {}
    for name, entry in MODELS.items():
        shape = (3, 224, 224) if entry.startswith("zoo:") else None
        model = load.open(entry, shape=shape) if shape else load.open(entry)
        spec = model.inputs[0]
        samples = {spec.name: torch.randn(16, *spec.sized(1)[1:], generator=torch.Generator().manual_seed(0)).numpy()}
        step, kinds = STEPS.load("quantize.static")(), frozenset({"float32", "int8"})
        with tempfile.TemporaryDirectory() as folder:
            context = Context(Given(samples, model.inputs), Limits(kinds, kinds), 0, model, Path(folder))
            config = step.Config.model_validate({"calibration": {"samples": 16}, "ladder": None})
            found[f"{name}, float"], found[f"{name}, int8"] = model, step.apply(model, config, context)
    return found


def main() -> None:
    """Writes `results/parity_cost.csv`."""
    torch.set_num_threads(1)
    rows = []
    for name, model in models().items():
        for target in (TARGETS.load(one)() for one in NAMES):
            if not model.quantized and "float32" not in target.limits.activations:
                continue
            exported(target, model, gate=True)  # imports, and the process that runs files
            taken: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(RUNS):
                for gate in (False, True):
                    taken[gate].append(exported(target, model, gate=gate))
            without, gated = (median(taken[gate]) for gate in (False, True))
            rows.append(row(name, target.name, without, gated, RUNS))
    rows += demo()
    write("parity_cost", rows)


def demo() -> list[dict[str, object]]:
    """The demo's recipe, with the gate and without, each in a run directory of its own."""
    taken = {}
    for gate in (False, True):
        if not gate:
            kept, parity.require = parity.require, lambda *_: None
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            paring.compress("examples/demo.yaml", out=Path(folder) / "demo")
            taken[gate] = time.perf_counter() - begin
        if not gate:
            parity.require = kept
    return [row("examples/demo.yaml", "litert", taken[False], taken[True], 1)]


def row(what: str, target: str, without: float, gated: float, runs: int) -> dict[str, object]:
    """One line of the table: seconds without the gate and with it, and the share that it adds."""
    share = gated / without - 1
    return {"what": what, "target": target, "without_s": f"{without:.2f}", "with_s": f"{gated:.2f}",
            "share": f"{share:.3f}", "runs": runs}  # fmt: skip


if __name__ == "__main__":
    main()
