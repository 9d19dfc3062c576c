"""What layers inside a network give, heard while it runs."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


class Taps:
    """Keeps what layers gave when they last ran.

    Args:
        names: of the layers.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self._heard: dict[str, Tensor] = {}

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        """Listens while it lasts; also to copies made meanwhile, which overwrite what was heard."""
        try:
            with listening(module, self._names, self._heard.__setitem__):
                yield
        finally:
            self._heard.clear()

    def taken(self) -> Mapping[str, Tensor]:
        """What was heard, float32; afterwards nothing is."""
        found = {name: tensor.float() for name, tensor in self._heard.items()}
        self._heard.clear()
        return found


def shapes(module: nn.Module, inputs: Sequence[Tensor], whole: Collection[str] = ()) -> dict[str, tuple[int, ...]]:
    """Layer -> what it gives for a sample: its shape without the batch; in the order in which they ran.

    Layers that are not called, as some networks do with `forward`, or that give no float tensor, are left out.

    Args:
        module: in eval mode.
        inputs: in the order of its arguments, batch first.
        whole: layers whose parts are left out.
    """
    found: dict[str, tuple[int, ...]] = {}

    def see(name: str, tensor: Tensor) -> None:
        if tensor.ndim > 1:
            found.setdefault(name, tuple(tensor.shape[1:]))

    inside = tuple(f"{name}." for name in whole)
    names = [name for name, _ in module.named_modules() if name and not name.startswith(inside)]
    with listening(module, names, see), torch.no_grad():
        module(*inputs)
    return found


@contextmanager
def listening(module: nn.Module, names: Iterable[str], hear: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Calls `hear(name, answer)` whenever one of the layers has run, with the first float tensor that it gave."""

    def hook(name: str) -> Callable[..., None]:
        def heard(_: nn.Module, __: object, answer: object) -> None:
            tensor = next((x for x in tree_leaves(answer) if isinstance(x, Tensor) and x.is_floating_point()), None)
            if tensor is not None:
                hear(name, tensor)

        return heard

    handles = [module.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
