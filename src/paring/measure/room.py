"""Whether a model has room on a device, estimated from its graph before any work.

Weights are counted without those of batch norms, which an export folds into the layers before them, and activations
from below (`measure.peak`): what does not fit on paper cannot fit, and what does may still not, by the runtime's own
needs.
"""

from dataclasses import dataclass

from torch.export import ExportedProgram
from torch.nn.modules.batchnorm import _BatchNorm

from paring.core.device import Device, Number
from paring.core.model import Model
from paring.core.target import Problem
from paring.core.units import written
from paring.measure.cost import parameters
from paring.measure.peak import peak

_WIDTH: dict[Number, int] = {"float32": 4, "int8": 1}
_SMALLER = "a smaller model or input, prune.channels, factorize.svd, quantize.static where it is float32"


def room(model: Model, program: ExportedProgram, device: Device, kinds: tuple[Number, ...]) -> list[Problem]:
    """Weights and activations against the device's flash and RAM, for each kind of numbers.

    Args:
        model: whose weights are counted; one that is quantized already is looked at in int8 alone.
        program: the model for one sample, as `torch.export` traces it.
        device: what it does not say is not looked at.
        kinds: of numbers that it may run in.

    Returns:
        A refusal where no kind fits, a note for each that does not while another does, and the estimates as notes.
    """
    norms = (module for module in model.module.modules() if isinstance(module, _BatchNorm))
    count = parameters(model) - sum(one.numel() for norm in norms for one in norm.parameters(recurse=False))
    needs = [
        _Need(kind, count * _WIDTH[kind], peak(program, _WIDTH[kind]).bytes)
        for kind in (("int8",) if model.quantized else kinds)
    ]
    over = {need.kind: why for need in needs if (why := need.over(device))}
    found = []
    for need in needs:
        problem = f"does not fit in {need.kind}: {over.get(need.kind, '')}"
        if need.kind not in over:
            found.append(Problem(str(need), "memory", "", "note"))
        elif len(over) < len(needs):
            found.append(Problem(problem, "memory", "quantize.static", "note"))
        else:
            found.append(Problem(problem, "memory", _SMALLER, "refuses"))
    return found + [one for need in needs[-1:] if (one := need.fetched(device)) is not None]


@dataclass(frozen=True, slots=True)
class _Need:
    """What a model takes in one kind of numbers; bytes."""

    kind: Number
    weights: int
    activations: int

    def __str__(self) -> str:
        return (
            f"in {self.kind} weights take at least {written(self.weights)}, "
            f"activations at least {written(self.activations)} (estimated)"
        )

    def over(self, device: Device) -> str:
        """What is too large; empty where all fits."""
        found = []
        if device.flash is not None and self.weights > device.flash:
            found.append(f"weights take at least {written(self.weights)}, the flash holds {written(device.flash)}")
        loaded = self.weights if device.flash is None else 0  # elsewhere they are read from flash in place
        if device.ram is not None and self.activations + loaded > device.ram:
            named = "weights and activations" if loaded else "activations"
            needed = written(self.activations + loaded)
            found.append(f"{named} take at least {needed}, the RAM holds {written(device.ram)}")
        return "; ".join(found) + " (estimated)" * bool(found)

    def fetched(self, device: Device) -> Problem | None:
        """The finding that weights do not fit the accelerator's own memory."""
        unit = device.accelerates
        if unit is None or unit.memory is None or self.weights <= unit.memory:
            return None
        return Problem(
            f"weights take at least {written(self.weights)}, {unit.unit} holds {written(unit.memory)}: the rest is "
            "fetched at each inference (estimated)",
            "memory",
            _SMALLER,
            "slow",
        )
