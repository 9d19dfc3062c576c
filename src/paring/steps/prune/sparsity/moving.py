"""Masks that move while a network trains: what gradual magnitude, movement and RigL have in common."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.quiet import quiet
from paring.core.step import Context, StepConfig
from paring.steps.prune.sparsity.masks import refuse_empty
from paring.train.config import RecoverConfig
from paring.train.recovery import recover
from paring.train.zeros import SPARSITY


@dataclass(frozen=True)
class Held:
    """A tensor of a network in training, to be changed in place.

    Attributes:
        name: of the tensor.
        weight: with its gradient, but before the first step of a process.
        mask: uint8, 1 where a weight stays.
        more: further state, by name.
    """

    name: str
    weight: nn.Parameter
    mask: Tensor
    more: Mapping[str, Tensor]

    @property
    def active(self) -> Tensor:
        """Where weights stay, bool."""
        return self.mask != 0


class Moving(ABC):
    """Masks of some tensors, moved between the optimizer's steps.

    All state lies in buffers of the network, which the training saves with the weights: so it goes on after a kill to
    the same bits. A process begins by calling once more for the last step done; `move` must change nothing then, which
    it knows by the gradient that is not there, or by giving the same result again.

    Args:
        masks: tensor -> where weights stay at the start.
        remedy: what to do where no weight of a tensor is left.
        where: the step.
    """

    more: tuple[str, ...] = ()

    def __init__(self, masks: Mapping[str, Tensor], where: str, remedy: str) -> None:
        self._first, self._where, self._remedy = masks, where, remedy

    @abstractmethod
    def move(self, held: Sequence[Held], done: int) -> None:
        """Changes masks, and weights if it must, after `done` steps."""

    def initial(self, kind: str, weight: Tensor) -> Tensor:
        """The state of one kind of `more` that training begins with: of the weight's shape."""
        return weight.clone() if kind == "dense" else torch.zeros_like(weight)

    def attach(self, module: nn.Module, options: StepConfig) -> None:
        """Puts the state into a network; the options too, as a training of other ones must not go on from it."""
        text = json.dumps(options.model_dump(mode="json"), sort_keys=True)
        digest = torch.tensor(list(hashlib.sha256(text.encode()).digest()), dtype=torch.uint8)
        module.register_buffer("_pruned_by", digest)
        for index, (name, mask) in enumerate(self._first.items()):
            weight = module.get_parameter(name).detach()
            module.register_buffer(f"_mask_{index}", mask.to(torch.uint8))
            for kind in self.more:
                module.register_buffer(f"_{kind}_{index}", self.initial(kind, weight))

    def detach(self, module: nn.Module) -> dict[str, Tensor]:
        """Takes the state out again; gives the masks."""
        found = {one.name: one.active.cpu() for one in self._held(module)}
        del module._pruned_by
        for index in range(len(found)):
            for kind in ("mask", *self.more):
                delattr(module, f"_{kind}_{index}")
        return found

    def __call__(self, module: nn.Module, done: int) -> None:
        """As `fit` calls it."""
        held = self._held(module)
        with torch.no_grad():
            self.move(held, done)
            refuse_empty({one.name: one.mask for one in held}, self._where, self._remedy)
            for one in held:
                one.weight.masked_fill_(~one.active, 0.0)

    def _held(self, module: nn.Module) -> list[Held]:
        return [
            Held(
                name,
                module.get_parameter(name),
                module.get_buffer(f"_mask_{index}"),
                {kind: module.get_buffer(f"_{kind}_{index}") for kind in self.more},
            )
            for index, name in enumerate(self._first)
        ]


def train(
    model: Model, moving: Moving, options: StepConfig, config: RecoverConfig, context: Context
) -> tuple[nn.Module, dict[str, Tensor], str]:
    """Trains a copy of the model's module while masks move.

    Args:
        model: untouched; earlier zeros of other tensors stay.
        moving: the masks.
        options: of the step.
        config: of the training; `refuse_averages` was asked.
        context: of the step.

    Returns:
        The module; its masks; one line on the training.
    """
    with quiet():
        module = deepcopy(model.module)
    moving.attach(module, options)
    found, told = recover(replace(model, module=module), config, context, between_steps=moving)
    masks = moving.detach(found.module)
    return found.module, masks, told


def refuse_averages(config: RecoverConfig, where: str) -> None:
    """Raises ParingError for weights that are not those of the training's end: their zeros are others."""
    if config.keep == "best":
        raise ParingError("the best epoch may lie before the last zero", f"{where}: recover", "keep: last")
    if config.ema:
        raise ParingError(
            "a moving average mixes weights of several masks", f"{where}: recover", "ema: 0, or a finetune step with it"
        )


def steps_of(config: RecoverConfig, context: Context) -> int:
    """How many steps a training will take."""
    return config.length(context.task.size("train") // config.batch_size)


def sparse_already(model: Model) -> dict[str, str]:
    """Tensors whose zeros are promised -> why a step that lets weights come back cannot prune them."""
    promised = [one.layer for one in model.invariants if one.kind == SPARSITY]
    return dict.fromkeys(promised, "it is sparse already, and none of its weights may come back")
