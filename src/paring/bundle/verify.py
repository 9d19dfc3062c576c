"""A bundle looked at again: its files, and what its artifacts answer on the golden samples."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from paring.bundle import golden, manifest
from paring.bundle.manifest import Artifact, Golden, Manifest
from paring.bundle.runtime import opened, why_not
from paring.bundle.write import entries
from paring.core.errors import ParingError
from paring.core.model import Json
from paring.core.target import Runner
from paring.measure import machine

Open = Callable[[Artifact, Path], Runner | None]


@dataclass(frozen=True, slots=True)
class Replay:
    """One output of one artifact on the golden samples.

    Attributes:
        target: whose file.
        output: its name.
        runtime: that it ran in; empty where it did not.
        apart: the largest difference to what is expected, in the output's unit.
        tolerance: the most that is allowed here.
        note: why it was not replayed, or what the tolerance rests on.
    """

    target: str
    output: str
    runtime: str
    apart: float
    tolerance: float
    note: str

    @property
    def good(self) -> bool:
        """Whether it is within the tolerance, or nothing here can tell."""
        return not self.runtime or self.apart <= self.tolerance


@dataclass(frozen=True, slots=True)
class Verification:
    """What `paring verify` finds.

    Attributes:
        bundle: the folder.
        platform: that it is for.
        faults: files that were changed, are missing, or do not belong to it.
        replays: of every output of every artifact; none where files have faults.
    """

    bundle: Path
    platform: str
    faults: tuple[str, ...]
    replays: tuple[Replay, ...]

    @property
    def good(self) -> bool:
        """Whether the bundle is as it was written and answers as it should."""
        return not self.faults and all(replay.good for replay in self.replays)

    def as_json(self) -> dict[str, Json]:
        """Plain data."""
        replays = [asdict(one) | {"good": one.good} for one in self.replays]
        return {
            "bundle": str(self.bundle),
            "platform": self.platform,
            "good": self.good,
            "faults": list(self.faults),
            "replays": replays,
        }


def here(artifact: Artifact, file: Path) -> Runner | None:
    """Opens an artifact in its runtime on this machine; None where none here can run it."""
    return opened(artifact.target, file)


def verify(bundle: Path, open: Open = here, processor: str | None = None) -> Verification:
    """Checks every file against the manifest, then replays the golden samples.

    Args:
        bundle: the folder.
        open: gives the runner of an artifact, here or on a device.
        processor: that the runners run on, as `paring.measure.machine.cpu` names it; this machine's if left out.

    Raises:
        ParingError: it is no bundle, or one of another version; a runtime is not installed.
    """
    found = manifest.read(bundle)
    faults = tuple(_faults(bundle, found))
    if faults:
        return Verification(bundle, found.platform, faults, ())
    remedy = "take the bundle from its source again"
    path = bundle / found.golden
    samples = manifest.validated(Golden, manifest.read_json(path, remedy), path)
    replays: list[Replay] = []
    for artifact in found.artifacts:
        replays += replay(bundle, samples, artifact, open(artifact, bundle / artifact.path), processor or machine.cpu())
    return Verification(bundle, found.platform, (), tuple(replays))


def replay(bundle: Path, samples: Golden, artifact: Artifact, runner: Runner | None, processor: str) -> list[Replay]:
    """The golden samples through a runner on `processor`, held against what is expected.

    Raises:
        ParingError: a file holds other than its shape tells, or the runner fails.
    """
    if runner is None:
        note = f"not replayed: {why_not(artifact.target) or 'no runner was given'}"
        return [Replay(artifact.target, name, "", 0.0, one.elsewhere, note) for name, one in artifact.tolerance.items()]
    answers = runner.run(golden.load(bundle, samples))
    found = []
    for name, path in artifact.expected.items():
        expected, limit = golden.array(bundle / path, "float32", samples.shapes[name]), artifact.tolerance[name]
        same = runner.runtime == artifact.runtime and processor == limit.processor
        if name not in answers or answers[name].shape != expected.shape:
            raise ParingError(f"gives no output {name!r} of {expected.shape}", runner.runtime, "use another runtime")
        apart = float(np.abs(answers[name].astype(np.float32) - expected).max())
        most = limit.same if same else limit.elsewhere
        found.append(Replay(artifact.target, name, runner.runtime, apart, most, limit.why))
    return found


def _faults(bundle: Path, found: Manifest) -> list[str]:
    """What is not as it was written, file by file."""
    wanted = {one.path: one for one in found.files}
    there = {one.path: one for one in entries(bundle)}
    changed = [f"{path}: was changed" for path in sorted(wanted.keys() & there.keys()) if wanted[path] != there[path]]
    missing = [f"{path}: is missing" for path in sorted(wanted.keys() - there.keys())]
    extra = [f"{path}: does not belong to the bundle" for path in sorted(there.keys() - wanted.keys())]
    named = [one.path for one in found.artifacts if not any(f"{path}/".startswith(f"{one.path}/") for path in wanted)]
    return changed + missing + extra + [f"{path}: is none of the bundle's files" for path in named]
