"""Techniques. A step is a function from a model to a new model; one method, one file."""

from collections import Counter

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.registry import Registry

STEPS = Registry(
    "step",
    {
        "distill": "paring.steps.distill.distill:Distill",
        "distill.student": "paring.steps.distill.student:DistillStudent",
        "factorize.cp": "paring.steps.factorize.cp:FactorizeCp",
        "factorize.svd": "paring.steps.factorize.svd:FactorizeSvd",
        "factorize.tucker": "paring.steps.factorize.tucker:FactorizeTucker",
        "finetune": "paring.steps.finetune:Finetune",
        "prune.blocks": "paring.steps.prune.blocks:PruneBlocks",
        "prune.channels": "paring.steps.prune.channels:PruneChannels",
        "prune.heads": "paring.steps.prune.heads:PruneHeads",
        "prune.magnitude": "paring.steps.prune.magnitude:PruneMagnitude",
        "prune.movement": "paring.steps.prune.movement:PruneMovement",
        "prune.nm": "paring.steps.prune.nm:PruneNM",
        "prune.rigl": "paring.steps.prune.rigl:PruneRigl",
        "quantize.dynamic": "paring.steps.quantize.dynamic:QuantizeDynamic",
        "quantize.float16": "paring.steps.quantize.float16:QuantizeFloat16",
        "quantize.palette": "paring.steps.quantize.palette:QuantizePalette",
        "quantize.static": "paring.steps.quantize.static:QuantizeStatic",
        "quantize.qat": "paring.steps.quantize.qat:QuantizeAware",
        "quantize.weights": "paring.steps.quantize.weights:QuantizeWeights",
    },
    extras={
        "distill": "train",
        "distill.student": "prune",
        "factorize.cp": "factorize",
        "factorize.svd": "factorize",
        "factorize.tucker": "factorize",
        "finetune": "train",
        "prune.blocks": "prune",
        "prune.channels": "prune",
        "prune.heads": "prune",
        "prune.magnitude": "prune",
        "prune.movement": "prune",
        "prune.nm": "prune",
        "prune.rigl": "prune",
        "quantize.dynamic": "quantize",
        "quantize.float16": "quantize",
        "quantize.palette": "quantize",
        "quantize.static": "quantize",
        "quantize.qat": "quantize,train",
        "quantize.weights": "quantize",
    },
)

# kind of invariant -> a function of (model, invariant) that returns None, or in words how it is broken
INVARIANTS = Registry(
    "invariant",
    {
        "codes": "paring.steps.quantize.lowbit:codes_hold",
        "constant_shape": "paring.steps.shapes:shape_holds",
        "rank": "paring.steps.factorize.low_rank.edit:rank_holds",
        "scale": "paring.steps.quantize.fixed:scale_holds",
        "shape": "paring.steps.shapes:shape_holds",
        "sparsity": "paring.steps.prune.sparsity.masks:zeros_hold",
    },
)


def keep_invariants(model: Model) -> dict[str, int]:
    """How many invariants of each kind were looked at; all of them hold.

    Raises:
        ParingError: the model broke what an earlier step won; it names step, layer and what became of it.
    """
    broken = [
        f"{invariant.layer}: {problem}"
        for invariant in model.invariants
        if (problem := INVARIANTS.load(invariant.kind)(model, invariant)) is not None
    ]
    if broken:
        raise ParingError(
            f"broke {len(broken)} invariants of earlier steps ({'; '.join(broken[:3])})",
            model.history[-1].step,
            "change the order of the steps, or report this as a fault of the step",
        )
    return dict(Counter(invariant.kind for invariant in model.invariants))
