"""Which operators TensorFlow Lite Micro has: its own interpreter says so of a file with that operator alone.

    python -m paring.targets.micro.resolver

prints the names, which `operators.yaml` holds for the version that is pinned; a test compares the two. Every operator
is asked for in a process of its own, since some crash on a file that makes no sense.
"""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import yaml

_UNKNOWN = b"Didn't find op"
_ARENA = 20_000  # bytes, enough to get as far as to look for the operator
_LARGEST_OLD = 127  # numbers of operators that fit the schema's older field


@cache
def known() -> frozenset[str]:
    """Names in the schema of the operators that the interpreter has."""
    text = Path(__file__).with_name("operators.yaml").read_text(encoding="utf-8")
    return frozenset(yaml.safe_load(text)["operators"])


def _has(number: int) -> bool:
    """It looks the operator up before it looks at what the operator reads."""
    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if not child:
            os.dup2(log.fileno(), 2)
            try:
                from tflite_micro.python.tflite_micro import runtime

                runtime.Interpreter.from_bytes(_alone(number), arena_size=_ARENA)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        log.seek(0)
        return _UNKNOWN not in log.read()


def _alone(number: int) -> bytes:
    """A file with one operator, of one int8 value into another."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, code, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, _LARGEST_OLD), 1
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph.tensors, graph.operators = [schema.TensorT(), schema.TensorT()], [operator]
    for tensor, name in zip(graph.tensors, (b"in", b"out"), strict=True):
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1], schema.TensorType.INT8, 0
    graph.inputs, graph.outputs = [0], [1]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _main() -> int:
    from ai_edge_litert import schema_py_generated as schema
    from tflite_micro.python.tflite_micro import runtime  # noqa: F401  # once, for all children

    for name, number in vars(schema.BuiltinOperator).items():
        if isinstance(number, int) and name not in {"CUSTOM", "PLACEHOLDER_FOR_GREATER_OP_CODES"} and _has(number):
            sys.stdout.write(f"{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
