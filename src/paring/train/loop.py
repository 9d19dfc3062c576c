"""The one training loop."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from paring.core.errors import MissingExtra, ParingError
from paring.core.model import Model
from paring.core.progress import Silent
from paring.core.step import Progress
from paring.core.task import Batch, Task
from paring.train.check import check
from paring.train.checkpoint import Checkpoint, Position, Stateful, fingerprint
from paring.train.config import TrainConfig
from paring.train.evaluate import Evaluation, tally
from paring.train.forward import channels_last_is_safe, forward, lay_out, placed
from paring.train.history import Epoch, Fitted
from paring.train.interrupt import deferred_interrupt
from paring.train.objective import Objective, TaskLoss
from paring.train.optim import averaging, make_optimizer, rate, set_rate
from paring.train.state import CorruptStateError

if TYPE_CHECKING:
    from accelerate import Accelerator

STATE = "training.safetensors"
_SILENT = Silent()
_LOOK_EVERY = 20  # steps on a GPU between two reads of the loss, each of which waits for the device


def fit(
    model: Model,
    task: Task,
    config: TrainConfig,
    *,
    seed: int,
    directory: Path,
    progress: Progress = _SILENT,
    objective: Objective | None = None,
    between_steps: Callable[[nn.Module, int], None] | None = None,
    until: Callable[[int], bool] | None = None,
    checkpoint_every: float = 30.0,
) -> Fitted:
    """Trains a copy of the model's module on the task's `train` split; `test` is never read.

    Killed at any moment, the same call goes on from its last state and, on a CPU with the same number of threads,
    ends with the same bits as an unbroken run. Runs on one CPU or GPU, or in several processes that `torchrun` or
    `accelerate launch --multi_gpu` started and that share `directory`; each takes its share of every batch.

    Args:
        model: what to train; untouched.
        task: data and loss.
        config: how.
        seed: of the order of samples, of augmentation and of dropout.
        directory: keeps the state (`training.safetensors`) to go on from.
        progress: shows how far it has come.
        objective: what is made small; None is the task's loss.
        between_steps: called with the module in training and the number of steps done, before the first step of this
            process and after each; may change the module in place, e.g. to keep pruned weights at 0.
        until: asked with the number of steps done (after each step on a CPU, every 20 on a GPU and at the end of an
            epoch); True ends the training there, and the same call can go on later.
        checkpoint_every: seconds between two saved states within an epoch; one is saved at each epoch's end.

    Raises:
        ParingError: model and task do not fit, the loss is no longer finite, or the state cannot be written.
    """
    try:
        from accelerate import Accelerator
    except ModuleNotFoundError as error:
        raise MissingExtra.of("accelerate", "train", "training") from error
    # Without `cpu=True` several processes on a machine without a GPU would each train alone, in one folder. Precision
    # is set by autocast below: Accelerate's own setting holds for the life of the process.
    accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision="no")
    check(model, task, config, accelerator.num_processes)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), deferred_interrupt() as interrupted:
        torch.manual_seed(derived_seed(seed, f"process {accelerator.process_index}"))
        shown = progress if accelerator.is_main_process else Silent()
        training = _Training(
            accelerator, model, task, config, objective or TaskLoss(task, config.label_smoothing),
            seed=seed, state=directory / STATE, progress=shown,
        )  # fmt: skip
        between = between_steps or (lambda *_: None)
        return training.run(until or (lambda _: False), between, checkpoint_every, interrupted)


def derived_seed(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, 32 bits: neighbouring seeds share no stream of chance."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:4], "big")


class _Training:
    """One training from its start, or from the state of an earlier process, to its end."""

    def __init__(
        self,
        accelerator: Accelerator,
        model: Model,
        task: Task,
        config: TrainConfig,
        objective: Objective,
        *,
        seed: int,
        state: Path,
        progress: Progress,
    ) -> None:
        self.accelerator, self.model, self.task, self.config = accelerator, model, task, config
        self.seed, self.progress, self.objective = seed, progress, objective
        known = fingerprint(model, task, config, seed, accelerator, objective.identity)
        self.checkpoint = Checkpoint(state, known, accelerator)
        self.shard = accelerator.process_index, accelerator.num_processes
        self.per_epoch = task.size("train") // config.batch_size
        self.total = config.length(self.per_epoch)

        self.module = copy.deepcopy(model.module).to(accelerator.device)
        self.channels_last = config.channels_last and channels_last_is_safe(self.module, accelerator.device)
        if self.channels_last:
            lay_out(self.module, torch.channels_last)
        # Alone it stays bare: Accelerate would leave a mark on the module that is returned.
        self.wrapped = accelerator.prepare_model(self.module) if accelerator.num_processes > 1 else self.module
        self.average = (
            AveragedModel(self.module, multi_avg_fn=averaging(config.ema), use_buffers=True) if config.ema else None
        )
        self.adapters = objective.adapters.to(accelerator.device)
        self.optimizer = make_optimizer(self.module, config, self.adapters)
        self.best: dict[str, Tensor] | None = None
        self.at = Position()
        self.unread: list[Tensor] = []  # losses not yet fetched from the device
        self._restore()

    @property
    def subject(self) -> nn.Module:
        """The module that is evaluated and returned."""
        return self.module if self.average is None else self.average.module

    @property
    def step(self) -> int:
        """Steps done."""
        return min(self.total, self.at.epoch * self.per_epoch + self.at.batch)  # the last epoch may be cut short

    def run(
        self,
        until: Callable[[int], bool],
        between_steps: Callable[[nn.Module, int], None],
        checkpoint_every: float,
        interrupted: Callable[[], bool],
    ) -> Fitted:
        """Trains from where it stands."""
        self.until, self.between_steps = until, between_steps
        self.checkpoint_every, self.interrupted = checkpoint_every, interrupted
        self.between_steps(self.module, self.step)
        self.saved = self.marked = time.monotonic()
        with self.progress.bar("train", self.total) as advance, self.objective.listening(self.module):
            advance(self.step, self._said())
            while self.step < self.total and self._epoch(advance):
                pass
        if interrupted():  # while the last epoch was closed; its state is saved
            raise KeyboardInterrupt
        return self._fitted()

    def _epoch(self, advance: Callable[[int, str], None]) -> bool:
        """Trains to the end of the epoch; False if the training is to stop, here or before."""
        planned = min(self.per_epoch, self.total - self.at.epoch * self.per_epoch)
        stop = False
        self.wrapped.train()
        for batch in islice(self._batches(), planned - self.at.batch):
            self._update(batch)
            self.at.batch += 1
            if len(self.unread) >= self._look_every or self.at.batch == planned:
                read = len(self.unread)
                due, interrupt, stop = self._look()
                advance(read, self._said())
                if interrupt or ((due or stop) and self.at.batch < planned):
                    self._check_weights()
                    self._save()
                if interrupt:
                    raise KeyboardInterrupt
                if stop and self.at.batch < planned:
                    return False
        if self.at.batch < planned:
            raise ParingError(
                f"gave {self.at.batch} training batches of {self.config.batch_size} where its size promises {planned}",
                f"task {self.task.name}",
                "make its size and its batches agree",
            )
        self._check_weights()
        self._close_epoch(planned)
        advance(0, self._said())
        return not stop

    def _batches(self) -> Iterator[Batch]:
        return self.task.batches(
            "train",
            self.config.batch_size,
            shuffle=derived_seed(self.seed, f"epoch {self.at.epoch}"),
            augment=self.config.augment,
            shard=self.shard,
            skip=self.at.batch,
        )

    def _update(self, batch: Batch) -> None:
        """One step of the optimizer."""
        config, device = self.config, self.accelerator.device
        inputs = placed(batch.inputs, device, self.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            outputs = forward(self.model, self.wrapped, inputs)
        loss = self.objective(Batch(inputs, batch.targets.to(device, non_blocking=True), batch.samples), outputs)
        if self.shard[1] > 1:  # shares may differ by a sample; the mean over processes is to be that over the batch
            loss = loss * (len(batch.targets) * self.shard[1] / config.batch_size)
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        if self.shard[1] > 1:  # nobody else averages what is trained along
            for parameter in self.adapters.parameters():
                parameter.grad = self.accelerator.reduce(parameter.grad, "mean")
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.module.parameters(), config.clip_norm, foreach=True)
        set_rate(self.optimizer, self._rate)
        self.optimizer.step()
        self.between_steps(self.module, self.step + 1)
        if self.average is not None:
            self.average.update_parameters(self.module)
        self.unread.append(loss.detach())

    @property
    def _look_every(self) -> int:
        return 1 if self.accelerator.device.type == "cpu" else _LOOK_EVERY

    def _look(self) -> tuple[bool, bool, bool]:
        """Reads the losses since the last look; whether a state is due, the user interrupts, and `until` says stop.

        The answers travel with the losses, so that all processes act alike.
        """
        now = time.monotonic()
        asked = [now - self.saved >= self.checkpoint_every, self.interrupted(), self.until(self.step)]
        row = torch.cat([torch.stack(self.unread), torch.tensor(asked, dtype=torch.float32).to(self.unread[0].device)])
        *losses, due, interrupt, stop = self.accelerator.reduce(row, "mean").tolist()
        first = self.at.batch - len(losses)
        for index, loss in enumerate(losses, 1):
            if not math.isfinite(loss):
                raise self._diverged(f"the loss is {loss}", first + index)
            self.at.loss += loss
        self.unread.clear()
        self.at.seconds += now - self.marked
        self.marked = now
        return due > 0, interrupt > 0, stop > 0

    def _close_epoch(self, planned: int) -> None:
        """Evaluates, enters the epoch in the history and saves the state."""
        at, number = self.at, self.at.epoch + 1
        learning_rate = float(self.optimizer.param_groups[0]["lr"])
        found = None
        last = number * self.per_epoch >= self.total
        if (last or number % self.config.evaluate_every == 0) and self.task.size("validation"):
            found = self._evaluated()
        now = time.monotonic()
        seconds, self.marked = at.seconds + now - self.marked, now
        accuracy, loss = (found.accuracy, found.loss) if found else (None, None)
        at.history.append(Epoch(number, at.loss / planned, learning_rate, seconds, accuracy, loss))
        if self.config.keep == "last":
            at.kept = number
        elif found and found.accuracy > at.best:
            at.best, at.kept = found.accuracy, number
            self.best = {name: tensor.clone() for name, tensor in self.subject.state_dict().items()}
        at.epoch, at.batch, at.loss, at.seconds = number, 0, 0.0, 0.0
        self._save()

    @property
    def _rate(self) -> float:
        """Learning rate of the next step."""
        accuracies = [epoch.accuracy for epoch in self.at.history if epoch.accuracy is not None]
        return self.config.learning_rate * rate(self.step, self.total, self.config, accuracies)

    def _evaluated(self) -> Evaluation:
        """The subject on the validation split, shared among the processes."""
        self._synchronize()
        counts = tally(self.model, self.subject, self.task, "validation", shard=self.shard)
        if self.accelerator.num_processes > 1:
            counts = self.accelerator.reduce(counts.to(self.accelerator.device), "sum")
        correct, total, loss = counts.tolist()
        return Evaluation(int(correct), int(total), loss / total)

    def _fitted(self) -> Fitted:
        if self.best is not None:
            state = self.subject.state_dict()
            state.update(self.best)  # as its own state it has the versions, which some classes ask for
            self.subject.load_state_dict(state)
        self._synchronize()
        module = self.subject.cpu()
        lay_out(module, torch.contiguous_format)
        module.zero_grad(set_to_none=True)
        finished = self.step >= self.total
        return Fitted(module.eval(), tuple(self.at.history), self.step, finished, self.at.kept)

    def _synchronize(self) -> None:
        """Gives every process the first one's buffers; weights are alike already, batch statistics are not."""
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast

            for buffer in self.subject.buffers():
                broadcast(buffer)

    def _said(self) -> str:
        """How it stands, in a few words."""
        at = self.at
        epochs = math.ceil(self.total / self.per_epoch)
        words = [f"epoch {min(at.epoch + 1, epochs)}/{epochs}"]
        if at.batch or at.history:
            words.append(f"loss {at.loss / at.batch if at.batch else at.history[-1].loss:.2f}")
        accuracies = [epoch.accuracy for epoch in at.history if epoch.accuracy is not None]
        if accuracies:
            words.append(f"val {100 * accuracies[-1]:.1f} %")
        return " · ".join(words)

    def _check_weights(self) -> None:
        """Before they are saved: the loss would tell only at the next step, when the good state is overwritten."""
        for name, parameter in self.module.named_parameters():
            if not torch.isfinite(parameter).all():
                raise self._diverged(f"{name} is no longer finite", self.at.batch)

    def _diverged(self, what: str, batch: int) -> ParingError:
        path = self.checkpoint.path
        kept = f"; the last good state is kept in {path}" if path.exists() else ""
        return ParingError(
            f"{what} in epoch {self.at.epoch + 1}, step {batch} of {self.per_epoch}{kept}",
            f"training of {self.model.source}",
            f"lower learning_rate, which is {self.config.learning_rate:g}, or set clip_norm",
        )

    @property
    def _parts(self) -> dict[str, Stateful]:
        """What has a state of its own."""
        found: dict[str, Stateful] = {"module": self.module, "optimizer": self.optimizer}
        if any(True for _ in self.adapters.parameters()):
            found["adapters"] = self.adapters
        return found if self.average is None else {**found, "average": self.average}

    def _save(self) -> None:
        self.checkpoint.save(self._parts, self.best, self.at)
        self.saved = time.monotonic()

    def _restore(self) -> None:
        """Goes on from the state on disk, if it is this training's own and sound."""
        try:
            found = self.checkpoint.restore(self._parts)
        except CorruptStateError as error:
            self.progress.note(f"{self.checkpoint.path} is damaged ({error}); training starts from the beginning")
            found = None
        if found is not None:
            self.at, self.best = found
        self.checkpoint.agree(self.step)
