"""What a model is made of, what techniques can do to it, what targets refuse; and what an exported file holds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from paring.core import artifact
from paring.core.errors import ParingError
from paring.core.model import Event, Json, Model, Skipped, TensorSpec
from paring.core.once import once
from paring.core.step import ActsOn, Step
from paring.core.target import Contents, Describes, Problem, Target, why_not_run
from paring.measure.cost import LayerCost, per_layer
from paring.steps import STEPS
from paring.targets import TARGETS


@dataclass(frozen=True, slots=True)
class Technique:
    """What a step can do to a model.

    Attributes:
        acts_on: names of layers.
        leaves: layers that it would leave as they are, each with the reason.
        problem: why it could not be asked, e.g. that a package is missing; empty otherwise.
    """

    acts_on: tuple[str, ...] = ()
    leaves: tuple[Skipped, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a target says of a model.

    Attributes:
        problems: every reason why it cannot run there; empty if it can.
        problem: why the target could not be asked; empty otherwise.
    """

    problems: tuple[Problem, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Inspection:
    """A model, taken apart.

    Attributes:
        model: the model itself.
        layers: what each layer costs.
        techniques: step -> what it can do.
        targets: target -> what it refuses.
    """

    model: Model
    layers: Sequence[LayerCost]
    techniques: Mapping[str, Technique] = field(default_factory=dict)
    targets: Mapping[str, Verdict] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of elements of the weights."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample."""
        return sum(layer.macs for layer in self.layers)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the weights alone, by the type that they are stored in."""
        return {"float32": 4 * self.parameters, "int8": self.parameters}

    def as_json(self) -> dict[str, Json]:
        """Plain data."""
        return {
            "kind": "model",
            "source": str(self.model.source),
            "inputs": [spec.as_json() for spec in self.model.inputs],
            "outputs": [spec.as_json() for spec in self.model.outputs],
            "history": [_event(event) for event in self.model.history],
            "parameters": self.parameters,
            "macs": self.macs,
            "weight_bytes": self.sizes,
            "layers": [asdict(layer) for layer in self.layers],
            "techniques": {name: asdict(one) for name, one in self.techniques.items()},
            "targets": {name: asdict(one) for name, one in self.targets.items()},
        }


@dataclass(frozen=True)
class ArtifactInspection:
    """An exported file, taken apart.

    Attributes:
        path: of the file.
        target: whose it is.
        bytes: size of the file.
        inputs: as a runner takes them; none where this machine cannot run the file.
        outputs: as a runner gives them; likewise.
        contents: operators and tensors.
    """

    path: Path
    target: str
    bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    contents: Contents

    def as_json(self) -> dict[str, Json]:
        """Plain data."""
        return {
            "kind": "artifact",
            "path": str(self.path),
            "target": self.target,
            "bytes": self.bytes,
            "inputs": [spec.as_json() for spec in self.inputs],
            "outputs": [spec.as_json() for spec in self.outputs],
            **asdict(self.contents),
        }


def of_model(model: Model) -> Inspection:
    """Asks every step and every target what it makes of a model; a missing package is told, and no error."""
    with once():
        return Inspection(
            model,
            per_layer(model),
            {name: found for name in STEPS.names() if (found := _technique(name, model)) is not None},
            {name: _verdict(name, model) for name in TARGETS.names()},
        )


def of_artifact(path: Path, target: Target) -> ArtifactInspection:
    """What an exported file holds.

    Raises:
        ParingError: the file is none of the target's, or the target cannot tell.
    """
    if not isinstance(target, Describes):
        raise ParingError(f"{target.name} cannot tell what its files hold", str(path), "inspect the model instead")
    runner = target.open(path) if why_not_run(target) is None else None
    ends = ((), ()) if runner is None else (runner.inputs, runner.outputs)
    return ArtifactInspection(path, target.name, artifact.size(path), *ends, target.describe(path))


def _technique(name: str, model: Model) -> Technique | None:
    """None for a step that does not act on single layers."""
    try:
        step: Step = STEPS.load(name)()
        if not isinstance(step, ActsOn):
            return None
        found = step.acts_on(model)
    except ParingError as error:
        return Technique(problem=_told(error))
    except ModuleNotFoundError as error:
        return Technique(problem=_told(STEPS.missing(name, error)))
    leaves = tuple(Skipped(layer, reason) for layer, reason in found.items() if reason is not None)
    return Technique(tuple(layer for layer, reason in found.items() if reason is None), leaves)


def _verdict(name: str, model: Model) -> Verdict:
    try:
        target: Target = TARGETS.load(name)()
        return Verdict(tuple(target.check(model)))
    except ParingError as error:
        return Verdict(problem=_told(error))
    except ModuleNotFoundError as error:
        return Verdict(problem=_told(TARGETS.missing(name, error)))


def _told(error: ParingError) -> str:
    return f"{error.problem} (try: {error.remedy})"


def _event(event: Event) -> dict[str, Json]:
    return {"step": event.step, "changed": event.changed, "skipped": [asdict(one) for one in event.skipped]}
