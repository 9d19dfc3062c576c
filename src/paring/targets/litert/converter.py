"""litert-torch, with what it gets wrong put right on the way: between its own passes there is no later chance.

Three faults are its own. It knows a constant by the address of a contiguous copy, which is free for the next constant
as soon as the copy is gone. Where it carries a transposition past `constant - x` or `constant / x`, it swaps the
operands. And a bias whose values are all equal becomes codes that are all equal, whatever the scales of the channels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from paring.core.quiet import quiet

_ORDERED = {"stablehlo.subtract", "stablehlo.divide"}  # whose operands the converter swaps
_BARRIER = "stablehlo.optimization_barrier"
_OPAQUE = {"stablehlo.custom_call"}  # quantizing among them


def convert(module: nn.Module, inputs: tuple[torch.Tensor, ...], *, quantized: bool) -> bytes:
    """The `.tflite` of a module in eval mode. Raises whatever the converter raises.

    Args:
        module: a quantized one is a graph with quantize and dequantize operators.
        inputs: to trace with.
        quantized: whether it is one.
    """
    with quiet():
        import litert_torch
        from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
        from litert_torch.quantize.quant_config import QuantConfig

    # without a configuration the converter drops the scales in silence
    static = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
    config = QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(static)) if quantized else None
    with _mended(quantized):
        return bytes(litert_torch.convert(module, inputs, quant_config=config).model_content())


@contextmanager
def _mended(quantized: bool) -> Iterator[None]:
    """Inside, what is lowered has constants in one piece and divisions and subtractions that keep their order."""
    from litert_torch.backend import export

    def prepare(program: ExportedProgram) -> None:
        contiguous(program)
        if quantized:
            part_equal(program)

    def lower(program: ExportedProgram, **options: Any) -> Any:
        lowered = original(program, _pre_lower_pass=prepare, **options)
        with lowered.ctx:
            _hide_constants(lowered.module)
        return lowered

    original = export.exported_program_to_mlir
    export.exported_program_to_mlir = lower
    try:
        yield
    finally:
        export.exported_program_to_mlir = original


def contiguous(program: ExportedProgram) -> None:
    """Gives a program stored tensors in one piece of memory, in place; what was stored once still is.

    What is infinite is copied, too: the converter writes the largest number in its place, into the model's own memory.
    """
    copies: dict[tuple[Any, ...], torch.Tensor] = {}

    def mended(tensor: torch.Tensor) -> torch.Tensor:
        infinite = tensor.is_floating_point() and bool(torch.isinf(tensor).any())
        if tensor.is_contiguous() and not infinite:
            return tensor
        storage = tensor.untyped_storage().data_ptr()
        key = (storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if key not in copies:
            copies[key] = tensor.detach().clone(memory_format=torch.contiguous_format)
        return copies[key]

    _replace(program, mended, lambda _: True)


def part_equal(program: ExportedProgram) -> None:
    """Moves one value of every vector of equal values by the last bit of its mantissa, in place.

    Of equal biases the converter quantizes one, with the first channel's scale. The bit is less than any code.
    """
    quantized = {
        node.args[0]
        for node in program.graph.nodes
        if node.op == "call_function" and "quantize_per" in str(node.target)
    }
    names = {node.name for node in program.graph.nodes if node.op == "placeholder" and node not in quantized}

    def mended(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point() or tensor.numel() < 2 or tensor.numel() != max(tensor.shape):
            return tensor
        first = tensor.flatten()[0]
        if first == 0 or not bool((tensor == first).all()):
            return tensor
        parted = tensor.detach().clone()
        parted.view(-1)[-1] = torch.nextafter(first, torch.zeros_like(first))
        return parted

    _replace(program, mended, names.__contains__)


def _replace(
    program: ExportedProgram, change: Callable[[torch.Tensor], torch.Tensor], chosen: Callable[[str], bool]
) -> None:
    """Puts `change` of each stored tensor whose placeholder is chosen in its place."""
    kept = {InputKind.PARAMETER: program.state_dict, InputKind.CONSTANT_TENSOR: program.constants}
    for spec in program.graph_signature.input_specs:
        if spec.target is None or not chosen(spec.arg.name):
            continue
        held = kept.get(spec.kind, program.state_dict if spec.target in program.state_dict else program.constants)
        value = held.get(spec.target)
        if isinstance(value, torch.Tensor):
            held[spec.target] = change(value)


class _Constants:
    """Which values are computed from constants alone.

    Args:
        calls: name of a function -> the operators that call it.
    """

    def __init__(self, calls: Mapping[str, Sequence[Any]]) -> None:
        self._calls, self._known = calls, dict[Any, bool]()

    def __call__(self, value: Any) -> bool:
        """Whether this one is. Without recursion, and each value once: networks are deep and have many ways through."""
        known, waiting = self._known, [value]
        while waiting:
            last = waiting[-1]
            sources = None if last in known else self._sources(last)
            if sources is not None and not any(known.get(one) is False for one in sources):
                if unknown := [one for one in sources if one not in known]:
                    waiting.append(unknown[0])
                    continue
                known[last] = True
            known.setdefault(last, False)
            waiting.pop()
        return known[value]

    def _sources(self, value: Any) -> list[Any] | None:
        """The values that a value is computed from; None for an input of the network, or a quantized one."""
        from litert_converter.mlir import ir

        owner = value.owner
        if not isinstance(owner, ir.Block):
            return None if owner.operation.name in _OPAQUE else list(owner.operands)
        within = owner.owner.operation  # what a function is given
        given = self._calls.get(within.attributes["sym_name"].value, []) if within.name == "func.func" else []
        place = ir.BlockArgument(value).arg_number
        return [call.operands[place] for call in given] or None


def _hide_constants(module: Any) -> None:
    """Puts a barrier behind every constant that something is subtracted from or divided into, in place.

    The converter takes the barriers out when it is done with moving transpositions.
    """
    from litert_converter.mlir import ir
    from litert_converter.mlir.dialects import stablehlo

    ordered, calls = list[Any](), dict[str, list[Any]]()

    def visit(operation: Any) -> Any:
        if operation.name in _ORDERED:
            ordered.append(operation)
        elif operation.name == "func.call":
            calls.setdefault(operation.attributes["callee"].value, []).append(operation)
        return ir.WalkResult.ADVANCE

    constant = _Constants(calls)

    def hide(reader: Any, place: int) -> None:
        """Puts barriers where the constants that an operand is computed from are first read."""
        value = reader.operands[place]
        owner = value.owner
        if isinstance(owner, ir.Block):
            for call in calls[owner.owner.operation.attributes["sym_name"].value]:
                hide(call, ir.BlockArgument(value).arg_number)
        elif owner.operation.name == _BARRIER:
            return
        elif len(owner.operands):
            for inner in range(len(owner.operands)):
                hide(owner.operation, inner)
        else:
            with ir.InsertionPoint(reader), ir.Location.unknown():
                reader.operands[place] = stablehlo.optimization_barrier([value])

    def one(value: Any) -> bool:
        owner = value.owner
        if isinstance(owner, ir.Block):
            return False
        if owner.name == "stablehlo.broadcast_in_dim":
            return one(owner.operands[0])
        held = owner.attributes["value"] if owner.name == "stablehlo.constant" else None
        return held is not None and bool(held.is_splat) and float(held.get_splat_value().value) == 1

    def logistic(operation: Any) -> bool:
        """Whether it is 1 / (1 + exp(x)), which the converter makes one operator of as it stands."""
        if operation.name != "stablehlo.divide" or isinstance(total := operation.operands[1].owner, ir.Block):
            return False
        parts = [part.owner for part in total.operands if not isinstance(part.owner, ir.Block)]
        grows = any(part.name == "stablehlo.exponential" for part in parts)
        return total.name == "stablehlo.add" and grows and one(operation.operands[0])

    module.operation.walk(visit)
    for operation in ordered:
        if constant(operation.operands[0]) and not logistic(operation):
            hide(operation, 0)
