"""What a training goes on from after a kill: everything that its next step depends on, in one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from paring.core.errors import ParingError
from paring.core.model import Json, Model
from paring.core.task import Task
from paring.train.config import TrainConfig
from paring.train.history import Epoch
from paring.train.state import load_state, save_state, weights_digest

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass
class Position:
    """How far a training has come; JSON values."""

    epoch: int = 0  # whole ones
    batch: int = 0  # done of the next
    loss: float = 0.0  # sum over those batches
    seconds: float = 0.0  # that they took
    history: list[Epoch] = field(default_factory=list)
    kept: int = 0
    best: float = -1.0  # accuracy


class Stateful(Protocol):
    """A module, an optimizer."""

    def state_dict(self) -> dict[str, Any]:
        """All of it."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """The inverse."""


class Checkpoint:
    """The file, as one of several processes sees it.

    Args:
        path: of the file.
        fingerprint: tells this training from every other one; a file fits only its own.
        accelerator: the processes.
    """

    def __init__(self, path: Path, fingerprint: str, accelerator: Accelerator) -> None:
        self.path, self._fingerprint, self._accelerator = path, fingerprint, accelerator

    def save(self, parts: Mapping[str, Stateful], best: Mapping[str, Tensor] | None, at: Position) -> None:
        """Writes the file, whole or not at all; the first process does."""
        chance = self._chance()
        if self._accelerator.is_main_process:
            tree: Json = {
                "parts": {name: part.state_dict() for name, part in parts.items()},
                "best": best,
                "chance": chance,
                "position": asdict(at),
            }
            save_state(self.path, self._fingerprint, tree)

    def restore(self, parts: Mapping[str, Stateful]) -> tuple[Position, dict[str, Tensor] | None] | None:
        """Puts the saved state into `parts`; the position and the best weights so far, or None without a state.

        Raises:
            CorruptStateError: the file is damaged; `parts` are as they were.
        """
        tree = load_state(self.path, self._fingerprint)
        if tree is None:
            return None
        for name, part in parts.items():
            state = part.state_dict()
            state.update(
                _with_numbers(tree["parts"][name])
            )  # a module's own state has the versions, which some ask for
            part.load_state_dict(state)
        self._set_chance(tree["chance"])
        history = [Epoch(**epoch) for epoch in tree["position"]["history"]]
        return Position(**{**tree["position"], "history": history}), tree["best"]

    def agree(self, step: int) -> None:
        """All processes must stand at the same step, or they would wait for each other for ever."""
        if self._accelerator.num_processes > 1:
            here = torch.tensor([step], device=self._accelerator.device)
            steps = self._accelerator.gather(here).tolist()
            if len(set(steps)) > 1:
                raise ParingError(
                    f"the processes found states at different steps, {steps}",
                    str(self.path.parent),
                    "give all processes one folder, on a file system that they share",
                )

    def _chance(self) -> dict[str, Tensor]:
        """Generator states of every process, one row each."""
        states = {"cpu": torch.get_rng_state()}
        device = self._accelerator.device
        if device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(device)
        return {name: self._accelerator.gather(state[None].to(device)).cpu() for name, state in states.items()}

    def _set_chance(self, states: dict[str, Tensor]) -> None:
        own = self._accelerator.process_index
        torch.set_rng_state(states["cpu"][own].clone())
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"][own].clone(), self._accelerator.device)


def fingerprint(
    model: Model, task: Task, config: TrainConfig, seed: int, accelerator: Accelerator, objective: str = ""
) -> str:
    """Digest of all that decides how a training goes."""
    facts = {
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "task": task.identity,
        "weights": weights_digest(model.module),
        "processes": accelerator.num_processes,
        "device": accelerator.device.type,
        "objective": objective,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _with_numbers(state: dict[str, Any]) -> dict[str, Any]:
    """JSON makes strings of an optimizer's numbers of parameters."""
    if set(state) == {"state", "param_groups"}:
        return {**state, "state": {int(index): entry for index, entry in state["state"].items()}}
    return state
