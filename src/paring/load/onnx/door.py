"""`onnx:FILE`: an ONNX model, rebuilt of ordinary layers and proved against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from paring.core.entry import Entry
from paring.core.errors import ParingError
from paring.core.model import Model, Source, TensorSpec
from paring.core.target import Array
from paring.core.task import Task
from paring.load import probe, prove
from paring.load.onnx import inputs, read, rewrite
from paring.load.onnx.draft import Cannot, Draft
from paring.load.onnx.runtime import Original
from paring.load.onnx.translate import translate


def open(
    entry: Entry,
    *,
    task: Task | None = None,
    shape: tuple[int, ...] | tuple[TensorSpec, ...] | None = None,
    seed: int = 0,
) -> Model:
    """The file's network, of any batch size, with its weights.

    Args:
        entry: `onnx:FILE`, without options.
        task: gives the sizes that the file leaves open.
        shape: likewise: of one sample (channels first), or a description of each input.
        seed: of the inputs on which the rebuilt network is compared with the file.

    Raises:
        ParingError: the file is refused (`paring.load.onnx.read`), a size is not known, an operator cannot be rebuilt,
            or the rebuilt network answers otherwise than ONNX Runtime: the first node that does is named.
    """
    path = Path(entry.rest)
    where = f"onnx:{path}"
    if entry.arguments:
        raise ParingError("takes no options", where, "leave the parentheses out")
    file, opset = read.read(path)
    taken, batch = inputs.found(file.graph, task, shape, where)
    original = Original(path, [one.value.name for one in taken], [one.last for one in taken], batch)
    try:
        draft = translate(file.graph, taken, opset, batch, where)
    except Cannot as error:
        raise ParingError(str(error), where, error.remedy) from error
    rewrite.rewrite(draft)
    network = draft.network()
    specs = tuple(
        replace(one.spec, name=name, range=_range(name, draft)) for one, name in zip(taken, draft.inputs, strict=True)
    )
    model = probe.model(network, Source(where, {}, draft.blueprint().as_json()), specs)
    arrays = prove.samples(specs, seed)

    def layers() -> Iterator[tuple[str, str, Array]]:
        for name, value in original.values(list(draft.trace), arrays):
            yield name, draft.trace[name], value

    prove.prove(network, arrays, _laid_out(original(arrays), model), layers, where)
    return model


def _range(name: str, draft: Draft) -> tuple[float, float] | None:
    """Ids point into the table that they are looked up in."""
    carriers = {name}
    for node in draft.nodes.values():
        if node.inputs and node.inputs[0] in carriers:
            if node.op == "Embedding":
                return (0, node.options["num_embeddings"] - 1)
            if node.op in ("cast", "reshape", "reshape_any", "flatten"):
                carriers.add(node.name)
    return None


def _laid_out(answers: Sequence[Array], model: Model) -> list[Array]:
    """The batch in front, also where a file for one sample leaves it out."""
    return [
        array[:, None] if array.ndim + 1 == len(spec.shape) and spec.shape[1] == 1 else array
        for array, spec in zip(answers, model.outputs, strict=True)
    ]
