"""Whole families of networks through the whole way: is every file right, or refused before work?

    python benchmarks/parity_sweep.py keras|zoo|transformers [--limit 600] [NAME …]

Each network has drawn weights and runs in a process of its own, under a limit of time: it is loaded, then exported in
float, after `quantize.static`, and after `prune.channels` to 0.6 of the multiply–accumulates and `quantize.static`.
Networks of keras.applications are built and saved by Keras; their float files are compared with Keras's answers, all
other float files with the model's, and quantized files with the quantized model's answers, on samples that nothing was
calibrated on. What is in the table already for the same sources is not done again,
unless it ran into the limit.

A row's result is `right` (relative error ≤ 1e-3 in float; in int8 ≥ 30 dB, or what the graph itself is to the float
model less 3 dB), `refused` (by the door, the step or `check`, before the work), `late` (refused by the export),
`wrong`, `traceback` (any other exception) or `limit`.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

os.environ["KERAS_BACKEND"] = "torch"

from sweep_networks import ENTRIES, network  # after the backend is chosen

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from paring.core.model import Model, TensorSpec
    from paring.core.target import Target
    from paring.core.task import Batch

STEPS = ("float", "static int8", "0.6 of MACs, static int8")
SAMPLES = 16  # to calibrate on; as many others are compared
RELATIVE, DECIBELS = 1e-3, 30.0
ROOT = Path(__file__).parents[1]
TABLE = "parity_sweep"
NUMBERS = frozenset({"float32", "int8"})
Answers = Mapping[str, "np.ndarray[Any, Any]"]


class Drawn:
    """Samples drawn at random; contract: `paring.core.task.Task`. A network may come from it."""

    name = identity = "drawn"
    labels: tuple[str, ...] = ()
    preprocessing: Mapping[str, object] = {}
    inputs: "tuple[TensorSpec, ...]"

    def __init__(self, inputs: "tuple[TensorSpec, ...]") -> None:
        self.inputs = inputs

    def samples(self, seed: int) -> "dict[str, Tensor]":
        """Images of normal values, ids over the whole vocabulary; half of the texts end in padding."""
        import torch

        chance, found = torch.Generator().manual_seed(seed), {}
        for spec in self.inputs:
            shape = (SAMPLES, *spec.sized(1)[1:])
            if spec.dtype.startswith("int"):
                high = int((spec.range or (0, 1))[1])
                found[spec.name] = torch.randint(1 if high > 1 else 0, high + 1, shape, generator=chance)
            else:
                found[spec.name] = torch.randn(shape, generator=chance)
        if "attention_mask" in found:
            found["attention_mask"][:] = 1
            found["attention_mask"][::2, -4:] = 0
        return found

    def size(self, split: str) -> int:
        """Of every split alike."""
        return SAMPLES

    def batches(self, split: str, size: int, *, limit: int | None = None, **_: Any) -> "Iterator[Batch]":
        """Those to calibrate on, or others."""
        import torch

        from paring.core.task import Batch

        drawn = self.samples(0 if split in ("train", "calibration") else 1)
        for start in range(0, min(limit or SAMPLES, SAMPLES), size):
            part = {name: tensor[start : start + size] for name, tensor in drawn.items()}
            yield Batch(part, torch.zeros(len(next(iter(part.values()))), dtype=torch.int64))

    def loss(self, outputs: "Mapping[str, Tensor]", targets: "Tensor", label_smoothing: float = 0.0) -> "Tensor":
        """Some loss, for steps that want one."""
        return next(iter(outputs.values())).square().mean()


class Trial:
    """One network: a row for each step and target, printed as soon as it is known."""

    NO_ROW: ClassVar[dict[str, object]] = {"value": "", "unit": "", "graph to float, dB": "", "reason": ""}

    def __init__(self, door: str, name: str, targets: Sequence[str]) -> None:
        self.door, self.name, self.targets = door, name, targets
        self.began = time.perf_counter()

    def tell(self, step: str, target: str, result: str, **more: object) -> None:
        """Prints a row; `seconds` are those since the last one."""
        row = {"network": self.name, "door": self.door, "step": step, "target": target, "result": result, **self.NO_ROW}
        seconds = f"{time.perf_counter() - self.began:.0f}"
        print(json.dumps({**row, **more, "seconds": seconds}), flush=True)
        self.began = time.perf_counter()

    def failed(self, step: str, targets: Sequence[str], error: Exception, refused: str = "refused") -> None:
        """Prints a row for each target, of an exception."""
        from paring.core.errors import ParingError

        result = refused if isinstance(error, ParingError) else "traceback"
        reason = " ".join(str(error).split("\n  try:")[0].split())
        for target in targets:
            self.tell(step, target, result, reason=f"{type(error).__name__}: {reason}"[:300])

    def run(self) -> None:
        """Prints every row."""
        with TemporaryDirectory() as folder:
            self._run(Path(folder))

    def _run(self, folder: Path) -> None:
        from paring.measure.answers import of_model
        from paring.targets import TARGETS

        try:
            model, theirs = network(self.door, self.name, folder)
        except Exception as error:
            for step in STEPS:
                self.failed(step, self.targets, error)
            return
        task = Drawn(model.inputs)
        tested = {name: tensor.numpy() for name, tensor in task.samples(1).items()}
        answers = of_model(model)(tested)
        wanted = answers if theirs is None else dict(zip(answers, theirs(tested), strict=True))
        able = []
        for name in self.targets:
            target: Target = TARGETS.load(name)()
            problems = [one for one in target.check(model) if one.severity == "refuses"]
            for step in STEPS if problems else ():
                self.tell(step, name, "refused", reason=str(problems[0]).split(" (try:")[0][:300])
            able += [target] if not problems else []
        for step in STEPS if able else ():
            try:
                made = _stepped(step, model, task, folder)
                graph = of_model(made)(tested)
            except Exception as error:
                self.failed(step, [target.name for target in able], error)
                continue
            for target in able:
                self._file(step, target, made, tested, wanted, graph, folder)

    def _file(
        self, step: str, target: "Target", made: "Model", tested: Answers, wanted: Answers, graph: Answers, folder: Path
    ) -> None:
        from paring.targets.parity import reference
        from paring.targets.traced import first_line

        try:
            path = target.export(made, folder / f"{STEPS.index(step)}-{target.name}{target.suffix}", target.Options())
        except Exception as error:
            self.failed(step, [target.name], error, "late")
            return
        try:
            found = target.open(path).run(dict(tested))
        except Exception as error:
            self.tell(step, target.name, "wrong", reason=f"does not run: {first_line(error)}"[:300])
            return
        if step == "float":
            worst = max(_relative(found[name], wanted[name]) for name in wanted)
            result = "right" if worst <= RELATIVE else "wrong"
            self.tell(step, target.name, result, value=f"{worst:.2g}", unit="relative")
            return
        plain = reference.unrounded(made, tested) if step == STEPS[2] else wanted  # what was pruned is another model
        closest = [(_decibels(found[n], graph[n]), _decibels(graph[n], plain[n])) for n in plain]
        apart, own = min(closest)
        result = "right" if apart >= DECIBELS or apart >= own - 3 else "wrong"
        self.tell(step, target.name, result, value=f"{apart:.1f}", unit="dB", **{"graph to float, dB": f"{own:.1f}"})


def _stepped(step: str, model: "Model", task: Drawn, folder: Path) -> "Model":
    from paring.core.step import Context
    from paring.core.target import Limits

    options: dict[str, dict[str, Any]] = {
        "prune.channels": {"macs": 0.6, "samples": SAMPLES, "round_to": 4},
        "quantize.static": {"calibration": {"samples": SAMPLES}, "ladder": None},
    }
    from paring.steps import STEPS as KNOWN

    for name in {STEPS[0]: (), STEPS[1]: ("quantize.static",)}.get(step, tuple(options)):
        made = KNOWN.load(name)()
        context = Context(task, Limits(NUMBERS, NUMBERS), 0, model, folder)  # type: ignore[arg-type]
        model = made.apply(model, made.Config.model_validate(options[name]), context)
    return model


def _relative(found: Any, wanted: Any) -> float:
    import numpy as np

    if found.shape != wanted.shape or not np.array_equal(np.isfinite(found), np.isfinite(wanted)):
        return float("inf")
    finite = np.isfinite(wanted)
    found, wanted = found[finite].astype(float), wanted[finite].astype(float)
    return float(np.linalg.norm(found - wanted)) / max(float(np.linalg.norm(wanted)), 1e-30)


def _decibels(found: Any, wanted: Any) -> float:
    from math import log10

    return min(-20 * log10(max(_relative(found, wanted), 1e-10)), 200.0)


def sources() -> str:
    """What tells these sources from others: git's hash of the folder, with a mark where it was changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD:src/paring") + ("+" if git("status", "--porcelain", "src/paring") else "")


