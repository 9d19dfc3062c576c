"""Exported files on a device: fed and read as everywhere else, measured there."""

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Place:
    """A device, and the way to it.

    Attributes:
        address: `local`, `ssh://user@host:port`, `adb`, `adb:SERIAL`, `emulated-arm64`.
        options: of the way.
    """

    address: str
    options: Options = _PLAIN

    def emulated(self) -> bool:
        """Whether its times are an emulator's. Raises ParingError if it cannot be reached."""
        with open(self.address, self.options) as reach:
            return reach.emulated

    def bench(self, files: Mapping[str, Path], *, threads: int = 1, seconds: float = 4.0) -> list[Record]:
        """Latency in turn and peak memory of files there, each under its stage.

        Raises:
            ParingError: the device cannot be reached or lacks something, or a file is refused, here or there.
        """
        work = {}
        for stage, path in files.items():
            runner = _opened(path)
            work[stage] = Work(path, runner.encode_all(one_sample(runner.inputs)))
        with open(self.address, self.options) as reach:
            found = reach.bench(work, threads=threads, seconds=seconds)
            return _records(found, self.address, EMULATED if reach.emulated else "")


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
        ParingError: as `Place.bench`.
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
            source=f"on {address}",
        )
        for stage, one in found.items()
        if one.peak is not None
    ]  # fmt: skip
    return [*measurements.timed(timings, devices, f"on {address}", f"latency{suffix}"), *memory]
