"""A model becomes an `.mlpackage`, by coremltools."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from paring.core import atomic
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.target import FLOAT_ENDS, ExportOptions
from paring.targets import parity, scales, zeros
from paring.targets.coreml import CoreML, CoreMLOptions, package
from paring.targets.coreml.check import problems
from paring.targets.coreml.library import ct
from paring.targets.coreml.translate import program_of, system_of, translated
from paring.targets.traced import first_line

SCHEMA = 1  # of the metadata in the package
_WHERE = "export to coreml"


def export(model: Model, path: Path, options: ExportOptions = FLOAT_ENDS) -> Path:
    """Writes `model` to `path`, a folder, batch size one. Same model, same bytes.

    Weights keep their codes and scales; in float16 a scale is rounded to that, as every constant is.

    Raises:
        ParingError: Core ML cannot express the model, `io: int8` or `layout: NHWC`, an older system than its weights
            need, what was quantized came out float or with other scales, zeros were lost, or the disk is full. Nothing
            is written then.
    """
    if options.io != "float32" or options.layout != "NCHW":
        raise ParingError(
            "a package takes and gives float values, channels first", _WHERE, "leave `io` and `layout` out"
        )
    given = options if isinstance(options, CoreMLOptions) else CoreMLOptions()
    precision = given.precision or _precision(model)
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = Path(folder) / "made.mlpackage"
        system = _write(model, made, given.minimum_deployment_target, precision)
        metadata = {
            "schema": SCHEMA,
            "precision": precision,
            "minimum_deployment_target": system,
            "inputs": [spec.as_json() for spec in model.inputs],
            "outputs": [spec.as_json() for spec in model.outputs],
        }
        package.settle(made, metadata)
        stored = [one for one in package.contents(made).tensors if one.bytes]
        scales.require(model, (one.scales for one in stored), _WHERE, kind=precision, codes=True)
        zeros.require(model, stored, _WHERE)
        with atomic.directory(path) as temporary:
            shutil.copytree(made, temporary, dirs_exist_ok=True)
            parity.require(CoreML(), model, temporary, options)
    return path


def _precision(model: Model) -> str:
    """Float16 where the weights are that already; else what the model was measured in."""
    halves = any(one.kind == "codes" and one.value["dtype"] == "float16" for one in model.invariants)
    return "float16" if halves else "float32"


def _write(model: Model, path: Path, oldest: str | None, precision: str) -> str:
    """Writes the package as coremltools makes it, and gives the oldest system that loads it."""
    try:
        program = program_of(model)
        needed = system_of(model, program)
        system = oldest or needed
        if system < needed:
            raise ParingError(
                f"its weights need {needed}", f"{_WHERE}: minimum_deployment_target", f"{needed}, or weights: int8"
            )
        made, lost = translated(model, program, system, precision)
        if lost:
            raise ParingError(
                f"{len(lost)} layers came out in float ({', '.join(lost[:3])}, …)",
                _WHERE,
                "keep these layers in float (keep_float), and report the model that shows it",
            )
        _optimised(made, path, system, precision)
    except ParingError:
        raise
    except Exception as error:  # coremltools raises many kinds
        found = problems(model)
        if found:
            raise ParingError("; ".join(map(str, found)), _WHERE, found[0].remedy) from error
        raise ParingError(
            f"coremltools could not convert the model: {first_line(error)}",
            _WHERE,
            "replace the layer that the message names; `paring check` lists operators without a translation",
        ) from error
    return system


def _optimised(program: Any, path: Path, system: str, precision: str) -> None:
    with quiet():
        ct.convert(
            program,
            source="milinternal",
            convert_to="mlprogram",
            minimum_deployment_target=ct.target[system],
            compute_precision=ct.precision.FLOAT16 if precision == "float16" else ct.precision.FLOAT32,
            package_dir=str(path),
            skip_model_load=True,
        )
