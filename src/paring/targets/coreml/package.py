"""What an `.mlpackage` holds: the program's operators and tensors, and what paring put there."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from paring.core.errors import ParingError
from paring.core.model import Json
from paring.core.quiet import quiet
from paring.core.target import Contents, FileTensor
from paring.targets.coreml.integers import on_integers
from paring.targets.coreml.library import ct, milproto, types
from paring.targets.zeros import share

_KEY = "paring"  # of the metadata
_ITEMS = "com.apple.CoreML"  # folder of what the manifest lists
_PROGRAM = f"Data/{_ITEMS}/model.mlmodel"
_WEIGHTS = f"Data/{_ITEMS}/weights"
_TYPES = {"fp32": "float32", "fp16": "float16", "fp64": "float64"}  # MIL's name -> numpy's, where they differ
_BITS = {"int4": 4, "uint4": 4}
_CODES = {
    "constexpr_affine_dequantize": ("quantized_data", "zero_point"),
    "constexpr_blockwise_shift_scale": ("data", "offset"),
}
_SHORT = 10  # values of the longest constant that is an option of an operator, strides and the like


def settle(path: Path, metadata: Json) -> None:
    """Makes a package that coremltools wrote the same each time, and puts `metadata` into it."""
    model = path / _PROGRAM
    spec = ct.proto.Model_pb2.Model.FromString(model.read_bytes())
    spec.description.metadata.userDefined[_KEY] = json.dumps(metadata, sort_keys=True)
    model.write_bytes(spec.SerializeToString(deterministic=True))
    manifest = path / "Manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    drawn = {key: str(uuid5(NAMESPACE_URL, one["path"])).upper() for key, one in content["itemInfoEntries"].items()}
    content["itemInfoEntries"] = {drawn[key]: one for key, one in content["itemInfoEntries"].items()}
    content["rootModelIdentifier"] = drawn[content["rootModelIdentifier"]]
    manifest.write_text(json.dumps(content, indent=4, sort_keys=True) + "\n", encoding="utf-8")


def metadata(path: Path) -> Json:
    """What `settle` put into a package; None in one of another maker.

    Raises:
        ParingError: no such folder, or no package of Core ML's.
    """
    text = _read(path).description.metadata.userDefined.get(_KEY)
    return None if text is None else json.loads(text)


def program(path: Path) -> Any:
    """The program of a package, as coremltools has it in memory (a MIL `Program`), with its weights.

    Raises:
        ParingError: no such folder, or no package with an ML Program.
    """
    spec = _read(path)
    try:
        with quiet():
            return milproto.load(spec, spec.specificationVersion, str(path / _WEIGHTS))
    except Exception as error:  # damaged weights fail in any way
        raise _unreadable(path) from error


def contents(path: Path) -> Contents:
    """Operators and tensors of a package.

    Raises:
        ParingError: no such folder, or no package with an ML Program.
    """
    operators = [one for function in program(path).functions.values() for one in function.operations]
    counted = Counter(one.op_type for one in operators if one.op_type != "const")
    quantized, in_float = on_integers(operators)
    return Contents(dict(counted), tuple(_tensors(operators)), dict(quantized), tuple(in_float))


def _read(path: Path) -> Any:
    try:
        spec = ct.proto.Model_pb2.Model.FromString((path / _PROGRAM).read_bytes())
    except Exception as error:  # of the file system, or of protobuf
        raise _unreadable(path) from error
    if spec.WhichOneof("Type") != "mlProgram":
        raise _unreadable(path)
    return spec


def _unreadable(path: Path) -> ParingError:
    return ParingError("cannot be read as a Core ML package", str(path), "name an .mlpackage that holds an ML Program")


def _tensors(operators: list[Any]) -> Iterator[FileTensor]:
    """Stored weights and computed values; of a constant that is written in short, the codes."""
    for one in operators:
        if one.op_type.startswith("constexpr_"):
            yield _coded(one)
        elif one.op_type != "const":
            yield from (FileTensor(var.name, _type(var), tuple(var.shape), 0) for var in one.outputs)
        elif not _is_part(one):
            values = one.outputs[0].val
            if isinstance(values, np.ndarray) and (values.dtype.kind == "f" or values.size > _SHORT):
                yield FileTensor(one.name, _type(one.outputs[0]), values.shape, values.nbytes, zeros=share(values))


def _is_part(constant: Any) -> bool:
    users = constant.outputs[0].child_ops
    return bool(users) and all(user.op_type.startswith("constexpr_") for user in users)


def _coded(one: Any) -> FileTensor:
    """A constant that is written in short, by the tensor that holds most of it."""
    if one.op_type == "constexpr_lut_to_dense":
        values, table = one.materialized_val_inference(), one.lut.val.reshape(-1)
        bits = len(table).bit_length() - 1
        size = -(-values.size * bits // 8) + table.nbytes
        return FileTensor(one.name, f"palette{bits}", values.shape, size, zeros=share(values))
    name, point = _CODES.get(one.op_type, ("source_val", ""))
    held = one.inputs[name]
    bits = _BITS.get(types.builtin_to_string(held.dtype), 8 * held.val.dtype.itemsize)
    size = -(-held.val.size * bits // 8)
    if not point:
        return FileTensor(one.name, _type(held), held.val.shape, size, zeros=share(held.val))
    scales = np.asarray(one.scale.val, np.float64).reshape(-1)
    given = one.inputs.get(point)
    points = np.zeros(len(scales), int) if given is None else np.asarray(given.val, int).reshape(-1)
    zeros = share(
        held.val.astype(int),
        tuple(points.tolist()),
        0 if one.op_type != "constexpr_affine_dequantize" else int(one.axis.val),
    )
    return FileTensor(
        one.name, _type(held), held.val.shape, size, tuple(scales.tolist()), tuple(points.tolist()), zeros
    )


def _type(var: Any) -> str:
    name: str = types.builtin_to_string(var.dtype)
    return _TYPES.get(name, name)
