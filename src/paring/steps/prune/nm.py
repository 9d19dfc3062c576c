"""N of each M consecutive weights stay.

Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378, section 3: along the input axis, so
that a product skips the others with an index of a few bits.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from paring.core.model import Event, Model
from paring.core.step import Context, StepConfig
from paring.steps.prune.sparsity.sparse import SparseConfig, SparseStep
from paring.train.config import RecoverConfig

if TYPE_CHECKING:
    from torch import Tensor


class NMConfig(SparseConfig):
    """Options of `prune.nm`.

    Attributes:
        n: weights that stay, of each `m`.
        m: consecutive weights along the input axis: input features, or input channels at one place of a kernel.
        recover: training afterwards; None for none.
    """

    n: int = Field(default=2, ge=1)
    m: int = Field(default=4, ge=2)
    recover: RecoverConfig | None = None

    @model_validator(mode="after")
    def _fewer(self) -> Self:
        if self.n >= self.m:
            raise ValueError(f"n={self.n} of m={self.m} leaves every weight: give an n below m")
        return self


class PruneNM(SparseStep):
    """`prune.nm`. Contract: `paring.core.step.Step`."""

    name: ClassVar[str] = "prune.nm"
    Config: ClassVar[type[StepConfig]] = NMConfig

    def apply(self, model: Model, config: NMConfig, context: Context) -> Model:
        """The model with at most `n` weights in each group of `m`: the largest.

        Raises:
            ParingError: no layer can be pruned so, the model is quantized, or the training fails.
            UnknownName: a pattern matches no layer.
        """
        from dataclasses import replace

        from paring.steps.prune.sparsity import masks
        from paring.steps.prune.sparsity.tensors import chosen, weights
        from paring.train.recovery import recover

        axes = {one.name: 0 if one.kind == "transposed" else 1 for one in weights(model)}
        names, skipped = chosen(model, config.layers, config.keep, self.name, self._reasons(model, config.m))
        masks.refuse_infinite(model.module, names, self.name)
        found = {
            name: in_groups(model.module.get_parameter(name).detach().abs(), config.n, config.m, axes[name])
            for name in names
        }
        promised = tuple(
            one
            for name, mask in found.items()
            for one in masks.invariants({name: mask}, {"n": config.n, "m": config.m, "axis": axes[name]})
        )
        state = replace(model, module=masks.masked(model.module, found), invariants=model.invariants + promised)
        told = f"{config.n}:{config.m}, {masks.told(found)}"
        if config.recover is not None:
            state, said = recover(state, config.recover, context)
            told += f"; {said}"
        event = Event(self.name, config.model_dump(mode="json"), told, skipped)
        return model.changed(state.module.eval(), event, invariants=promised)

    def acts_on(self, model: Model) -> Mapping[str, str | None]:
        """Layers that 2:4 fits; others with the reason why not."""
        from paring.steps.prune.sparsity import tensors

        return tensors.acts_on(model, self._reasons(model, 4))

    def _reasons(self, model: Model, m: int) -> dict[str, str]:
        from paring.steps.prune.sparsity.tensors import weights

        found = {}
        for one in weights(model):
            inputs: Any = model.module.get_parameter(one.name).shape[0 if one.kind == "transposed" else 1]
            if one.kind == "embedding":
                found[one.name] = "it looks rows up, and adds up none"
            elif one.kind == "matrix":
                found[one.name] = "it is multiplied without a layer, which would tell the axis of the inputs"
            elif inputs % m:
                found[one.name] = f"its {inputs} inputs to each output are no multiple of {m}"
        return found


def in_groups(sizes: "Tensor", n: int, m: int, axis: int) -> "Tensor":
    """Where the `n` largest of each `m` consecutive values along an axis are; of equal ones the first."""
    groups = sizes.movedim(axis, -1)
    shape = groups.shape
    ranks = groups.reshape(-1, m).sort(dim=1, descending=True, stable=True).indices.argsort(dim=1)
    return (ranks < n).reshape(shape).movedim(-1, axis)
