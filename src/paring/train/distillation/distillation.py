"""The loss of a student: labels, the answers of a teacher, and what the teacher's layers give."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from paring.core import artifact
from paring.core.errors import ParingError
from paring.core.model import Model
from paring.core.registry import Registry
from paring.core.step import ORIGINAL, Context, Named
from paring.core.task import Batch, Task
from paring.train.config import TaughtConfig
from paring.train.distillation import pairs, teacher
from paring.train.distillation.decoupled import decoupled
from paring.train.distillation.feature import FeatureLoss
from paring.train.distillation.kept import KeptAnswers
from paring.train.distillation.soft_targets import soft_targets
from paring.train.distillation.taps import Taps, shapes
from paring.train.evaluate import Evaluation, evaluate
from paring.train.objective import Objective, TaskLoss, Tensors

LOSSES = Registry(
    "loss on features",
    {
        "attention_maps": "paring.train.distillation.attention_maps:AttentionMaps",
        "attention_transfer": "paring.train.distillation.attention_transfer:AttentionTransfer",
        "hidden_cosine": "paring.train.distillation.hidden_cosine:HiddenCosine",
        "hints": "paring.train.distillation.hints:Hints",
        "relational": "paring.train.distillation.relational:Relational",
    },
)
MASK = "attention_mask"


class Distillation(Objective):
    """(1 − λ) · loss of the task + λ · soft targets (or decoupled) + Σ weight · loss on features.

    Args:
        task: gives the loss for the labels, and two samples to find out what layers give.
        student: whose layers are compared.
        teacher_: of the same inputs and classes.
        config: λ and all other options.
        seed: of the adapters' first weights.

    Raises:
        ParingError: student and teacher do not agree, or layers cannot be paired.
    """

    def __init__(self, task: Task, student: Model, teacher_: teacher.Teacher, config: TaughtConfig, seed: int) -> None:
        super().__init__()
        self.config, self.teacher = config, teacher_
        self._labels = TaskLoss(task, config.label_smoothing)
        batch = next(iter(task.batches("train", 2, limit=2)))
        teacher.agree(teacher_, student, batch)
        self.pairs = self._paired(student, batch)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            losses: list[FeatureLoss] = [
                LOSSES.load(one.loss)(one, found) for one, found in zip(config.features, self.pairs, strict=True)
            ]
        self.adapters = nn.ModuleList(losses)
        every = [pair for found in self.pairs for pair in found]
        self._student = Taps(name for own, _ in every for name in own.reads)
        self._taught = Taps(name for _, other in every for name in other.reads)
        names = json.dumps([[(own.reads, other.reads) for own, other in found] for found in self.pairs])
        self.identity = f"taught by {teacher_.identity} {hashlib.sha256(names.encode()).hexdigest()[:16]}"

    @property
    def told(self) -> str:
        """Who teaches and what is paired, in one line."""
        words = [f"taught by {self.teacher.name}"]
        words += [f"{one.loss}: {pairs.told(p)}" for one, p in zip(self.config.features, self.pairs, strict=True)]
        return "; ".join(words)

    @contextmanager
    def listening(self, module: nn.Module) -> Iterator[None]:
        """See `Objective`."""
        if not self.config.features:
            yield
            return
        device = next(module.parameters()).device
        with self._student.on(module), self._taught.on(self._open.on(device)):
            yield

    def __call__(self, batch: Batch, outputs: Tensors) -> Tensor:
        """The mean over a batch."""
        share = self.config.teacher_share
        loss = (1 - share) * self._labels(batch, outputs) if share < 1 else torch.zeros((), device=batch.targets.device)
        if share or self.config.features:
            answers = self.teacher(batch)  # its layers are heard as it answers
            if share:
                loss = loss + share * self._soft(next(iter(outputs.values())), answers, batch.targets)
        if self.config.features:
            loss = loss + self._features(batch.inputs)
        return loss

    def _soft(self, learned: Tensor, taught: Tensor, targets: Tensor) -> Tensor:
        config = self.config
        if config.decoupled is not None:
            parts = config.decoupled
            return decoupled(learned, taught, targets, config.temperature, parts.alpha, parts.beta)
        return soft_targets(learned, taught, config.temperature)

    def _features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        learned, taught = self._student.taken(), self._taught.taken()
        losses = []
        for one, loss, found in zip(self.config.features, self.adapters.children(), self.pairs, strict=True):
            own = [[learned[name] for name in point.reads] for point, _ in found]
            other = [[taught[name] for name in point.reads] for _, point in found]
            losses.append(one.weight * loss(own, other, inputs.get(MASK)))
        return torch.stack(losses).sum()

    @property
    def _open(self) -> teacher.ModelTeacher:
        """The teacher, as one whose layers can be heard."""
        if not isinstance(self.teacher, teacher.ModelTeacher):
            raise ParingError(
                f"nobody sees into {self.teacher.name}: features need one teacher, a model in PyTorch",
                "features",
                "leave features out, or name a model",
            )
        return self.teacher

    def _paired(self, student: Model, batch: Batch) -> list[list[tuple[pairs.Point, pairs.Point]]]:
        if not self.config.features:
            return []
        both = []
        for model in (student, self._open.model):
            inputs = [batch.inputs[spec.name] for spec in model.inputs]
            factorized = {one.layer for one in model.invariants if one.kind == "rank"}  # stay one layer each
            both.append((model.module, shapes(model.module, inputs, factorized)))
        found = []
        for one in self.config.features:
            points = pairs.AttentionPoints() if one.loss == "attention_maps" else pairs.LayerPoints()
            found.append(pairs.paired(points, one.layers, both[0], both[1], one.loss))
        return found


def taught(
    student: Model, config: TaughtConfig, context: Context, before: Evaluation | None, directory: Path
) -> Distillation | None:
    """The loss with the teachers that the options name; None where they name none.

    A teacher that is worse than the student on the validation split is told of.

    Args:
        student: what is trained.
        config: names the teachers.
        context: of the step; opens them.
        before: the student on the validation split, before training.
        directory: keeps what the teacher answered, where the options want it kept.

    Raises:
        ParingError: a teacher cannot be opened, or student and teacher do not agree.
    """
    if not config.teacher:
        return None
    task = context.task
    teachers = [_opened(named, context) for named in config.teacher]
    found: teacher.Teacher = teachers[0] if len(teachers) == 1 else teacher.Ensemble(teachers)
    if before is not None and isinstance(found, teacher.ModelTeacher):
        correct = evaluate(found.model, task, "validation").accuracy
        if correct < before.accuracy:
            context.progress.note(
                f"the teacher {found.name} is right on {100 * correct:.1f} % of the validation split, the student on "
                f"{100 * before.accuracy:.1f} % already: little can be learned from it"
            )
    if config.keep_answers:
        batch = next(iter(task.batches("train", 2, limit=2)))
        teacher.agree(found, student, batch)
        found = KeptAnswers(found, task, directory, context.progress)
        found(next(iter(task.batches("train", 2, limit=2, shuffle=0, augment=config.augment))))
    return Distillation(task, student, found, config, context.seed)


def _opened(named: Named, context: Context) -> teacher.Teacher:
    if named == ORIGINAL:
        return teacher.ModelTeacher(context.original, "the original")
    if context.opened is None:
        problem = "only a recipe opens another teacher than `original`"
        raise ParingError(problem, f"teacher {named}", "run the step in a recipe")
    found = context.opened(named)
    if isinstance(found, Model):
        return teacher.ModelTeacher(found, str(named))
    digest = artifact.digest(Path(named.model))
    return teacher.FileTeacher(found, str(named), context.task, digest)
