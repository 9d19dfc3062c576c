"""BRECQ: the rounding of a block's weights, and its activations' scales, learned on the block's output.

Li et al. 2021, "BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction", arXiv:2102.05426,
section 3.2: layers of one block make up for each other's errors, which AdaRound's layers cannot. The error of the
block's output is squared and averaged; the paper's weights from the Fisher information, which want labels, are left
out. Scales of activations are learned as in LSQ (Esser et al. 2020, arXiv:1902.08153): rounding passes gradients on.
A layer that is in no block is rounded as AdaRound does it.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.fx import Node

from paring.steps.quantize.annotate import FIXED
from paring.steps.quantize.graph import Weighted
from paring.steps.quantize.observers import KnownScales
from paring.steps.quantize.repairs import Work, options
from paring.steps.quantize.repairs.adaround import Adaround
from paring.steps.quantize.repairs.blocks import Block, blocks
from paring.steps.quantize.repairs.patches import SUPPORTED
from paring.steps.quantize.repairs.rounding import Rounding, beta_at, undecided
from paring.steps.quantize.repairs.walk import Execution, Place, Walk


class Brecq:
    """`brecq`. Contract: `paring.steps.quantize.repairs.Repair`."""

    moment: ClassVar[Literal["before", "after"]] = "after"

    def __init__(self, given: options.Brecq) -> None:
        self.options = given

    def apply(self, work: Work) -> None:
        """Puts every weight on its grid, block by block."""
        walk, generator = Walk(work), torch.Generator().manual_seed(work.context.seed)
        places = {place.reference.node: place for place in walk.places}
        single = Adaround(options.Adaround(iterations=self.options.iterations))
        found, joint = blocks(work.folded), 0
        with work.context.progress.bar("brecq", len(found)) as advance:
            for block in found:
                here = [places[node] for node in block.layers if node in places]
                here = [place for place in here if place.layer.observer is not None]
                told = ""
                if len(block.layers) == 1 and here and here[0].layer.node.target in SUPPORTED:
                    walk.quantized.before(here[0].layer.node)
                    walk.float.before(here[0].reference.node)
                    single.round(walk, here[0], generator)
                elif here:
                    before, after = Reconstruction(walk, block, here, self.options, generator).learn()
                    told = f"{here[0].layer.name}: error {after / max(before, 1e-30):.2f} of nearest"
                    joint += 1
                advance(1, told)
        work.notes.append(f"rounding learned in {joint} blocks and {len(found) - joint} layers")


class Reconstruction:
    """One block, about to be learned."""

    def __init__(
        self, walk: Walk, block: Block, places: list[Place], given: options.Brecq, generator: torch.Generator
    ) -> None:
        self.walk, self.options, self.generator, self.places = walk, given, generator, places
        run, names = walk.quantized, {node.name for node in block.nodes}
        first = next(node for node in run.graph.graph.nodes if node.name == block.nodes[0].name)
        run.before(first)
        self.nodes = _stretch(run, names)
        inside = set(self.nodes)
        sources = dict.fromkeys(source for node in self.nodes for source in node.all_input_nodes)
        self.given = {
            node: run.value(node) for node in sources if node not in inside and not run.is_stored(node)
        }  # batch by batch
        self.target = torch.cat(walk.float.through(block.last))
        self.out = self.nodes[-1]
        self.tensors = {node: torch.cat(value) for node, value in self.given.items() if isinstance(value[0], Tensor)}
        self.roundings: dict[str, Rounding] = {}
        for place in places:
            weight, known = run.graph.get_parameter(place.layer.weight), walk.scales(place.layer)
            scale = known.scale
            if known.per_channel:
                shape = [1] * weight.ndim
                shape[place.layer.axis] = -1
                scale = scale.reshape(shape)
            rounding = Rounding(weight.detach(), scale.float(), known.quant_min, known.quant_max)
            self.roundings[str(place.layer.observer)] = rounding
        self.steps = {known: Step(known) for known in self._learnable()} if given.scale_learning_rate else {}

    def learn(self) -> tuple[float, float]:
        """Learns, and writes weights and scales into the graph.

        Returns:
            Mean squared error of the block's output, rounded to the nearest and as learned.
        """
        given = self.options
        groups = [
            {"params": [one.choice for one in self.roundings.values()], "lr": given.learning_rate},
            {"params": [one.change for one in self.steps.values()], "lr": given.scale_learning_rate},
        ]
        optimizer = torch.optim.Adam([group for group in groups if group["params"]])
        before = self._error(soft=False)
        held = len(self.target)
        for iteration in range(given.iterations):
            chosen = torch.randint(held, (min(given.batch, held),), generator=self.generator)
            loss = (self._output(chosen) - self.target[chosen]).square().mean() / (before + 1e-12)
            beta = beta_at(iteration, given.iterations)
            if beta is not None:
                open_choices = [undecided(one.up(), beta).mean() for one in self.roundings.values()]
                loss = loss + given.regularization * torch.stack(open_choices).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        with torch.no_grad():
            kept = [(self._weight(place.layer), self._rounded(place.layer)) for place in self.places]
            scales = [(known, known.scale) for known in self.steps]
            for place in self.places:
                self._weight(place.layer).copy_(self.roundings[str(place.layer.observer)].final())
            for known, step in self.steps.items():
                known.scale = step.scale().detach().reshape(known.scale.shape).to(known.scale.dtype)
            after = self._error(soft=False)
            if after >= before:  # what is no better than rounding to the nearest is not taken
                for weight, nearest in kept:
                    weight.copy_(nearest)
                for known, scale in scales:
                    known.scale = scale
        return before, min(before, after)

    def _weight(self, layer: Weighted) -> Tensor:
        return self.walk.quantized.graph.get_parameter(layer.weight)

    def _rounded(self, layer: Weighted) -> Tensor:
        # a copy is made: `kept` must survive what is written into the weight
        return self.walk.scales(layer).rounded(self._weight(layer)).clone()

    def _error(self, *, soft: bool) -> float:
        with torch.no_grad():
            rows = torch.split(torch.arange(len(self.target)), 32)
            total = sum(
                (self._output(chosen, soft=soft) - self.target[chosen]).square().sum().item() for chosen in rows
            )
        return total / self.target.numel()

    def _output(self, chosen: Tensor, *, soft: bool = True) -> Tensor:
        """What the block gives for some samples."""
        run = self.walk.quantized
        rounding = self._soft if soft else (lambda node, known, x: known.rounded(x))
        values: dict[Node, Any] = {
            node: self.tensors[node][chosen] if node in self.tensors else self._size(value, len(chosen))
            for node, value in self.given.items()
        }
        for node in self.nodes:
            values[node] = run.evaluate(
                node, lambda one: run.stored(one, rounding) if run.is_stored(one) else values[one], rounding
            )
        found: Tensor = values[self.out]
        return found

    def _size(self, value: list[Any], count: int) -> Any:
        """A number that an operator was given: the number of samples follows the batch."""
        batch = next(iter(self.given.values()))
        return count if isinstance(batch[0], Tensor) and value[0] == len(batch[0]) else value[0]

    def _soft(self, node: Node, known: KnownScales, x: Tensor) -> Tensor:
        rounding = self.roundings.get(str(node.target))
        if rounding is not None:
            return rounding.weight(rounding.up())
        step = self.steps.get(known)
        found: Tensor = known.rounded(x) if step is None else step(x)
        return found

    def _learnable(self) -> list[KnownScales]:
        """Scales of activations that nothing outside the block shares, and that no kernel prescribes."""
        graph, inside = self.walk.quantized.graph, set(self.nodes)
        found: dict[KnownScales, bool] = {}
        for node in graph.graph.nodes:
            known = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
            if isinstance(known, KnownScales) and not known.per_channel:
                free = node in inside and node.args[0].target not in FIXED
                found[known] = found.get(known, True) and free
        return [known for known, free in found.items() if free]


class Step(nn.Module):
    """The scale of an activation, learned as a factor; its zero point stays, so that 0 stays exact."""

    def __init__(self, known: KnownScales) -> None:
        super().__init__()
        self.known = known
        self.change = nn.Parameter(torch.zeros(()))

    def scale(self) -> Tensor:
        """As it is now."""
        return self.known.scale.float().reshape(()) * self.change.exp()

    def forward(self, x: Tensor) -> Tensor:
        """Rounds, with the gradients of LSQ."""
        known, scale = self.known, self.scale()
        zero = int(known.zero_point)
        codes = (x / scale).clamp(known.quant_min - zero, known.quant_max - zero)
        return (codes + (codes.round() - codes).detach()) * scale


def _stretch(run: Execution, names: set[str]) -> list[Node]:
    """The block's nodes in the quantized graph: its operators, what rounds between them, and what rounds its output."""
    found: list[Node] = []
    inside: set[Node] = set()
    for node in run.graph.graph.nodes:
        rounds = node.op == "call_module" and node.args and node.args[0] in inside
        if (node.name in names or rounds) and not run.is_stored(node):
            found.append(node)
            inside.add(node)
    return found
