"""AdaRound: the rounding of each weight learned, layer by layer, so that the layer's output stays.

Nagel et al. 2020, arXiv:2004.10568, sections 3.3 to 3.5: of each layer, in order, ‖f(W x) − f(W̃ x̃)‖² is made small over
the rounding of W̃, where x̃ is what the layer is given in the quantized network so far and f its activation. The layers'
outputs are looked at in random positions, which costs less than whole feature maps and sees more samples. The error of
each output channel is counted in shares of what rounding to the nearest leaves of it: channels do not share weights,
so this only says how the regularizer weighs against the error.

`damping` adds λ Σ E[x̃ᵢ²] (wᵢ − w̃ᵢ)², the error that rounding would make if no input told of another: where samples are
few, the rounding would else lean on relations between inputs that hold for these samples alone.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.fx import Node

from paring.steps.quantize.annotate import bounds
from paring.steps.quantize.repairs import Work, options
from paring.steps.quantize.repairs.patches import SUPPORTED, groups_of, matrix, patches, positions
from paring.steps.quantize.repairs.rounding import Rounding, beta_at, undecided
from paring.steps.quantize.repairs.walk import Place, Walk, parameter

_FEWEST, _FOR_EACH = 64, 4  # positions in an iteration: at the least, and for each input of an output


class Adaround:
    """`adaround`. Contract: `paring.steps.quantize.repairs.Repair`."""

    moment: ClassVar[Literal["before", "after"]] = "after"

    def __init__(self, given: options.Adaround) -> None:
        self.options = given

    def apply(self, work: Work) -> None:
        """Puts every weight on its grid, rounded as its layer's output wants it."""
        walk = Walk(work)
        generator = torch.Generator().manual_seed(work.context.seed)
        left = []
        with work.context.progress.bar("adaround", len(walk.places)) as advance:
            for place in walk:
                if place.layer.observer is not None:
                    if place.layer.node.target in SUPPORTED:
                        before, after = self.round(walk, place, generator)
                        advance(1, f"{place.layer.name}: error {after / max(before, 1e-30):.2f} of nearest")
                        continue
                    left.append(place.layer.name)
                advance(1, "")
        work.notes.append(f"rounding learned in {self.options.iterations} iterations a layer")
        if left:
            work.notes.append(f"rounded to the nearest, as they are transposed: {', '.join(left)}")

    def round(self, walk: Walk, place: Place, generator: torch.Generator) -> tuple[float, float]:
        """Rounds one layer.

        Returns:
            Mean squared error of its output, rounded to the nearest and as learned.
        """
        node, reference = place.layer.node, place.reference.node
        groups, weight = groups_of(reference), walk.quantized.graph.get_parameter(place.layer.weight)
        share = self._share(weight[0].numel())
        inputs = walk.quantized.value(node.all_input_nodes[0])
        at = positions(reference, inputs, round(self.options.positions * share), generator)
        order = torch.randperm(sum(map(len, at)), generator=generator)  # so that any stretch of them is drawn evenly
        seen = patches(reference, inputs, at)[:, order]
        wanted_of = patches(reference, walk.float.value(reference.all_input_nodes[0]), at)[:, order]
        known = walk.scales(place.layer)
        activation = activation_of(place.activation)
        bias = parameter(walk.quantized.graph, place.layer.bias)
        was = parameter(walk.float.graph, place.reference.bias)
        wanted = activation(
            product(wanted_of, matrix(walk.float.graph.get_parameter(place.reference.weight), groups), was)
        )
        scale = matrix(known.scale.reshape(-1, *[1] * (weight.ndim - 1)).expand_as(weight), groups)
        rounding = Rounding(matrix(weight.detach().clone(), groups), scale, known.quant_min, known.quant_max)
        damping = self.options.damping
        power = damping * seen.square().mean(1, keepdim=True)

        def errors(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
            found = (activation(product(x, w, bias)) - y).square().mean(1)
            return found + (power * (w - rounding.exact).square()).sum(2) if damping else found

        with torch.no_grad():
            nearest = known.rounded(weight)
            before = errors(seen, wanted, matrix(nearest, groups))
        batch = min(round(self.options.batch * share), seen.shape[1])

        def loss(up: Tensor) -> Tensor:
            first = int(torch.randint(seen.shape[1] - batch + 1, (), generator=generator))
            x, y = seen[:, first : first + batch], wanted[:, first : first + batch]
            return (errors(x, y, rounding.weight(up)) / (before + 1e-12)).sum()

        self._learn(rounding, loss)
        with torch.no_grad():
            after = errors(seen, wanted, rounding.final())
            # what is no better than rounding to the nearest is not taken
            better = (after < before).reshape(-1, *[1] * (weight.ndim - 1))
            weight.copy_(torch.where(better, rounding.final().reshape(weight.shape), nearest))
        return before.mean().item(), torch.minimum(before, after).mean().item()

    def _share(self, inputs: int) -> float:
        """Of the positions, for a layer whose outputs have that many inputs each: few unknowns are told by few."""
        return min(1.0, max(_FEWEST, _FOR_EACH * inputs) / self.options.batch)

    def _learn(self, rounding: Rounding, loss_of: Callable[[Tensor], Tensor]) -> None:
        iterations = self.options.iterations
        optimizer = torch.optim.Adam([rounding.choice], lr=self.options.learning_rate, fused=True)
        for iteration in range(iterations):
            up = rounding.up()
            loss = loss_of(up)
            beta = beta_at(iteration, iterations)
            if beta is not None:
                loss = loss + self.options.regularization * undecided(up, beta).mean(2).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def product(x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    """The layer's output, shape (groups, positions, outputs of a group)."""
    found = torch.bmm(x, w.transpose(1, 2))
    return found if bias is None else found + bias.reshape(len(w), 1, -1)


def activation_of(node: Node | None) -> Callable[[Tensor], Tensor]:
    """What the activation does, without changing its input in place; the identity for None."""
    if node is None:
        return lambda x: x
    low, high = bounds(node)
    return lambda x: x.clamp(low, high)
