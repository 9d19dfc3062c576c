"""The parity gate: before a file appears it is run in its runtime and compared with what it was made from.

Float files are compared with the model (largest difference at most `compare.RELATIVE` of the largest value), quantized
ones with their graph (`compare.SQNR`, or `compare.WITHIN` of what quantizing itself loses), for every output and every
group of channels of an output, on some samples and on extremes. The runtime runs in a process of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil

from paring.core import artifact as files
from paring.core.errors import ParingError
from paring.core.model import Json, Model
from paring.core.target import Array, ExportOptions, References, Target, why_not_run
from paring.targets.parity import compare, isolated, reference, samples

_ROOM = 4  # a runtime may hold a file so many times over
_SHAKES = 3  # draws of a disturbance


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of a file's answers.

    Attributes:
        how: `run`: in its runtime, and compared; `read`: read back, as nothing here can run it; `none`: neither.
        runtime: where it was run.
        samples: how many were compared.
        generated: whether these were drawn, for want of real ones.
        relative_error: of a float file, the largest difference of an output as a share of its largest value.
        sqnr: of a quantized file to its graph, dB, of the output where it is lowest; infinite where nothing differs.
        unproven: what could not be compared, and why, as sentences.
    """

    how: str
    runtime: str = ""
    samples: int = 0
    generated: bool = False
    relative_error: float | None = None
    sqnr: float | None = None
    unproven: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Plain data; an infinite SQNR is None."""
        found = asdict(self)
        found["unproven"] = list(self.unproven)
        found["sqnr"] = self.sqnr if self.sqnr is not None and np.isfinite(self.sqnr) else None
        return found

    def __str__(self) -> str:
        if self.how != "run":
            return "; ".join(self.unproven)
        kind = "generated samples" if self.generated else "samples"
        if self.relative_error is not None:
            amount = f"differs from the model by at most {self.relative_error:.1e} of the largest value"
        elif self.sqnr is not None and np.isfinite(self.sqnr):
            amount = f"{self.sqnr:.1f} dB to its graph"
        else:
            amount = "gives its graph's answers to the last bit" if self.sqnr is not None else "was run"
        return "; ".join([f"{amount} ({self.runtime}, {self.samples} {kind})", *self.unproven])


@dataclass
class Watch:
    """What an export is told, and what it tells.

    Attributes:
        samples: inputs by name, batch first, as calibration has them; None for drawn ones.
        proofs: of the files written inside, in their order.
        off: whether files are written without a proof, as the search for a fault does.
    """

    samples: Mapping[str, Array] | None = None
    proofs: list[Proof] = field(default_factory=list)
    off: bool = False


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched(given: Mapping[str, Array] | None = None, *, off: bool = False) -> Iterator[Watch]:
    """Inside, exports compare on these samples, and their proofs are gathered."""
    watch = Watch(given, off=off)
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)


def read_back(why: str) -> None:
    """Notes that a file was read back and compared with what it should hold, and why it was not run."""
    if (watch := _watch.get()) is not None and not watch.off:
        watch.proofs.append(Proof("read", unproven=(f"not run: {why}; its stored numbers were read back",)))


def require(target: Target, model: Model, artifact: Path, options: ExportOptions) -> None:
    """Runs a file that has just been made, and compares.

    Args:
        target: whose file it is; it is made anew without arguments in the process that runs the file.
        model: that the file was made of.
        artifact: the file or folder, not yet at its place.
        options: of the export.

    Raises:
        ParingError: the file's answers are not the model's, or the runtime refuses it, or crashes on it. The first
            operator that differs is named, and what is at fault.
    """
    watch = _watch.get() or Watch()
    if watch.off:
        return
    if (why := why_not_run(target)) is not None:
        read_back(why)
        return
    drawn = samples.of(model, watch.samples)
    size = files.size(artifact)
    if size * _ROOM > psutil.virtual_memory().available:
        watch.proofs.append(Proof("none", unproven=(f"not run: {size / 2**20:.0f} MiB are too many for this memory",)))
        return
    usual, extremes = (Side(model, inputs) for inputs in (drawn.usual, drawn.extremes))
    gathered = {name: np.concatenate([usual.kept[name], extremes.kept[name]]) for name in usual.kept}
    count = [len(next(iter(one.kept.values()))) for one in (usual, extremes)]
    unproven = [*usual.lost("samples"), *extremes.lost("extreme inputs")]
    if not sum(count):
        watch.proofs.append(Proof("none", unproven=tuple(unproven)))
        return
    try:
        found = isolated.run(target, "open", artifact, gathered)
    except (ParingError, isolated.Crashed) as error:
        raise _refused(target, model, options, gathered, error) from error
    lowest: list[float] = []
    for side, part in ((usual, slice(0, count[0])), (extremes, slice(count[0], None))):
        own = {name: array[part] for name, array in found.items()}
        if not len(next(iter(side.kept.values()))):
            continue
        difference = side.difference(own)
        if difference is not None:
            raise _differs(target, model, options, artifact, side.kept, difference)
        lowest.append(side.measure(own))
        unproven += side.notes
    quantized = rounds(model)
    proof = Proof(
        "run", target.name, sum(count), drawn.generated,
        None if quantized else max(lowest), min(lowest) if quantized else None, tuple(dict.fromkeys(unproven)),
    )  # fmt: skip
    watch.proofs.append(proof)


def rounds(model: Model) -> bool:
    """Whether a file of the model rounds what it computes, so that its answers are its graph's in decibels only."""
    dynamic = (one.kind == "codes" and one.value["activations"] == "dynamic" for one in model.invariants)
    return model.quantized or any(dynamic)


