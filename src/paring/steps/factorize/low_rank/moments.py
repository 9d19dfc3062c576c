"""What layers read, over calibration samples: second moments, and how often rows are looked up."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from paring.core.model import Model
from paring.core.task import Task
from paring.steps.factorize.low_rank.metric import PLAIN, Metric
from paring.train.forward import forward, placed

WIDEST = 2304  # of the values in a patch, above which the moments are of single places
DAMPING = 1e-3  # of the mean variance, added to all: few samples do not span all inputs
_COUNTED = 4096  # samples whose look-ups are counted; the rest of the network need not run for them
_ROWS = 8  # patches for each of the values in one: more tell little more


class _Counted(Exception):
    """Every embedding was called: the rest of a pass is not needed."""


class Moments:
    """Collects from one pass over the samples.

    Args:
        model: whose layers.
        layers: name -> layer.
        task: gives the samples.
        samples: how many.
        batch_size: in a pass.
    """

    def __init__(
        self, model: Model, layers: Mapping[str, nn.Module], task: Task, samples: int, batch_size: int
    ) -> None:
        self._sums: dict[str, Tensor] = {}
        self._layers = layers
        self._chance = torch.Generator().manual_seed(0)
        self._share = min(1.0, batch_size / max(samples, 1))
        device = next((one.device for one in model.module.parameters()), torch.device("cpu"))
        tables = {name: layer for name, layer in layers.items() if isinstance(layer, nn.Embedding)}
        passes = [(self._watching(layers.keys() - tables.keys()), samples)] if len(tables) < len(layers) else []
        if tables:
            passes.append((self._counting(tables), max(_COUNTED, samples)))
        for watching, limit in passes:
            with watching, torch.inference_mode():
                for batch in task.batches("calibration", batch_size, limit=limit):
                    with suppress(_Counted):
                        forward(model, model.module, placed(batch.inputs, device, channels_last=False))

    def metric(self, name: str) -> Metric:
        """Of a layer; the plain one where nothing is known, or of an embedding."""
        moments, layer = self._sums.get(name), self._layers[name]
        if moments is None or isinstance(layer, nn.Embedding) or not float(moments.diagonal().sum()) > 0:
            return PLAIN
        kernel = tuple(getattr(layer, "kernel_size", ()))
        inputs = len(moments) // prod(kernel) if _whole(layer) else len(moments)
        moments = moments / moments.diagonal().mean()
        moments = moments + DAMPING * torch.eye(len(moments), dtype=moments.dtype)
        if not _whole(layer):
            return Metric(None, moments)
        channels = moments.reshape(inputs, prod(kernel), inputs, prod(kernel)).diagonal(dim1=1, dim2=3).sum(-1)
        return Metric(moments, channels / prod(kernel))

    def counts(self, name: str) -> Tensor | None:
        """How often each row of an embedding was looked up; None where it is not one."""
        return self._sums.get(name) if isinstance(self._layers[name], nn.Embedding) else None

    def _add(self, name: str, layer: nn.Module, x: Tensor) -> None:
        rows = self._rows(layer, x)
        self._sum(name, (rows.T @ rows).double().cpu())

    def _sum(self, name: str, found: Tensor) -> None:
        self._sums[name] = self._sums[name] + found if name in self._sums else found

    def _rows(self, layer: nn.Module, x: Tensor) -> Tensor:
        """What the layer multiplies its weight with, a patch a row; of many patches a part, drawn by chance."""
        if isinstance(layer, nn.Linear):
            return self._drawn(x.reshape(-1, x.shape[-1]))
        if not _whole(layer):
            return self._drawn(x.movedim(1, -1).reshape(-1, x.shape[1]))
        return self._drawn(patches(layer, x))

    def _drawn(self, rows: Tensor) -> Tensor:
        most = max(1, int(_ROWS * rows.shape[1] * self._share))
        if len(rows) <= most:
            return rows
        return rows[torch.randperm(len(rows), generator=self._chance)[:most].to(rows.device)]

    @contextmanager
    def _watching(self, names: Collection[str]) -> Iterator[None]:
        handles = [
            self._layers[name].register_forward_pre_hook(lambda part, given, name=name: self._add(name, part, given[0]))
            for name in self._layers
            if name in names
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def _counting(self, tables: Mapping[str, nn.Embedding]) -> Iterator[None]:
        """Ends a pass when each embedding has been called."""
        seen = set[str]()

        def count(name: str, ids: Tensor) -> None:
            self._sum(name, torch.bincount(ids.flatten(), minlength=tables[name].num_embeddings).double().cpu())
            seen.add(name)
            if len(seen) == len(tables):
                seen.clear()
                raise _Counted

        handles = [
            table.register_forward_pre_hook(lambda _, given, name=name: count(name, given[0]))
            for name, table in tables.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def patches(layer: nn.Module, x: Tensor) -> Tensor:
    """What each place of a convolution's output reads, shape (places of all samples, inputs × places of the kernel)."""
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)  # noqa: S101 - the only kinds with patches
    x = _padded(layer, x)
    if isinstance(layer, nn.Conv1d):
        x = x[:, :, None]
    plane = [(1,) * (2 - len(one)) + tuple(one) for one in (layer.kernel_size, layer.dilation, layer.stride)]
    found = unfold(x, plane[0], dilation=plane[1], stride=plane[2])
    return found.movedim(1, -1).reshape(-1, found.shape[1])


def _padded(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    sides = layer._reversed_padding_repeated_twice  # what the layer itself pads with, whatever `padding` says
    if not any(sides):
        return x
    return pad(x, sides, mode="constant" if layer.padding_mode == "zeros" else layer.padding_mode)


def _whole(layer: nn.Module) -> bool:
    """Whether the moments are of whole patches."""
    return layer.get_parameter("weight")[0].numel() <= WIDEST
