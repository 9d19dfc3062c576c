"""A network as data: a list of operators, each with the numbers of the values that it reads."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from paring.core.model import Json, Model, Source, TensorSpec
from paring.core.target import Array
from paring.load import probe
from paring.testing.random_networks.kinds import KINDS

Plan = Mapping[str, Json]
_FACTORY = "torch:paring.testing.random_networks:network"
_LARGEST = 2048  # numbers of a value, for one sample
_SIZE = 1e6  # of the largest number
NAMES = ("c", "x", "layer", "weight", "stem", "output", "image_", "f", "n", "scale")
STRANGE = ("", "", "", "", "tiny", "huge", "dead", "equal")
"""What is done to the weights of a layer besides drawing them."""


class Network(nn.Module):
    """The network of a plan."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._nodes: list[tuple[str, Sequence[int]]] = []
        self._outputs = list(plan["outputs"])
        values = _inputs(plan)
        for node in plan["nodes"]:
            if node["again"] is None:
                name = f"{node['name']}{len(self._nodes) if hasattr(self, node['name']) else ''}"
                self.add_module(name, _made(node, [values[i] for i in node["inputs"]]))
            else:
                name = self._nodes[node["again"]][0]
            self._nodes.append((name, node["inputs"]))
            with torch.no_grad():
                layer = self.get_submodule(name).eval()
                values.append(layer(*(values[i] for i in node["inputs"])))

    def forward(self, *images: Tensor) -> tuple[Tensor, ...] | Tensor:
        """Images -> the outputs of the plan."""
        values = list(images)
        for name, inputs in self._nodes:
            values.append(self.get_submodule(name)(*(values[i] for i in inputs)))
        found = tuple(values[i] for i in self._outputs)
        return found if len(found) > 1 else found[0]


def network(plan: Plan) -> nn.Module:
    """The network of a plan, in eval mode; its weights follow from the plan's seed."""
    with torch.random.fork_rng([]):
        torch.manual_seed(int(plan["seed"]))
        return Network(plan).eval()


def model(plan: Plan) -> Model:
    """The working form of a plan's network."""
    shape = tuple(plan["image"])
    inputs = tuple(TensorSpec.of(name, shape) for name in ("image", "other")[: plan["inputs"]])
    return probe.model(network(plan), Source(_FACTORY, {"plan": plan}), inputs)


def seen(plan: Plan, count: int = 8) -> dict[str, Array]:
    """Samples of the network's inputs."""
    with torch.random.fork_rng([]):
        torch.manual_seed(int(plan["seed"]) + 1)
        names = ("image", "other")[: plan["inputs"]]
        return {name: torch.randn(count, *plan["image"]).numpy() for name in names}


@st.composite
def plans(draw: st.DrawFn, most: int = 7) -> Plan:
    """Plans of up to `most` operators; what does not fit the values that are there is left out."""
    image = [draw(st.sampled_from([3, 4, 6, 8])), draw(st.integers(5, 9)), draw(st.integers(5, 9))]
    plan: dict[str, Any] = {
        "image": image, "inputs": draw(st.sampled_from([1, 1, 1, 2])), "seed": draw(st.integers(0, 999)), "nodes": [],
        "outputs": [],
    }  # fmt: skip
    values = _inputs(plan)
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(plan["seed"])
        if draw(st.booleans()):  # what follows stands between two layers with weights
            _add(draw, plan, values, "conv")
        for _ in range(draw(st.integers(1, most))):
            _add(draw, plan, values)
        if draw(st.integers(0, 4)):  # something to quantize
            _add(draw, plan, values, "conv" if values[-1].ndim == 4 else "linear")
    given = len(values) - len(plan["nodes"])
    last = [i for i in range(given, len(values)) if values[i].ndim > 1] or [0]
    plan["outputs"] = [last[-1]]
    if len(last) > 1 and draw(st.sampled_from([False, False, True])):
        plan["outputs"] = [last[-1], draw(st.sampled_from(last[:-1]))]
    if not plan["nodes"]:
        node = {"kind": "conv", "inputs": [0], "name": "c", "again": None, "strange": "", "options": _plain("conv")}
        plan["nodes"], plan["outputs"] = [node], [given]
    return plan


def _add(draw: st.DrawFn, plan: dict[str, Any], values: list[Tensor], kind: str = "") -> None:
    last = len(values) - 1
    source = last if kind or draw(st.integers(0, 3)) else draw(st.integers(0, last))
    fitting = [name for name, one in KINDS.items() if values[source].ndim in one.ranks]
    kind = kind or draw(st.sampled_from(fitting))
    sources = [source]
    if KINDS[kind].inputs == 2:
        like = [i for i, value in enumerate(values) if value.shape == values[source].shape]
        sources.append(draw(st.sampled_from(like)))
    node: dict[str, Any] = {
        "kind": kind, "inputs": sources, "name": draw(st.sampled_from(NAMES)), "again": None,
        "strange": draw(st.sampled_from(STRANGE)),
        "options": {name: draw(drawn) for name, drawn in (KINDS[kind].options or {}).items()},
    }  # fmt: skip
    known = [i for i, one in enumerate(plan["nodes"]) if one["kind"] == kind and one["again"] is None]
    if KINDS[kind].shared and known and draw(st.integers(0, 2)) == 0:
        node |= {"again": draw(st.sampled_from(known))}
    try:
        tried = Network({**plan, "nodes": [*plan["nodes"], node], "outputs": [0]})
        tried.eval()
        found = tried.get_submodule(tried._nodes[-1][0])(*(values[i] for i in sources))
    except (RuntimeError, ValueError, IndexError):
        return  # of these values it cannot be made
    sound = bool(torch.isfinite(found).all()) and float(found.abs().max()) < _SIZE
    if found.ndim in (2, 3, 4) and len(found) == 2 and 0 < found[0].numel() <= _LARGEST and sound:
        plan["nodes"].append(node)
        values.append(found)


def _plain(kind: str) -> dict[str, Json]:
    return dict.fromkeys(KINDS[kind].options or {}, 0)


def _inputs(plan: Plan) -> list[Tensor]:
    chance = torch.Generator().manual_seed(0)
    return [torch.randn(2, *plan["image"], generator=chance) for _ in range(plan["inputs"])]


def _made(node: Mapping[str, Any], given: Sequence[Tensor]) -> nn.Module:
    layer = KINDS[node["kind"]].make([value.shape for value in given], node["options"])
    with torch.no_grad():
        for module in layer.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for tensor, low, high in (
                    (module.running_var, 0.3, 1.5), (module.running_mean, -1, 1), (module.weight, 0.5, 1.5),
                    (module.bias, -0.5, 0.5),
                ):  # fmt: skip
                    nn.init.uniform_(tensor, low, high)  # type: ignore[arg-type]
            elif hasattr(module, "weight") and isinstance(module.weight, Tensor):
                _strange(module, node["strange"])
    return layer


def _strange(module: Any, what: str) -> None:
    bias = module.bias if isinstance(getattr(module, "bias", None), Tensor) else None
    if what == "tiny":
        module.weight.mul_(1e-7)
    elif what == "huge":
        module.weight.mul_(300.0)
    elif what == "dead" and module.weight.ndim > 1:
        module.weight[0] = 0.0
        if bias is not None:
            bias[0] = 3.0
    elif what == "equal" and bias is not None:
        bias.fill_(-4.6)
