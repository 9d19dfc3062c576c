"""A device: what it runs, and with what."""

from pydantic import BaseModel, ConfigDict, Field


class Device(BaseModel):
    """A device profile, as in `devices/profiles/*.yaml`.

    Attributes:
        name: as in a recipe.
        description: for people.
        targets: runtimes that a recipe for it exports to.
        threads: that a runtime may use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    targets: tuple[str, ...] = Field(min_length=1)
    threads: int = Field(default=1, ge=1)