def tried(door: str, name: str, targets: Sequence[str], limit: float) -> list[dict[str, object]]:
    """The rows of one network, from a process of its own; what it did not come to within the limit is told.

    The process is a fork of this one, which has imported what takes a minute and has run nothing.
    """
    imported()
    with TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        child = get_context("fork").Process(target=_alone, args=(door, name, targets, out, err))
        child.start()
        child.join(limit)
        ended, reason = "traceback", f"ended with {child.exitcode}"
        if child.is_alive():
            child.kill()
            child.join()
            ended, reason = "limit", f"not done within {limit:.0f} s"
        rows = [json.loads(line) for line in out.read_text().splitlines() if line.startswith('{"network"')]
        if ended == "traceback":
            reason = (err.read_text(errors="replace").strip().splitlines() or [reason])[-1]
    known = {(row["step"], row["target"]) for row in rows}
    for step in STEPS:
        for target in targets:
            if (step, target) not in known:
                rows.append(
                    {"network": name, "door": door, "step": step, "target": target, "result": ended, **Trial.NO_ROW}
                    | {"reason": reason[:300], "seconds": ""}
                )
    return rows


@cache
def imported() -> None:
    """Imports what every network needs, and runs none of it: threads would not come along into a fork."""
    for module in ("paring.steps.quantize.static", "paring.steps.prune.channels", "paring.load.huggingface.door"):
        import_module(module)
    for target in ("litert", "onnxruntime"):
        import_module(f"paring.targets.{target}.export")
    import_module("keras")


