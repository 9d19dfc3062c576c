"""Device profiles: those that come with paring, and the user's own."""

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from paring.core.device import Device
from paring.core.errors import ParingError, UnknownName
from paring.recipes.read import parse, validated
from paring.recipes.recipe import Lines


def names() -> list[str]:
    """Every profile: paring's and the user's."""
    return sorted({_name(path) for path in [*_profiles().iterdir(), *_own()] if path.name.endswith(".yaml")})


def folder() -> Path:
    """Where the user's own profiles lie: `$XDG_CONFIG_HOME/paring/devices`, `~/.config` where that is not set."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "paring" / "devices"


def own(name: str) -> Path | None:
    """The user's own profile of that name; None where there is none."""
    return next((path for path in _own() if _name(path) == name), None)


def replaced(name: str) -> str:
    """A sentence on the user's profile that stands in place of paring's of the same name; empty where none does."""
    path = own(name)
    if path is None or not (_profiles() / f"{name}.yaml").is_file():
        return ""
    return f"the profile {name!r} is yours, {path}, and not the one that comes with paring"


def open(name: str) -> Device:
    """The profile called `name`, the user's before paring's, or the one in the YAML file of that path.

    Raises:
        UnknownName: no profile has that name, or a key is unknown; the message gives the nearest.
        ParingError: the file is missing or not a profile; the message names its key and line.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise ParingError("there is no such file", name, f"check the path, or take one of {', '.join(names())}")
        return _read(path, name)
    if (path_of_own := own(name)) is not None:
        device = _read(path_of_own, str(path_of_own))
        if device.name != name:
            raise ParingError(
                f"name: the file is called {name}, the profile {device.name!r}", str(path_of_own), "give both one name"
            )
        return device
    if name not in names():
        raise UnknownName.of("device", name, names())
    return _read(_profiles() / f"{name}.yaml", f"{name}.yaml")


def _read(path: Traversable, name: str) -> Device:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParingError(f"cannot be read: {error}", name, "name a text file") from error
    data, numbers = parse(text, name, "a device profile", "begin with name: …, description: … and targets: …")
    return validated(Device, data, Lines(name, numbers), page="the page on devices")


def _profiles() -> Traversable:
    return files("paring.devices") / "profiles"


def _own() -> list[Path]:
    return sorted(folder().glob("*.yaml"))


def _name(path: Traversable) -> str:
    return path.name.removesuffix(".yaml")
