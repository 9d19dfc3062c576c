"""The network trains sparse: from time to time its smallest weights go, and others come where the gradient is largest.

Evci et al. 2020, "Rigging the Lottery: Making All Tickets Winners", arXiv:1911.11134, section 3. The paper begins with
chance; here a trained network begins with its largest weights.
"""

from collections.abc import Mapping
from math import prod
from typing import ClassVar, Literal

from pydantic import Field

from paring.core.errors import ParingError
from paring.core.model import Event, Model
from paring.core.step import Context, StepConfig
from paring.steps.prune.sparsity.sparse import SparseConfig, SparseStep
from paring.train.config import RecoverConfig


class RiglConfig(SparseConfig):
    """Options of `prune.rigl`.

    Attributes:
        sparsity: share of zeros among the weights of the chosen layers.
        distribution: `erk` gives small layers more of the weights that stay (section 3, "Erdős–Rényi-Kernel"),
            `uniform` the same share of each; the paper's leaves the first layer whole, which `keep: ["@first"]` does.
        fraction: α, the share of the weights there are that is exchanged at first; it falls along a cosine.
        frequency: ΔT, optimizer steps between two exchanges.
        until: share of the training after which the masks stay.
        recover: the training.
    """

    sparsity: float = Field(gt=0, lt=1)
    distribution: Literal["erk", "uniform"] = "erk"
    fraction: float = Field(default=0.3, gt=0, lt=1)
    frequency: int = Field(default=100, ge=1)
    until: float = Field(default=0.75, gt=0, le=1)
    recover: RecoverConfig = Field(default_factory=lambda: RecoverConfig.model_validate({}))


class PruneRigl(SparseStep):
    """`prune.rigl`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "prune.rigl"
    Config: ClassVar[type[StepConfig]] = RiglConfig

    def apply(self, model: Model, config: RiglConfig, context: Context) -> Model:
        """The model, trained with that many zeros from the first step to the last.

        Raises:
            ParingError: no weight of a layer would be left, the training ends before the first exchange, the model is
                quantized, or the training fails.
            UnknownName: a pattern matches no layer.
        """
        from paring.steps.prune.sparsity import masks, moving
        from paring.steps.prune.sparsity.growth import DropAndGrow
        from paring.steps.prune.sparsity.tensors import chosen

        names, skipped = chosen(model, config.layers, config.keep, self.name, moving.sparse_already(model))
        masks.refuse_infinite(model.module, names, self.name)
        moving.refuse_averages(config.recover, self.name)
        end = int(config.until * moving.steps_of(config.recover, context))
        if config.frequency >= end:
            raise ParingError(
                f"the first exchange would come after {config.frequency} steps, the last before step {end}",
                f"{self.name}: frequency",
                "more epochs, or a smaller frequency",
            )
        tensors = {name: model.module.get_parameter(name).detach() for name in names}
        stay = staying({n: tuple(one.shape) for n, one in tensors.items()}, config.sparsity, config.distribution)
        first = {name: masks.largest(one.abs(), stay[name]) for name, one in tensors.items()}
        remedy = "a lower sparsity, or name the layer in keep"
        masks.refuse_empty(first, self.name, remedy)
        growth = DropAndGrow(first, config.fraction, config.frequency, end, self.name, remedy)
        module, found, told = moving.train(model, growth, config, config.recover, context)
        event = Event(self.name, config.model_dump(mode="json"), f"{masks.told(found)}; {told}", skipped)
        return masks.result(model, module, found, event)


def staying(
    shapes: Mapping[str, tuple[int, ...]], sparsity: float, distribution: Literal["erk", "uniform"]
) -> dict[str, int]:
    """How many weights of each tensor stay.

    ERK: the density of a tensor is ε · (sum of its sizes) / (product of its sizes), ε such that the whole is as sparse
    as wanted; a tensor that would be more than full is full, and the others share the rest.
    """
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    if distribution == "uniform":
        return {name: size - round(sparsity * size + 1e-9) for name, size in sizes.items()}
    full: set[str] = set()
    while True:
        open_ = [name for name in sizes if name not in full]
        left = (1 - sparsity) * sum(sizes.values()) - sum(sizes[name] for name in full)
        epsilon = left / sum(sum(shapes[name]) for name in open_)
        over = {name for name in open_ if epsilon * sum(shapes[name]) > sizes[name]}
        if not over:
            return {name: sizes[name] if name in full else round(epsilon * sum(shapes[name])) for name in sizes}
        full |= over
