"""What becomes of one network in every step and every target: right, refused, or a fault."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paring.core.errors import ParingError
from paring.core.model import Model, TensorSpec
from paring.core.step import Context
from paring.core.target import Array, Limits, Target, why_not_run
from paring.core.task import Batch, Split
from paring.load import saved
from paring.steps import STEPS
from paring.targets import TARGETS, parity
from paring.targets.parity import compare, reference
from paring.testing.models import TinyTask
from paring.testing.random_networks.network import Plan, model, seen

_TYPES = frozenset({"float32", "int8"})
_LIMITS = Limits(
    _TYPES,
    _TYPES,
    dynamic=frozenset({("int8", "linear", 0)}),
    stored=frozenset((dtype, kind, 0) for dtype in ("int8", "float16") for kind in ("linear", "conv")),
)
RUN_HERE = ("litert", "onnxruntime", "executorch", "openvino", "torchmobile", "micro")
_STATIC: tuple[str, Mapping[str, Any]] = ("quantize.static", {"calibration": {"samples": 8}, "ladder": None})
_PRUNED: tuple[str, Mapping[str, Any]] = ("prune.channels", {"macs": 0.95, "round_to": 1, "samples": 4})
_SAME = 1e-3  # of the largest value: what a graph may differ from the network that it was made of
_ROUNDED = 0.2  # the same, where weights are integers


@dataclass(frozen=True)
class Chain:
    """Steps with their options.

    Attributes:
        steps: in their order.
        same: what the result may differ from the network, as a share of the largest value; None where it is another.
    """

    steps: Sequence[tuple[str, Mapping[str, Any]]] = ()
    same: float | None = _SAME

    @property
    def name(self) -> str:
        """Names of the steps; empty for none."""
        return ", ".join(name for name, _ in self.steps)


FLOAT, STATIC = Chain(), Chain([_STATIC])
OTHERS = (
    Chain([("quantize.dynamic", {})], _ROUNDED),
    Chain([("quantize.weights", {})], _ROUNDED),
    Chain([("quantize.float16", {})], 1e-2),
    Chain([_PRUNED], None),
    Chain([_PRUNED, _STATIC], None),
    Chain([("prune.magnitude", {"sparsity": 0.5}), _STATIC], None),
    Chain([("factorize.svd", {"rank": 2, "round_to": 1, "slower": "allow"}), _STATIC], None),
)
"""What takes more time than the first two, or is another network: in turn, one for each network."""


@dataclass(frozen=True)
class Outcome:
    """One network in one step and one target.

    Attributes:
        step: names of the chain's steps; empty for none.
        target: its name; empty for what the step itself gave.
        verdict: `right`; `refused` before work; `late`, refused by the export; `wrong`; `crash`, another error than
            paring's own.
        reason: of all but `right`.
    """

    step: str
    target: str
    verdict: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.step or 'float'} {self.target}: {self.verdict} {self.reason}"


def trials(
    plan: Plan, targets: Sequence[str] = RUN_HERE, chains: Sequence[Chain] = (FLOAT, STATIC)
) -> Iterator[Outcome]:
    """Puts a network through every chain, and what comes of it through every target, and through saving and loading."""
    try:
        given, samples = model(plan), seen(plan)
    except ParingError as error:
        yield Outcome("", "", "refused", str(error))
        return
    for chain in chains:
        made: list[Model] = []
        yield _outcome(chain.name, "", lambda chain=chain, made=made: made.append(  # type: ignore[misc]
            _stepped(given, samples, chain)
        ))  # fmt: skip
        for target in targets if made else ():
            found: Target = TARGETS.load(target)()
            if "float32" in found.limits.activations or made[0].quantized:
                yield _exported(chain.name, found, made[0], samples)


def _outcome(step: str, target: str, work: Callable[[], object], refused: str = "refused") -> Outcome:
    try:
        work()
    except ParingError as error:
        return Outcome(step, target, refused, str(error))
    except _Wrong as error:
        return Outcome(step, target, "wrong", str(error))
    except Exception as error:  # what a user would get as a traceback
        return Outcome(step, target, "crash", " ".join(f"{type(error).__name__}: {error}".split())[:300])
    return Outcome(step, target, "right")


class _Wrong(Exception):
    pass


class Given(TinyTask):
    """Samples at hand, for calibration."""

    def __init__(self, samples: Mapping[str, Array], inputs: tuple[TensorSpec, ...]) -> None:
        self._samples, self.inputs = samples, inputs

    def size(self, split: Split) -> int:
        """How many there are."""
        return len(next(iter(self._samples.values())))

    def batches(self, split: Split, batch_size: int, *, limit: int | None = None, **_: Any) -> Iterator[Batch]:
        """All of them, in turn."""
        count = min(limit or self.size(split), self.size(split))
        for start in range(0, count, batch_size):
            part = {
                name: torch.from_numpy(array[start : min(start + batch_size, count)])
                for name, array in self._samples.items()
            }
            yield Batch(part, torch.zeros(len(next(iter(part.values()))), dtype=torch.int64))


def _stepped(given: Model, samples: Mapping[str, Array], chain: Chain) -> Model:
    """What a chain makes of the network, once that answers as it should, and does so again when it was saved."""
    made = given
    with tempfile.TemporaryDirectory() as folder:
        for name, options in chain.steps:
            step = STEPS.load(name)()
            context = Context(Given(samples, given.inputs), _LIMITS, 0, given, Path(folder))
            made = step.apply(made, step.Config.model_validate(dict(options)), context)
        plain, wanted = (reference.unrounded(one, samples) for one in (made, given))
        difference = compare.float_difference(plain, wanted)
        far = chain.same is not None and difference is not None and difference.error > chain.same
        if far and difference is not None and not _sensitive(given, samples, difference.error):
            raise _Wrong(f"the graph is not the network: {difference}")
        if not all(np.isfinite(array).all() for array in plain.values()):
            raise _Wrong("its answers are no numbers")
        saved.save(made, Path(folder) / "model.safetensors", {})
        again = saved.load(Path(folder) / "model.safetensors")
        before, after = (reference.answers(one, samples) for one in (made, again))
        for output, values in before.items():
            if not np.array_equal(values, after[output], equal_nan=True):
                raise _Wrong(f"saved and loaded, {output} differs by {np.abs(values - after[output]).max():.2g}")
    return made


def _sensitive(given: Model, samples: Mapping[str, Array], error: float) -> bool:
    moved = compare.float_difference(reference.shaken(given, samples, 0), reference.answers(given, samples))
    return moved is not None and moved.error * 10 >= error


def _exported(step: str, target: Target, made: Model, samples: Mapping[str, Array]) -> Outcome:
    checked: list[Any] = []
    first = _outcome(step, target.name, lambda: checked.extend(target.check(made)))
    if first.verdict != "right":
        return first
    blocking = [one for one in checked if one.severity == "refuses"]
    if blocking:
        return Outcome(step, target.name, "refused", str(blocking[0]))
    with tempfile.TemporaryDirectory() as folder, parity.watched(samples) as watch:
        path = Path(folder) / f"model{target.suffix}"
        done = _outcome(step, target.name, lambda: target.export(made, path, target.Options()), refused="late")
    if done.verdict == "right" and why_not_run(target) is None and not any(one.how == "run" for one in watch.proofs):
        return Outcome(step, target.name, "unproven", "; ".join(map(str, watch.proofs)))
    return done
