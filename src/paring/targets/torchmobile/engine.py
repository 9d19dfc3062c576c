"""PyTorch as the app has it: QNNPACK for quantized operators, so many threads, no gradients."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def engine(threads: int | None = None) -> Iterator[None]:
    """Inside, quantized weights are packed for QNNPACK and operators run there; what was set before comes back.

    QNNPACK multiplies in 32 bits on every processor, where x86's own engine saturates without VNNI.

    Args:
        threads: that operators may use; None for as many as there are.
    """
    before, used = torch.backends.quantized.engine, torch.get_num_threads()
    wanted = used if threads is None else threads
    torch.backends.quantized.engine = "qnnpack"
    if wanted != used:
        torch.set_num_threads(wanted)
    try:
        with torch.inference_mode():
            yield
    finally:
        if wanted != used:
            torch.set_num_threads(used)
        torch.backends.quantized.engine = before
