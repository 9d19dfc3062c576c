"""Device profiles are data."""

from pathlib import Path

import pytest

from paring import devices
from paring.core.errors import ParingError, UnknownName
from paring.targets import TARGETS

PAGE = Path(__file__).parents[2] / "docs" / "devices.md"
COLUMNS = ("cpu", "cores", "ram", "flash", "accelerates", "memory")
OWN = "name: {name}\ndescription: mine\ntargets: [litert]\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of profiles, empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    devices.folder().mkdir(parents=True)
    return devices.folder()


@pytest.mark.parametrize("name", devices.names())
def test_every_profile_names_targets_that_exist_and_a_source_of_every_figure(name: str) -> None:
    device = devices.open(name)
    assert device.name == name
    assert all(one.name in TARGETS for one in device.targets)
    assert [figure for figure in device.figures if not device.sources_of(figure)] == []
    assert {figure for source in device.sources for figure in source.gives} == set(device.figures)


@pytest.mark.parametrize("name", devices.names())
def test_the_page_tells_what_the_profiles_say(name: str) -> None:
    device, page = devices.open(name), PAGE.read_text(encoding="utf-8")
    figures = [device.told(figure) if figure in device.figures else "" for figure in COLUMNS]
    assert f"| `{name}` | {' | '.join([device.description, *figures])} |" in page
    assert all(source.title in page and source.address in page for source in device.sources)


def test_figures_are_read_with_their_units() -> None:
    board = devices.open("ethos-u55")
    assert (board.ram, board.flash) == (14155776, 5767168)
    assert board.targets[0].name == "ethosu"
    assert board.targets[0].options == {"accelerator": "ethos-u55-256"}
    assert board.accelerates is not None
    assert board.accelerates.lanes == {"int8": 16}


def test_an_own_profile_is_read_by_path(tmp_path: Path) -> None:
    path = tmp_path / "box.yaml"
    path.write_text(
        OWN.format(name="x") + "threads: 4\nram: 2 GiB\nreach: {via: ssh, host: box, user: pi, port: 2222}\n"
    )
    device = devices.open(str(path))
    assert (device.threads, device.ram, str(device.reach)) == (4, 2**31, "ssh pi@box:2222")


def test_the_users_profiles_are_found_by_name_and_win(own: Path) -> None:
    (own / "box.yaml").write_text(OWN.format(name="box"))
    (own / "raspberry-pi-4.yaml").write_text(OWN.format(name="raspberry-pi-4"))
    assert {"box", "raspberry-pi-5"} <= set(devices.names())
    assert devices.open("box").description == devices.open("raspberry-pi-4").description == "mine"
    assert str(own / "raspberry-pi-4.yaml") in devices.replaced("raspberry-pi-4")
    assert not devices.replaced("box")
    assert not devices.replaced("raspberry-pi-5")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rom: 4 GiB", ["box.yaml, line 4", "rom", "did you mean 'ram'?"]),
        ("ram: 4", ["box.yaml, line 4", "ram", "is no size", "GiB"]),
        ("accelerates: {unit: x, lanes: {int4: 2}}", ["box.yaml, line 4", "int4"]),
        ("reach: {via: telnet}", ["box.yaml, line 4", "reach.via", "ssh"]),
        ("sources: [{title: x, gives: [price]}]", ["box.yaml, line 4", "price"]),
        ("ram: [", ["box.yaml, line", "not YAML"]),
        ("name: other", ["stands twice"]),
    ],
)
def test_a_broken_profile_of_the_users_is_told_with_file_and_key(own: Path, text: str, told: list[str]) -> None:
    (own / "box.yaml").write_text(OWN.format(name="box") + text + "\n")
    with pytest.raises(ParingError) as caught:
        devices.open("box")
    assert all(part in str(caught.value) for part in told)


def test_a_profile_under_another_name_is_refused(own: Path) -> None:
    (own / "box.yaml").write_text(OWN.format(name="bax"))
    with pytest.raises(ParingError, match=r"called box.*'bax'"):
        devices.open("box")


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="lokal") as caught:
        devices.open("lokal")
    assert "did you mean 'local'?" in str(caught.value)
    with pytest.raises(UnknownName):
        devices.open("../profiles/local")
    with pytest.raises(ParingError, match="no such file"):
        devices.open(str(tmp_path / "none.yaml"))
    (tmp_path / "bad.yaml").write_text("just a text\n")
    with pytest.raises(ParingError, match="not a device profile"):
        devices.open(str(tmp_path / "bad.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParingError, match="cannot be read"):
        devices.open(str(tmp_path / "binary.yaml"))
