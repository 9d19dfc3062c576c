"""Torch-pruning's own pruners, used as its examples use them: global, many small steps, no training between them."""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch_pruning as tp
from torch.nn.functional import cross_entropy

from paring.core.model import Event, Model
from paring.core.task import Task
from paring.measure import cost
from paring.steps.prune.structure.proof import prunable
from paring.steps.shapes import cut

STEPS, SAMPLES = 200, 256
PRUNERS: dict[str, tuple[Callable[[], object], dict[str, bool]]] = {
    "group L2": (lambda: tp.importance.GroupMagnitudeImportance(p=2), {"global_pruning": True}),
    "group L2, isomorphic": (
        lambda: tp.importance.GroupMagnitudeImportance(p=2), {"global_pruning": True, "isomorphic": True},
    ),
    "group L2, uniform": (lambda: tp.importance.GroupMagnitudeImportance(p=2), {"global_pruning": False}),
    "batch-norm scale": (tp.importance.BNScaleImportance, {"global_pruning": True}),
    "group Taylor": (tp.importance.GroupTaylorImportance, {"global_pruning": True}),
}  # fmt: skip


def pruned(model: Model, task: Task, who: str, share: float) -> Model:
    """The model cut to a share of its MACs, not trained afterwards.

    Layers that answer keep their channels, and those of which paring says that they cannot lose any.
    """
    make, options = PRUNERS[who]
    module = copy.deepcopy(model.module).eval()
    parts = dict(module.named_modules())
    ignored = [parts[name] for name in prunable(model).skipped if name in parts]
    ignored += [part for part in parts.values() if getattr(part, "out_features", 0) == len(task.labels)]
    batch = next(iter(task.batches("calibration", SAMPLES, limit=SAMPLES)))
    images = next(iter(batch.inputs.values()))
    pruner = tp.pruner.BasePruner(
        module, images[:1], importance=make(), pruning_ratio=1.0, iterative_steps=STEPS, ignored_layers=ignored,
        **options,
    )  # fmt: skip
    wanted = share * cost.macs(model)
    while cost.macs(replace(model, module=module)) > wanted:
        if "Taylor" in who:
            module.zero_grad()
            cross_entropy(module(images), batch.targets).backward()  # type: ignore[no-untyped-call]
        pruner.step()
    module.zero_grad(set_to_none=True)
    return cut(model, module, Event("torch-pruning", {"pruner": who, "macs": share}, f"cut by {who}"))
