"""A `.pte` in ExecuTorch's runtime."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from weakref import WeakSet

import torch

from paring.core.errors import ParingError
from paring.core.model import TensorSpec
from paring.core.quiet import quiet
from paring.core.target import Array
from paring.targets.executorch import program
from paring.targets.feeding import End, OneSampleRunner
from paring.targets.traced import first_line

with quiet():
    from executorch.extension.pybindings import portable_lib

_DTYPES = {0: "uint8", 1: "int8", 3: "int32", 4: "int64", 6: "float32", 11: "bool"}  # of ExecuTorch's ScalarType
_CONTIGUOUS = torch.contiguous_format


class ExecuTorchRunner(OneSampleRunner):
    """Contract: `paring.core.target.Runner`. One sample an inference.

    Takes and gives float values in the model's own layout whatever the file holds. ExecuTorch has one thread pool a
    process, and a loaded method keeps hold of it: a runner with another number of threads makes the others load
    themselves anew before their next inference.

    Args:
        artifact: the `.pte`, of paring or of another maker.
        threads: that the runtime may use.

    Raises:
        ParingError: no such file, it is damaged, or the runtime refuses it.
    """

    def __init__(self, artifact: Path, threads: int = 1) -> None:
        self.threads, self.runtime = threads, f"ExecuTorch {version('executorch')}"
        try:
            content = artifact.read_bytes()
        except OSError as error:
            raise ParingError(f"cannot be read: {error.strerror}", str(artifact), "name a .pte file") from error
        metadata = _metadata(content, artifact)
        self._content = content  # the program reads from it as long as it lives, and keeps no reference
        self._method: Any = None
        self._fed: list[torch.Tensor] = []
        try:
            with quiet():
                check = portable_lib.Verification.InternalConsistency
                self._program = portable_lib._load_program_from_buffer(content, program_verification=check)
                self._load()
            known: Any = self._program.method_meta("forward")
            given = [known.input_tensor_meta(i) for i in range(known.num_inputs())]
            taken = [known.output_tensor_meta(i) for i in range(known.num_outputs())]
        except (RuntimeError, IndexError) as error:
            raise ParingError(
                f"ExecuTorch refuses it: {first_line(error)}", str(artifact), "export it again"
            ) from error
        if metadata is None:
            self.inputs = tuple(_spec(f"input_{i}", one) for i, one in enumerate(given))
            self.outputs = tuple(_spec(f"output_{i}", one) for i, one in enumerate(taken))
            self.ends = {
                spec.name: End(tuple(one.sizes()), spec.dtype)
                for spec, one in zip((*self.inputs, *self.outputs), (*given, *taken), strict=True)
            }
        else:
            self.inputs = tuple(TensorSpec.from_json(spec) for spec in metadata["inputs"])
            self.outputs = tuple(TensorSpec.from_json(spec) for spec in metadata["outputs"])
            self.ends = {name: End(**end | {"shape": tuple(end["shape"])}) for name, end in metadata["ends"].items()}

    def invoke(self) -> None:
        """One inference."""
        if self._method is None:
            self._load()
        try:
            self._method.execute()
        except RuntimeError as error:
            raise ParingError(
                f"ExecuTorch failed: {first_line(error)}", "run in ExecuTorch", "export it again"
            ) from error

    def _load(self) -> None:
        _use_threads(self.threads)
        self._method = self._program.load_method("forward")
        _loaded.add(self)
        if self._fed:
            self._method.set_inputs(self._fed)

    def unload(self) -> None:
        """Lets go of the thread pool; the next inference loads the method again."""
        self._method = None

    def _put(self, fed: Mapping[str, Array]) -> None:
        # a copy with the strides of its shape: ExecuTorch reads the order of dimensions from them, and for a dimension
        # of one numpy keeps those that it had before a transposition
        self._fed = [torch.from_numpy(fed[spec.name]).clone(memory_format=_CONTIGUOUS) for spec in self.inputs]
        if self._method is None:
            self._load()
        else:
            self._method.set_inputs(self._fed)

    def _taken(self) -> dict[str, Array]:
        answers = self._method.get_outputs()
        return {spec.name: answer.numpy() for spec, answer in zip(self.outputs, answers, strict=True)}


_loaded: WeakSet[ExecuTorchRunner] = WeakSet()


def _use_threads(threads: int) -> None:
    """Gives the process a pool of so many threads. The old one goes: nothing may hold it any longer."""
    if portable_lib._threadpool_get_thread_count() != threads:
        for runner in list(_loaded):
            runner.unload()
        _loaded.clear()
        portable_lib._unsafe_reset_threadpool(threads)


def _spec(name: str, end: Any) -> TensorSpec:
    """What can be known of an input or output of a file that is not paring's."""
    return TensorSpec(name, ("batch", *end.sizes()[1:]), _DTYPES.get(end.dtype(), "float32"))


def _metadata(content: bytes, artifact: Path) -> Any:
    if content[4:6] != b"ET":
        raise ParingError("is not a .pte file", str(artifact), "name a file that ExecuTorch can load")
    damaged = ParingError("is damaged", str(artifact), "export it again")
    try:
        metadata = program.metadata(content)
        program.contents(content)
    except Exception as error:  # a damaged flatbuffer fails in any way
        raise damaged from error
    if metadata is None:
        if program.DIGEST_KEY in content:  # the metadata is there, but its name is not what it was
            raise damaged
    elif not program.intact(content, metadata["sha256"]):
        raise damaged
    return metadata
