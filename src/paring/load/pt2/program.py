"""From the graph of an exported program, as JSON, to a blueprint.

The JSON is torch's own schema (`torch/_export/serde/schema.py`): nodes that call operators by name, on named values.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from paring.core.errors import ParingError
from paring.core.model import Json, TensorSpec
from paring.load import aten
from paring.load.blueprint import Blueprint, Names, Node
from paring.load.pt2.archive import DTYPES
from paring.load.pt2.arguments import only, values, values_of
from paring.load.pt2.layers import Call, Layer, layer

_FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}
# kinds of arguments in the schema
_ABSENT = ("as_none", "as_layout", "as_device")
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string")
_WRAPPED = ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor")
_LISTS = ("as_tensors", "as_optional_tensors", "as_sym_ints", "as_sym_floats")
_CONVERTED: dict[str, Callable[[Any], Json]] = {
    "as_float": lambda text: {"float": text},  # infinities, which JSON lacks
    "as_scalar_type": lambda number: {"dtype": DTYPES[number]},
    "as_memory_format": lambda number: {"memory_format": _FORMATS[number]},
}
_TRAINED = ("weight", "bias")  # tensors of a layer that are parameters
_IGNORED = ("torch.ops.aten._assert", "torch.ops.aten.sym_constrain")  # checks on sizes: they compute nothing


@dataclass(frozen=True)
class Program:
    """What a program becomes.

    Attributes:
        blueprint: its graph.
        tensors: for the network that is built from it.
        inputs: of the program, the batch free.
        outputs: names, in order.
    """

    blueprint: Blueprint
    tensors: Mapping[str, Tensor]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]


def translate(program: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> Program:
    """The blueprint of a program.

    Raises:
        ParingError: it was exported for training or for one batch size, takes or gives other things than tensors, or
            holds operators that are not torch's own; all of them are named.
    """
    try:
        return _Translation(program, tensors, where).run()
    except (KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
        raise ParingError(f"its program lacks {error!r}", where, "export it again") from error


class _Translation:
    def __init__(self, program: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str) -> None:
        self.where, self.stored = where, tensors
        self.graph, self.signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
        self.calls = program["graph_module"]["module_call_graph"]
        self.held: dict[str, str] = {}  # value in the graph -> name of a parameter, buffer or constant
        self.parameters: set[str] = set()
        self.references: dict[str, str] = {}  # value in the graph -> reference in the blueprint
        self.nodes: list[Node] = []
        self.layers: dict[str, str] = {}  # what tells a layer from others -> its name: one that is called again
        self.placed: dict[int, str] = {}  # id of a stored tensor -> the parameter of the network that it became
        self.found: dict[str, Tensor] = {}

    def run(self) -> Program:
        inputs = self._ends()
        self.name = Names([spec.name for spec in inputs])
        self.references = {spec.name: spec.name for spec in inputs}
        self.uses = Counter(name for node in self.graph["nodes"] for name in values(node["inputs"]))
        self.uses.update(self.results)
        self.source = {name: node for node in self.graph["nodes"] for name in values_of(node["outputs"])}
        self._refuse_unknown()
        for node in self.graph["nodes"]:
            if not node["target"].startswith(_IGNORED):
                self._node(node)
        outputs = tuple(self._reference(name) for name in self.results)
        blueprint = Blueprint(tuple(spec.name for spec in inputs), tuple(self.nodes), outputs)
        return Program(blueprint, self.found, inputs, self._output_names(len(outputs)))

    def _ends(self) -> tuple[TensorSpec, ...]:
        """The inputs; notes what the graph holds and gives."""
        inputs = []
        for spec in self.signature["input_specs"]:
            ((kind, data),) = spec.items()
            if kind == "user_input" and "as_tensor" in data["arg"]:
                inputs.append(self._input(data["arg"]["as_tensor"]["name"]))
            elif kind in ("parameter", "buffer", "tensor_constant"):
                key = next(value for name, value in data.items() if name.endswith("_name"))
                self.held[data["arg"]["name"]] = key
                if kind == "parameter":
                    self.parameters.add(key)
            elif not (kind == "constant_input" and data["value"].get("as_none")):
                raise self._error(f"takes {kind.replace('_', ' ')}, not tensors alone", "export a model of tensors")
        self.results = []
        for spec in self.signature["output_specs"]:
            ((kind, data),) = spec.items()
            if kind == "buffer_mutation":
                raise self._error(
                    f"changes {data['buffer_name']} when it runs: it was exported for training",
                    "call model.eval() before torch.export.export",
                )
            if kind != "user_output" or "as_tensor" not in data["arg"]:
                raise self._error("gives other things than tensors", "return tensors alone, then export again")
            self.results.append(data["arg"]["as_tensor"]["name"])
        return tuple(inputs)

    def _input(self, name: str) -> TensorSpec:
        meta = self.graph["tensor_values"][name]
        sizes = [size.get("as_int", f"size_{axis}") for axis, size in enumerate(meta["sizes"])]
        if not sizes or isinstance(sizes[0], int):
            raise self._error(
                f"its input {name} has a fixed batch: {tuple(sizes)}",
                f"export with a free one: torch.export.export(model, ({name},), "
                f"dynamic_shapes={{{name!r}: {{0: torch.export.Dim('batch')}}}}), the example's batch 2 or more",
            )
        dtype = DTYPES[meta["dtype"]]
        image = len(sizes) == 4 and dtype == "float32"
        return TensorSpec(name, ("batch", *sizes[1:]), dtype, "NCHW" if image else "")

    def _refuse_unknown(self) -> None:
        unknown = sorted({node["target"] for node in self.graph["nodes"] if not _known(node["target"])})
        if unknown:
            raise self._error(
                f"holds operators that paring cannot rebuild: {', '.join(unknown)}",
                "load the model as torch:package.module:factory, with weights:",
            )

    def _node(self, node: Mapping[str, Any]) -> None:
        target, given = node["target"], {one["name"]: one["arg"] for one in node["inputs"]}
        call = Call(self._fresh(target, given), given, self._weights(given), self._sizes(given))
        made = layer(call)
        outputs = [name for out in node["outputs"] for name in values_of([out])]
        many = len(node["outputs"]) > 1 or any("as_tensors" in out for out in node["outputs"])
        if call.operator in ("batch_norm.default", "dropout.default", "dropout_.default") and made is None:
            raise self._error(
                f"holds {call.operator.partition('.')[0]} for training", "call model.eval() before torch.export.export"
            )
        if made is not None:
            name = self.name(self._owner(node, made) or outputs[0])
            self.nodes.append(self._layer(name, made, self._reference(only(given[made.input]))))
        else:
            name = self.name(outputs[0] if outputs else "node")
            self.nodes.append(self._function(name, target, node["inputs"]))
        for position, value in enumerate(outputs):
            self.references[value] = f"{name}:{position}" if many else name

    def _layer(self, name: str, made: Layer, reference: str) -> Node:
        """A layer with its tensors; one that was there before is called again, and a tensor used before is shared."""
        tensors = {role: self.stored[key] for role, key in made.tensors.items()}
        same = json.dumps([made.op, made.options, {role: id(tensor) for role, tensor in tensors.items()}])
        if tensors and same in self.layers:
            return Node(name, made.op, (reference,), made.options, layer=self.layers[same])
        self.layers[same] = name
        tied = {role: self.placed[id(tensor)] for role, tensor in tensors.items() if id(tensor) in self.placed}
        self.found.update({f"{name}.{role}": tensor for role, tensor in tensors.items()})
        self.placed.update(
            {id(tensor): f"{name}.{role}" for role, tensor in tensors.items() if role in _TRAINED and role not in tied}
        )
        counted = f"{next(iter(made.tensors.values()), '').rpartition('.')[0]}.num_batches_tracked"
        if made.op.startswith("BatchNorm") and counted in self.stored:
            self.found[f"{name}.num_batches_tracked"] = self.stored[counted]
        return Node(name, made.op, (reference,), made.options, tied=tied)

    def _owner(self, node: Mapping[str, Any], made: Layer) -> str:
        """The module that holds the layer's first tensor; of several that share it, the one that makes this call."""
        key = next(iter(made.tensors.values()), "")
        owners = [name.rpartition(".")[0] for name, one in self.stored.items() if key and one is self.stored[key]]
        _, _, innermost = node.get("metadata", {}).get("nn_module_stack", "").rpartition(";")  # key,path,class
        path = innermost.split(",")[1:2]
        return path[0] if path and path[0] in owners else key.rpartition(".")[0]

    def _fresh(self, target: str, given: Mapping[str, Any]) -> str:
        """The operator; one that writes in place as its twin that does not, where nothing else sees the difference."""
        operator = target.removeprefix("torch.ops.aten.")
        name, _, overload = operator.partition(".")
        if name.endswith("_") and "self" in given:
            overwritten = only(given["self"])
            made_by = self.source.get(overwritten, {"target": ""})["target"]
            if self.uses[overwritten] == 1 and made_by.startswith("torch.ops.aten.") and not aten.is_view(made_by):
                return f"{name[:-1]}.{overload}"
        return operator

    def _weights(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Argument -> name of the tensor that the program holds for it."""
        return {
            role: self.held[arg["as_tensor"]["name"]]
            for role, arg in given.items()
            if "as_tensor" in arg and arg["as_tensor"]["name"] in self.held
        }

    def _sizes(self, given: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Argument -> sizes of the tensor that it is, -1 for those that are not fixed."""
        return {
            role: tuple(
                size.get("as_int", -1) for size in self.graph["tensor_values"][arg["as_tensor"]["name"]]["sizes"]
            )
            for role, arg in given.items()
            if "as_tensor" in arg and arg["as_tensor"]["name"] in self.graph["tensor_values"]
        }

    def _function(self, name: str, target: str, arguments: Sequence[Mapping[str, Any]]) -> Node:
        inputs: list[str] = []
        if target == "torch.ops.aten.sym_size.int":
            given = {one["name"]: one["arg"] for one in arguments}
            return Node(name, "size", (self._reference(only(given["self"])),), {"dim": given["dim"]["as_int"]})
        ordered = [self._value(one["arg"], inputs) for one in arguments if one.get("kind") != 2]
        keywords = {one["name"]: self._value(one["arg"], inputs) for one in arguments if one.get("kind") == 2}
        keywords.pop("device", None)
        if target.startswith("_operator."):
            options: dict[str, Json] = {"operator": target.removeprefix("_operator."), "arguments": ordered}
            return Node(name, "number", tuple(inputs), options)
        options = {"operator": target.removeprefix("torch.ops.aten."), "arguments": ordered}
        return Node(name, "aten", tuple(inputs), options | ({"keywords": keywords} if keywords else {}))

    def _value(self, argument: Mapping[str, Any], inputs: list[str]) -> Json:
        """An argument as `paring.load.aten.make` takes it; what it refers to is appended to `inputs`."""
        ((kind, value),) = argument.items()
        if kind in _ABSENT:
            return None
        if kind in _CONVERTED and not isinstance(value, float):
            return _CONVERTED[kind](value)
        if kind in _PLAIN:
            plain: Json = value
            return plain
        if kind in _WRAPPED:
            return self._value(value, inputs)
        if kind in _LISTS:
            return [self._value(one if "name" not in one else {"as_tensor": one}, inputs) for one in value]
        if kind not in ("as_tensor", "as_name"):
            raise self._error(f"holds an argument of the kind {kind[3:]}", "load it as torch:package.module:factory")
        inputs.append(self._reference(value["name"] if kind == "as_tensor" else value))
        return {"input": len(inputs) - 1}

    def _reference(self, value: str) -> str:
        """Where the blueprint has a value; what the program holds becomes a node of its own when it is first used."""
        if value not in self.references:
            key = self.held[value]
            tensor, name = self.stored[key], self.name(key)
            dtype = str(tensor.dtype).removeprefix("torch.")
            tied = {"value": self.placed[id(tensor)]} if id(tensor) in self.placed else {}
            trainable = bool(tied) or (key in self.parameters and tensor.is_floating_point())
            options: dict[str, Json] = {"shape": list(tensor.shape), "dtype": dtype, "trainable": trainable}
            self.nodes.append(Node(name, "Constant", (), options, tied=tied))
            if trainable and not tied:
                self.placed[id(tensor)] = f"{name}.value"
            self.found[f"{name}.value"] = tensor
            self.references[value] = name
        return self.references[value]

    def _output_names(self, count: int) -> tuple[str, ...]:
        """The keys of a dictionary that the program gives; else `output`, `output_1` and so on."""
        whole = next(call for call in self.calls if call["fqn"] == "")
        spec = json.loads(whole["signature"]["out_spec"])[1]
        if spec["type"] and spec["type"].endswith("dict") and len(spec["children_spec"]) == count:
            context = spec["context"]
            keys = json.loads(context) if isinstance(context, str) else context
            if isinstance(keys, list) and len(keys) == count:
                return tuple(map(str, keys))
        return ("output", *(f"output_{i}" for i in range(1, count)))

    def _error(self, problem: str, remedy: str) -> ParingError:
        return ParingError(problem, self.where, remedy)


def _known(target: str) -> bool:
    if target.startswith("_operator."):
        return aten.knows_number(target.removeprefix("_operator."))
    known = target == "torch.ops.aten.sym_size.int" or target.startswith(_IGNORED)
    return known or (
        target.startswith("torch.ops.aten.") and aten.find(target.removeprefix("torch.ops.aten.")) is not None
    )
