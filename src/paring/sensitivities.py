"""How much each layer can lose: accuracy against the share that is pruned, one layer at a time."""

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from paring import load, opening
from paring.core.errors import ParingError, UnknownName
from paring.core.model import Json, Model
from paring.core.progress import Silent
from paring.core.rundir import RunDirectory, key
from paring.core.step import Progress
from paring.core.task import Task
from paring.load import saved
from paring.report import Bars, Sheet, write_findings
from paring.steps.prune.structure import importance, scan
from paring.steps.prune.structure.compensate import Compensation
from paring.steps.prune.structure.groups import Group
from paring.steps.prune.structure.proof import prunable
from paring.train.evaluate import evaluate

KINDS = ("channels", "weights")
RATIOS = (0.25, 0.5, 0.75, 0.9)
_SAMPLES = 256  # of the calibration split, for importance and compensation


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """One layer, or the layers whose channels go together.

    Attributes:
        layer: its name; of a group its first layer's.
        size: channels or weights that there are.
        pruned: how many of them were taken at each ratio.
        accuracy: then, on the validation split, %.
        loss: then, mean over the samples.
    """

    layer: str
    size: int
    pruned: tuple[int, ...]
    accuracy: tuple[float, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True)
class Sensitivity:
    """What `sensitivity` gives.

    Attributes:
        model: what built it.
        by: `channels` or `weights`.
        ratios: share that was pruned.
        samples: of the validation split that it rests on.
        accuracy: of the whole network, %.
        loss: likewise.
        layers: in the order of the network.
        left: layers that could not be pruned, with the reason.
    """

    model: str
    by: str
    ratios: tuple[float, ...]
    samples: int
    accuracy: float
    loss: float
    layers: Sequence[LayerSensitivity]
    left: Mapping[str, str]

    @property
    def facts(self) -> tuple[str, ...]:
        """What holds for the whole network, a line each."""
        return (
            f"{self.model}: {self.accuracy:.2f} % on {self.samples} validation samples, loss {self.loss:.4f}",
            f"accuracy, %, where a share of one layer's {self.by} is pruned and all others are whole",
            *(f"left whole: {layer}: {reason}" for layer, reason in self.left.items()),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Heads of the table."""
        return ("layer", self.by, *(f"−{100 * ratio:g} %" for ratio in self.ratios))

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The layers as text, under `columns`."""
        return [(one.layer, str(one.size), *(f"{value:.2f}" for value in one.accuracy)) for one in self.layers]

    def sheet(self) -> Sheet:
        """The page that shows it."""
        series: dict[str, Sequence[float]] = {
            f"−{100 * ratio:g} %": [self.accuracy - one.accuracy[i] for one in self.layers]
            for i, ratio in enumerate(self.ratios)
        }
        bars = Bars("Accuracy lost where one layer is pruned", "pt", series, [one.layer for one in self.layers])
        return Sheet("Sensitivity", self.facts, self.columns, self.rows, bars)

    def as_json(self) -> dict[str, Json]:
        """Plain data."""
        return {**asdict(self), "schema": "paring.sensitivity/1"}


def of_model(
    name: str, data: str, weights: Path | None, by: str, ratios: Sequence[float], samples: int, out: Path,
    progress: Progress | None,
) -> Sensitivity:  # fmt: skip
    """Measures a model by its name; writes `sensitivity.json` and, where Plotly is installed, `.html` into `out`."""
    progress = progress or Silent()
    task = opening.task(data, name)
    model = load.open(name, weights=weights, task=task)
    run = RunDirectory(out)
    with run.locked():
        found = measured(model, task, by, ratios, samples, run, progress)
        write_findings(run.path, "sensitivity", found.as_json(), found.sheet(), progress)
    return found


Pruned = Callable[[float], tuple[int, nn.Module]]  # ratio -> how many went, and the network without them


def measured(
    model: Model, task: Task, by: str, ratios: Sequence[float], samples: int, run: RunDirectory, progress: Progress
) -> Sensitivity:
    """Prunes each layer alone at each ratio, and evaluates on the validation split; finished layers are kept in `run`.

    Channels go by their L2 norm, and what reads them is refitted, as `prune.channels` does; weights go by magnitude.

    Raises:
        ParingError: the validation split is empty, a ratio is not between 0 and 1, or there is no such kind.
    """
    if by not in KINDS:
        raise UnknownName.of("kind of pruning", by, KINDS, where="sensitivity")
    if not task.size("validation"):
        raise ParingError("the validation split is empty", task.name, "give the data set more samples")
    if not ratios or not all(0 < ratio < 1 for ratio in ratios):
        raise ParingError(f"ratios {list(ratios)} are not all between 0 and 1", "sensitivity", "e.g. 0.25,0.5,0.75")
    began = time.perf_counter()
    whole = evaluate(model, task, "validation", limit=samples)
    took = time.perf_counter() - began
    layers, left = _channels(model, task) if by == "channels" else _weights(model)
    progress.note(f"{len(layers)} layers at {len(ratios)} ratios: about {_minutes(took * len(layers) * len(ratios))}")
    known = [saved.digest(model), task.identity, by, list(ratios), samples]
    found = []
    with progress.bar("sensitivity", len(layers)) as advance:
        for layer, (size, pruned) in layers.items():
            make = partial(_one, model, task, layer, size, pruned, ratios, samples)
            done = run.once(f"layers/{layer or 'network'}", key(*known, layer), make)
            found.append(_read(done.path))
            advance(1, layer)
    return Sensitivity(str(model.source), by, tuple(ratios), whole.total, 100 * whole.accuracy, whole.loss, found, left)


def _one(
    model: Model, task: Task, layer: str, size: int, pruned: Pruned, ratios: Sequence[float], samples: int,
    folder: Path,
) -> None:  # fmt: skip
    counts, accuracy, loss = [], [], []
    for ratio in ratios:
        count, module = pruned(ratio)
        found = evaluate(replace(model, module=module), task, "validation", limit=samples)
        counts.append(count)
        accuracy.append(100 * found.accuracy)
        loss.append(found.loss)
    one = LayerSensitivity(layer, size, tuple(counts), tuple(accuracy), tuple(loss))
    (folder / "layer.json").write_text(json.dumps(asdict(one)) + "\n", encoding="utf-8")


def _read(folder: Path) -> LayerSensitivity:
    data: dict[str, Json] = json.loads((folder / "layer.json").read_text(encoding="utf-8"))
    lists = {name: tuple(data[name]) for name in ("pruned", "accuracy", "loss")}
    return LayerSensitivity(data["layer"], data["size"], **lists)


def _channels(model: Model, task: Task) -> tuple[dict[str, tuple[int, Pruned]], Mapping[str, str]]:
    structure = prunable(model)
    scores, _ = importance.scores("l2", model, structure, task, _SAMPLES, 0, 32)
    cutter = Compensation(model, structure, task, _SAMPLES, 32)
    found: dict[str, tuple[int, Pruned]] = {}
    for group in structure.groups:

        def pruned(ratio: float, group: Group = group) -> tuple[int, nn.Module]:
            stay = max(1, round((1 - ratio) * group.units))
            module = cutter.cut({group.name: scan.best(group, scores, stay)})
            return (group.units - stay) * group.channels, module

        found[group.name] = group.width, pruned
    return found, structure.skipped


def _weights(model: Model) -> tuple[dict[str, tuple[int, Pruned]], Mapping[str, str]]:
    found: dict[str, tuple[int, Pruned]] = {}
    for name, layer in model.module.named_modules():
        weight = getattr(layer, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim > 1:

            def pruned(ratio: float, name: str = name, size: int = weight.numel()) -> tuple[int, nn.Module]:
                module, count = copy.deepcopy(model.module), int(ratio * size)
                parameter = module.get_parameter(f"{name}.weight")
                with torch.no_grad():
                    parameter.view(-1)[parameter.abs().flatten().argsort(stable=True)[:count]] = 0
                return count, module

            found[name] = weight.numel(), pruned
    return found, {}


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
