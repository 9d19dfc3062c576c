"""A target for devices that this machine is none of: LiteRT's files, which are not run here."""

from pathlib import Path
from typing import ClassVar

from paring.core.errors import ParingError
from paring.core.record import Origin, Record
from paring.core.target import Runner
from paring.targets.litert import LiteRT

REASON = "its devices are all elsewhere"


class Absent(LiteRT):
    """Can neither run nor be timed, and is not estimated."""

    name: ClassVar[str] = "absent"
    suffix: ClassVar[str] = ".absent.tflite"

    def why_not_run(self) -> str | None:
        return REASON

    def why_not_timed(self) -> str | None:
        return None

    def open(self, artifact: Path, threads: int = 1) -> Runner:
        raise ParingError(REASON, str(artifact), "run it on its device")


class Estimated(Absent):
    """Is estimated to take 3 ms."""

    name: ClassVar[str] = "estimated"
    suffix: ClassVar[str] = ".estimated.tflite"
    judges: ClassVar[frozenset[str]] = frozenset({"latency"})

    def estimate(self, artifact: Path, stage: str) -> list[Record]:
        return [
            Record(
                stage=stage, metric="latency", value=3.0, unit="ms", device="a device elsewhere",
                origin=Origin.ESTIMATED, source="paring.testing.elsewhere",
            )
        ]  # fmt: skip


class Untimed(LiteRT):
    """Runs here, and as fast as it likes."""

    name: ClassVar[str] = "untimed"
    suffix: ClassVar[str] = ".untimed.tflite"

    def why_not_run(self) -> str | None:
        return None

    def why_not_timed(self) -> str | None:
        return REASON
