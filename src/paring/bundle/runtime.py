"""What runs an artifact on this machine, if anything does."""

from pathlib import Path

from paring.core.target import Runner, why_not_run
from paring.targets import TARGETS


def why_not(target: str) -> str | None:
    """Why nothing here runs a target's artifacts; None where something does."""
    if target not in TARGETS:
        return f"this version of paring has no target {target!r}"
    return why_not_run(TARGETS.load(target)())


def opened(target: str, file: Path) -> Runner | None:
    """An artifact in its runtime; None where there is a reason why not.

    Raises:
        ParingError: the runtime is not installed, or refuses the artifact.
    """
    if why_not(target) is not None:
        return None
    runner: Runner = TARGETS.load(target)().open(file)
    return runner
