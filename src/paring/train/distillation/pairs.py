"""Which layer of a student learns from which layer of its teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil
from typing import TYPE_CHECKING, Protocol

from torch import nn

from paring.core.errors import ParingError, UnknownName

if TYPE_CHECKING:
    from paring.train.distillation.options import Layers

_PROJECTIONS = (("query", "key"), ("q_lin", "k_lin"), ("q_proj", "k_proj"))  # to queries and keys
HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "nhead")  # attributes that count them
_SHOWN = 4  # pairs that are told by name

Shapes = Mapping[str, tuple[int, ...]]  # of what layers give, as `taps.shapes` finds them


@dataclass(frozen=True, slots=True)
class Point:
    """A place inside a network that can be compared with one in another.

    Attributes:
        name: of the layer.
        reads: the layers whose outputs are compared there.
        shape: of what the first of them gives for a sample.
        heads: of attention; 0 elsewhere.
    """

    name: str
    reads: tuple[str, ...]
    shape: tuple[int, ...]
    heads: int = 0


class Points(Protocol):
    """What a loss may compare."""

    def named(self, module: nn.Module, shapes: Shapes) -> list[Point]:
        """All places that a name may choose, in the order in which they run."""

    def blocks(self, module: nn.Module, shapes: Shapes) -> list[Point]:
        """Those that are paired where none is named."""


class LayerPoints:
    """Layers; blocks are entries of the network's lists that are no lists themselves, or else layers with weights."""

    def named(self, module: nn.Module, shapes: Shapes) -> list[Point]:
        """See `Points`."""
        return [Point(name, (name,), shape) for name, shape in shapes.items()]

    def blocks(self, module: nn.Module, shapes: Shapes) -> list[Point]:
        """See `Points`."""
        entries = [
            f"{name}.{entry}".lstrip(".")
            for name, part in module.named_modules()
            if isinstance(part, nn.Sequential | nn.ModuleList)
            for entry, child in part.named_children()
            if (
                type(child) not in (nn.Sequential, nn.ModuleList)
                or _whole(child, f"{name}.{entry}".lstrip("."), shapes)
            )
            and any(one.ndim > 1 for one in child.parameters())
        ]
        found = [name for name in entries if len(shapes.get(name, ())) > 1]
        found = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
        if not found:
            found = [n for n in shapes if len(shapes[n]) > 1 and _layer(module.get_submodule(n), n, shapes)]
        order = list(shapes)
        return [Point(name, (name,), shapes[name]) for name in sorted(found, key=order.index)]


class AttentionPoints:
    """Layers that attend: known by the names of their projections to queries and keys."""

    def named(self, module: nn.Module, shapes: Shapes) -> list[Point]:
        """See `Points`."""
        found = []
        for name, part in module.named_modules():
            heads = next((n for one in HEADS if isinstance(n := getattr(part, one, None), int)), 0)
            for pair in _PROJECTIONS:
                reads = tuple(f"{name}.{one}".lstrip(".") for one in pair)
                if heads and all(len(shapes.get(one, ())) == 2 for one in reads):
                    found.append(Point(name, reads, shapes[reads[0]], heads))
        return found

    blocks = named


def paired(
    points: Points, layers: "Layers", student: tuple[nn.Module, Shapes], teacher: tuple[nn.Module, Shapes], where: str
) -> list[tuple[Point, Point]]:
    """What is compared with what.

    Args:
        points: what can be.
        layers: how the user chose.
        student: and what its layers give.
        teacher: likewise.
        where: the loss, for the error.

    Raises:
        ParingError: there is nothing to pair, or the patterns choose unequally many.
        UnknownName: a pattern chooses nothing.
    """
    if isinstance(layers, Mapping):
        found = [
            pair
            for first, second in layers.items()
            for pair in _both(_matching(points.named(*student), first, "student", where),
                              _matching(points.named(*teacher), second, "teacher", where), first, second, where)
        ]  # fmt: skip
    else:
        blocks = points.blocks(*student), points.blocks(*teacher)
        found = by_depth(*blocks) if layers == "depth" else _by_place(*blocks)
        if not found:
            raise ParingError(
                f"no block of the student ({_told(blocks[0])}) has its like in the teacher ({_told(blocks[1])})",
                where,
                "name the layers: layers: {student's: teacher's}",
            )
        found = found[-1:] if layers == "last" else found
    for own, other in found:
        tokens = len(own.shape) == 2 and own.shape[0] != other.shape[0]
        if len(own.shape) != len(other.shape) or tokens:
            raise ParingError(
                f"{own.name} gives {own.shape} for a sample, the teacher's {other.name} {other.shape}",
                where,
                "pair layers that give the same kind of thing",
            )
    return found


def by_depth(student: Sequence[Point], teacher: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Each of the fewer with the one as deep, in shares of the depth, of the more; the last with the last.

    TinyBERT's uniform mapping g(m) = m · N / M: Jiao et al. 2020, arXiv:1909.10351, section 4.1.
    """
    count = min(len(student), len(teacher))
    places = [(ceil(i * len(student) / count) - 1, ceil(i * len(teacher) / count) - 1) for i in range(1, count + 1)]
    return [(student[own], teacher[other]) for own, other in places]


def told(pairs: Sequence[tuple[Point, Point]]) -> str:
    """`a ← b, c ← d and 3 more`."""
    words = ", ".join(f"{student.name} ← {teacher.name}" for student, teacher in pairs[:_SHOWN])
    more = len(pairs) - _SHOWN
    return f"{words} and {more} more" if more > 0 else words


def _layer(part: nn.Module, name: str, shapes: Shapes) -> bool:
    return hasattr(part, "weight") or _whole(part, name, shapes)


def _whole(part: nn.Module, name: str, shapes: Shapes) -> bool:
    """Whether a sequence is one layer that was taken apart: nothing is told of its parts."""
    return isinstance(part, nn.Sequential) and not any(f"{name}.{one}" in shapes for one, _ in part.named_children())


def _by_place(student: Sequence[Point], teacher: Sequence[Point]) -> list[tuple[Point, Point]]:
    """By depth among those of one resolution, or one number of tokens."""
    own, other = _grouped(student), _grouped(teacher)
    return [pair for place, points in own.items() if place in other for pair in by_depth(points, other[place])]


def _grouped(points: Sequence[Point]) -> dict[tuple[int, ...], list[Point]]:
    found: dict[tuple[int, ...], list[Point]] = {}
    for point in points:
        place = point.shape[1:] if len(point.shape) == 3 else point.shape[:-1]
        found.setdefault(place, []).append(point)
    return found


def _matching(points: Sequence[Point], pattern: str, whose: str, where: str) -> list[Point]:
    found = [point for point in points if fnmatchcase(point.name, pattern)]
    if not found:
        raise UnknownName.of(
            f"layer of the {whose}", pattern, sorted(point.name for point in points), where=f"{where}: layers"
        )
    return found


def _both(student: list[Point], teacher: list[Point], first: str, second: str, where: str) -> list[tuple[Point, Point]]:
    if len(student) != len(teacher):
        raise ParingError(
            f"{first!r} chooses {len(student)} layers of the student ({_told(student)}), {second!r} {len(teacher)} of "
            f"the teacher ({_told(teacher)})",
            f"{where}: layers",
            "choose equally many",
        )
    return list(zip(student, teacher, strict=True))


def _told(points: Sequence[Point]) -> str:
    names = ", ".join(point.name for point in points[:_SHOWN])
    return (f"{names}, …" if len(points) > _SHOWN else names) or "none"
