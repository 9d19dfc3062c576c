"""Repairs: what is done against the loss of quantization after training, without labels; one method, one file.

A repair is a class with the attribute `moment` and the method `apply(work)`; it is made with its options. Those of the
moment `before` change the weights of the float network, batch norm folded, so that it computes the same and is easier
to quantize; those of the moment `after` change weights, biases or scales of the network with its scales known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.registry import Registry
from paring.core.step import Context
from paring.steps.quantize.calibrate import fed
from paring.steps.quantize.repairs.options import Chosen, chosen

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

_HERE = "paring.steps.quantize.repairs"
REPAIRS = Registry(
    "repair",
    {
        "adaround": f"{_HERE}.adaround:Adaround",
        "bias_correction": f"{_HERE}.bias_correction:BiasCorrection",
        "bias_correction_analytic": f"{_HERE}.bias_correction_analytic:AnalyticBiasCorrection",
        "brecq": f"{_HERE}.brecq:Brecq",
        "equalize": f"{_HERE}.equalize:Equalize",
        "reestimate": f"{_HERE}.reestimate:Reestimate",
    },
)


@dataclass
class Work:
    """What a repair is given.

    Attributes:
        graph: the graph to change in place: folded (before), or prepared with its scales known (after).
        folded: the float graph with batch norm folded, which a repair compares with; never to be changed.
        model: as the step was given it.
        samples: of the calibration split.
        context: of the step.
        notes: one line each on what was done.
    """

    graph: "GraphModule"
    folded: "GraphModule"
    model: Model
    samples: int
    context: Context
    notes: list[str] = field(default_factory=list)

    def batches(self, size: int = 32) -> Iterator[tuple["Tensor", ...]]:
        """The calibration samples, as the graph takes them."""
        for batch in self.context.task.batches("calibration", size, limit=self.samples):
            yield fed(self.model, batch, "quantize.static: repairs")


class Repair(Protocol):
    """One method."""

    moment: ClassVar[Literal["before", "after"]]

    def apply(self, work: Work) -> None:
        """Changes `work.graph` in place."""


class Repairs:
    """The repairs of one step, each at its moment, in the order of the recipe.

    Raises:
        ParingError: one that must come before the ranges are found stands behind one that comes after.
    """

    def __init__(self, repairs: Sequence[Chosen], model: Model, samples: int, context: Context) -> None:
        names = [name for name, _ in chosen(repairs)]
        self._found: list[Repair] = [REPAIRS.load(name)(options) for name, options in chosen(repairs)]
        moments = [one.moment for one in self._found]
        if moments != sorted(moments, key=("before", "after").index):
            order = sorted(names, key=lambda name: ("before", "after").index(REPAIRS.load(name).moment))
            raise ParingError(
                "a repair of the float network cannot come after one of the quantized network",
                "quantize.static: repairs",
                f"this order: {', '.join(order)}",
            )
        self._model, self._samples, self._context = model, samples, context
        self._folded: GraphModule | None = None
        self._notes: list[str] = []

    def before(self, folded: "GraphModule") -> None:
        """Changes the float graph in place."""
        self._run("before", folded, folded)
        if any(one.moment == "after" for one in self._found):
            from copy import deepcopy

            from paring.core.quiet import quiet

            with quiet():  # torch warns of its own calls when it copies a graph
                self._folded = deepcopy(folded)

    def after(self, prepared: "GraphModule") -> None:
        """Changes the prepared graph in place."""
        self._run("after", prepared, self._folded or prepared)

    @property
    def told(self) -> str:
        """What was done, for the history."""
        return "".join(f"; {note}" for note in self._notes)

    def _run(self, moment: str, graph: "GraphModule", folded: "GraphModule") -> None:
        for one in self._found:
            if one.moment == moment:
                work = Work(graph, folded, self._model, self._samples, self._context)
                one.apply(work)
                self._notes += work.notes