def _alone(door: str, name: str, targets: Sequence[str], out: Path, err: Path) -> None:
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
    Trial(door, name, targets).run()
    sys.stdout.flush()


def main() -> None:
    """Writes `results/parity_sweep.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("door", choices=sorted(ENTRIES))
    parser.add_argument("names", nargs="*", help="of networks; all of the door if left out")
    parser.add_argument("--targets", nargs="+", default=["litert", "onnxruntime"])
    parser.add_argument("--limit", type=float, default=600, help="seconds for one network")
    parser.add_argument("--until", help="HH:MM: no network is begun after it")
    given = parser.parse_args()
    from table import RESULTS, write

    path, now = RESULTS / f"{TABLE}.csv", sources()
    for name in given.names or ENTRIES[given.door]:
        if given.until and time.strftime("%H:%M") >= given.until:
            break
        rows: list[dict[str, object]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        own = [row for row in rows if (row["door"], row["network"]) == (given.door, name)]
        known = [row["target"] for row in own if row["sources"] == now and row["result"] != "limit"]
        if all(known.count(target) == len(STEPS) for target in given.targets):
            continue
        made = [{**row, "sources": now} for row in tried(given.door, name, given.targets, given.limit)]
        for row in made:
            row["key"] = " ".join(str(row[part]) for part in ("door", "network", "step", "target"))
        write(TABLE, made, keep="key")


if __name__ == "__main__":
    main()
