"""Which operators the Edge TPU will run, and where the graph is cut, by Coral's published rules.

The compiler maps one part of a graph: it begins with the first operator that the Edge TPU runs, and the first after it
that the Edge TPU does not run ends it, and runs on the processor with all that follows: "Compiling" in
coral.ai/docs/edgetpu/models-intro.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paring.targets.int8.operators import Operator
from paring.targets.int8.rules import Rules, read

RULES = Path(__file__).with_name("rules.yaml")
CACHE = int(6.91 * 2**20)
"""Bytes for parameters on the chip, of about 8 MB of memory: what the compiler says of MobileNet V1 224
(coral.ai/docs/edgetpu/compiler). Large activations leave less."""
INNER = 3  # axes of a tensor that may be longer than 1


@dataclass(frozen=True)
class Mapping:
    """Where operators run.

    Attributes:
        mapped: on the Edge TPU.
        left: on the processor, each with the reason.
        behind: those of `left` that the Edge TPU could run, but for the cut before them.
        cut: the operator that ends the part that is mapped; None if that goes to the end.
    """

    mapped: tuple[Operator, ...]
    left: tuple[tuple[Operator, str], ...]
    behind: tuple[Operator, ...] = ()
    cut: Operator | None = None

    @property
    def parameters(self) -> int:
        """Bytes of the constants of what is mapped."""
        return sum(one.bytes for one in self.mapped)


def rules() -> Rules:
    """The published table."""
    return read(RULES)["edgetpu"]


def mapping(operators: Sequence[Operator]) -> Mapping:
    """Where each operator of a graph will run."""
    mapped, behind, left = list[Operator](), list[Operator](), list[tuple[Operator, str]]()
    cut: Operator | None = None
    for one in operators:
        reason = _reason(one)
        if reason is None and cut is None:
            mapped.append(one)
        elif reason is None and cut is not None:
            behind.append(one)
            left.append((one, f"comes after {cut.name} ({cut.where}), and one part of a graph alone is mapped"))
        elif reason is not None:
            left.append((one, reason))
            cut = cut or (one if mapped else None)
    return Mapping(tuple(mapped), tuple(left), tuple(behind), cut if behind else None)


def _reason(one: Operator) -> str | None:
    outer = [size for shape in (one.image, one.output) for size in shape[:-INNER]]
    if any(size != 1 for size in outer):
        return f"an axis before the last {INNER} is longer than 1: {'×'.join(map(str, one.image))}"
    return rules().reason(one)
