"""Device profiles, and the ways to reach a device. So far: this machine."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml
from pydantic import ValidationError

from paring.core.device import Device
from paring.core.errors import ParingError, UnknownName


def names() -> list[str]:
    """Every profile that comes with paring."""
    return sorted(path.name.removesuffix(".yaml") for path in _profiles().iterdir() if path.name.endswith(".yaml"))


def open(name: str) -> Device:
    """The profile called `name`, or the one in the YAML file of that path.

    Raises:
        UnknownName: no profile has that name; the message gives the nearest.
        ParingError: the file is missing or not a profile.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise ParingError("there is no such file", name, f"check the path, or take one of {', '.join(names())}")
        text = path.read_text(encoding="utf-8")
    elif name in names():
        text = (_profiles() / f"{name}.yaml").read_text(encoding="utf-8")
    else:
        raise UnknownName.of("device", name, names())
    try:
        return Device.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise ParingError(f"is not a device profile: {error}", name, "see devices/profiles/local.yaml") from error


def _profiles() -> Traversable:
    return files("paring.devices") / "profiles"
