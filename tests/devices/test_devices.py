"""Device profiles are data."""

from pathlib import Path

import pytest

from paring import devices
from paring.core.errors import ParingError, UnknownName
from paring.targets import TARGETS


@pytest.mark.parametrize("name", devices.names())
def test_every_profile_names_targets_that_exist(name: str) -> None:
    device = devices.open(name)
    assert device.name == name
    assert all(target in TARGETS for target in device.targets)


def test_an_own_profile_is_read(tmp_path: Path) -> None:
    path = tmp_path / "box.yaml"
    path.write_text("name: box\ndescription: mine\ntargets: [litert]\nthreads: 4\n")
    assert devices.open(str(path)).threads == 4


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="lokal"):
        devices.open("lokal")
    with pytest.raises(ParingError, match="no such file"):
        devices.open(str(tmp_path / "none.yaml"))
    (tmp_path / "bad.yaml").write_text("name: x\nthreads: none\n")
    with pytest.raises(ParingError, match="not a device profile"):
        devices.open(str(tmp_path / "bad.yaml"))
