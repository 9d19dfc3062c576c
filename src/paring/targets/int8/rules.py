"""What an accelerator can run, as data, and the reason why it leaves an operator to the processor."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from paring.core.target import Problem
from paring.targets.int8.operators import Operator

CONVERSIONS = {"QUANTIZE", "DEQUANTIZE"}
_OTHERWISE = "a layer that quantize.static makes integers of (`paring inspect` names those that it leaves)"
_INSTEAD = dict.fromkeys(("elu", "mish", "selu"), "Hardswish or ReLU6 in its place") | {"softplus": "ReLU in its place"}


class Rule(BaseModel):
    """The conditions on one operator; all hold of those that the accelerator runs. Sizes are NHWC.

    Attributes:
        stride: largest, in either direction.
        longer: whether longer strides run where nothing is padded or dilated.
        kernel: largest side of a window that is padded (`SAME`).
        area: largest product of a window's sides.
        height: largest height of a window.
        strides: that a transposed convolution may have, the same in both directions.
        depth: largest number of channels.
        plane: height times width is less than this.
        elements: largest number of values.
        vector: all values lie along the last axis.
        batch: whether the first axis may be reduced, or be more than 1.
        reduced: every reduced axis is shorter than this.
        channels: which reductions of the channels run: `flat` where height, width or channels are 1; `of four` where
            their number is a multiple of 4.
        fused: whether it may apply an activation besides.
        dilation: whether it must be the same in both directions.
        scales: by which an image may grow, the same in both directions.
        limit: other conditions that the source gives, which are not looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stride: int | None = None
    longer: bool = False
    kernel: int | None = None
    area: int | None = None
    height: int | None = None
    strides: tuple[int, ...] = ()
    depth: int | None = None
    plane: int | None = None
    elements: int | None = None
    vector: bool = False
    batch: bool = True
    reduced: int | None = None
    channels: Literal["", "flat", "of four"] = ""
    fused: bool = True
    dilation: bool = False
    scales: tuple[int, ...] = ()
    limit: str = ""


class Rules(BaseModel):
    """A table of what runs.

    Attributes:
        source: the publication.
        unit: what runs it, as in `the NPU`.
        operators: by their names in the schema of TensorFlow Lite; what is not named does not run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    unit: str
    operators: dict[str, Rule]

    def reason(self, operator: Operator) -> str | None:
        """Why the accelerator does not run an operator; None if it does."""
        rule = self.operators.get(operator.name)
        if rule is None:
            return f"{self.unit} has no {operator.name}"
        if operator.dtype.startswith("float"):
            return f"computes in float, {self.unit} on integers alone"
        parts = (_window, _size, _reduction)
        return next((reason for part in parts for reason in part(operator, rule)), None)


@cache
def read(path: Path) -> dict[str, Rules]:
    """The tables of a YAML file, by their names."""
    return {name: Rules.model_validate(one) for name, one in yaml.safe_load(path.read_text(encoding="utf-8")).items()}


def _window(one: Operator, rule: Rule) -> Iterator[str]:
    """Why its windows do not fit."""
    (height, width), longest = one.kernel, max(one.stride)
    plain = one.padding == "VALID" and one.dilation == (1, 1)
    if rule.stride is not None and longest > rule.stride and not (rule.longer and plain):
        yield f"a stride of {longest}, at most {rule.stride} can be"
    if rule.kernel is not None and one.padding == "SAME" and max(one.kernel) > rule.kernel:
        yield f"a padded window of {height}×{width}, at most {rule.kernel}×{rule.kernel} can be"
    if rule.area is not None and height * width > rule.area:
        yield f"a window of {height}×{width}, at most {rule.area} values can be"
    if rule.height is not None and height > rule.height:
        yield f"a window {height} high, at most {rule.height} can be"
    if rule.strides and (one.stride[0] != one.stride[1] or longest not in rule.strides):
        yield f"strides of {one.stride[0]}×{one.stride[1]}"
    if rule.dilation and one.dilation[0] != one.dilation[1]:
        yield "dilated differently in height and width"
    if one.fused and not rule.fused:
        yield f"applies {one.fused} besides"


def _size(one: Operator, rule: Rule) -> Iterator[str]:
    """Why its sizes do not fit."""
    height, width, channels = _inner(one.image)
    if rule.depth is not None and channels > rule.depth:
        yield f"{channels} channels, at most {rule.depth} can be"
    if rule.plane is not None and height * width >= rule.plane:
        yield f"a plane of {height}×{width}, less than {rule.plane} values can be"
    if rule.elements is not None and height * width * channels > rule.elements:
        yield f"{height * width * channels} values, at most {rule.elements} can be"
    if rule.vector and height * width > 1:
        yield f"more than one dimension: {height}×{width}×{channels}"
    if rule.scales and len(one.image) == 4 and (height, width) != (1, 1):
        growth = {after / before for before, after in zip((height, width), _inner(one.output)[:2], strict=True)}
        if growth != {1} and (len(growth) != 1 or not growth <= set(rule.scales)):
            yield f"grows an image by {' and '.join(f'{by:g}' for by in sorted(growth))}"


def _reduction(one: Operator, rule: Rule) -> Iterator[str]:
    """Why what it reduces does not fit."""
    height, width, channels = _inner(one.image)
    over_channels = len(one.image) > 1 and len(one.image) - 1 in one.axes
    longest = max((one.image[axis] for axis in one.axes), default=0)
    if not rule.batch and (0 in one.axes or bool(one.image and one.image[0] != 1)):
        yield "works on the batch"
    if rule.reduced is not None and longest >= rule.reduced:
        yield f"reduces an axis of {longest}, less than {rule.reduced} can be"
    if rule.channels == "of four" and over_channels and channels % 4:
        yield f"reduces {channels} channels, which must be a multiple of 4"
    if rule.channels == "flat" and over_channels and min(height, width, channels) > 1:
        yield f"reduces the channels of images of {height}×{width}"


def _inner(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels."""
    height, width, channels = (1, 1, 1, *shape[1:])[-3:]
    return height, width, channels


def left(found: Iterable[tuple[Operator, str]], more: Callable[[Operator], str] = lambda _: "") -> list[Problem]:
    """For each layer, and each reason, the operators that the accelerator leaves to the processor; none refuses.

    Args:
        found: operators, each with the reason.
        more: what to try besides with one operator; empty for nothing.
    """
    grouped: dict[tuple[str, str, str], list[Operator]] = {}
    for one, reason in found:
        if one.name not in CONVERSIONS:  # these come and go with their neighbours
            grouped.setdefault((one.where, reason, one.source), []).append(one)
    return [
        Problem(
            f"{' and '.join(one.name for one in ones)}{f' (of {source})' if source else ''} on the processor: {reason}",
            where,
            "; ".join(filter(None, (remedy(ones[0]), more(ones[0])))),
            severity="slow",
        )
        for (where, reason, source), ones in grouped.items()
    ]


def remedy(operator: Operator) -> str:
    """What to put in an operator's place."""
    if operator.dtype.startswith("float"):
        return _INSTEAD.get(operator.source.split(".")[1] if operator.source else "", _OTHERWISE)
    return "another layer, or sizes within the limits"
