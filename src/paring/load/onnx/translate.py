"""From a graph to a draft: operator after operator, by the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from paring.core.errors import ParingError
from paring.load.onnx import read
from paring.load.onnx.build import Operator
from paring.load.onnx.draft import Cannot, Draft, Value
from paring.load.onnx.inputs import TO_NHWC, Input
from paring.load.onnx.tables import OPERATORS


def translate(graph: Any, inputs: Sequence[Input], opset: int, batch: int | None, where: str) -> Draft:
    """A draft that computes what the graph does, for any number of samples.

    An image whose channels the file has last comes in with its channels first: what the file does to it first, mostly
    to bring its channels to the front, then cancels out.

    Args:
        graph: of `onnx_ir`.
        inputs: what it takes.
        opset: version of its operators.
        batch: the number of samples that the file is made for; None where it is free.
        where: for messages.

    Raises:
        ParingError: an operator, named, cannot be rebuilt.
    """
    walk = _Walk(Draft(), opset, batch, where)
    for one in inputs:
        value = walk.draft.input(one.spec.name, one.spec.shape, getattr(torch, one.spec.dtype))
        if one.last:
            (value,) = walk.draft.emit(f"{one.spec.name}_last", "permute", (value,), {"dims": TO_NHWC})
        walk.values[one.value] = value
    walk.graph(graph)
    draft = walk.draft
    for output in graph.outputs:
        value = walk.values[output]
        if value.known:
            raise ParingError(f"its output {output.name} does not depend on its inputs", where, "export it without it")
        draft.outputs.append(draft.reference(value))
    return draft


class _Walk:
    def __init__(self, draft: Draft, opset: int, batch: int | None, where: str) -> None:
        self.draft, self.opset, self.batch, self.where = draft, opset, batch, where
        self.values: dict[Any, Value] = {}

    def graph(self, graph: Any) -> None:
        for initializer in graph.initializers.values():
            self.values[initializer] = Value.of(self._tensor(initializer.const_value, initializer.name))
        for node in graph:
            try:
                self._node(node)
            except Cannot as error:
                raise ParingError(
                    f"{node.op_type} {node.name or node.outputs[0].name} cannot be rebuilt: {error}",
                    self.where,
                    error.remedy,
                ) from error
            except ParingError:
                raise
            except Exception as error:  # sizes that do not fit show in many ways
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise ParingError(
                    f"{node.op_type} {node.name or node.outputs[0].name} cannot be rebuilt: {reason}",
                    self.where,
                    "give the shape that it takes; export the model with a free batch dimension",
                ) from error

    def _node(self, node: Any) -> None:
        if node.op_type == "If":
            answer: Sequence[Value | None] = self._branch(node)
        else:
            operator = Operator(
                name=node.name or "",
                kind=node.op_type,
                opset=self.opset,
                inputs=[None if value is None else self.values[value] for value in node.inputs],
                attributes={name: self._attribute(attribute) for name, attribute in node.attributes.items()},
                outputs=[bool(value.uses()) or value.is_graph_output() for value in node.outputs],
                draft=self.draft,
                batch=self.batch,
                weight_names=[value.name for value in node.inputs if value is not None and value.is_initializer()],
            )
            made = OPERATORS[node.op_type](operator)
            answer = [made] if isinstance(made, Value) else made
        for value, one in zip(node.outputs, answer, strict=False):
            if one is None:
                continue
            self.values[value] = one
            if one.reference is not None and not one.known:
                self.draft.trace[value.name] = one.reference

    def _branch(self, node: Any) -> list[Value]:
        """The branch that a known condition takes."""
        condition = self.values[node.inputs[0]].constant
        if condition is None:
            raise Cannot("its condition depends on values", "export the model without control flow")
        branch = node.attributes["then_branch" if bool(condition) else "else_branch"].value
        unknown = read.unknown_in(branch)
        if unknown:
            raise Cannot(f"operators that are not known: {unknown}")
        self.graph(branch)
        return [self.values[output] for output in branch.outputs]

    def _attribute(self, attribute: Any) -> Any:
        if attribute.type == ir.AttributeType.TENSOR:
            return self._tensor(attribute.value, attribute.name)
        if attribute.type in (ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS):
            return list(attribute.value)
        return attribute.value

    def _tensor(self, tensor: Any, name: str) -> Tensor:
        try:
            array = np.array(tensor.numpy())
            return torch.from_numpy(array)
        except Exception as error:  # a damaged file, or a type that torch does not have
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ParingError(
                f"its tensor {name} cannot be read: {reason}", self.where, "copy the file again, or export it again"
            ) from error
