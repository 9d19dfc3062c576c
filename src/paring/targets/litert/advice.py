"""What LiteRT would run otherwise than it could, told from the graph: an export takes many times as long."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from torch import fx
from torch.export import ExportedProgram

from paring.core.model import Model
from paring.core.target import Problem
from paring.targets.traced import layers_of, operator

_IMAGE = 4  # dimensions: batch, channels, height, width


@dataclass(frozen=True, slots=True)
class Left:
    """An operator that XNNPACK leaves to LiteRT, as in `xnnpack.yaml`.

    Attributes:
        float32: LiteRT operators that run outside XNNPACK in a float file.
        int8: the same in an int8 file.
        instead: what to use.
        when: key of a condition; empty for always.
    """

    float32: tuple[str, ...] = ()
    int8: tuple[str, ...] = ()
    instead: str = ""
    when: str = ""


def advice(model: Model, program: ExportedProgram) -> list[Problem]:
    """Operators outside XNNPACK, and transposes between layouts."""
    return [*_outside(model, program), *_transposes(model, program)]


@cache
def left_to_litert() -> dict[str, Left]:
    """ATen operator -> what XNNPACK leaves of it."""
    text = (files("paring.targets.litert") / "xnnpack.yaml").read_text(encoding="utf-8")
    return {
        name: Left(tuple(row.get("float32", ())), tuple(row.get("int8", ())), row["instead"], row.get("when", ""))
        for name, row in yaml.safe_load(text)["operators"].items()
    }


def _outside(model: Model, program: ExportedProgram) -> Iterable[Problem]:
    found: dict[str, list[fx.Node]] = {}
    for node in program.graph.nodes:
        row = left_to_litert().get(operator(node)) if node.op == "call_function" else None
        if row is not None and (not row.when or _WHEN[row.when](node)):
            found.setdefault(operator(node), []).append(node)
    for name, nodes in found.items():
        row = left_to_litert()[name]
        in_float = bool(row.float32) and not model.quantized
        kinds, slow = (row.float32, "") if in_float else (row.int8, " in int8")
        if kinds:
            yield Problem(
                f"XNNPACK does not take {', '.join(kinds)}{slow}: {name} runs on LiteRT's own kernels",
                layers_of(nodes),
                row.instead,
                "slow" if in_float or model.quantized else "note",
            )


def _transposes(model: Model, program: ExportedProgram) -> Iterable[Problem]:
    for spec in model.inputs:
        if spec.layout == "NCHW":
            yield Problem(
                "images come as NCHW and LiteRT computes on NHWC: a TRANSPOSE stands at the beginning of the file",
                spec.name,
                "targets: [litert: {layout: NHWC}], and feed images as cameras give them",
                "note",
            )
    nodes = [node for node in program.graph.nodes if node.op == "call_function" and _changes_layout(node)]
    if nodes:
        yield Problem(
            f"{len(nodes)} {'change' if len(nodes) == 1 else 'changes'} of layout inside, each a TRANSPOSE in the file",
            layers_of(nodes),
            "a mean over the image before flatten; convolutions of 1×1 instead of linear layers on permuted images",
            "slow",
        )


def _changes_layout(node: fx.Node) -> bool:
    """Whether a node needs an image's values in NCHW order, or permutes them."""
    before, after = _shape(node.args[0] if node.args else None), _shape(node)
    if operator(node) in {"permute", "transpose"}:
        return len(after) == _IMAGE
    if operator(node) not in {"flatten", "view", "reshape", "unflatten"}:
        return False
    image = next((shape for shape in (before, after) if len(shape) == _IMAGE), None)
    return image is not None and len(before) != len(after) and image[1] > 1 and image[2] * image[3] > 1


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(getattr(node.meta.get("val"), "shape", ())) if isinstance(node, fx.Node) else ()


def _argument(node: fx.Node, position: int, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else default


_WHEN: dict[str, Callable[[fx.Node], bool]] = {
    "padded": lambda node: any(_argument(node, 3, ())) if isinstance(_argument(node, 3, ()), list | tuple) else True,
    "mirrored": lambda node: _argument(node, 2, "constant") != "constant",
    "stepped": lambda node: _argument(node, 4, 1) != 1,
}