class Side:
    """Some inputs, and what the model answers to them.

    Attributes:
        kept: the inputs to which the model's answers are numbers.
        wanted: these answers.
        notes: what could not be proved, found while comparing.
    """

    def __init__(self, model: Model, inputs: Mapping[str, Array]) -> None:
        self._model = model
        wanted = reference.answers(model, inputs)
        self._asked = len(next(iter(inputs.values())))
        sound = np.ones(self._asked, bool)
        for array in wanted.values():
            sound &= np.isfinite(array.reshape(self._asked, -1)).all(1)
        self.kept = {name: array[sound] for name, array in inputs.items()}
        self.wanted = {name: array[sound] for name, array in wanted.items()}
        self._whole = {spec.name for spec in model.outputs if not spec.dtype.startswith("float")}
        self.notes: list[str] = []

    def lost(self, what: str) -> list[str]:
        """A sentence on inputs to which the model's answers are no numbers."""
        lost = self._asked - len(next(iter(self.kept.values())))
        return [f"not compared on {lost} {what}: the model's own answers to them are not numbers"] if lost else []

    def difference(self, found: Mapping[str, Array]) -> compare.Difference | None:
        """The worst difference that is more than rounding; None if there is none."""
        missing = [name for name in self.wanted if name not in found]
        if missing:
            return compare.Difference(missing[0], "", np.inf, decibels=False)
        for name in self._whole:
            if not np.array_equal(found[name], self.wanted[name]):
                self.notes.append(f"{name} holds whole numbers, which rounding may move: not compared")
        own, wanted = ({n: a for n, a in one.items() if n not in self._whole} for one in (found, self.wanted))
        if rounds(self._model):
            return self._rounded(own, wanted)
        worst = compare.float_difference(own, wanted)
        if worst is None or not self._sensitive(worst, wanted):
            return worst
        self.notes.append("answers to some inputs move with the last bit of these, and were compared with that in mind")
        return None

    def measure(self, found: Mapping[str, Array]) -> float:
        """The proof's number: dB of the output that has the lowest, or the largest relative difference."""
        own, wanted = ({n: a for n, a in one.items() if n not in self._whole} for one in (found, self.wanted))
        if rounds(self._model):
            decibels = (compare.sqnr(array, own[name]) for name, array in wanted.items() if array.any())
            return min(decibels, default=np.inf)
        return compare.largest(own, wanted)

    def _rounded(self, found: Mapping[str, Array], wanted: Mapping[str, Array]) -> compare.Difference | None:
        below = compare.quantized_differences(found, wanted, reference.steps(self._model))
        if not below:
            return None
        exact = reference.unrounded(self._model, self.kept)
        for difference, (name, channels) in below:
            lost = next(
                compare.sqnr(float_values, graph_values)
                for label, graph_values, float_values in compare.groups(wanted[name], exact[name])
                if label in (channels, "")
            )
            if difference.error < lost - compare.WITHIN:
                return difference
        return None

    def _sensitive(self, worst: compare.Difference, wanted: Mapping[str, Array]) -> bool:
        """Whether inputs that differ by a rounding move the answers as far as the file's lie from them."""
        if not np.isfinite(worst.error):
            return False
        for seed in range(_SHAKES):
            moved = compare.float_difference(reference.shaken(self._model, self.kept, seed), wanted)
            if moved is not None and moved.output == worst.output and moved.error * 10 >= worst.error:
                return True
        return False


def _differs(
    target: Target, model: Model, options: ExportOptions, artifact: Path, inputs: Mapping[str, Array],
    difference: compare.Difference,
) -> ParingError:  # fmt: skip
    from paring.targets.parity import locate

    fault = _runtime_or_converter(target, model, artifact, inputs)
    place = locate.first(target, model, options, inputs)
    return ParingError(
        f"the file's answers are not the model's: {difference}; {fault}",
        f"export to {target.name}: {place}",
        "replace the operator, or keep its layer in float (keep_float); no file was written",
    )


def _refused(
    target: Target, model: Model, options: ExportOptions, inputs: Mapping[str, Array], error: Exception
) -> ParingError:
    from paring.targets.parity import locate

    reason = error.problem if isinstance(error, ParingError) else str(error)
    return ParingError(
        f"{target.name} does not run the file that was made: {reason}",
        f"export to {target.name}: {locate.first(target, model, options, inputs)}",
        "replace the operator, or keep its layer in float (keep_float); no file was written",
    )


def _runtime_or_converter(target: Target, model: Model, artifact: Path, inputs: Mapping[str, Array]) -> str:
    """Whose fault it is: with plain kernels a sound file answers rightly."""
    if not isinstance(target, References):
        return "the converter or the runtime is at fault"
    try:
        found = isolated.run(target, "reference", artifact, inputs)
    except (ParingError, isolated.Crashed):
        return "the converter is at fault"
    sound = Side(model, inputs).difference(found) is None
    return "the runtime's fast kernels are at fault" if sound else "the converter is at fault"
