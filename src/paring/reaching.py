"""Exported files on a device: fed and read as everywhere else, measured there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from paring.core.record import Record
from paring.core.target import Array, one_sample
from paring.core.timing import Timing
from paring.devices.reach import Measured, Options, Work, open
from paring.measure import measurements
from paring.targets import of_file
from paring.targets.feeding import OneSampleRunner

_PLAIN = Options()
EMULATED = "_emulated"  # behind a metric's name: such figures are never beside a device's


def bench(
    artifacts: Sequence[Path], address: str, options: Options, *, threads: int = 1, seconds: float = 4.0
) -> list[Record]:
    """Latency in turn, peak memory and sizes of files on a device; stages are the files' names.

    Raises:
        ParingError: the device cannot be reached or lacks something, or a file is refused, here or there.
    """
    work = {}
    for path in artifacts:
        runner = _opened(path)
        work[str(path)] = Work(path, runner.encode_all(one_sample(runner.inputs)))
    with open(address, options) as reach:
        found = reach.bench(work, threads=threads, seconds=seconds)
        suffix = EMULATED if reach.emulated else ""
    return [
        *_records(found, address, suffix),
        *(r for path in artifacts for r in measurements.size_of(path, str(path))),
    ]


def answers(
    artifact: Path,
    inputs: Mapping[str, Array],
    address: str,
    options: Options = _PLAIN,
    *,
    threads: int = 1,
    kernels: str = "",
) -> dict[str, Array]:
    """What a file answers on a device, as its runner on this machine would tell it.

    Args:
        artifact: exported.
        inputs: by the model's names, in its layout, batch in front.
        address: of the device.
        options: how to reach it.
        threads: that the runtime may use.
        kernels: `reference` for LiteRT's own kernels without XNNPACK.

    Raises:
        ParingError: as `bench`.
    """
    runner = _opened(artifact)
    with open(address, options) as reach:
        found = reach.run(Work(artifact, runner.encode_all(inputs), kernels), threads)
    # the outputs of a .pte have no names there, but an order
    named = {spec.name: found[spec.name if spec.name in found else str(i)] for i, spec in enumerate(runner.outputs)}
    return {name: runner.ends[name].decode(array) for name, array in named.items()}


def _opened(artifact: Path) -> OneSampleRunner:
    runner = of_file(artifact).open(artifact)
    if not isinstance(runner, OneSampleRunner):
        raise TypeError(f"{type(runner).__name__} does not tell how its file is fed")
    return runner


def _records(found: Mapping[str, Measured], address: str, suffix: str) -> list[Record]:
    timings: dict[str, Timing] = {stage: one.timing for stage, one in found.items()}
    devices = {stage: one.device for stage, one in found.items()}
    memory = [
        Record(
            stage=stage, metric=f"peak_memory{suffix}", value=one.peak, unit="bytes", device=one.device,
            source=f"paring bench --on {address}",
        )
        for stage, one in found.items()
        if one.peak is not None
    ]  # fmt: skip
    return [*measurements.timed(timings, devices, f"paring bench --on {address}", f"latency{suffix}"), *memory]
